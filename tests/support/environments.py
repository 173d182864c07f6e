"""Small environments whose numbers can be worked out by hand. Importing this module registers them."""

import random
import time

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Counter(gym.Env):
    """Observation: steps so far. Reward: the number of the step. Terminates after `length` steps, if that is given."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Discrete(3, start=5)

    def __init__(self, length: int | None = None):
        self.length = length

    def _observation(self):
        return np.array([float(self.steps)])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.steps += 1
        return self._observation(), float(self.steps), self.steps == self.length, False, {}


class HiddenBonus(gym.Env):
    """One step; the action 0.25 is best, and a bonus that is not in sight of who acts adds 3 or takes it away."""

    observation_space = Dict({"own": Box(-1, 1, (2,), np.float32), "hidden": Box(-1, 1, (1,), np.float32)})

    def __init__(self, is_continuous: bool = True):
        self.action_space = Box(-1, 1, (1,), np.float32) if is_continuous else Discrete(2)

    def _observation(self):
        return {"own": np.zeros(2, np.float32), "hidden": np.float32([self.bonus])}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bonus = 1.0 - 2.0 * self.np_random.integers(2)
        return self._observation(), {}

    def step(self, action):
        return self._observation(), float(3 * self.bonus - np.square(np.mean(action) - 0.25)), True, False, {}


class ConstantReward(gym.Env):
    """One observation, reward 1, no end but the time limit."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), 1.0, False, False, {}


class Treadmill(gym.Env):
    """Go on for 0.2 a step, or leave for 0.3. A time limit comes after each step: who takes it for the end leaves.

    With continuous actions the way from one to the other is straight: how likely it goes on.
    """

    observation_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, is_continuous: bool = False):
        self.action_space = Box(-1, 1, (1,), np.float32) if is_continuous else Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        share = float(np.asarray(action).item()) if self.action_space == Discrete(2) else (float(action[0]) + 1) / 2
        goes_on = bool(self.np_random.random() < share)
        return np.ones(1, np.float32), 0.3 - 0.1 * share, not goes_on, goes_on, {}


class Trouble(Counter):
    """Counter that goes wrong at step `at`: raises, dies, hangs, or returns NaN."""

    action_space = Discrete(2)

    def __init__(self, kind: str, at: int = 3):
        super().__init__()
        self.kind, self.at = kind, at

    def step(self, action):
        observation, reward, *rest = super().step(action)
        if self.steps == self.at:
            if self.kind == "raise":
                raise RuntimeError("the gripper is stuck")
            if self.kind == "die":
                import os

                os._exit(7)
            if self.kind == "hang":
                time.sleep(3600)
            if self.kind == "nan observation":
                observation = np.array([np.nan])
            if self.kind == "nan reward":
                reward = float("nan")
        return observation, reward, *rest


class Slow(Counter):
    """A counter whose step takes some time."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def step(self, action):
        time.sleep(self.seconds)
        return super().step(action)


class Noise(gym.Env):
    """A walk driven by the environment's own generator: only re-living an episode brings it back."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=2)
        return self.place.copy(), {}

    def step(self, action):
        self.place = self.place + action + self.np_random.normal(size=2)
        action[:] = np.nan  # a rude simulator writes into what it was given
        return self.place.copy(), float(self.place.sum()), bool(self.place[0] > 20), False, {}


class Dawdle(Noise):
    """Noise whose steps take as long as it pleases, by no seed: what depends on timing differs from run to run."""

    def step(self, action):
        time.sleep(random.SystemRandom().uniform(0, 0.003))
        return super().step(action)


