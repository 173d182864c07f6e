"""What an Explorer needs of an agent."""

from typing import Any, Protocol

import numpy as np


class Actor(Protocol):
    """What an Explorer needs of an agent."""

    is_off_policy: bool
    acts_in_parts: bool

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """Choose an action for each worker; see `AgentBase.action_generator`."""

    def reset_hidden_state(self, num_workers: int) -> np.ndarray | None:
        """The state before a first observation; see `AgentBase.reset_hidden_state`."""
