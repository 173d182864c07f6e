"""An environment whose action is a Dict or a Tuple, as one that is steered by a single vector."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.joint_actions import JointReader, action_entries, columns_of, joint_space, nested, width
from digideep.environment.making.players import assign
from digideep.environment.spaces import CONTAINERS
from digideep.utility.errors import UsageError


class JoinedActions(gym.Wrapper):
    """Hands an environment the dictionary or the tuple that it declares, made of one vector of all its entries.

    It stands around all other wrappers, which see what the environment declares. So workers step, record and re-live
    such an environment like any other.

    Args:
        environment: its action is a Dict or a Tuple, nested as it likes.
        players: agent -> paths of entries, or patterns such as "arm/*"; None where one agent has them all.
        name: of the environment.

    Attributes:
        declared: the space of the environment's own actions.
        groups: agent -> paths of its entries; empty where one agent has them all.
        entries: the space of each entry by path, in their order in the vector: one agent's after the other's.
        joint: the space of all of them. spaces: of each agent's; see `joint_space`.
        columns: where the actions of each agent lie in the vector.

    Raises:
        UsageError: if its action is neither, or an entry has no agent or several, or is not supported.
    """

    def __init__(self, environment: gym.Env, players: Mapping[str, Sequence[str | int]] | None, name: str):
        super().__init__(environment)
        self.declared: Any = getattr(environment, "action_space", None)
        if not isinstance(self.declared, CONTAINERS):
            raise UsageError(
                f"players are for several agents in one environment, but {name} has a single action, {self.declared}. "
                "Leave players out, or take a parallel game, or one whose action is a Dict or a Tuple."
            )
        entries = action_entries(self.declared)
        self.groups = {} if players is None else assign(players, entries, "action")
        paths = [path for group in self.groups.values() for path in group] or list(entries)
        self.entries = {path: entries[path] for path in paths}
        self.joint = joint_space(self.entries)
        self.spaces = {name: joint_space({p: entries[p] for p in group}) for name, group in self.groups.items()}
        columns = [slice(None)] if len(self.groups) == 1 else columns_of(self.spaces.values())
        self.columns = dict(zip(self.groups, columns, strict=True))
        # float64 holds every float32, and integers up to 2**53
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (width(self.joint),), np.float64)
        self._read = JointReader(self.entries).one

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step. Args: action: float64 (A,), of all entries; of a single one, its own."""
        return self.env.step(nested(self.declared, self._read(action)))
