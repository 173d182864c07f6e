"""Memory that the processes of an Explorer share, so that no step copies an array through a pipe."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class SharedMemory:
    """Allocates arrays that the processes of one context share."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        # Never fork: a child of this process would inherit the locks of its threads and its open files.
        self.context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.blocks: list[Any] = []

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Allocate a zeroed shared array; `blocks` remembers it for the other processes."""
        self.blocks.append(self.context.RawArray("b", max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)))
        return map_blocks(iter(self.blocks[-1:]))(shape, dtype)


def map_blocks(blocks: Iterator[Any]) -> Callable[[tuple[int, ...], Any], np.ndarray]:
    """Return an `allocate` that takes the next of some blocks that are there already."""
    return lambda shape, dtype: np.frombuffer(next(blocks), dtype, count=int(np.prod(shape))).reshape(shape)
