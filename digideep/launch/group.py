"""A group on disk: a directory with `group.json`, which says what runs it consists of, and their sessions."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import filelock

from digideep.launch.engine import Job
from digideep.launch.plan import Run, read_begin
from digideep.parameters.checks import shown
from digideep.pipeline.session_directory import hold
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import as_typed, read_json
from digideep.utility.importing import GROUP, import_outside_sessions, session_of
from digideep.utility.own_files import require_own
from digideep.utility.text import printable

_VERSION = 1
_LONGEST_NAME = 200  # bytes, as of any session
_FIRST_KEY = "digideep_group"  # its version: this is how a group is known


@dataclass(frozen=True)
class Group:
    """Sessions that belong together, and how each begins.

    Attributes:
        path: the directory; absolute.
        runs: by the names of their sessions.
        begin: words of `digideep train` for all of them, see `Job`.
        files: the control panel of each parameter file as it was when the group was made: who edits a file later is
            told that runs which have not begun would differ from those that have.
        sweep: settings of a search, of which `runs` has what all trials share; None where nothing is searched.
    """

    path: Path
    runs: Mapping[str, Run]
    begin: tuple[str, ...] = ()
    files: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """What it is, which is also the verb that goes on with it."""
        return "group" if self.sweep is None else "sweep"

    def job(self, name: str, flags: tuple[str, ...] = (), threads: int = 1) -> Job:
        """Return the job of a run. Args: flags, threads: see `Job`."""
        run = self.runs[name]
        return Job(self.path / name, run.params, run.cpanel, run.repeal, self.begin, flags, threads=threads)

    # ------------------------------------------------------------------ on disk

    def create(self) -> None:
        """Make the directory, as a whole or not at all. Raises: UsageError: if that cannot be."""
        aside = self.path.with_name(f".{self.path.name}.new")
        try:
            require_own(aside, is_directory=True)
            aside.mkdir(parents=True, exist_ok=True)
            require_own(aside / GROUP)
            with (aside / GROUP).open("w", encoding="utf-8") as file:
                file.write(self._to_json())
                file.flush()
                os.fsync(file.fileno())  # it is read after a crash of the machine
            aside.rename(self.path)
        except OSError as err:
            shutil.rmtree(aside, ignore_errors=True)
            reason = f"{self.path} cannot be made: {err.strerror or err}"
            raise UsageError(f"{reason}. Choose another --session-path.") from err

    def _to_json(self) -> str:
        runs = {name: run._asdict() for name, run in self.runs.items()}
        plan = {_FIRST_KEY: _VERSION, "begin": self.begin, "files": self.files, "runs": runs}
        return json.dumps(plan if self.sweep is None else {**plan, "sweep": self.sweep}, indent=1) + "\n"

    def require_same(self, other: "Group") -> None:
        """Refuse to go on with this group by a command that means another one, naming the first difference."""
        difference = None
        for name in (*self.runs, *other.runs):
            ours, theirs = self.runs.get(name), other.runs.get(name)
            if ours is None or theirs is None:
                place = "there" if theirs is None else "in this command"
                difference = f"run {name} is only {place}, which has {len((other if ours is None else self).runs)} runs"
            elif ours != theirs:
                difference = f"run {name} {_difference(ours, theirs)}"
            if difference is not None:
                break
        if difference is None and self.begin != other.begin:
            difference = f"its sessions begin with '{' '.join(self.begin)}' there, '{' '.join(other.begin)}' here"
        if difference is not None:
            path = as_typed(self.path)
            raise UsageError(
                f"{path} is a {self.kind} with another plan: {difference}. Go on with it by "
                f"`digideep {self.kind} {path}`, or choose another --name."
            )

    def require_files(self, panels: Mapping[str, dict[str, Any]]) -> None:
        """Refuse to begin further sessions with parameter files that have other values than before.

        Args:
            panels: the control panel of each file as it is now.
        """
        for file, panel in panels.items():
            before = self.files.get(file, panel)
            for key in dict.fromkeys([*before, *panel]):
                if before.get(key) != panel.get(key):
                    raise UsageError(
                        f"{file} has changed since {as_typed(self.path)} was made: {key} is {shown(panel.get(key))}, "
                        f"was {shown(before.get(key))}. Take that back, or make a new group with another --name."
                    )


def open_group(path: Path) -> Group:
    """Return the group in a directory.

    Raises:
        UsageError: if there is none, it is damaged, or of a later version.
    """
    file = path / GROUP
    where = printable(str(as_typed(file)))
    if not os.path.lexists(file):
        what = "a session: go on with it by `digideep resume`" if os.path.lexists(path / "params.yaml") else "no group"
        raise UsageError(f"{printable(str(path))} is {what}. A group's directory has a {GROUP}.")
    require_own(file, is_written=False)
    found = read_json(file, dict)
    version = found.get(_FIRST_KEY)
    if isinstance(version, int) and not isinstance(version, bool) and version > _VERSION:
        raise SessionError(f"{where} is of version {version}; this digideep knows {_VERSION}. Install a newer one.")
    if version != _VERSION:
        raise SessionError(f"{where} is no group's: it has no '{_FIRST_KEY}': {_VERSION}.")
    runs, begin, files, sweep = (found.get(name) for name in ("runs", "begin", "files", "sweep"))
    is_whole = isinstance(runs, dict) and runs and all(_is_run(name, run) for name, run in runs.items())
    is_whole = is_whole and isinstance(sweep, (dict, NoneType)) and isinstance(begin, list)
    is_whole = is_whole and isinstance(files, dict) and all(isinstance(panel, dict) for panel in files.values())
    if not is_whole or not _is_begin(begin):
        raise SessionError(f"{where} is damaged: it does not say what runs there are. Make a new group.")
    return Group(path, {name: Run(**run) for name, run in runs.items()}, tuple(begin), files, sweep)


def _is_begin(words: list[Any]) -> bool:
    """True if words say nothing of where sessions are made, or of anything else that is the group's to say."""
    if not all(isinstance(word, str) for word in words):
        return False
    try:
        read_begin(words)
    except UsageError:
        return False
    return True


