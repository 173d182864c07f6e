"""Samplers: small functions `f(data, info) -> data`, composed.

The first unit takes the memory, each next one what the one before returned, the last one returns a chunk or a batch:
arrays by path. `info` is a dictionary; units read what they need from it.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from digideep.memory.generic import SampledMemory
from digideep.memory.ring import Chunk
from digideep.parameters.checks import require_int
from digideep.parameters.component import Component
from digideep.utility.errors import NonFiniteError

Unit = Callable[[Any, Mapping[str, Any]], Any]  # Any: what a unit takes is what the one before it returns


class Sampler(Component):
    """Applies units one after the other, from the memory to what an agent learns from.

    An agent is given one by the parameter tree and calls it with the memory and its `info`. A subclass lists units;
    their parameters, if they come from the parameter file, are those of its constructor, and join `info`.
    """

    units: tuple[Unit, ...] = ()
    info: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, memory: SampledMemory, info: Mapping[str, Any]) -> Chunk:
        """Return what the agent learns from: path -> arrays.

        Args:
            memory: of the run.
            info: what the agent says of its needs, such as "keys". It has the last word over the sampler's own.
        """
        data: Any = memory
        info = {**self.info, **info}
        for unit in self.units:
            data = unit(data, info)
        chunk: Chunk = data
        return chunk


def get_last_chunk(memory: SampledMemory, info: Mapping[str, Any]) -> Chunk:
    """Return the newest chunk: path -> views (N, T + 1, ...)."""
    return memory.last_chunk()


def select_keys(chunk: Chunk, info: Mapping[str, Any]) -> Chunk:
    """Keep only the keys in `info["keys"]`."""
    return {key: chunk[key] for key in info["keys"]}


def add_transition_rows(chunk: Chunk, info: Mapping[str, Any]) -> Chunk:
    """Add `/rows`: int64 (M,), where transitions start, as indices into N * (T + 1); the last row starts none."""
    starts = chunk["/masks"][..., 0].copy()
    starts[:, -1] = False
    return chunk | {"/rows": np.flatnonzero(starts)}


def add_sequence_rows(chunk: Chunk, info: Mapping[str, Any]) -> Chunk:
    """Add `/sequences`: int64 (S, L), the chunk cut into sequences of consecutive rows, as indices into N * (T + 1).

    L is `info["sequence_length"]`, at most T; None makes each worker's steps one sequence. A last piece that is shorter
    is filled up with the row of the chunk's half-step, where no transition starts.
    """
    num_workers, length = chunk["/masks"].shape[:2]
    size = min(info["sequence_length"] or length - 1, length - 1)
    starts = np.arange(0, length - 1, size)
    steps = np.minimum(starts[:, None] + np.arange(size), length - 1)  # (pieces, L)
    rows = np.arange(num_workers)[:, None, None] * length + steps
    return chunk | {"/sequences": rows.reshape(-1, size)}


def check_finite(chunk: Chunk, info: Mapping[str, Any]) -> Chunk:
    """Stop at the first array with a NaN or an infinity: a unit for debugging.

    Raises:
        NonFiniteError: naming the key.
    """
    for key, array in chunk.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError(f"{key} holds values that are not finite.")
    return chunk


def check_shape(chunk: Chunk, info: Mapping[str, Any]) -> Chunk:
    """Log the shape and dtype of every array: a unit for debugging."""
    for key, array in chunk.items():
        logging.getLogger("digideep").info("%s: %s %s", key, array.shape, array.dtype)
    return chunk


class NewestChunk(Sampler):
    """Takes what on-policy methods learn from: the newest chunk, whole, and the rows of it that start a transition."""

    units = (get_last_chunk, select_keys, add_transition_rows)


class NewestSequences(Sampler):
    """Takes what recurrent on-policy methods learn from: as `NewestChunk`, and the chunk cut into sequences.

    Args:
        sequence_length: rows of a sequence, which is how far gradients reach back; None for all of the chunk's.
    """

    units = (get_last_chunk, select_keys, add_transition_rows, add_sequence_rows)

    def __init__(self, *, sequence_length: int | None = None):
        if sequence_length is not None:
            require_int("sequence_length", sequence_length, 1)
        self.info = {"sequence_length": sequence_length}
