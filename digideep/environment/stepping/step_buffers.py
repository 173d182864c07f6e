"""The arrays between workers and Explorer, and those that become a chunk."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from digideep.environment.making.make_environment import EnvironmentInfo


class StepBuffers:
    """The arrays that workers write to and the Explorer reads from, one row a worker.

    Attributes:
        workers: which of the explorer's workers these rows are of.
        observations: path -> array (N, ...), what follows the last step. infos: likewise.
        actions: (N, ...) environment actions of the step to take.
        rewards: float32 (N,). terminations: bool (N,). ended: bool (N,), the episode is over at this observation.
        finished: bool (N,), so is the one that is logged: `ended`, unless the game goes on after a lost life.
        returns: float64 (N,) and lengths: int64 (N,), sums over the logged episode so far.
        is_stale: bool (N,), rows that took no step and hold what they held before; None where there are none.
    """

    is_stale: np.ndarray | None = None

    def __init__(self, info: EnvironmentInfo, num_workers: int, allocate: Callable[[tuple[int, ...], Any], np.ndarray]):
        spaces, action_space = info.observation_spaces, info.action_space
        self.workers = slice(0, num_workers)
        self.observations = {path: allocate((num_workers, *(s.shape or ())), s.dtype) for path, s in spaces.items()}
        self.infos = {path: allocate((num_workers, *zero.shape), zero.dtype) for path, zero in info.infos.items()}
        self.actions = allocate((num_workers, *(action_space.shape or ())), action_space.dtype)
        self.rewards = allocate((num_workers,), np.float32)
        self.terminations = allocate((num_workers,), np.bool_)
        self.ended = allocate((num_workers,), np.bool_)
        self.finished = allocate((num_workers,), np.bool_)
        self.returns = allocate((num_workers,), np.float64)
        self.lengths = allocate((num_workers,), np.int64)

    def part(self, first: int, last: int) -> "StepBuffers":
        """The rows of workers `first` to `last - 1`, as views."""
        part, workers = copy.copy(self), slice(first, last)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(part, name, value[workers])
        part.workers = workers
        part.observations = {path: array[workers] for path, array in self.observations.items()}
        part.infos = {path: array[workers] for path, array in self.infos.items()}
        return part


class ChunkBuilder:
    """A chunk being written, row by row."""

    def __init__(self, num_workers: int, capacity: int):
        self._num_workers, self._capacity = num_workers, capacity
        self._arrays: dict[str, np.ndarray] = {}

    def write(self, index: int, workers: slice, row: dict[str, np.ndarray]) -> None:
        """Write what some workers have at row `index`: path -> (n, ...), or (n * P, ...) of an agent's P players."""
        if index >= self._capacity:
            self._grow()
        for key, values in row.items():
            array = self._arrays.get(key)
            if array is None:
                num_rows = self._num_workers * len(values) // (workers.stop - workers.start)
                array = self._arrays[key] = np.zeros((num_rows, self._capacity, *values.shape[1:]), values.dtype)
            if len(array) == self._num_workers:
                array[workers, index] = values
            else:
                players = len(array) // self._num_workers
                array[workers.start * players : workers.stop * players, index] = values

    def _grow(self) -> None:
        self._capacity *= 2
        for key, old in self._arrays.items():
            self._arrays[key] = np.zeros((old.shape[0], self._capacity, *old.shape[2:]), old.dtype)
            self._arrays[key][:, : old.shape[1]] = old

    def chunk(self, length: int) -> dict[str, np.ndarray]:
        """The first `length` rows."""
        return {key: array[:, :length] for key, array in self._arrays.items()}

    def first(self) -> dict[str, np.ndarray]:
        """What stands in the first row: path -> (N, ...)."""
        return {key: array[:, 0].copy() for key, array in self._arrays.items()}

    def restore(self, first: dict[str, np.ndarray]) -> None:
        """Begin anew with a first row from `first`."""
        for key, values in first.items():
            self._arrays[key] = np.zeros((len(values), self._capacity, *values.shape[1:]), values.dtype)
            self._arrays[key][:, 0] = values
