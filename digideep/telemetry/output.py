"""Write to standard output, which may be closed while a run goes on, or be reserved for JSON; and end a command."""

import contextlib
import ctypes
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from digideep.utility.errors import UsageError
from digideep.utility.text import one_line

_log = logging.getLogger("digideep")


class OutputStream:
    """A stream that people read. Once it cannot be written (a closed pipe, a full disk) it takes everything in silence.

    Args:
        stream: standard output or error; None where there is none.
    """

    def __init__(self, stream: TextIO | None):
        self._stream = stream if stream is not None else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        with self._losing():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with self._losing():
            self._stream.flush()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        if self._is_lost:
            yield
            return
        try:
            yield
        except OSError as err:
            self._is_lost = True
            # What is still in the buffer would fail again when the interpreter ends, and give another exit code.
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            line = f"The output cannot be written any more ({err.strerror}). The run goes on; report.log has the rest."
            _log.warning(line)
            if self._stream is not sys.stderr:
                with contextlib.suppress(OSError, ValueError):
                    print(f"digideep: {line}", file=sys.stderr)


def tolerate_encodings() -> None:
    """Print characters that the locale's encoding lacks as escape sequences, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def command(run: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Let a command return an exit code, and say in a line on standard error what it refuses."""

    @functools.wraps(run)
    def main(argv: list[str] | None = None) -> int:
        tolerate_encodings()
        try:
            run(argv)
            sys.stdout.flush()
        except UsageError as err:
            print(f"digideep: {one_line(str(err))}", file=sys.stderr)
            return err.exit_code
        except BrokenPipeError:  # of `| head`, which has read enough
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 0

    return main


def let_go_of_terminal() -> None:
    """Send standard output or error nowhere if its terminal is gone: an error would end the program."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")  # the system refuses even that
        except OSError:
            with contextlib.suppress(OSError), open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), descriptor)


class JsonOutput:
    """Keeps standard output for one purpose: whatever else is printed there goes to standard error.

    That holds for C code too, and for processes that are started meanwhile.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout
        self._real: int | None = None
        self._is_file = False
        with contextlib.suppress(OSError, AttributeError, ValueError):
            self._stream.flush()
            self._is_file = self._stream.fileno() == 1  # not so where a test or a notebook has put something else
        with contextlib.suppress(OSError):  # of a program that was started without
            self._real = os.dup(1)
            os.dup2(2, 1)
            sys.stdout = sys.stderr

    def write(self, text: str) -> None:
        """Write a line to standard output itself."""
        if self._is_file and self._real is not None:
            with open(os.dup(self._real), "w", encoding="utf-8") as file:
                file.write(f"{text}\n")
        else:
            print(text, file=self._stream)

    def close(self) -> None:
        """Give standard output back; safe to call again."""
        if self._real is None:
            return
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # what C code has printed may still be in its buffer
        os.dup2(self._real, 1)
        os.close(self._real)
        self._real, sys.stdout = None, self._stream
