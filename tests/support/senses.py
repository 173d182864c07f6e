"""Environments with observations and actions of every space, and with forbidden actions. Importing registers them."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

ACTIONS = {
    "discrete": Discrete(3, start=-1),
    "box": Box(np.array([[0, -1], [-np.inf, 0]], np.float32), np.array([[4, 1], [np.inf, np.inf]], np.float32)),
    "integers": Box(0, 10, (2,), np.int32),
    "unit": Box(-1, 1, (2,), np.float32),
    "many": MultiDiscrete([2, 3], start=[0, 5]),
    "grid": MultiDiscrete([[2, 3], [4, 2]]),
    "bits": MultiBinary(3),
    "words": Text(3),
}


class Senses(gym.Env):
    """Every space that can be seen, nested; the next moment depends on the action and on the environment's generator.

    Args:
        actions: a key of `ACTIONS`.
    """

    observation_space = Dict(
        {
            "camera": Box(0, 255, (12, 10, 3), np.uint8),
            "body": Dict({"position": Box(-np.inf, np.inf, (2,), np.float64), "gear": Discrete(3, start=1)}),
            "flags": MultiBinary(2),
            "pair": Tuple((MultiDiscrete([2, 3]), Box(-1, 1, (), np.float32))),
        }
    )

    def __init__(self, actions: str = "discrete"):
        self.action_space = ACTIONS[actions]

    def _observation(self):
        self.seen = self.np_random.normal(size=2)
        camera = np.zeros((12, 10, 3), np.uint8)
        camera[self.steps % 12] = 255
        return {
            "camera": camera,
            "body": {"position": self.seen + self.total, "gear": np.int64(1 + self.steps % 3)},
            "flags": np.array([self.steps % 2, 1], np.int8),
            "pair": (np.array([self.steps % 2, self.steps % 3]), np.float32(0.5)),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.total = 0, 0.0
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.steps += 1
        self.total += float(np.tanh(np.sum(action)))
        return (
            self._observation(),
            self.total,
            False,
            False,
            {"power": self.total, "deep": {"even": self.steps % 2 == 0}},
        )


class Forbidding(gym.Env):
    """Only some actions are allowed at each step, others raise. Observation: one-hot of the step, modulo 4.

    With "discrete" actions 10 to 13, actions s and s + 1 (modulo 4) are allowed at step s, and the first one pays 1.
    With "many" (MultiDiscrete [2, 3]), s modulo 2 and everything but s modulo 3. At the end nothing is.

    Args:
        actions: "discrete" or "many".
        length: of an episode; it ends with a truncation at odd and a termination at even lengths.
        stuck: forbid everything at this step.
        place: "info" or "observation", where the mask is found.
    """

    observation_space = Box(0, 1, (4,), np.float32)

    def __init__(self, actions: str = "discrete", length: int = 5, stuck: int | None = None, place: str = "info"):
        self.action_space = Discrete(4, start=10) if actions == "discrete" else MultiDiscrete([2, 3])
        self.length, self.stuck, self.place = length, stuck, place
        if place == "observation":
            mask = Box(0, 1, (4 if actions == "discrete" else 5,), np.int8)
            self.observation_space = Dict({"clock": Forbidding.observation_space, "action_mask": mask})

    def _moment(self):
        mask = np.zeros(4 if isinstance(self.action_space, Discrete) else 5, np.int8)
        if self.steps < self.length and self.steps != self.stuck:
            if len(mask) == 4:
                mask[[self.steps % 4, (self.steps + 1) % 4]] = 1
            else:
                mask[2:] = 1
                mask[[self.steps % 2, 2 + self.steps % 3]] = [1, 0]
        self.mask = mask
        clock = np.eye(4, dtype=np.float32)[self.steps % 4]
        if self.place == "observation":
            return {"clock": clock, "action_mask": mask}, {"steps": self.steps}
        return clock, {"action_mask": mask, "steps": self.steps}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._moment()

    def step(self, action):
        choices = [action - 10] if len(self.mask) == 4 else [action[0], 2 + action[1]]
        if not all(self.mask[choice] for choice in choices):
            raise RuntimeError(f"{action} is forbidden at step {self.steps}")
        reward = float(choices[0] == self.steps % 4)
        self.steps += 1
        is_over = self.steps == self.length
        observation, info = self._moment()
        return observation, reward, is_over and self.length % 2 == 0, is_over and self.length % 2 == 1, info


for _class, _limit in ((Senses, 9), (Forbidding, None)):
    if f"{_class.__name__}-v0" not in gym.registry:
        gym.register(f"{_class.__name__}-v0", _class, max_episode_steps=_limit)
