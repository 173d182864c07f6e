"""Small environments whose ends, lives, returns and players are given. Importing this module registers them."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from digideep.environment.making.atari import LifeLoss
from digideep.environment.making.parallel_games import register_parallel
from tests.support.environments import Counter
from tests.support.parallel import Roster
from tests.support.rendering import Picture


class Quitter(Counter):
    """Counter that ends with action 6, and only then: workers part."""

    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, bool(action == 6), truncated, info


class Lottery(Counter):
    """Counter of two steps whose return, in [0, 1), is drawn from its seed, whatever is done."""

    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        self.prize = float(self.np_random.random())
        return result

    def step(self, action):
        observation, *_ = super().step(action)
        return observation, self.prize * (self.steps == 2), self.steps == 2, False, {}


class Script(gym.Env):
    """A game with three lives that goes as it is written, whatever is done. Observation: the number of the step.

    Args:
        steps: of each the reward, the lives left after it, and how it ends: "", "terminated" or "truncated".
    """

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, steps):
        self.written = steps

    def _observation(self):
        return np.array([self.steps], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {"lives": 3}

    def step(self, action):
        reward, lives, end = self.written[self.steps]
        self.steps += 1
        return self._observation(), float(reward), end == "terminated", end == "truncated", {"lives": lives}


class Teller(Counter):
    """Counter with the infos that are written, one for each step; it ends after the last.

    Args:
        infos: of the steps. A word "nan" or "inf" stands for that number.
        first: of the reset.
    """

    action_space = Discrete(2)

    def __init__(self, infos, first=None):
        super().__init__(len(infos))
        self.infos, self.first = infos, first or {}

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], self.first

    def step(self, action):
        *outcome, _ = super().step(action)
        info = self.infos[self.steps - 1]
        return *outcome, {key: float(value) if value in ("nan", "inf") else value for key, value in info.items()}


class Gossip(Roster):
    """Roster whose players tell their number of the step, also after they have left; b succeeds in its last one."""

    def step(self, actions):
        *outcome, _ = super().step(actions)
        infos = {agent: {"steps": self.steps} for agent in self.possible_agents}
        infos["a"] |= {"own": 0.5, "success": False}
        infos["b"]["is_success"] = self.steps == 3
        return *outcome, infos


class Pupil(Counter):
    """Counter of three steps; its observation is the progress that it was told at its reset, -1 for none."""

    action_space = Discrete(2)

    def __init__(self):
        super().__init__(3)
        self.progress = None

    def _observation(self):
        return np.array([self.progress])

    def reset(self, *, seed=None, options=None):
        self.progress = -1.0 if options is None else options["progress"]
        return super().reset(seed=seed)

    def step(self, action):
        return *super().step(action)[:4], {"steps": self.steps}


class Stubborn(Pupil):
    """Pupil whose reset cannot be told anything."""

    def reset(self, *, seed=None):
        return super().reset(seed=seed)


class Class(Roster):
    """Roster whose players see the progress."""

    def _observe(self, agent):
        seen = super()._observe(agent)
        (seen["line"] if agent == "b" else seen)[0] = self.progress
        return seen

    def reset(self, seed=None, options=None):
        self.progress = -1.0 if options is None else options["progress"]
        return super().reset(seed, options)


class Witness(Picture):
    """Picture that notes the seeds of what is drawn."""

    seeds: ClassVar[list] = []

    def reset(self, *, seed=None, options=None):
        if self.render_mode is not None:
            self.seeds.append(seed)
        return super().reset(seed=seed)


class Late(Roster):
    """Roster whose player a comes after the second step."""

    def __init__(self):
        super().__init__(leave={"a": (4, True), "b": (3, False), "c": (4, True)}, absent=["a"])

    def step(self, actions):
        observations, *rest = super().step(actions)
        if self.steps == 2:
            self.agents = ["a", *self.agents]
            observations["a"] = self._observe("a")
        return observations, *rest


for _name, _maker, _limit in (
    ("Quitter-v0", Quitter, None),
    ("Lottery-v0", Lottery, None),
    ("Lives-v0", lambda steps: LifeLoss(Script(steps), 0), None),
    ("Witness-v0", Witness, 12),
    ("Teller-v0", Teller, None),
    ("Pupil-v0", Pupil, None),
    ("Stubborn-v0", Stubborn, None),
):
    if _name not in gym.registry:
        gym.register(_name, _maker, max_episode_steps=_limit)
register_parallel("tests/late", Late)
register_parallel("tests/gossip", Gossip)
register_parallel("tests/class", Class)
