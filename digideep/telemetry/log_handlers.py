"""Where log records go: the console, and `report.log`."""

import contextlib
import logging
import sys
import textwrap
from pathlib import Path

from rich.console import Console

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)  # by --log-level
REPORT = logging.getLogger("digideep.report")  # what the console has shown already, or is not to show


class ConsoleHandler(logging.Handler):
    """Sends log records to the console, above the panel, but for those of `REPORT`."""

    def __init__(self, console: Console, level: int):
        super().__init__(level)
        self.addFilter(lambda record: record.name != REPORT.name)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, on a terminal broken between words; warnings and worse in colour."""
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else None
        text = record.getMessage()
        if self._console.is_terminal and "\n" not in text:  # several lines hold commands, to be copied as they are
            text = textwrap.fill(
                text, self._console.width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
            )
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class ReportHandler(logging.FileHandler):
    """Writes `report.log`; if that fails (a full disk), it says so once."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._has_failed = False

    def format(self, record: logging.LogRecord) -> str:
        """Return `[seconds since the start, LEVEL] text`, as digideep has always written it."""
        return f"[{record.relativeCreated / 1000:12.5f}s, {record.levelname[:5]:>5}] {record.getMessage()}"

    def handleError(self, record: logging.LogRecord) -> None:
        """Print one line, once, instead of a traceback for each record."""
        if not self._has_failed:
            self._has_failed = True
            print(f"digideep: {self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        """Close the file; what could not be written by now is lost."""
        with contextlib.suppress(OSError):
            super().close()
