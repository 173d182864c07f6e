"""What code that is not ours may do: raise anything, `sys.exit()` included."""

import contextlib
import os
import signal
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from typing import NoReturn

from digideep.utility.errors import Interruption

_LIBRARY = sysconfig.get_path("stdlib")


def is_ours(err: BaseException) -> bool:
    """True if an exception ends the program because the user asked for it, and must pass."""
    if isinstance(err, KeyboardInterrupt):  # without our handlers it is Python's own answer to Ctrl-C
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(err, Interruption)


def in_words(err: BaseException) -> str:
    """Return in one line what was raised; of an exit, what it did and where."""
    if isinstance(err, SystemExit):
        return f"called sys.exit({err.code!r}){place(err)}"
    if isinstance(err, (KeyboardInterrupt, GeneratorExit)):
        return f"raised {type(err).__name__}{place(err)}"
    return " ".join(f"{type(err).__name__}: {text_of(err)}".split())


def words_unless_ours(err: BaseException) -> str:
    """Return `in_words` of what code that is not ours has raised; raise it again if it is ours."""
    if is_ours(err):
        raise err
    return in_words(err)


def text_of(err: BaseException) -> str:
    """Return what an exception says of itself; where even that fails, the words that Python has for it."""
    try:
        return str(err)
    except Exception:
        return "<exception str() failed>"


def place(err: BaseException) -> str:
    """Return file and line of the innermost frame outside of the standard library, in brackets."""
    for frame in reversed(traceback.extract_tb(err.__traceback__)):
        is_library = frame.filename.startswith((_LIBRARY, "<")) and "-packages" not in frame.filename
        if not is_library:
            return f" ({PurePath(frame.filename).name}, line {frame.lineno})"
    return ""


def end_forked_child(err: BaseException | None = None) -> NoReturn:
    """End a process that code of the user's has forked, and that has come back to ours: it has no part in it.

    Args:
        err: what the child raised, which decides how it ends, as if it were alone.
    """
    if err is None:
        os._exit(0)
    if isinstance(err, SystemExit):
        os._exit(err.code if isinstance(err.code, int) else int(err.code is not None))
    traceback.print_exception(err)
    os._exit(1)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """End each process that code of the user's forks within the block, or the decorated function, as it leaves it."""
    pid = os.getpid()
    try:
        yield
    except BaseException as err:
        if os.getpid() != pid:
            end_forked_child(err)
        raise
    if os.getpid() != pid:
        end_forked_child()
