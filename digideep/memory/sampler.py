"""Samplers: small functions `f(data, info) -> data`, composed.

The first unit takes the Memory, each next one what the one before returned. `info` holds the agent's arguments for the
sampler; units read what they need from it.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from digideep.memory.generic import Chunk, Memory
from digideep.utility.errors import NonFiniteError

Unit = Callable[[Any, dict[str, Any]], Any]


class Compose:
    """Units applied one after the other, as one unit."""

    def __init__(self, units: list[Unit]):
        self.units = units

    def __call__(self, data: Any, info: dict[str, Any]) -> Any:
        for unit in self.units:
            data = unit(data, info)
        return data


def get_last_chunk(memory: Memory, info: dict[str, Any]) -> Chunk:
    """The newest chunk: path -> views (N, T + 1, ...)."""
    return memory.last_chunk()


def select_keys(chunk: Chunk, info: dict[str, Any]) -> Chunk:
    """Only the keys in `info["keys"]`."""
    return {key: chunk[key] for key in info["keys"]}


def add_transition_rows(chunk: Chunk, info: dict[str, Any]) -> Chunk:
    """Add `/rows`: int64 (M,), where transitions start, as indices into N * (T + 1); the last row starts none."""
    starts = chunk["/masks"][..., 0].copy()
    starts[:, -1] = False
    return chunk | {"/rows": np.flatnonzero(starts)}


def check_finite(chunk: Chunk, info: dict[str, Any]) -> Chunk:
    """Debug unit: stop at the first array with a NaN or an infinity.

    Raises:
        NonFiniteError: naming the key.
    """
    for key, array in chunk.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError(f"{key} holds values that are not finite.")
    return chunk


def check_shape(chunk: Chunk, info: dict[str, Any]) -> Chunk:
    """Debug unit: log the shape and dtype of every array."""
    for key, array in chunk.items():
        logging.getLogger("digideep").info("%s: %s %s", key, array.shape, array.dtype)
    return chunk


def shuffled_minibatches(rows: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A random permutation of rows, cut into minibatches.

    Every row comes once; only the last minibatch is filled up with rows from the start of the permutation, so that all
    have one shape and one compiled function serves them.

    Args:
        rows: int64 (M,), M at least 1.
        size: rows of a minibatch.
        generator: owned by the caller.

    Returns:
        int64 (ceil(M / size), size).
    """
    order = generator.permutation(rows)
    return np.resize(order, (-(-len(order) // size), size))
