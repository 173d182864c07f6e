"""The arrays between workers and Explorer, and those that become a chunk."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from digideep.environment.joint_actions import array_of
from digideep.environment.making.make_environment import EnvironmentInfo


class StepBuffers:
    """The arrays that workers write to and the Explorer reads from, one row a worker.

    Attributes:
        workers: which of the explorer's workers have these rows.
        observations: path -> array (N, ...), what follows the last step. infos: likewise.
        actions: (N, ...) environment actions of the step to take; of several entries, float64 (N, A).
        rewards: float32 (N,). terminations: bool (N,). ended: bool (N,), the episode is over at this observation.
        finished: bool (N,), so is the one that is logged: `ended`, unless the game goes on after a lost life.
        returns: float64 (N,) and lengths: int64 (N,), sums over the logged episode so far.
        figures: float64 (N, players or 1, keys + 1), of the infos of the logged episode that ended last; see
            `episode_infos.py`.
        progress: float64 (N,), of the run, for episodes that begin now; see `tell_progress` of `EnvironmentSpec`.
        is_stale: bool (N,), rows that took no step and hold what they held before; None where there are none.
    """

    is_stale: np.ndarray | None = None

    def __init__(self, info: EnvironmentInfo, num_workers: int, allocate: Callable[[tuple[int, ...], Any], np.ndarray]):
        spaces = info.observation_spaces
        self.workers = slice(0, num_workers)
        self.observations = {path: allocate((num_workers, *(s.shape or ())), s.dtype) for path, s in spaces.items()}
        self.infos = {path: allocate((num_workers, *zero.shape), zero.dtype) for path, zero in info.infos.items()}
        shape, dtype = array_of(info.action_space, np.float64)
        self.actions = allocate((num_workers, *shape), dtype)
        self.rewards = allocate((num_workers,), np.float32)
        self.terminations = allocate((num_workers,), np.bool_)
        self.ended = allocate((num_workers,), np.bool_)
        self.finished = allocate((num_workers,), np.bool_)
        self.returns = allocate((num_workers,), np.float64)
        self.lengths = allocate((num_workers,), np.int64)
        self.figures = allocate((num_workers, len(info.all_players) or 1, len(info.episode_infos) + 1), np.float64)
        self.figures[...] = np.nan
        self.progress = allocate((num_workers,), np.float64)

    def part(self, first: int, last: int) -> "StepBuffers":
        """Return the rows of workers `first` to `last - 1`, as views."""
        part, workers = copy.copy(self), slice(first, last)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(part, name, value[workers])
        part.workers = workers
        part.observations = {path: array[workers] for path, array in self.observations.items()}
        part.infos = {path: array[workers] for path, array in self.infos.items()}
        return part

    def seat(self, columns: slice) -> "StepBuffers":
        """Return the same rows with some columns of the actions only, as views."""
        view = copy.copy(self)
        view.actions = self.actions[:, columns]
        return view

    def halves(self, middle: int) -> "list[StepBuffers]":
        """Return the rows before worker `middle` and those from there on; all in one where `middle` is 0."""
        return [self.part(0, middle), self.part(middle, self.workers.stop)] if middle else [self]


class PlayerBuffers(StepBuffers):
    """Views of the rows of one agent's players in `StepBuffers` of a parallel game: player after player in each worker.

    Attributes are those of `StepBuffers`, with a row a player, except for:
        workers: which of the agent's rows these are.
        actions: (n, A), the columns of the agent's players.
        ended, is_stale: see `update_presence`. There are no `finished` and `lengths`.

    Args:
        buffers: of a part of the workers, or of all.
        agent: its name.
        info: what the agent has of the game.
    """

    def __init__(self, buffers: StepBuffers, agent: str, info: EnvironmentInfo):
        def view(arrays: dict[str, np.ndarray], path: str) -> np.ndarray:
            array = arrays[f"/{agent}{path}"]
            return array.reshape(-1, *array.shape[2:])

        first, last, players = buffers.workers.start, buffers.workers.stop, len(info.players)
        self.workers = slice(first * players, last * players)
        self.observations = {p: view(buffers.observations, f"/observations{p}") for p in info.observation_spaces}
        self.infos = {path: view(buffers.infos, path) for path in info.infos}
        self.actions = buffers.actions[:, info.columns]
        self.rewards, self.terminations, self.returns, self._present = (
            view(buffers.observations, path) for path in ("/rewards", "/terminations", "/returns", "/masks")
        )
        self.ended = np.zeros(len(self._present), np.bool_)

    def update_presence(self, moved: np.ndarray) -> None:
        """Set `ended` where a player is not there now, and `is_stale` where it was not there before either.

        Args:
            moved: bool (n * P,), True where a player took the step.
        """
        np.logical_not(self._present, out=self.ended)
        is_stale = ~(moved | self._present)
        self.is_stale = is_stale if is_stale.any() else None


class ChunkBuilder:
    """Writes a chunk row by row; its arrays grow with it."""

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._arrays: dict[str, np.ndarray] = {}

    def write(self, index: int, part: slice, size: int, row: dict[str, np.ndarray]) -> None:
        """Write a part of row `index`. Args: part: of how many, `size`; row: path -> (n, ...) of that part."""
        if index >= self._capacity:
            self._grow()
        for key, values in row.items():
            array = self._arrays.get(key)
            if array is None:
                array = self._arrays[key] = np.zeros((size, self._capacity, *values.shape[1:]), values.dtype)
            array[part, index] = values

    def _grow(self) -> None:
        self._capacity *= 2
        for key, old in self._arrays.items():
            self._arrays[key] = np.zeros((old.shape[0], self._capacity, *old.shape[2:]), old.dtype)
            self._arrays[key][:, : old.shape[1]] = old

    def chunk(self, length: int) -> dict[str, np.ndarray]:
        """Return the first `length` rows."""
        return {key: array[:, :length] for key, array in self._arrays.items()}

    def first(self) -> dict[str, np.ndarray]:
        """Return a copy of the first row: path -> (N, ...)."""
        return {key: array[:, 0].copy() for key, array in self._arrays.items()}

    def restore(self, first: dict[str, np.ndarray]) -> None:
        """Begin anew with a first row from `first`."""
        for key, values in first.items():
            self._arrays[key] = np.zeros((len(values), self._capacity, *values.shape[1:]), values.dtype)
            self._arrays[key][:, 0] = values
