"""Environments whose actions have several entries. Importing this module registers them."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

ROBOT = Dict(
    {
        "arm": Dict(
            {
                "grip": Discrete(3, start=2),
                "reach": Box(np.array([0, -4], np.float32), np.array([10, 4], np.float32)),
            }
        ),
        "dial": Box(-2, 2, (), np.float64),
        "wheels": Tuple((MultiDiscrete([[2, 3]]), MultiBinary(2))),
    }
)


class Robot(gym.Env):
    """Its action is nested, with entries of every kind. It sees a walk of its own generator, and what it was told.

    Observation: the walk (2), the sum of all numbers of the last action. The reward is that sum.

    Args:
        turned: declare the entries of the arm the other way round, as not every instance should.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (as gymnasium has it)
    observation_space = Box(-np.inf, np.inf, (3,), np.float64)

    def __init__(self, render_mode=None, turned: bool = False):
        self.render_mode, self.action_space = render_mode, ROBOT
        if turned:
            arm = Dict(list(reversed(ROBOT["arm"].spaces.items())))
            self.action_space = Dict({**ROBOT.spaces, "arm": arm})

    def _observation(self):
        return np.array([*self.walk, self.told])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.walk, self.told, self.heard = self.np_random.normal(size=2), 0.0, []
        return self._observation(), {"told": self.told}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.heard.append(action)
        arm, wheels = action["arm"], action["wheels"]
        parts = (arm["grip"], *arm["reach"], action["dial"], *wheels[0].ravel(), *wheels[1])
        self.told = float(sum(map(float, parts)))
        self.walk = self.walk + self.np_random.normal(size=2)
        return self._observation(), self.told, bool(self.walk[0] > 2), False, {"told": self.told}

    def render(self):
        return np.full((16, 16, 3), int(abs(self.told) * 10) % 256, np.uint8)


class Mixer(gym.Env):
    """Pour as much as is wished for from the tap that is shown: 1 at best, and nothing from the other tap.

    Observation: which tap, -1 or 1; the wish, from -1 to 1. Ten wishes make an episode.

    Args:
        as_tuple: take the tap and the amount as a tuple instead of a dictionary.
    """

    observation_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, as_tuple: bool = False):
        tap, amount = Discrete(2, start=3), Box(0, 10, (1,), np.float32)
        self.action_space = Tuple((tap, amount)) if as_tuple else Dict({"tap": tap, "amount": amount})

    def _wish(self):
        self.shown, self.wish = int(self.np_random.integers(2)), float(self.np_random.uniform(0, 10))
        return np.array([2 * self.shown - 1, self.wish / 5 - 1], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._wish(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        tap, amount = action if isinstance(action, tuple) else (action["tap"], action["amount"])
        reward = max(0.0, 1 - abs(float(amount[0]) - self.wish) / 5) * (tap - 3 == self.shown)
        return self._wish(), float(reward), False, False, {}


for _class, _limit in ((Robot, 9), (Mixer, 10)):
    if f"{_class.__name__}-v0" not in gym.registry:
        gym.register(f"{_class.__name__}-v0", _class, max_episode_steps=_limit)
