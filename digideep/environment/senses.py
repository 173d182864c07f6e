"""What is seen and earned in all workers of an Explorer at a moment: by one agent, or by several that share it."""

from typing import Any

import numpy as np

from digideep.environment.normalizers import VectorWrapper
from digideep.environment.stepping.step_buffers import PlayerBuffers, StepBuffers
from digideep.utility.ranks import Ranks

Chunk = dict[str, np.ndarray]


class Senses:
    """Observations, infos, masks and rewards, one row a worker; in a parallel game, one row a player of one agent.

    Args:
        prefix: of their keys in a chunk.
        num_rows: R.
        wrappers: around observations and rewards.

    Attributes:
        masks: bool (R,), False where the row's episode is over.
        infos: path -> (R, ...), beside the newest observations.
    """

    def __init__(self, prefix: str, num_rows: int, wrappers: list[VectorWrapper]):
        self.num_rows, self.wrappers, self._prefix = num_rows, wrappers, prefix
        self.masks = np.zeros(num_rows, np.bool_)
        self.observations: Chunk = {}
        self.infos: Chunk = {}
        self._masks_key = f"{prefix}/masks"
        self._rewards_key, self._terminations_key = f"{prefix}/rewards", f"{prefix}/terminations"

    def begin(self, buffers: StepBuffers) -> None:
        """Take the first observations of new episodes. Args: buffers: of all rows."""
        if isinstance(buffers, PlayerBuffers):
            buffers.update_presence(np.zeros(self.num_rows, np.bool_))
        observations = buffers.observations
        for wrapper in self.wrappers:
            observations = wrapper.reset(buffers, observations)
        self.masks = ~buffers.ended
        self._keep(observations, buffers.infos)

    def _keep(self, observations: Chunk, infos: Chunk) -> None:
        """Copy the arrays that hold observations and infos from now on."""
        self.observations = {path: np.array(array) for path, array in observations.items()}
        self.infos = {path: np.array(array) for path, array in infos.items()}
        # Of each array: its key in a chunk, and in what agents are shown.
        self._seen = [(f"{self._prefix}/observations{p}", p, array) for p, array in self.observations.items()]
        self._seen += [(f"{self._prefix}/infos{p}", f"/infos{p}", array) for p, array in self.infos.items()]

    def look(self, part: slice) -> tuple[Chunk, Chunk]:
        """Return what is known before an action is chosen, as views.

        Args:
            part: of the rows.

        Returns:
            The entries of the chunk's row, and what agents are shown.
        """
        row, shown = {}, {}
        for key, path, array in self._seen:
            row[key] = shown[path] = array[part]
        row[self._masks_key] = self.masks[part, None]
        return row, shown

    def take_in(self, buffers: StepBuffers) -> Chunk:
        """Wrap the outcome of a step, and keep it.

        Args:
            buffers: of the part that was stepped.

        Returns:
            The entries of the chunk's row that follow the action.
        """
        part = buffers.workers
        moved = self.masks[part]
        if isinstance(buffers, PlayerBuffers):
            buffers.update_presence(moved)
        observations, rewards = buffers.observations, buffers.rewards
        for wrapper in self.wrappers:
            observations, rewards = wrapper.step(buffers, observations, rewards, moved)
        for path, array in observations.items():
            self.observations[path][part] = array
        for path, array in buffers.infos.items():
            self.infos[path][part] = array
        np.logical_not(buffers.ended, out=moved)
        return {self._rewards_key: rewards[:, None], self._terminations_key: buffers.terminations[:, None]}

    def state_dict(self) -> dict[str, Any]:
        """Return observations, infos, masks and normalisers."""
        return {
            "observations": {path: array.copy() for path, array in self.observations.items()},
            "infos": {path: array.copy() for path, array in self.infos.items()},
            "masks": self.masks.copy(),
            "wrappers": {str(index): wrapper.state_dict() for index, wrapper in enumerate(self.wrappers)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._keep(state["observations"], state["infos"])
        self.masks = np.array(state["masks"])
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_state_dict(state["wrappers"][str(index)])

    def merge(self, ranks: Ranks) -> None:
        """Let the normalisers take in what those of other ranks have learned."""
        for wrapper in self.wrappers if ranks.size > 1 else ():
            wrapper.merge(ranks)

    def metrics(self) -> dict[str, float]:
        """Return what the wrappers log of the steps since the last call, by path."""
        return {path: value for wrapper in self.wrappers for path, value in wrapper.metrics().items()}

    def statistics(self) -> dict[str, Any]:
        """Return what the normalisers have learned, by position."""
        return {str(index): wrapper.statistics() for index, wrapper in enumerate(self.wrappers)}

    def load_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what the normalisers of another explorer have learned."""
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_statistics(statistics[str(index)])