class Forgetful(Noise):
    """Noise that ignores its seed: it cannot be brought back."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


class Leftover(Counter):
    """Counter that counts on through all episodes."""

    steps = 0

    def reset(self, *, seed=None, options=None):
        before = self.steps
        _, info = super().reset(seed=seed)
        self.steps = before
        return self._observation(), info


class Dial(Counter):
    """Counter whose action is a number between -2 and 2: an array without dimensions."""

    action_space = Box(-2, 2, (), np.float32)

    def step(self, action):
        assert isinstance(action, np.ndarray), action
        return super().step(action)


class Gauge(Counter):
    """Counter whose observations are whole numbers: bytes from 0 to `high`, or a number of five from `start` on."""

    def __init__(self, high: int | None = None, start: int = 0):
        super().__init__(length=4)
        self.observation_space = Discrete(5, start=start) if high is None else Box(0, high, (2,), np.uint8)

    def _observation(self):
        space = self.observation_space
        return space.start + self.steps if isinstance(space, Discrete) else np.full(2, self.steps % 4, np.uint8)


class Odd(Counter):
    """Counter that does not keep to gymnasium's API.

    Args:
        how: "reset" or "step" raises; "old" is gym's API of before; "reward" is an array; "float64", not float32;
            "key", one is missing.
    """

    def __init__(self, how: str):
        super().__init__(length=5)
        self.how = how
        line = Box(-9, 9, (1,), np.float32)
        if how in ("float64", "key"):
            self.observation_space = line if how == "float64" else Dict({"a": line, "b": line})

    def reset(self, *, seed=None, options=None):
        if self.how == "reset":
            raise RuntimeError("no reset\nfor you")
        observation, info = super().reset(seed=seed)
        if self.how == "key":
            return {"a": observation.astype(np.float32)}, info
        return observation if self.how == "old" else (observation, info)

    def step(self, action):
        if self.how == "step":
            raise RuntimeError("no step")
        observation, reward, *rest = super().step(action)
        return observation, np.array([reward]) if self.how == "reward" else reward, *rest


class Spaceless(gym.Env):
    """Says neither what is seen nor what is done."""


class Liar(Counter):
    """Counter that declares another space than it keeps to."""

    observation_space = Box(-1, 1, (2,), np.float64)


class Nested(gym.Env):
    """A nested dictionary of observations."""

    observation_space = Dict({"a": Box(-1, 1, (2,), np.float64), "b": Dict({"c": Box(0, 255, (2, 2), np.uint8)})})
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"a": np.array([0.5, -0.5]), "b": {"c": np.full((2, 2), 7, np.uint8)}}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


class Recall(gym.Env):
    """A sign is shown once, at the first step; `delay` steps later it must be told, for a reward of 1.

    Observation: the sign at the first step, then 0; whether it is to be told now. Guessing gives 0.5 on average, and
    without a memory nothing gives more. Continuous actions tell it in part.
    """

    observation_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, delay: int = 20, is_continuous: bool = False):
        self.delay = delay
        self.action_space = Box(-1, 1, (1,), np.float32) if is_continuous else Discrete(2)

    def _observation(self):
        sign = 2 * self.cue - 1 if self.steps == 0 else 0
        return np.array([sign, self.steps == self.delay], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action):
        is_over = self.steps == self.delay
        self.steps += 1
        told = action if isinstance(self.action_space, Discrete) else (float(action[0]) + 1) / 2
        return self._observation(), float(is_over) * (1 - abs(float(told) - self.cue)), is_over, False, {}


class Corridor(gym.Env):
    """A way of `length` places, and a reward of 1 at its end. At each place another action leads on, the other back.

    At random, one episode in 70,000 finds the end within the time limit of 80 steps.
    """

    action_space = Discrete(2)

    def __init__(self, length: int = 40):
        self.length, self.onward = length, np.random.default_rng(0).integers(2, size=length)
        self.observation_space = Box(0, 1, (length,), np.float32)

    def _observation(self):
        return np.eye(self.length, dtype=np.float32)[self.place]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self._observation(), {}

    def step(self, action):
        self.place = max(self.place + (1 if action == self.onward[self.place] else -1), 0)
        is_over = self.place == self.length - 1
        return self._observation(), float(is_over), is_over, False, {}


for _class, _limit in (
    (Corridor, 80),
    (Counter, None),
    (Slow, None),
    (ConstantReward, 20),
    (Trouble, None),
    (Noise, 30),
    (Dawdle, 30),
    (Forgetful, 30),
    (Leftover, 30),
    (Dial, 9),
    (Gauge, None),
    (Odd, None),
    (Spaceless, None),
    (Liar, 30),
    (Nested, 5),
    (Recall, None),
    (Treadmill, None),
    (HiddenBonus, None),
):
    if f"{_class.__name__}-v0" not in gym.registry:
        gym.register(f"{_class.__name__}-v0", _class, max_episode_steps=_limit)
