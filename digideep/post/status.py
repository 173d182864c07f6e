"""What a session does now."""

from pathlib import Path

import filelock

from digideep.utility.own_files import DONE, RUNNING


def state_of(path: Path) -> str:
    """Return the state of a session: "running", "done" or "stopped"."""
    if _is_locked(path / RUNNING):
        return "running"
    return "done" if (path / DONE).exists() else "stopped"


def _is_locked(file: Path) -> bool:
    """True if a process holds the lock; otherwise it is free again at once."""
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
