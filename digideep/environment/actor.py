"""The protocol of agents, as an Explorer sees them."""

from typing import Any, Protocol

import numpy as np


class Actor(Protocol):
    """What an Explorer needs of an agent."""

    acts_in_parts: bool

    @property
    def takes_warm_start(self) -> bool:
        """True if random actions at the start of a run may take the place of the agent's own."""

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """Choose an action for each worker; see `AgentBase.action_generator`."""

    def reset_hidden_state(self, num_workers: int) -> np.ndarray | None:
        """Return the state before a first observation; see `AgentBase.reset_hidden_state`."""
