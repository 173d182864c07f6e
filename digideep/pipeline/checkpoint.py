"""Checkpoints: directories that are valid or are not, and hold no code; docs/resume.md says what is in them.

One is written aside, flushed to the disk, and renamed: a name that looks like a checkpoint is one, unless something
altered it afterwards, and the manifest tells. Nothing whole is deleted that a newer checkpoint did not replace: what is
broken, or newer than the checkpoint that is resumed, is renamed to `checkpoint-<epoch>.aside`.
"""

import hashlib
import json
import logging
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_arrays
from safetensors.torch import save as save_arrays

from digideep.pipeline.checkpoint_content import DEEPEST, check_figures, check_state, is_deeper
from digideep.pipeline.checkpoint_files import COMMON, num_ranks, rank_files, write_files, write_rank
from digideep.pipeline.segments import MAIN, Need, Segment, find_all_segments, need_of, sync_directory
from digideep.utility.errors import CheckpointError, UnreadableError
from digideep.utility.own_files import read_file, remove
from digideep.utility.ranks import Ranks
from digideep.utility.version import __version__

FORMAT = 4
BEST = "best"  # the name of the checkpoint with the best policy: it can be played, not resumed
STATES, RUNNER, SESSION, MANIFEST = "states.safetensors", "runner.json", "session.json", "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)(?:\+(\d+))?")
_ASIDE = re.compile(r"checkpoint-[\d+]+\.aside(?:-\d+)?")
_ARRAY, _TENSOR = "$array", "$tensor"  # in runner.json: {"$array": name in states.safetensors}
_log = logging.getLogger("digideep")


def checkpoint_name(epoch: int, cycle: int = 0) -> str:
    """Return a checkpoint's name. Args: epoch: finished epochs; cycle: finished cycles of the next one."""
    return f"checkpoint-{epoch}" + (f"+{cycle}" if cycle else "")


