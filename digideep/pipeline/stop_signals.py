"""SIGINT, SIGTERM, SIGHUP and SIGUSR1: what they mean, from the first moment of the program to its last.

Imports little: the handlers stand before torch is imported.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from digideep.telemetry.output import let_go_of_terminal
from digideep.utility.errors import Interruption

FINISHED, STOPPED = 0, 75  # exit codes
_CHILD_S = 15.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
_HANGUP = getattr(signal, "SIGHUP", None)


class StopSignals:
    """Turns signals into a request to stop.

    Before anything is written a signal ends the program at once; while imports go on, after them. From `hold` on it is
    a request that the run looks at. A second Ctrl-C ends the program at once, without saving. Once the run has ended,
    no signal changes its exit code. SIGHUP, of a terminal that is closed, is left alone where the program was started
    with `nohup`.

    Outside of the main thread Python knows no signals, so that nothing is installed.

    Attributes:
        reason: name of the first signal; None as long as there was none.
        announce: called with a line for the user when a request is held.
        stopping: that line, after the signal's name.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.announce: Callable[[str], Any] = lambda text: None
        self.stopping = "stopping after this cycle. {ctrl_c} stops at once, without saving."
        self._is_held = True
        self._exit_code: int | None = None
        self._previous: dict[int, Any] = {}
        self._may_cut, self._deadline = False, float("inf")

    def install(self) -> None:
        """Take over the signals. Safe to call again."""
        if self._previous or threading.current_thread() is not threading.main_thread():
            return
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def ignore_at_exit(self) -> None:
        """Let no signal change the exit code of a process that is ending."""
        atexit.register(self._ignore)

    def _ignore(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self._previous:
                signal.signal(number, signal.SIG_IGN)

    def release(self) -> None:
        """Let a signal end the program at once, from here on, by an Interruption, also one that came before."""
        self._is_held = False
        if self.reason is not None:
            self.interrupt()

    def hold(self) -> None:
        """Let a signal be a request, from here on, that waits until somebody looks at `reason`.

        One that came before and could not end the program does so now, by an Interruption.
        """
        if not self._is_held and self.reason is not None:
            self.interrupt()
        self._is_held = True

    def ask(self, reason: str) -> None:
        """Ask for a stop as a signal does; the first reason counts."""
        self.reason = self.reason or reason

    def settle(self, exit_code: int) -> None:
        """Say that the run has ended: a signal changes nothing any more."""
        self._exit_code = exit_code

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """Allow `must_cut` to be true within the context: what runs there can be cut off anywhere."""
        self._may_cut = True
        try:
            yield
        finally:
            self._may_cut = False

    def limit(self, time_s: float) -> None:
        """Let `must_cut` become true after that time, too."""
        self._deadline = time.monotonic() + time_s

    def must_cut(self) -> bool:
        """True if whole episodes are to be cut off: a stop was asked for, or the time is over."""
        return self._may_cut and (self.reason is not None or time.monotonic() >= self._deadline)

    def interrupt(self) -> NoReturn:
        """Raise an Interruption: end the program at once, as the signal asked."""
        self._is_held = True  # what is being closed is not to be interrupted again
        raise Interruption(f"stopped by {self.reason}. Run the same command again.", STOPPED)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name, is_second = signal.Signals(number).name, self.reason is not None
        self.reason = self.reason or name
        if number == _HANGUP:
            let_go_of_terminal()
        if self._exit_code is not None:
            if number == signal.SIGINT and is_second:  # something hangs while it is closed
                os._exit(self._exit_code)
        elif number == signal.SIGINT and is_second:
            raise Interruption("stopped at once; what came after the last checkpoint is lost.", 1)
        elif not self._is_held:
            self.interrupt()
        elif not is_second:
            ctrl_c = "Another Ctrl-C" if number == signal.SIGINT else "Ctrl-C"
            # It may have come in the middle of another line, or of an import that printing needs: a line is not worth
            # what it would end here.
            with contextlib.suppress(Exception):
                self.announce(f"{name}: {self.stopping.format(ctrl_c=ctrl_c)}")


def end_child(process: subprocess.Popen) -> None:
    """End a run in another process, unless it has ended: it may close what it has started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_CHILD_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
