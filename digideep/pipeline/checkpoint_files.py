"""The files of a checkpoint, as they are written: those of a run, and those of each of its ranks but the first."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_arrays

from digideep.utility.errors import CheckpointError
from digideep.utility.ranks import Ranks

COMMON = ("params", "cpanel")  # of a state: what all ranks have from rank 0


def write_files(directory: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """Write files and flush them to the disk. Returns: what the manifest says of each, by name."""
    for name, data in files.items():
        with (directory / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    return {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}


def write_rank(aside: Path, rest: dict[str, Any], arrays: dict[str, torch.Tensor], ranks: Ranks) -> dict[str, Any]:
    """Write a rank's own files: all but the arrays, and the parameters, that rank 0 has with the same bits.

    Returns:
        What the manifest says of the files of all ranks but 0, by name.
    """
    if ranks.size == 1:
        return {}
    hashes = {path: _hash(array) for path, array in arrays.items()}
    known, own = ranks.told_by_first(hashes), {}
    if not ranks.is_first:
        others = {path: array for path, array in arrays.items() if known.get(path) != hashes[path]}
        rest = {key: value for key, value in rest.items() if key not in COMMON}
        states, runner = rank_files(ranks.rank)
        own = write_files(aside, {states: save_arrays(others), runner: json.dumps(rest).encode()})
    return {name: entry for files in ranks.gather(own) for name, entry in files.items()}


def _hash(array: torch.Tensor) -> str:
    data = array.reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{array.dtype} {tuple(array.shape)}".encode() + data.tobytes()).hexdigest()


def rank_files(rank: int) -> tuple[str, str]:
    """Return the names of the files of a rank but 0: of its arrays, and of the rest of its state."""
    return f"states-{rank}.safetensors", f"runner-{rank}.json"


def num_ranks(state: dict[str, Any]) -> int:
    """Return how many ranks trained a run, by the state of a checkpoint."""
    found = state["params"].get("runner", {}).get("num_ranks", 1)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CheckpointError(f"num_ranks is {found!r:.100}, expected a number of processes.")
    return found