def checkpoint_order(path: Path) -> tuple[int, int] | None:
    """Return the (epoch, cycle) that a checkpoint's name says; None if it is no such name."""
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, oldest first, valid or not. A link is not one.

    Raises:
        UnreadableError: if the system does not let us look.
    """
    try:
        with os.scandir(directory) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as err:
        raise UnreadableError(f"{directory} cannot be read: {err.strerror}.") from err
    return sorted(filter(checkpoint_order, found), key=lambda path: checkpoint_order(path) or (0, 0))


def split_arrays(state: Any, arrays: dict[str, torch.Tensor], path: str = "") -> Any:
    """Move the arrays of a nested state into `arrays`; returns the rest, with references in their place.

    Raises:
        TypeError: for a value that is neither an array nor a JSON value.
        ValueError: for two arrays, or two values, whose names would be the same, and for names that stand for arrays.
    """
    if isinstance(state, dict):
        if len(set(map(str, state))) < len(state) or state.keys() in ({_ARRAY}, {_TENSOR}):
            raise ValueError(
                f"{path} has the names {list(state)}, which a checkpoint could not tell apart. Rename them."
            )
        return {key: split_arrays(value, arrays, f"{path}/{key}") for key, value in state.items()}
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, (np.ndarray, torch.Tensor)) and path in arrays:
        raise ValueError(
            f"Two arrays of the state have the path {path}: a name with a slash hides a nested one. Rename it."
        )
    if isinstance(state, np.ndarray):
        arrays[path] = torch.from_numpy(state.copy())
        return {_ARRAY: path}
    if isinstance(state, torch.Tensor):
        arrays[path] = state.detach().cpu().contiguous().clone()
        return {_TENSOR: path}
    if state is None or isinstance(state, (bool, int, float, str, list)):
        return state
    raise TypeError(f"{path} is a {type(state).__name__}: a state holds arrays and JSON values only.")


def join_arrays(rest: Any, arrays: dict[str, torch.Tensor]) -> Any:
    """Return the nested state that `split_arrays` took apart. Raises: KeyError: if an array is missing."""
    if not isinstance(rest, dict):
        return rest
    if rest.keys() == {_ARRAY}:
        return arrays[rest[_ARRAY]].numpy()
    if rest.keys() == {_TENSOR}:
        return arrays[rest[_TENSOR]]
    return {key: join_arrays(value, arrays) for key, value in rest.items()}


def write_checkpoint(
    directory: Path, name: str, state: dict[str, Any], session: dict[str, Any], ranks: Ranks | None = None
) -> Path:
    """Write a checkpoint so that it is there as a whole or not at all. Returns: its directory.

    Of several ranks each writes what its state has other than that of rank 0, which writes the manifest last.

    Args:
        directory: the session's `checkpoints/`.
        name: from `checkpoint_name`; a checkpoint of that name is replaced.
        state: nested dictionaries with arrays and JSON values.
        session: JSON values about the session's files.
        ranks: that write it together; None for one.
    """
    arrays: dict[str, torch.Tensor] = {}
    rest, ranks = split_arrays(state, arrays), ranks or Ranks()
    target, aside, old = directory / name, directory / f".{name}.writing", directory / f".{name}.old"
    if ranks.is_first:
        remove(aside)
        aside.mkdir(parents=True)
    written = write_rank(aside, rest, arrays, ranks)
    if not ranks.is_first:
        ranks.meet()
        return target
    files = {STATES: save_arrays(arrays), RUNNER: json.dumps(rest).encode(), SESSION: json.dumps(session).encode()}
    manifest = {"format": FORMAT, "files": {**write_files(aside, files), **written}, "versions": versions()}
    write_files(aside, {MANIFEST: json.dumps(manifest, indent=2).encode()})
    sync_directory(aside)
    remove(old)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        set_aside(target)
    elif target.exists():
        target.rename(old)
    aside.rename(target)
    remove(old)
    sync_directory(directory)
    ranks.meet()
    return target


def set_aside(path: Path) -> Path:
    """Rename what is not to be taken for a checkpoint any more, and delete nothing. Returns: its new path."""
    target, number = path.with_name(f"{path.name}.aside"), 1
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.name}.aside-{number}")
    path.rename(target)
    return target


def list_aside(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory that were set aside."""
    found = (path for path in directory.iterdir() if _ASIDE.fullmatch(path.name))
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint; a reader sees it whole or not at all. One that is gone already is fine."""
    doomed = path.with_name(f".{path.name}.old")
    remove(doomed)
    with suppress(FileNotFoundError):
        path.rename(doomed)
    remove(doomed)


def drop_oldest(directory: Path | None, kept: dict[str, Any], keep: int | None) -> None:
    """Delete the oldest of the checkpoints `kept`, named oldest first, but for `keep`, and take them out of it.

    Args:
        directory: where they lie; None where another rank deletes them.
    """
    for name in list(kept)[:-keep] if keep is not None else ():
        if directory is not None:
            remove_checkpoint(directory / name)
        del kept[name]


def sweep_checkpoints(directory: Path) -> None:
    """Delete what a killed process left half written or half deleted."""
    best, old_best = directory / BEST, directory / f".{BEST}.old"
    if old_best.is_dir() and not best.exists():
        old_best.rename(best)  # it was killed between the two renames that replace it
    for pattern in (".checkpoint-*", f".{BEST}.*"):
        for path in directory.glob(pattern):
            if path.suffix in (".old", ".writing"):
                remove(path)


def versions() -> dict[str, str]:
    """Return the versions of the software that decides whether numbers repeat."""
    return {
        "digideep": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
    }


def read_checkpoint(path: Path, rank: int = 0) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Read a checkpoint, having compared every file with the manifest. Nothing in it is executed or imported.

    Args:
        rank: whose state; that of rank 0 if the run did not have so many.

    Returns:
        The state, with its arrays and tensors; what it says about the session's files; the versions that wrote it.

    Raises:
        CheckpointError: if a file is missing, altered, or does not hold what a checkpoint does.
        UnreadableError: if it is of another format, or the system does not let us read it.
    """
    try:
        manifest = _read_manifest(path)
        files = {name: _read_signed(path / name, manifest) for name in (STATES, RUNNER, SESSION)}
        rest, session = json.loads(files[RUNNER]), json.loads(files[SESSION])
        if not isinstance(rest, dict) or not isinstance(session, dict):
            raise CheckpointError(f"{path / RUNNER} and {SESSION} must hold JSON objects.")
        if is_deeper(rest, DEEPEST) or is_deeper(session, DEEPEST):
            raise CheckpointError(f"{path} is no checkpoint: it is nested deeper than {DEEPEST} levels.")
        arrays = load_arrays(files[STATES])
        if 0 < rank < num_ranks(rest):
            rest, arrays = _of_rank(rank, path, manifest, rest, arrays)
        state = join_arrays(rest, arrays)
        return state, session, {str(key): str(value) for key, value in manifest["versions"].items()}
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, safetensors.SafetensorError
    ) as err:  # fmt: skip
        if isinstance(err, (CheckpointError, UnreadableError)):
            raise
        raise CheckpointError(f"{path} is no checkpoint: {type(err).__name__}: {err}.") from err
    except MemoryError as err:
        raise UnreadableError(f"{path} does not fit into memory.") from err


