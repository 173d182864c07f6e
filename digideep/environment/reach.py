"""A hand that is to reach a goal, with a seat for a demonstrator: the example of docs/several.md.

Importing this module registers it as Reach-v0.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict

_STEP, _NEAR = 0.05, 0.05


class Reach(gym.Env):
    """A hand and a goal in a square. At the goal there is a reward of 1, and the episode ends; before, there is none.

    The observation is the place of the hand, and that of the goal. Each entry of the action names a velocity. The
    agent's moves the hand; with `demo` the demonstrator's does.

    Args:
        demo: the demonstrator moves the hand.
    """

    observation_space = Box(-1, 1, (4,), np.float32)
    action_space = Dict(agent=Box(-1, 1, (2,), np.float32), demonstrator=Box(-1, 1, (2,), np.float32))

    def __init__(self, demo: bool = False):
        self._mover = "demonstrator" if demo else "agent"

    def _observation(self) -> np.ndarray:
        return np.concatenate([self._hand, self._goal]).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Put hand and goal anywhere."""
        super().reset(seed=seed)
        self._hand, self._goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._observation(), {}

    def step(self, action: dict[str, np.ndarray]) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the hand."""
        self._hand = np.clip(self._hand + _STEP * action[self._mover], -1, 1)
        is_there = bool(np.linalg.norm(self._goal - self._hand) < _NEAR)
        return self._observation(), float(is_there), is_there, False, {"is_success": is_there}


if "Reach-v0" not in gym.registry:
    gym.register("Reach-v0", f"{__name__}:Reach", max_episode_steps=60)
