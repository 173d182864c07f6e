"""The directory of a session: where it is made, who holds it, and which of its files a run writes into."""

import contextlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock

from digideep.parameters.tree import dump_yaml
from digideep.pipeline.kept_sources import keep_sources
from digideep.telemetry.logbook import growing_files
from digideep.utility.errors import UsageError
from digideep.utility.name_generator import draw_name
from digideep.utility.own_files import DONE, RUNNING, is_locked, remove, require_own
from digideep.utility.text import printable

# What makes a session importable: `from digideep_sessions.NAME import loader`.
_PACKAGE = {
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
    "report.log", "varlog.json", "prolog.json", "monlog.json", "visdom.log", "repeal.json", DONE, RUNNING,
)  # fmt: skip
_DIRECTORIES = ("monitor", "tensorboard", "videos", "memory", "sinks", "mlflow")


def write_recipe(session: Path, panel: dict[str, Any], params: ModuleType, packages: list[str]) -> None:
    """Write what a session keeps of its training, control panel and sources (see `keep_sources`); make it a package."""
    (session / "cpanel.json").write_text(json.dumps(panel, indent=2) + "\n", encoding="utf-8")
    keep_sources(session / "modules", params, packages)
    for name, text in _PACKAGE.items():
        (session / name).write_text(text, encoding="utf-8")


def write_tree(
    session: Path, tree: dict[str, Any], name: str, message: str, loaded_from: Path | None, versions: dict[str, str]
) -> None:
    """Write `params.yaml`: a parameter tree, and how it came about. Args: loaded_from: whose weights it has."""
    about = {
        "session_name": decoded(name),
        "session_msg": decoded(message),
        "session_cmd": decoded(shlex.join(["python", *sys.argv])),
        "versions": versions,
        **({"session_from": decoded(str(loaded_from))} if loaded_from is not None else {}),
    }
    dump_yaml({**tree, **about}, session / "params.yaml")


def written_files(session: Path) -> list[Path]:
    """Return the files that are there and that a resumed run writes into."""
    files = {*(path for name in _FILES if os.path.lexists(path := session / name)), *growing_files(session)}
    for name in ("sinks", "mlflow"):
        files |= {path for path in (session / name).rglob("*") if path.is_file()}
    return sorted(files)


def require_own_files(session: Path) -> None:
    """Refuse to resume where that would write through a link, or into what is no file."""
    for name in ("checkpoints", "wandb", *_DIRECTORIES, "memory/ring"):  # W&B begins a new directory in its own
        require_own(session / name, is_directory=True)
    for file in written_files(session):
        require_own(file)
    for name in _DIRECTORIES:
        for directory, directories, files in os.walk(session / name):
            for inner in (*directories, *files):
                path = Path(directory, inner)
                require_own(path, is_directory=inner in directories, is_written=False)


def find_new_directory(base: Path, name: str | None) -> Path:
    """Return where a new session will be written, without making anything.

    Args:
        base: the directory that sessions are made in; it need not exist.
        name: of the session, from `plain_name`; None draws one that is free.

    Raises:
        UsageError: if nothing can be made there under that name.
    """
    try:
        path = base / (name or draw_name())
        while name is None and path.exists():  # another run of this second drew the same name
            path = base / draw_name()
        if path.exists():
            raise UsageError(f"{path} exists already. Choose another --session-name, or --resume it.")
        parent = base
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            raise UsageError(
                f"{parent} is a file, so that no session can be made in {base}. Choose another --session-path."
            )
        if not os.access(parent, os.W_OK):
            raise UsageError(f"{parent} cannot be written. Choose another --session-path.")
        return path
    except OSError as err:  # no permission to look, a path longer than the file system takes
        raise UsageError(f"No session can be made there ({err}). Choose another --session-path.") from err


def take_over(session: Path) -> filelock.BaseFileLock:
    """Refuse to resume a session that cannot be written as it must be, and hold it. Returns: its lock, see `hold`."""
    if not os.access(session, os.W_OK):
        raise UsageError(f"{session} cannot be written. Resume needs write permission there.")
    require_own_files(session)
    return hold(session)


def hold(session: Path) -> filelock.BaseFileLock:
    """Hold `running.lock` while this process lives: even SIGKILL frees it. Refuse a session that another one holds."""
    require_own(session / RUNNING)
    lock = filelock.FileLock(session / RUNNING)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(f"{session} is in use by a running process. Wait for it, or stop it first.") from None
    return lock


def is_held(session: Path) -> bool:
    """True if a process holds a session, or makes it just now; it need not exist."""
    return any(is_locked(place / RUNNING) for place in (session, _aside(session)))


def _aside(final: Path) -> Path:
    """Return where a session's directory is made."""
    return final.with_name(f".{final.name}.new")


def let_go(lock: filelock.BaseFileLock) -> None:
    """Free a lock from `hold`; one whose file the user's code has closed is free already."""
    try:
        lock.release()
    except OSError:
        # Its number may soon be another file's, which the lock would close when it is collected.
        with contextlib.suppress(AttributeError):
            lock._context.lock_file_fd = None


@contextlib.contextmanager
def new_directory(final: Path) -> Iterator[tuple[Path, filelock.BaseFileLock]]:
    """Make a session's directory under another name, to be filled, and rename it at the end: it is whole, or not there.

    Yields:
        The directory, and its lock, which stays held.

    Raises:
        UsageError: if it cannot be made, or is there already. Nothing is left of it then.
    """
    aside, lock = _aside(final), None
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


def remove_evaluation(path: Path) -> None:
    """Delete the directory of an evaluation that was refused after all."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # if nothing else is in it


def _begin(aside: Path, final: Path) -> filelock.BaseFileLock:
    """Make and hold an empty directory, whatever a killed process left of it."""
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
    if lock is None or final.exists() or not (aside / RUNNING).exists():
        if lock is not None:
            shutil.rmtree(aside, ignore_errors=True)
            let_go(lock)
        raise UsageError(f"{final} exists already. Choose another --session-name, or --resume it.")
    for left in aside.iterdir():
        if left.name != RUNNING:
            remove(left)
    return lock


def _reason(error: OSError) -> str:
    """Return the reason in one line; copying a directory collects several."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return error.strerror or str(error)


def decoded(text: str) -> str:
    """Decode text of the command line, whose bytes are UTF-8 even if the locale's encoding is another."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return printable(text)
