"""Find out what a command means by its group, and refuse what could not be run, before anything is made."""

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from digideep.launch.group import Group, open_group, require_trusted
from digideep.launch.plan import Length, check_runs, length_of, make_runs, stem
from digideep.parameters.control_panel import load_params
from digideep.parameters.tree import to_plain
from digideep.pipeline.argument_types import directory_name
from digideep.pipeline.arguments import take_assignments
from digideep.pipeline.session_directory import find_new_directory
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import as_typed, is_directory, read_yaml
from digideep.utility.importing import SESSIONS
from digideep.utility.own_files import DONE, require_own

# Flags of `digideep train` that say how runs begin: a group that is there has them already.
VALUES = ("cpanel", "set", "repeal", "total-frames", "load-checkpoint", "session-path", "save-modules", "msg")
_LONGEST_NAME = 100  # letters


class Prepared(NamedTuple):
    """A group that may be run.

    Attributes:
        lengths: of its runs, by name, where they are known.
        is_new: it is not on disk yet.
    """

    group: Group
    lengths: Mapping[str, Length]
    is_new: bool


def prepare(args: argparse.Namespace) -> Prepared:
    """Return the group that a command line names or describes. Args: args: of `digideep group`.

    Raises:
        UsageError: for anything that keeps its runs from starting. Nothing is made.
    """
    files = [*args.files, *(args.params or [])]
    path = Path(directory_name(files[0])).resolve() if len(files) == 1 else None
    prepared = _reopen(args, path) if path is not None and is_directory(path) else _describe(args, files)
    for name in prepared.group.runs:
        job = prepared.group.job(name)
        require_own(job.session, is_directory=True, is_written=False)
        if not job.may_begin():
            raise UsageError(f"{job.session} is no session, and in the way of one. Move it away.")
        require_own(job.log)
    return prepared


def _reopen(args: argparse.Namespace, path: Path) -> Prepared:
    """Return a group that is there, by its directory."""
    group = _open_group(path)
    for flag in (*VALUES, "seeds", "grid", "name"):
        if getattr(args, flag.replace("-", "_")) is not None:
            raise UsageError(f"{path} is a group, which has its plan already: leave --{flag} out.")
    new = {name: run for name, run in group.runs.items() if not group.job(name).is_begun()}
    require_trusted(group, [run.params for run in new.values()])
    group.require_files(panels_of(run.params for run in new.values()))
    lengths = check_runs(new, None, group.begin)
    for name in group.runs:
        if name not in new and not (path / name / DONE).exists():
            lengths |= _length_of_session(path / name)
    return Prepared(group, lengths, False)


def _open_group(path: Path) -> Group:
    """Return the group in a directory, unless its runs are those of a search."""
    group = open_group(path)
    if group.sweep is not None:
        raise UsageError(f"{path} is a sweep: go on with it by `digideep sweep {as_typed(path)}`.")
    return group


def _length_of_session(session: Path) -> dict[str, Length]:
    try:
        return {session.name: length_of(read_yaml(session / "params.yaml"))}
    except (SessionError, LookupError, TypeError):
        return {}  # to go on with it will say what is wrong


def _describe(args: argparse.Namespace, files: list[str]) -> Prepared:
    """Return the group that parameter files, seeds and a grid make."""
    if not files:
        raise UsageError("Nothing to run: give a parameter file, or the directory of a group. See --help for examples.")
    values: dict[str, Any] = {"set": args.set or [], "cpanel": args.cpanel or {}, "repeal": args.repeal or {}}
    take_assignments(values)
    cpanel, repeal, grid = values["cpanel"], values["repeal"], args.grid or {}
    if args.seeds is None and not grid and len(set(files)) == 1:
        raise UsageError(
            f"{files[0]} is no group's directory. Give --seeds or --grid to make a group of a parameter file; one "
            "run is `digideep train`."
        )
    for name in ("total_frames", "number_epochs"):
        if args.total_frames is not None and cpanel.get(name) is not None:
            raise UsageError(f"--total-frames and '{name}' both say how long a run is: give one of them.")
    runs = make_runs(files, grid, args.seeds, cpanel, repeal, args.total_frames)
    begin = begin_words(args)
    lengths = check_runs(runs, grid, begin)
    name = args.name or "_".join(stem(file) for file in dict.fromkeys(files))[:_LONGEST_NAME] + "_group"
    base = Path(args.session_path or SESSIONS).resolve()
    meant = Group(base / name, runs, begin, panels_of(files))
    if not os.path.lexists(meant.path):
        find_new_directory(base, name)  # refuses one that cannot be made
        return Prepared(meant, lengths, True)
    group = _open_group(meant.path)
    group.require_same(meant)
    if not all(group.job(name).is_begun() for name in runs):
        group.require_files(meant.files)
    return Prepared(group, lengths, False)


def begin_words(args: argparse.Namespace) -> tuple[str, ...]:
    """Return words of `digideep train` that all sessions begin with."""
    words = ["--save-modules", *args.save_modules] if args.save_modules else []
    words += ["--msg", args.msg] if args.msg else []
    if args.load_checkpoint is not None:
        words += ["--load-checkpoint", str(Path(args.load_checkpoint).resolve())]
    return tuple(words)


def panels_of(files: Iterable[str]) -> dict[str, Any]:
    """Return the control panel of each parameter file, as plain values."""
    return {file: to_plain(load_params(file).cpanel, "cpanel") for file in files}
