"""What an agent is given, and what its parts can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch

from digideep.telemetry.profiler import Profiler
from digideep.utility.plan import Plan
from digideep.utility.ranks import Ranks


class Stateful(Protocol):
    """What changes while training, and continues after a resume."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return all that `load_state_dict` needs."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Continue where `state_dict` left off."""


class LearnedMemory(Protocol):
    """What an agent asks a memory itself; the rest is between memory and sampler."""

    @property
    def n_frames(self) -> int:
        """Frames of the environment stored so far."""

    @property
    def keys(self) -> list[str] | None:
        """What is kept of the agent's chunks; None for all."""


@dataclass(frozen=True)
class AgentContext:
    """What an agent is given at run time."""

    name: str  # the agent's, unique in the run
    memory: LearnedMemory  # where the explorer's chunks are stored
    observation_spaces: dict[str, gym.Space[Any]]  # by path
    # Discrete, or MultiDiscrete, MultiBinary or a Box of [-1, 1] of one dimension (`environment.spaces`). Of several
    # entries a flat Dict of these by path, whose actions are float32 (N, A), joined in its order.
    action_space: gym.Space[Any]
    device: torch.device  # where its tensors live
    seed: int  # of the run
    profiler: Profiler  # times the phases of its update
    infos: dict[str, np.ndarray] = field(default_factory=dict)  # zeros of each info that chunks hold, by path
    plan: Plan = field(default_factory=Plan)  # of the whole run
    ranks: Ranks = field(default_factory=Ranks)  # processes that train the agent together
    memories: Mapping[str, LearnedMemory] = field(default_factory=dict)  # all of the run, by name
    goals: Any = None  # what the environment says of goals, for samplers that ask for it
