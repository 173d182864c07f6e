"""Modules that a file names: they are imported, unless they lie in a session.

A session's files name modules and classes. Where they come from somebody else, they must not lead to code that came
with them: sessions lie in the working directory, where Python finds packages. So each name is looked up before it is
imported, and what lies in a session is refused. docs/sessions.md says what that promises and what it does not.
"""

import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from digideep.utility.errors import UsageError
from digideep.utility.files import open_regular

SESSIONS = "digideep_sessions"  # where sessions are made, unless --session-path says otherwise
GROUP = "group.json"  # what makes a directory a group of sessions
_GROUP_BEGINS = b'{\n "digideep_group": '  # and no file of that name of another program


def is_session(place: Path) -> bool:
    """True if a directory is a session, a group of sessions, or the directory where sessions are made by default.

    A session has `checkpoints/` with a checkpoint in it, or with nothing of another program and `params.yaml` beside.
    """
    if place.name == SESSIONS or _is_group(place):
        return True
    if not os.path.isdir(place / "checkpoints"):
        return False
    try:
        entries = os.listdir(place / "checkpoints")
    except OSError:
        return True  # it cannot be looked into, but a checkpoint in it could still be loaded by its name
    if any(os.path.exists(place / "checkpoints" / entry / "manifest.json") for entry in entries):
        return True
    ours = all(entry.lstrip(".").startswith(("checkpoint-", "best")) for entry in entries)
    return ours and os.path.exists(place / "params.yaml")


def _is_group(place: Path) -> bool:
    """True if a directory holds a group's plan."""
    try:
        with open_regular(place / GROUP) as file:
            return file.read(len(_GROUP_BEGINS)) == _GROUP_BEGINS
    except UsageError:
        return False


def session_of(path: str | Path) -> Path | None:
    """Find the session that a path lies in, as it is written or with its links followed; None if there is none."""
    for form in (os.path.abspath(path), os.path.realpath(path)):
        for place in (Path(form), *Path(form).parents):
            if is_session(place):
                return place
    return None


@cache
def installed_roots() -> tuple[Path, ...]:
    """Return the directories of this interpreter's standard library and of what was installed for it."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(os.path.realpath(path)) for path in [*paths, *site.getsitepackages(), site.getusersitepackages()])


@cache
def _trusted_roots() -> tuple[Path, ...]:
    """Return what is never taken for a part of a session: what is installed, and the program that runs.

    With `--frozen` the program is the session's own copy, and what the session keeps beside it belongs to it.
    """
    package = Path(os.path.realpath(__file__)).parents[1]
    kept = package.parent.name == "modules" and session_of(package.parent) is not None
    return (*installed_roots(), package.parent if kept else package)


@cache
def _is_trusted(path: str) -> bool:
    place = Path(os.path.realpath(path))
    return any(place.is_relative_to(root) for root in _trusted_roots())


def is_standard_library(name: str) -> bool:
    """True if a module is of the standard library, which nothing in a file has a reason to name."""
    return name.partition(".")[0] in sys.stdlib_module_names


def import_outside_sessions(name: str) -> ModuleType:
    """Import a module, each package on the way to it included, unless one of them lies in a session.

    Each is looked up before it is imported, when all above it have been judged and imported.

    Args:
        name: its dotted name, never relative.

    Raises:
        UsageError: if it lies in a session.
        ImportError: if it is not there. What else a module raises while it is imported passes, too.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ImportError(f"'{name}' is no dotted name of a module")
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        for place in _places(part):
            session = None if _is_trusted(place) else session_of(place)
            if session is not None:
                raise UsageError(
                    f"'{name}' lies in the session {session}: code that comes with a session is not imported. Put it "
                    "elsewhere if it is yours; --play --frozen runs what a session keeps in modules/."
                )
        importlib.import_module(part)
    return sys.modules[name]


def import_named(name: Any, what: str) -> ModuleType:
    """Import a module that a file names.

    Args:
        name: as it stands in the file.
        what: as it is called in messages, such as "from_module 'mine'".

    Raises:
        UsageError: if it is of the standard library, lies in a session, cannot be imported, or fails in it.
    """
    if not isinstance(name, str) or is_standard_library(name):
        raise UsageError(f"{what} cannot be imported: the standard library registers no environments.")
    try:
        return import_outside_sessions(name)
    except UsageError as err:
        raise UsageError(f"{what} cannot be imported: {err}") from err
    except (ImportError, ValueError) as err:
        raise UsageError(f"{what} cannot be imported ({err}). Put it on PYTHONPATH, or correct it.") from err
    except Exception as err:  # whatever a module does while it is imported
        place = traceback.extract_tb(err.__traceback__)[-1]
        where = "" if isinstance(err, SyntaxError) else f" ({PurePath(place.filename).name}, line {place.lineno})"
        reason = " ".join(f"{type(err).__name__}: {err}".split())
        raise UsageError(f"{what} fails while it is imported: {reason}{where}. Correct it.") from err


def find_in_working_directory() -> None:
    """Let modules of the working directory be found, unless that is a session or lies in one."""
    here = os.getcwd()
    if not _is_trusted(here) and session_of(here) is not None:
        os.environ["PYTHONSAFEPATH"] = "1"  # Python 3.11 and later: worker processes do not look there either
    elif here not in sys.path:
        sys.path.insert(0, here)


def _places(name: str) -> Iterator[str]:
    """Yield the files and directories of a module, imported already or found by an import."""
    module = sys.modules.get(name)
    parent = name.rpartition(".")[0]
    if module is None and parent and not hasattr(sys.modules[parent], "__path__"):
        raise ModuleNotFoundError(f"No module named '{name}'; '{parent}' is no package", name=name)
    spec = importlib.util.find_spec(name) if module is None else getattr(module, "__spec__", None)
    if module is None and spec is None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    origins = [getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None]
    origins += [*(getattr(spec, "submodule_search_locations", None) or ())]
    origins += [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return (origin for origin in origins if isinstance(origin, str))
