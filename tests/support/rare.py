"""Environments that are within gymnasium's rules, and of which nobody thinks. Importing this module registers them."""

import copy
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from digideep.environment.making.parallel_games import register_parallel
from tests.support.parallel import Meeting


class Rare(gym.Env):
    """Episodes of four steps.

    Args:
        reward: of each step.
        info: of each step, and of each reset.
        switch: called in each step.
        given: attributes that take the place of what the class has, such as spaces.
    """

    observation_space, action_space = Box(-1, 1, (3,), np.float32), Discrete(2)

    def __init__(self, reward=1.0, info=None, switch=lambda: None, **given):
        self.reward, self.info, self.switch = reward, info or {}, switch
        vars(self).update(given)
        self.observation_space = copy.deepcopy(self.observation_space)  # it draws

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.steps = 0
        return self.observation_space.sample(), self.info

    def step(self, action):
        self.switch()
        self.steps += 1
        return self.observation_space.sample(), self.reward, False, self.steps == 4, self.info


class Slashed(Rare):
    """One observation's name begins another's; a third one holds no number."""

    observation_space = Dict(
        {"a": Box(-1, 1, (2,), np.float32), "a/b": Box(-1, 1, (2,), np.float32), "touch": Box(-1, 1, (0,), np.float32)}
    )


class Speechless(Exception):
    """An error that cannot be told."""

    def __str__(self):
        raise RuntimeError("no words")


class Failing(Rare):
    """It fails in its second step, with an error that cannot be told."""

    def step(self, action):
        if self.steps == 1:
            raise Speechless
        return super().step(action)


class Whole(Rare):
    """Its actions are arrays of a whole number, without dimensions."""

    action_space = Box(0, 5, (), np.int64)

    def step(self, action):
        assert type(action) is np.ndarray, type(action)
        assert self.action_space.contains(action), action
        return super().step(action)


class EachItsOwn(Rare):
    """Instances whose spaces differ: the number of the instance is in them.

    Args:
        what: "actions", or an observation's "shape" or "range".
    """

    instances = 0

    def __init__(self, what):
        super().__init__()
        number = EachItsOwn.instances = EachItsOwn.instances + 1
        if what == "actions":
            self.action_space = Box(-number, number, (2,), np.float32)
        elif what == "shape":
            self.observation_space = Box(-1, 1, (number,), np.float32)
        else:
            self.observation_space = Box(0, number, (3,), np.uint8)


class EachItsOwnMeeting(Meeting):
    """Meeting whose instances have other actions each."""

    instances = 0

    def __init__(self):
        super().__init__(is_alike=True)
        EachItsOwnMeeting.instances += 1
        self.actions = Discrete(1 + EachItsOwnMeeting.instances)

    def action_space(self, agent):
        return self.actions


class SlashedMeeting(Meeting):
    """Meeting whose players see where they met last, under a name that begins another one, and that other one."""

    spaces: ClassVar = Dict({"a": Box(0, 1, (2,), np.float32), "a/b": Box(2, 3, (1,), np.float32)})

    def observation_space(self, agent):
        return self.spaces

    def _observe(self):
        return {
            agent: {"a": np.full(2, 0.5, np.float32), "a/b": np.full(1, 2.5, np.float32)}
            for agent in self.possible_agents
        }


for each in (Rare, Slashed, EachItsOwn, Failing, Whole):
    if f"{each.__name__}-v0" not in gym.registry:
        gym.register(f"{each.__name__}-v0", each)
register_parallel("tests/slashed", SlashedMeeting)
register_parallel("tests/each-its-own", EachItsOwnMeeting)
