"""Files of a session: which of them a run writes into, and `report.log`."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock

from digideep.pipeline.logbook import growing_files
from digideep.utility.errors import UsageError
from digideep.utility.files import printable
from digideep.utility.own_files import remove, require_own

# What makes a session importable: `from digideep_sessions.NAME import loader`.
PACKAGE = {
    "__init__.py": '''"""A digideep session as a package: see docs/sessions.md."""

from .saam import loader

__all__ = ["loader"]
''',
    "saam.py": '''"""Session as a module: reads data files when asked, runs nothing of `modules/`, changes no path."""

from pathlib import Path

from digideep.post.loader import Loader

loader = Loader(Path(__file__).parent)
''',
}

# What a resumed run writes into; a link that leads nowhere is among them, which no pattern finds.
_FILES = (
    "report.log", "varlog.json", "prolog.json", "monlog.json", "visdom.log", "repeal.json", "done.lock", "running.lock",
)  # fmt: skip
_DIRECTORIES = ("monitor", "tensorboard", "videos", "memory")


def written_files(session: Path) -> list[Path]:
    """The files there that a resumed run writes into."""
    return sorted({*(path for name in _FILES if os.path.lexists(path := session / name)), *growing_files(session)})


def require_own_files(session: Path) -> None:
    """Refuse to resume where that would write through a link, or into what is no file.

    Raises:
        UsageError: naming it.
    """
    for name in ("checkpoints", *_DIRECTORIES, "memory/ring"):
        require_own(session / name, is_directory=True)
    for file in written_files(session):
        require_own(file)
    for name in _DIRECTORIES:
        for directory, directories, files in os.walk(session / name):
            for inner in (*directories, *files):
                path = Path(directory, inner)
                require_own(path, is_directory=inner in directories, is_written=False)


def hold(session: Path) -> filelock.BaseFileLock:
    """Hold `running.lock` as long as this process lives; the system lets go of it even after SIGKILL.

    Raises:
        UsageError: if another process holds it.
    """
    require_own(session / "running.lock")
    lock = filelock.FileLock(session / "running.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(f"{session} is in use by a running process. Wait for it, or stop it first.") from None
    return lock


def let_go(lock: filelock.BaseFileLock | None) -> None:
    """Free a lock from `hold`, if it is one; a file that code of others has closed is free already."""
    if lock is None:
        return
    try:
        lock.release()
    except OSError:
        # Its number may soon be another file's, which the lock would close when it is collected.
        with contextlib.suppress(AttributeError):
            lock._context.lock_file_fd = None


@contextlib.contextmanager
def new_directory(final: Path) -> Iterator[tuple[Path, filelock.BaseFileLock]]:
    """Make a session's directory aside, to be filled, and rename it at the end: so it is whole, or not there.

    Yields:
        The directory, and its lock, which stays held.

    Raises:
        UsageError: if it cannot be made, or is there already. Nothing is left of it then.
    """
    aside = final.with_name(f".{final.name}.new")
    lock = None
    try:
        lock = _begin(aside, final)
        yield aside, lock
        if final.exists():  # an empty directory could be renamed over
            raise UsageError(f"{final} exists already. Choose another --session-name, or --resume it.")
        aside.rename(final)
    except BaseException as err:
        if lock is not None:  # nobody else has this directory
            shutil.rmtree(aside, ignore_errors=True)
        if isinstance(err, OSError):
            raise UsageError(f"{final} cannot be made: {_reason(err)}. Choose another --session-path.") from err
        raise


def _begin(aside: Path, final: Path) -> filelock.BaseFileLock:
    """Have an empty directory to oneself, whatever a killed process left of it."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    require_own(aside, is_directory=True)
    aside.mkdir(exist_ok=True)
    lock = None
    try:
        lock = hold(aside)
    except FileNotFoundError:
        pass  # it has been renamed in this very moment
    except UsageError as err:
        raise UsageError(f"{final} is being made by another process. Choose another --session-name.") from err
    if lock is None or final.exists() or not (aside / "running.lock").exists():
        if lock is not None:
            shutil.rmtree(aside, ignore_errors=True)
            let_go(lock)
        raise UsageError(f"{final} exists already. Choose another --session-name, or --resume it.")
    for left in aside.iterdir():
        if left.name != "running.lock":
            remove(left)
    return lock


def _reason(error: OSError) -> str:
    """Why, in one line: copying a directory collects all that went wrong."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return error.strerror or str(error)


class _ReportFormatter(logging.Formatter):
    """`[seconds since the start, LEVEL] text`, as digideep has always written it."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return f"[{record.relativeCreated / 1000:12.5f}s, {record.levelname[:5]:>5}] {record.getMessage()}"


class ReportHandler(logging.FileHandler):
    """Writes `report.log`; where that cannot be done (a full disk), it says so once."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_ReportFormatter())
        self._has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """One line instead of a traceback for each record."""
        if not self._has_failed:
            self._has_failed = True
            print(f"digideep: {self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        """What could not be written until now is lost."""
        with contextlib.suppress(OSError):
            super().close()


def decoded(text: str) -> str:
    """Text of the command line, whose bytes are UTF-8 also where the locale's encoding is not."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return printable(text)
