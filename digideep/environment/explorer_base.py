"""What every explorer has, wherever its environments are."""

from collections.abc import Mapping
from typing import Any

from digideep.environment.episode_infos import Episode, FigureReader, gather_episodes
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.making.wrappers import RunProgress
from digideep.environment.seats import Actor, seat_agents
from digideep.parameters.component import Component
from digideep.telemetry.profiler import Profiler
from digideep.utility.ranks import Ranks


class ExplorerBase(Component):
    """Has the seats, counts frames and episodes, and hands out the episodes that have ended.

    A subclass has an `update` that delivers chunks, and counts what they bring in `steps`, `n_episode`, `_finished`.

    Args:
        mode, agents, environment, info, seed, profiler, ranks: as of `Explorer`.
        num_workers, n_steps, memory: likewise.
    """

    def __init__(
        self, mode: str, agents: Mapping[str, Actor], environment: EnvironmentSpec, info: EnvironmentInfo, seed: int,
        profiler: Profiler, ranks: Ranks | None, num_workers: int, n_steps: int | None, memory: str | None,
    ):  # fmt: skip
        self.mode, self.info, self.seed, self.profiler = mode, info, seed, profiler
        self.num_workers, self.n_steps, self.memory = num_workers, n_steps, memory
        self.steps, self.n_episode = 0, 0
        self.planned_frames = 0  # of the run, for environments that are told its progress; the Runner says it
        self._ranks = ranks or Ranks()
        self._finished: list[Episode] = []
        self._figures = FigureReader(info.episode_infos, info.all_players, mode)
        self.info_names = self._figures.names  # that infos of its episodes may have
        self._progress = RunProgress()
        self.seats = seat_agents(agents, environment, info, mode, num_workers, seed=seed, progress=self._progress)

    @property
    def frames(self) -> int:
        """Steps of single environments so far, in all ranks."""
        return self.steps * self.num_workers * self._ranks.size

    def take_episodes(self) -> list[Episode]:
        """Return the episodes that ended since the last call, in all ranks, whose workers are counted through."""
        self._figures.warn()
        own, self._finished = self._finished, []
        finished = gather_episodes(own, self._ranks, self.num_workers)
        self.n_episode += len(finished) - len(own)
        return finished

    def metrics(self) -> dict[str, float]:
        """Return what wrappers log of the steps since the last call, by path."""
        return {path: value for seat in self.seats.values() for path, value in seat.metrics().items()}

    def statistics(self) -> dict[str, Any]:
        """Return what the normalisers have learned, by agent and position."""
        return {name: seat.senses.statistics() for name, seat in self.seats.items()}

    def load_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what another explorer's normalisers have learned."""
        for name, seat in self.seats.items():
            seat.senses.load_statistics(statistics[name])

    def follow(self, other: "ExplorerBase") -> None:
        """Take over what the normalisers of another explorer have learned, scales of rewards included."""
        for name, seat in self.seats.items():
            seat.follow(other.seats[name])
