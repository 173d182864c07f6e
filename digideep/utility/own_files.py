"""Files of a session that somebody else may have made: no link leads out of it, and nothing waits for a pipe."""

import os
import shutil
import stat
from pathlib import Path

import filelock

from digideep.utility.errors import CheckpointError, UnreadableError, UsageError
from digideep.utility.files import kind_of, open_regular
from digideep.utility.text import printable

RUNNING, DONE = "running.lock", "done.lock"  # held while a process runs it; there once its plan is met


def read_file(path: Path, size: int | None = None, count: int = -1) -> bytes:
    """Read a regular file; anything else (a link, a pipe, a device) is not even opened.

    Args:
        size: that it must have, in bytes; None for any. It is compared before anything is read.
        count: bytes to read from its beginning; -1 reads all.

    Raises:
        CheckpointError: if the file is missing, no regular file, or of another size: its content is at fault.
        UnreadableError: if the system does not let us read it, whatever it holds.
    """
    with open_regular(path, follows_links=False, errors=(CheckpointError, UnreadableError)) as file:
        found = os.fstat(file.fileno()).st_size
        if size is not None and found != size:
            raise CheckpointError(f"{path} is not what was written: it has {found} bytes, expected {size}.")
        try:
            return file.read(count)
        except MemoryError as err:
            raise UnreadableError(f"{path} does not fit into memory.") from err


def require_own(
    path: Path, *, is_directory: bool = False, is_written: bool = True, advice: str = "Move it away first."
) -> None:
    """Refuse to work in a session with something that is not the session's own; missing is fine.

    A link would change what lies elsewhere, a pipe wait for a reader.

    Raises:
        UsageError: if it is a link, of another kind than it should be, or cannot be written.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISDIR if is_directory else stat.S_ISREG)(mode):
        expected = "directory" if is_directory else "file"
        what = f"{printable(str(path))} is {kind_of(mode)}, expected a {expected} of the session's own"
        raise UsageError(f"{what}. {advice}")
    if is_written and not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written. Resume needs write permission there.")


def require_own_output(root: Path, file: Path) -> None:
    """Refuse to write what a person asked for, such as a report, where that is not the session's own.

    Neither the file, nor a directory between the session, `root`, and it may be there and be something else.
    """
    for part in (file, *file.parents):
        if part == root:
            break
        advice = "Remove it, or give another place with -o."
        require_own(part, is_directory=part != file, is_written=False, advice=advice)


def require_no_link(target: Path, sessions: list[Path]) -> None:
    """Refuse a place within one of some sessions that a link leads away from, see `require_own_output`."""
    place = target.parent.resolve() / target.name
    for session in sessions:
        for root, file in ((session, target), (session.resolve(), place)):
            if file.is_relative_to(root):
                require_own_output(root, file)


def is_locked(file: Path) -> bool:
    """True if a process holds the lock that a file is; otherwise it is free again at once."""
    if not file.exists():
        return False
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        return False  # a file system without locks, or one that we may not write to: nothing runs there from here
    lock.release()
    return False


def part_links(path: Path) -> None:
    """Give a file that has other names too (hard links) a copy under this one: they are not to change with it."""
    if os.lstat(path).st_nlink > 1:
        aside = path.with_name(f".{path.name}.copy")
        remove(aside)
        shutil.copy2(path, aside)
        aside.replace(path)


def remove(path: Path) -> None:
    """Delete a file, a link (and not what it leads to) or a directory; missing is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
