"""What an environment tells of itself before the first step: its spaces, and what each of several agents has of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.joint_actions import array_of
from digideep.environment.spaces import ObservationSpaces, declared_range
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError


@dataclass(frozen=True)
class EnvironmentInfo:
    """What an environment tells of itself before the first step."""

    observation_spaces: ObservationSpaces
    action_space: gym.Space  # of several entries: see `joint_space`
    agent_action_space: gym.Space
    max_episode_steps: int | None
    render_modes: tuple[str, ...]
    infos: dict[str, np.ndarray] = field(default_factory=dict)  # zeros of each info that is kept, by path
    players: tuple[str, ...] = ()  # who has these spaces, each of them; none where they are the environment's
    columns: slice = field(default_factory=lambda: slice(None))  # of the agent's actions in the vector of all
    entries: tuple[str, ...] = ()  # which one of several agents has of an action that they share, by path
    declared_action_space: gym.Space | None = None  # the Dict or Tuple of which `action_space` has all entries, flat
    # What each of several agents has of the environment, by name; empty where one has all of it.
    agents: dict[str, "EnvironmentInfo"] = field(default_factory=dict)
    episode_infos: tuple[str, ...] = ()  # keys of what is logged of each episode

    @property
    def all_players(self) -> tuple[str, ...]:
        """The players of all agents, one agent's after the other's; none where one agent has the environment."""
        return tuple(player for agent in self.agents.values() for player in agent.players)

    def of_agent(self, name: str) -> "EnvironmentInfo":
        """Return what an agent has of the environment: all of it, unless there are several.

        Raises:
            UsageError: if there are several, and this is none of them.
        """
        if not self.agents:
            return self
        if name not in self.agents:
            raise UsageError(f"Agent '{name}' plays nobody. {did_you_mean(name, self.agents)} See players under env.")
        return self.agents[name]

    def to_plain(self) -> dict[str, Any]:
        """Return the spaces as plain values, to be compared with those of a checkpoint."""
        observations = {
            path: [list(space.shape or ()), str(space.dtype), declared_range(space)]
            for path, space in self.observation_spaces.items()
        }
        agents = {
            name: {**info.to_plain(), "players": list(info.players or info.entries)}
            for name, info in self.agents.items()
        }
        return {"observations": observations, "actions": repr(self.action_space)} | (
            {"agents": agents} if agents else {}
        )

    def row_bytes(self, stacks: Mapping[str, int] = MappingProxyType({})) -> int:
        """Return the bytes of one worker's row in a memory: observations, infos, action, mask, reward and termination.

        Args:
            stacks: keys of observations of which the memory keeps one frame only, and how many they have.
        """
        if self.all_players:
            return 1 + sum(len(agent.players) * agent.row_bytes(stacks) for agent in self.agents.values())
        arrays = {f"/observations{path}": array_of(space, None) for path, space in self.observation_spaces.items()}
        for name, agent in (self.agents or {"": self}).items():
            arrays[f"actions of {name}"] = array_of(agent.agent_action_space, np.float32)
        sizes = (math.prod(shape) * dtype.itemsize // stacks.get(key, 1) for key, (shape, dtype) in arrays.items())
        return sum(sizes) + sum(info.nbytes for info in self.infos.values()) + 1 + 4 + 1
