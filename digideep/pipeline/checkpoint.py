"""Checkpoints: directories that are valid or are not, and hold no code.

`checkpoint-<epoch>/` (with `+<cycle>` behind it when a run was stopped within an epoch) holds

* `states.safetensors`: all arrays, under path-like names;
* `runner.json`: everything else; a numpy array stands there as `{"$array": name}`, a torch tensor as
  `{"$tensor": name}`;
* `session.json`: what belongs to the session's files: the lengths of its logs, the segments of its memory;
* `manifest.json`: sha256 and size of each of these, and the versions of the software that wrote them.

It is written aside, flushed to the disk, and renamed: a name that looks like a checkpoint is one, unless something
altered it afterwards, and the manifest tells.
"""

import hashlib
import json
import logging
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_arrays
from safetensors.torch import save as save_arrays

import digideep
from digideep.pipeline.segments import check_segments, segments_of, sync_directory
from digideep.utility.errors import CheckpointError

FORMAT = 1
BEST = "best"  # the name of the checkpoint with the best policy: it can be played, not resumed
STATES, RUNNER, SESSION, MANIFEST = "states.safetensors", "runner.json", "session.json", "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)(?:\+(\d+))?")
_ARRAY, _TENSOR = "$array", "$tensor"


def checkpoint_name(epoch: int, cycle: int = 0) -> str:
    """The directory's name. Args: epoch: finished epochs; cycle: finished cycles of the next one."""
    return f"checkpoint-{epoch}" + (f"+{cycle}" if cycle else "")


def checkpoint_order(path: Path) -> tuple[int, int] | None:
    """(epoch, cycle) of a checkpoint's name; None if it is not one."""
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints in a directory, oldest first, valid or not."""
    found = (
        [path for path in directory.iterdir() if path.is_dir() and checkpoint_order(path)] if directory.is_dir() else []
    )
    return sorted(found, key=lambda path: checkpoint_order(path) or (0, 0))


def split_arrays(state: Any, arrays: dict[str, torch.Tensor], path: str = "") -> Any:
    """Move the arrays of a nested state into `arrays`; returns the rest, with references in their place.

    Raises:
        TypeError: for a value that is neither an array nor a JSON value.
    """
    if isinstance(state, dict):
        return {key: split_arrays(value, arrays, f"{path}/{key}") for key, value in state.items()}
    if isinstance(state, np.generic):
        return state.item()
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
    """The nested state that `split_arrays` took apart.

    Raises:
        KeyError: if an array is missing.
    """
    if not isinstance(rest, dict):
        return rest
    if rest.keys() == {_ARRAY}:
        return arrays[rest[_ARRAY]].numpy()
    if rest.keys() == {_TENSOR}:
        return arrays[rest[_TENSOR]]
    return {key: join_arrays(value, arrays) for key, value in rest.items()}


def write_checkpoint(directory: Path, name: str, state: dict[str, Any], session: dict[str, Any]) -> Path:
    """Write a checkpoint so that it is there as a whole or not at all.

    Args:
        directory: the session's `checkpoints/`.
        name: from `checkpoint_name`; a checkpoint of that name is replaced.
        state: nested dictionaries with arrays and JSON values.
        session: JSON values about the session's files.

    Returns:
        The checkpoint's directory.
    """
    arrays: dict[str, torch.Tensor] = {}
    rest = split_arrays(state, arrays)
    files = {
        STATES: save_arrays(arrays),
        RUNNER: json.dumps(rest).encode(),
        SESSION: json.dumps(session).encode(),
    }
    manifest = {
        "format": FORMAT,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()
        },
        "versions": versions(),
    }
    files[MANIFEST] = json.dumps(manifest, indent=2).encode()

    target, aside = directory / name, directory / f".{name}.writing"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for file_name, data in files.items():
        with (aside / file_name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_directory(aside)
    if target.exists():
        old = directory / f".{name}.old"
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old)
    else:
        aside.rename(target)
    sync_directory(directory)
    return target


def versions() -> dict[str, str]:
    """The software that decides whether numbers repeat."""
    return {
        "digideep": digideep.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
    }


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Read a checkpoint, having compared every file with the manifest. Nothing in it is executed or imported.

    Returns:
        The state, with its arrays and tensors; what it says about the session's files; the versions that wrote it.

    Raises:
        CheckpointError: if a file is missing, altered, or not of the format.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {manifest['format']!r}, expected {FORMAT}. Use the version that wrote it."
            )
        files = {}
        for name in (STATES, RUNNER, SESSION):
            files[name] = (path / name).read_bytes()
            expected = manifest["files"][name]
            if len(files[name]) != expected["size"] or hashlib.sha256(files[name]).hexdigest() != expected["sha256"]:
                raise CheckpointError(
                    f"{path / name} is not what was written: its size or hash differs from the manifest."
                )
        rest, session = json.loads(files[RUNNER]), json.loads(files[SESSION])
        if not isinstance(rest, dict) or not isinstance(session, dict):
            raise CheckpointError(f"{path / RUNNER} and {SESSION} must hold JSON objects.")
        state = join_arrays(rest, load_arrays(files[STATES]))
        return state, session, {str(key): str(value) for key, value in manifest["versions"].items()}
    except FileNotFoundError as err:
        raise CheckpointError(f"{err.filename} is missing.") from err
    except OSError as err:
        raise CheckpointError(f"{path} cannot be read: {err}.") from err
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError) as err:
        if isinstance(err, CheckpointError):
            raise
        raise CheckpointError(f"{path} is no checkpoint: {type(err).__name__}: {err}.") from err


def load_checkpoint(path: Path, needs_memory: bool) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Read a checkpoint, and check the memory's segments if they are needed; say if other software wrote it.

    Returns:
        The path, and what `read_checkpoint` returns but for the versions.

    Raises:
        CheckpointError: if anything is not as it was written.
    """
    state, figures, written_by = read_checkpoint(path)
    if needs_memory:
        check_segments(path.parents[1] / "memory", segments_of(figures))
    changed = {
        name: f"{old} -> {versions().get(name)}" for name, old in written_by.items() if versions().get(name) != old
    }
    if changed:
        logging.getLogger("digideep").warning(
            "%s was written by other software (%s): numbers may differ.", path.name, changed
        )
    return path, state, figures


def load_newest_valid(session: Path, needs_memory: bool) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """`load_checkpoint` of the newest one of a session that is as it was written.

    Raises:
        CheckpointError: if there is none.
    """
    candidates = list_checkpoints(session / "checkpoints")
    for path in reversed(candidates):
        try:
            return load_checkpoint(path, needs_memory)
        except CheckpointError as err:
            logging.getLogger("digideep").warning("Skipping %s: %s", path.name, err)
    raise CheckpointError(f"{session} has no valid checkpoint ({len(candidates)} were looked at). Train it anew.")


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint; a reader sees it whole or not at all."""
    doomed = path.with_name(f".{path.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed)