def _is_run(name: str, run: Any) -> bool:
    is_plain = name.isprintable() and "/" not in name and name == name.strip() and name[:1] not in ("", ".", "-")
    is_plain = is_plain and len(name.encode()) <= _LONGEST_NAME
    return (
        is_plain
        and isinstance(run, dict)
        and run.keys() == set(Run._fields)
        and isinstance(run["params"], str)
        and isinstance(run["cpanel"], dict)
        and isinstance(run["repeal"], dict)
    )


def require_trusted(group: Group, files: Iterable[str]) -> None:
    """Refuse parameter files of a group, which somebody else may have written, that lie in it or in a session."""
    for file in dict.fromkeys(files):
        try:
            if not file.endswith(".py"):
                import_outside_sessions(file)
            elif (place := session_of(file)) is not None:
                raise UsageError(f"it lies in {place}: code that comes with a session or a group is not imported")
        except (UsageError, ImportError) as err:
            raise UsageError(
                f"{as_typed(group.path / GROUP)} names the parameter file {printable(file)}: {err}"
            ) from err


def hold_group(path: Path) -> filelock.BaseFileLock:
    """Hold a group while this process lives. Raises: UsageError: if another process does, or it cannot be written."""
    require_own(path / "output", is_directory=True)
    if not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written. A group's sessions are made there.")
    try:
        return hold(path)
    except OSError as err:
        raise UsageError(f"{path} cannot be held while its sessions run: {err.strerror or err}.") from err


def _difference(ours: Run, theirs: Run) -> str:
    """Return what differs between a run that is there and the one that is meant, in words."""
    if ours.params != theirs.params:
        return f"begins with {ours.params} there, {theirs.params} here"
    before, after = {**ours.cpanel, **ours.repeal}, {**theirs.cpanel, **theirs.repeal}
    key = next(
        key for key in (*before, *after) if before.get(key) != after.get(key) or (key in before) != (key in after)
    )
    words = [shown(values[key]) if key in values else "not given" for values in (before, after)]
    return f"has {key} {words[0]} there, {words[1]} here"
