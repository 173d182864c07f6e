"""What a person sees while a run goes on: a line per epoch, over a progress bar where there is a terminal."""

import logging
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


class ConsoleHandler(logging.Handler):
    """Sends log records to the console, above the progress bar."""

    def __init__(self, console: Console):
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; warnings and worse in colour."""
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else None
        self._console.print(record.getMessage(), style=style, markup=False, highlight=False, soft_wrap=True)


class Display:
    """Shows the progress of a run."""

    def __init__(self, console: Console):
        self.console = console
        self._progress: Progress | None = None
        self._task: Any = None
        self._header_due = 0

    def start(self, total_frames: int, frames: int) -> None:
        """Begin. Args: total_frames: of the whole run; frames: done before."""
        self._started, self._first = time.perf_counter(), frames
        self._last = self._started, frames
        self._total = total_frames
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.percentage:>5.1f} %"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._progress.add_task("train", total=total_frames, completed=frames, note="")
            self._progress.start()

    def cycle(self, frames: int, recent: float | None) -> None:
        """Move the bar. Args: frames: done; recent: mean return of the last episodes."""
        if self._progress is not None:
            note = f"{frames:,} frames" + ("" if recent is None else f"   return {recent:,.1f}")
            self._progress.update(self._task, completed=frames, note=note)

    def epoch(self, epoch: int, frames: int, episodes: int, figures: dict[str, float | None]) -> float:
        """Print the epoch's line. Returns: frames per second since the last one."""
        now = time.perf_counter()
        speed = (frames - self._last[1]) / max(now - self._last[0], 1e-9)
        average = (frames - self._first) / max(now - self._started, 1e-9)
        left_s = (self._total - frames) / max(average, 1e-9)
        self._last = now, frames
        columns = {
            "epoch": f"{epoch}",
            "frames": f"{frames:,}",
            "episodes": f"{episodes:,}",
            **{name: "-" if value is None else f"{value:,.2f}" for name, value in figures.items()},
            "frames/s": f"{speed:,.0f}",
            "left": _duration(left_s),
        }
        widths = [max(len(name) + 1, 11) for name in columns]
        if self._header_due == 0:
            self._print(" ".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True)), "bold")
        self._header_due = (self._header_due + 1) % 20
        self._print(" ".join(f"{text:>{width}}" for text, width in zip(columns.values(), widths, strict=True)), None)
        return speed

    def _print(self, text: str, style: str | None) -> None:
        logging.getLogger("digideep.report").info(text)
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