def _of_rank(
    rank: int, path: Path, manifest: dict[str, Any], rest: dict[str, Any], arrays: dict[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the parts of a rank's state. Args: rest, arrays: those of rank 0."""
    states, runner = (_read_signed(path / name, manifest) for name in rank_files(rank))
    own = json.loads(runner)
    if not isinstance(own, dict) or is_deeper(own, DEEPEST):
        raise CheckpointError(f"{path} is no checkpoint: what it says of rank {rank} is no state.")
    return {**own, **{key: rest[key] for key in COMMON}}, arrays | load_arrays(states)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = json.loads(read_file(path / MANIFEST, count=2**20))
    known = manifest["format"]
    if isinstance(known, int) and not isinstance(known, bool) and known > 0 and known != FORMAT:
        raise UnreadableError(f"{path} has format {known}, expected {FORMAT}. Use the version that wrote it.")
    if known != FORMAT:
        raise CheckpointError(f"{path / MANIFEST} says format {known!r:.100}, expected {FORMAT}.")
    return manifest


def _read_signed(path: Path, manifest: dict[str, Any]) -> bytes:
    """Return a file's content, if it is what the manifest says."""
    expected = manifest["files"][path.name]
    data = read_file(path, expected["size"])
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise CheckpointError(f"{path} is not what was written: its hash differs from the manifest.")
    return data


class Loaded(NamedTuple):
    """A checkpoint that was read."""

    path: Path
    state: dict[str, Any]
    figures: dict[str, Any]  # what it says about the session's files
    segments: dict[str, list[Segment]]  # of each memory, oldest first; none if they were not asked for


def load_checkpoint(path: Path, needs_memory: bool, rank: int = 0) -> Loaded:
    """Read a checkpoint of a run, and check the memories' segments if they are needed; say if other software wrote it.

    Args:
        needs_memory: check the memories' segments.
        rank: whose state, see `read_checkpoint`.

    Raises:
        CheckpointError: if anything is not as it was written, or not what a run writes.
        UnreadableError: if it cannot be read for another reason.
    """
    state, figures, written_by = read_checkpoint(path, rank)
    try:
        check_state(checkpoint_order(path), state, needs_memory)
        check_figures(figures)
        is_needed = needs_memory and rank < num_ranks(state)
        segments = find_all_segments(path.parents[1], figures, rank) if is_needed else {}
    except CheckpointError as err:
        raise CheckpointError(str(err) if str(path.parents[1]) in str(err) else f"{path} is broken: {err}") from err
    now = versions()
    changed = {name: f"{old} -> {now.get(name)}" for name, old in written_by.items() if now.get(name) != old}
    if changed:
        _log.warning("%s was written by other software (%s): numbers may differ.", path.name, changed)
    return Loaded(path, state, figures, segments)


def load_newest_valid(session: Path, needs_memory: bool, before: Path | None = None, rank: int = 0) -> Loaded:
    """Load the newest checkpoint of a session that is as it was written, see `load_checkpoint`.

    Args:
        needs_memory: check the memory's segments.
        before: a checkpoint; only older ones are looked at. None looks at all.
        rank: whose state, see `read_checkpoint`.

    Raises:
        CheckpointError: if there is none.
        UnreadableError: if a newer one cannot be read for another reason than its content.
    """
    candidates = list_checkpoints(session / "checkpoints")
    if before is not None:
        candidates = candidates[: candidates.index(before)]
    for path in reversed(candidates):
        try:
            return load_checkpoint(path, needs_memory, rank)
        except CheckpointError as err:
            _log.warning("Skipping %s: %s", path.name, err)
        except UnreadableError as err:
            raise UnreadableError(f"{err} Or name an older checkpoint, to go on from there.") from err
    raise CheckpointError(f"{session} has no valid checkpoint ({len(candidates)} were looked at). Train it anew.")


def read_need(path: Path, rank: int = 0, name: str = MAIN) -> Need | None:
    """Return what a checkpoint needs of a rank's memory; None if that cannot be read. Nothing else of it is read."""
    try:
        return need_of(json.loads(_read_signed(path / SESSION, _read_manifest(path))), rank, name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
