"""Samplers: small functions `f(data, info) -> data`, composed.

The first unit takes the Memory, each next one what the one before returned. `info` is a dictionary; units read what
they need from it.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from digideep.memory.generic import Chunk, Memory
from digideep.utility.component import Component
from digideep.utility.errors import NonFiniteError

Unit = Callable[[Any, dict[str, Any]], Any]


class Sampler(Component):
    """Units applied one after the other, from the memory to what an agent learns from.

    An agent is given one by the parameter tree and calls it with the memory and its `info`. A subclass lists units;
    their parameters, if they come from the parameter file, are those of its constructor, and join `info`.
    """

    units: tuple[Unit, ...] = ()
    info: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, memory: Memory, info: dict[str, Any]) -> Any:
        """Args: memory: of the run. info: what the agent says of its needs, such as "keys"."""
        data: Any = memory
        info = {**self.info, **info}
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


class NewestChunk(Sampler):
    """What on-policy methods learn from: the newest chunk, whole, and the rows of it that start a transition."""

    units = (get_last_chunk, select_keys, add_transition_rows)
