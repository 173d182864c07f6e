"""Files that somebody else may have written, or damaged, read with care; and logs.

Whatever such a file holds, reading it ends soon, in values or in one `SessionError` that names the file. Text is UTF-8
in files, whatever the locale is.
"""

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from digideep.utility.errors import SessionError, UsageError
from digideep.utility.text import parse_json, printable

_LARGEST_BYTES = 2**26  # of a JSON document, and of a line of a log
_LARGEST_YAML_BYTES = 2**20  # digideep writes some kilobytes; the parser takes seconds for a megabyte
_LARGEST_INT = 2**63


@contextlib.contextmanager
def open_regular(
    path: Path, *, follows_links: bool = True, errors: tuple[type[UsageError], type[UsageError]] = (SessionError,) * 2
) -> Iterator[IO[bytes]]:
    """Open a regular file to read its bytes. Nothing else is opened: a FIFO would hang, a device never end.

    Args:
        follows_links: False refuses a link, wherever it leads.
        errors: to raise for what is missing or no regular file, and for what the system does not let us read.
    """
    name, (broken, unreadable) = printable(str(path)), errors
    extra = ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", *(() if follows_links else ("O_NOFOLLOW",)))
    flags = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in extra)
    try:
        mode = (os.stat if follows_links else os.lstat)(path).st_mode
        descriptor = os.open(path, flags) if stat.S_ISREG(mode) else None
    except (FileNotFoundError, NotADirectoryError) as err:
        raise broken(f"{name} is missing.") from err
    except (OSError, ValueError) as err:
        raise unreadable(f"{name} cannot be read: {_reason(err)}.") from err
    if descriptor is None:
        raise broken(f"{name} is {kind_of(mode)}, expected a file.")
    try:
        with open(descriptor, "rb") as file:
            yield file
    except OSError as err:
        raise unreadable(f"{name} cannot be read: {_reason(err)}.") from err


def kind_of(mode: int) -> str:
    """Return what a file's mode says that it is, in words."""
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe",
             stat.S_IFSOCK: "a socket"}  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_json(path: Path, kind: type) -> Any:
    """Return the value in a JSON file, a dict or list as `kind` says. Raises: SessionError: for anything else."""
    with open_regular(path) as file:
        value = _parse(file.read(_LARGEST_BYTES + 1), printable(str(path)))
    if not isinstance(value, kind):
        raise SessionError(f"{printable(str(path))} must hold a JSON {'object' if kind is dict else 'array'}.")
    return value


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each line of a JSON-lines file: where it stands, and its value; nothing for a file that is not there.

    A last line without its end is left out if it is no JSON: a running session is writing it.

    Raises:
        SessionError: for any other line that is no JSON.
    """
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        number = 0
        while line := file.readline(_LARGEST_BYTES + 1):
            number += 1
            where = f"{printable(str(path))}, line {number},"
            try:
                value = _parse(line, where)
            except SessionError:
                if line.endswith(b"\n") or len(line) > _LARGEST_BYTES:
                    raise
                return
            yield where, value


def _parse(data: bytes, where: str) -> Any:
    if len(data) > _LARGEST_BYTES:
        raise SessionError(f"{where} is larger than {_LARGEST_BYTES:,} bytes, which digideep never writes.")
    try:
        return parse_json(data.decode())
    except ValueError as err:
        raise SessionError(f"{where} is no JSON ({' '.join(str(err).split())[:200]}).") from err


def append_json(path: Path | None, values: Sequence[Any]) -> None:
    """Append each value as a line of a JSON-lines file; do nothing without a file or values."""
    if path is not None and values:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(value) + "\n" for value in values)


class _PlainLoader(yaml.SafeLoader):
    """YAML as digideep writes it: plain values, whole numbers in digits, and no aliases, which can multiply."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def _whole_number(loader: _PlainLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file of plain values. Raises: SessionError: for anything else."""
    name = printable(str(path))
    with open_regular(path) as file:
        data = file.read(_LARGEST_YAML_BYTES + 1)
    if len(data) > _LARGEST_YAML_BYTES:
        raise SessionError(f"{name} is larger than {_LARGEST_YAML_BYTES:,} bytes, which digideep never writes.")
    try:
        value = _PlainLoader(data.decode()).get_single_data()
        _require_plain(value)
    except RecursionError as err:
        raise SessionError(f"{name} is nested too deeply.") from err
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as err:
        raise SessionError(f"{name} is no YAML of plain values ({' '.join(str(err).split())[:200]}).") from err
    if not isinstance(value, dict):
        raise SessionError(f"{name} must hold a mapping.")
    return value


def _require_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is no string")
            _require_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner)
    elif not (value is None or isinstance(value, (bool, str)) or is_number(value)):
        raise ValueError(f"it holds a {type(value).__name__} that is no plain value")


def is_number(value: Any) -> bool:
    """True if numpy holds a value as a number: no boolean; whole numbers have 64 bits; NaN and infinity count."""
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and -_LARGEST_INT <= value < _LARGEST_INT)


def is_finite(value: Any) -> bool:
    """True if a value is a finite number."""
    return is_number(value) and math.isfinite(value)


def is_directory(path: Path) -> bool:
    """True if a directory exists there. No directory has a name that file systems refuse."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _reason(err: Exception) -> str:
    return getattr(err, "strerror", None) or str(err)


def as_typed(path: Path) -> Path:
    """Return a path as one would type it here: from the working directory, if it lies below."""
    with contextlib.suppress(OSError):
        here = Path.cwd()
        return path.relative_to(here) if path.is_relative_to(here) else path
    return path
