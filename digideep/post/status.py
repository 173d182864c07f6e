"""What a session does now."""

from pathlib import Path

from digideep.utility.own_files import DONE, RUNNING, is_locked


def state_of(path: Path) -> str:
    """Return the state of a session: "running", "done" or "stopped"."""
    if is_locked(path / RUNNING):
        return "running"
    return "done" if (path / DONE).exists() else "stopped"
