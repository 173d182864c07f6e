"""Ending environments, whatever they do about it: `close` may raise, hang or end the program."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from digideep.utility.user_code import words_unless_ours

CLOSE_S = 5.0  # what a simulator may take to end

_log = logging.getLogger("digideep")


class _TooLongError(BaseException):
    """Raised into code that hangs. No `except Exception` of anybody's may stop it."""


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """End what takes longer. That works for Python code in the main thread, where the system has timers."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    handler, start = signal.signal(signal.SIGALRM, end), time.monotonic()
    others_s, _ = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if others_s:
            signal.setitimer(signal.ITIMER_REAL, max(others_s - (time.monotonic() - start), 1e-3))


def close_quietly(close: Callable[[], Any], limit_s: float = CLOSE_S) -> str | None:
    """Call a `close` that is not ours. Returns: what went wrong, None if nothing did."""
    try:
        with _time_limit(limit_s):
            close()
    except _TooLongError:
        return f"close() took longer than {limit_s:.1f} s and was given up"
    except BaseException as err:
        return f"close() failed: {words_unless_ours(err)}"
    return None


def close_environment(environment: Any, name: str) -> None:
    """Close an environment; log what goes wrong. Args: name: what it is called in the message."""
    complaint = close_quietly(environment.close)
    if complaint is not None:
        _log.warning("%s: %s.", name, complaint)
