"""What a session keeps in `modules/`: the sources that run, so that `--play --frozen` can run them once more.

docs/sessions.md says which. Packages are kept whole, as they may import more of themselves later.
"""

import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from digideep.utility.errors import UsageError
from digideep.utility.importing import installed_roots, is_session, session_of

_log = logging.getLogger("digideep")
_FILE_BYTES, _ALL_BYTES = 2**20, 2**25  # the largest file, and all of the user's files together

# Stands in for a namespace package, which would give way to a package of this name elsewhere. What is not kept is
# still found there.
_NAMESPACE = '''"""A part of a namespace package: the modules that a session keeps of it."""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)
'''


def keep_sources(modules: Path, params: ModuleType, packages: list[str]) -> None:
    """Copy the sources that run into a session.

    Args:
        params: the parameter file, imported. It is kept wherever it lies, unless it was installed.
        packages: what else to keep: names of packages or modules, with all their files.

    Raises:
        UsageError: if one of `packages` is not there.
    """
    sources = {"digideep": Path(__file__).parents[1]} | {name: find_package(name) for name in packages}
    for name, source in sources.items():
        target = modules.joinpath(*name.split("."))
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)
        else:
            shutil.copy(source, target.with_suffix(source.suffix))
    total, left_out = 0, []
    for relative, source in _own_sources(params).items():
        size = source.stat().st_size
        if size > _FILE_BYTES or total + size > _ALL_BYTES:
            left_out.append(str(source))
            continue
        total += size
        target = modules / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    if left_out:
        _log.warning(
            "modules/ does not keep %d files, %s among them: more than %d MB each, or %d MB in all.",
            len(left_out), left_out[0], _FILE_BYTES >> 20, _ALL_BYTES >> 20,
        )  # fmt: skip
    homes = {file.parent for file in modules.rglob("*.py")}
    for directory in {each for home in homes for each in (home, *home.parents) if modules in each.parents}:
        if not list(directory.glob("__init__.*")):
            (directory / "__init__.py").write_text(_NAMESPACE, encoding="utf-8")
    about = "\n".join([*_about(params), *_installed(), ""])
    (modules / "requirements.txt").write_text(about, encoding="utf-8", errors="backslashreplace")


def find_package(name: str) -> Path:
    """Find the directory or the file of a module's source, without importing it. Raises: UsageError: for none."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for part in rest:  # `importlib.util.find_spec` would import what stands before the last dot
            first = f"{first}.{part}"
            inside = None if spec is None else spec.submodule_search_locations
            spec = None if inside is None else importlib.machinery.PathFinder.find_spec(first, inside)
    except (ImportError, ValueError):
        spec = None
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    if not places or not (len(places) > 1 or places[0].endswith(".py")):
        raise UsageError(f"--save-modules {name} is no Python package that can be found. Put it on PYTHONPATH.")
    return Path(places[0])


def _own_sources(params: ModuleType) -> dict[Path, Path]:
    """Return the user's files by their place in `modules/`: first what was imported, then the rest of its packages."""
    imported: dict[Path, Path] = {}
    packages: dict[Path, Path] = {}
    is_installed = cache(_is_installed)  # most modules are of a few large packages
    for name, module in sorted(sys.modules.items()):
        text = getattr(module, "__file__", None) or ""
        is_params = module is params and not is_installed(text)
        if not (is_params or _is_own(name, is_installed)):
            continue
        file = Path(text)
        if not file.is_absolute() or not file.is_file():
            continue
        if session_of(file) is not None and not is_params:
            continue
        place, suffixes = Path(*name.split(".")), "".join(file.name.partition(".")[1:])
        if file.name.startswith("__init__."):
            packages[place] = file.parent
            imported[place / file.name] = file
        else:
            imported[place.parent / (place.name + suffixes)] = file
    rest = {
        place / file.relative_to(directory): file
        for place, directory in packages.items()
        if place.parent not in packages
        for file in _python_files(directory)
    }
    return imported | {place: file for place, file in rest.items() if place not in imported}


def _is_own(name: str, is_installed: Callable[[str], bool]) -> bool:
    """True if a module is the user's, or one of the recipes: they are small, and they are what ran."""
    top = name.partition(".")[0]
    if top in ("digideep", "__main__", "__mp_main__") or top in sys.stdlib_module_names:
        return False
    if top == "params":
        return True
    # Some packages put generated modules, of files elsewhere, below their own name.
    files = (getattr(sys.modules.get(part), "__file__", None) for part in (top, name))
    return all(part.isidentifier() for part in name.split(".")) and not any(is_installed(f) for f in files if f)


def _is_installed(text: str) -> bool:
    """True for the path of a file that was installed, in an environment or with Python."""
    file = Path(text)
    return (
        not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
        or any(file.is_relative_to(root) for root in installed_roots())
        or any(Path(os.path.realpath(file)).is_relative_to(root) for root in installed_roots())
    )


def _python_files(package: Path) -> Iterator[Path]:
    """Yield the sources of a package, without sessions and environments that lie in it."""
    for directory, names, files in os.walk(package):
        place = Path(directory)
        hidden = (name for name in names if name.startswith(".") or name == "__pycache__")
        other = (n for n in names if is_session(place / n) or (place / n / "pyvenv.cfg").exists())
        names[:] = sorted(set(names) - set(hidden) - set(other))
        yield from (place / name for name in sorted(files) if name.endswith(".py") and (place / name).is_file())


def _ignored(directory: str, names: list[str]) -> list[str]:
    """Return the names that are never kept of a package, for `copytree`."""
    return [n for n in names if n == "__pycache__" or n.endswith(".pyc") or is_session(Path(directory, n))]


def _about(params: ModuleType) -> list[str]:
    """Return comments: the version of Python, and the commit of the parameter file's repository, if it is in one."""
    lines = [f"# What was installed when the session was made, for Python {platform.python_version()}."]
    command = ["git", "-C", str(Path(getattr(params, "__file__", None) or "").parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return lines
    if done.returncode == 0:
        lines.append(f"# The parameter file's repository was at commit {done.stdout.strip()}.")
    return lines


@cache
def _installed() -> list[str]:
    """Return the installed distributions with their versions, as `pip` takes them."""
    found = set()
    for distribution in importlib.metadata.distributions():
        texts = map(distribution.read_text, ("METADATA", "PKG-INFO", ""))
        head = next(filter(None, texts), "").partition("\n\n")[0]
        # Not `metadata`, which would parse each README after the head too: 0.3 s for 200 packages.
        fields = dict(re.findall(r"^(Name|Version): *(.*?) *$", head, re.MULTILINE))
        found.add(f"{fields.get('Name')}=={fields.get('Version')}")
    return sorted(found, key=str.lower)
