"""Agents that act by rules: demonstrators, opponents, baselines."""

from abc import abstractmethod
from typing import Any

import numpy as np

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext


class ScriptedAgent(AgentBase):
    """Acts by a rule of a subclass's `action_generator`, and learns nothing: it has no policy, and takes no warm start.

    What it remembers is its hidden state: an array, or a dictionary of arrays of any numbers or bools, all of them
    (N, ...) and zero where an episode begins. A subclass says its shapes in `reset_hidden_state`, and returns the next
    one from `action_generator`. Random numbers come from `self.numpy_generator`, but none if `deterministic`.

    Args:
        context: what exists at run time.
        observation_path: which observations are named in the log; None for all there are. It is shown all in any case.
    """

    def __init__(self, context: AgentContext, *, observation_path: str | list[str] | None = None, **parameters: Any):
        super().__init__(context, observation_path=observation_path, **parameters)

    @abstractmethod
    def action_generator(
        self, observations: dict[str, np.ndarray], hidden_state: Any, masks: np.ndarray, deterministic: bool
    ) -> dict[str, Any]:
        """See `AgentBase`; the hidden state may be a dictionary of arrays, and so may the one that is returned."""
        raise NotImplementedError

    def reset_hidden_state(self, num_workers: int) -> Any:
        """Return zeros of what it remembers: an array or a dictionary of arrays, (N, ...); None for nothing."""
        return None

    def update(self) -> dict[str, float]:
        """Learn nothing."""
        return {}

    def sight(self) -> str:
        """See `AgentBase`."""
        return f"{', '.join(self.observation_paths)} by rules of its own"

    def histograms(self) -> dict[str, np.ndarray]:
        """See `AgentBase`: there are no weights."""
        return {}

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`: there are no weights."""
