"""Small games of several players whose numbers can be worked out by hand. Importing this module registers them."""

from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from pettingzoo import ParallelEnv

from digideep.environment.making.parallel_games import register_parallel


class Roster(ParallelEnv):
    """Players a, b and c count their steps. `leave` says who leaves after which step, and whether by a termination.

    Reward: 1 for a, 10 for b, 100 for c, times the number of the step; b's actions are in [0, 4], the others' numbered.
    What is seen: (steps so far, who: 0, 1 or 2), b's as a dictionary with an image beside it.
    """

    metadata: ClassVar = {"name": "roster", "render_modes": ["rgb_array"], "render_fps": 10}
    possible_agents: ClassVar = ["a", "b", "c"]
    rewards: ClassVar = {"a": 1.0, "b": 10.0, "c": 100.0}

    def __init__(self, leave=None, absent=(), is_forgetful=False, render_mode=None):
        self.leave = {"a": (2, True), "b": (3, False), "c": (4, True)} if leave is None else leave
        self.absent, self.is_forgetful, self.render_mode = absent, is_forgetful, render_mode
        self.asked = []

    def observation_space(self, agent):
        line = Box(-np.inf, np.inf, (2,), np.float64)
        return Dict({"line": line, "image": Box(0, 255, (2, 2), np.uint8)}) if agent == "b" else line

    def action_space(self, agent):
        return Box(0, 4, (2,), np.float32) if agent == "b" else Discrete(3, start=5)

    def _observe(self, agent):
        line = np.array([self.steps + self.offset, self.possible_agents.index(agent)], np.float64)
        return {"line": line, "image": np.full((2, 2), self.steps % 256, np.uint8)} if agent == "b" else line

    def reset(self, seed=None, options=None):
        generator = np.random.default_rng(None if self.is_forgetful else seed)
        self.steps, self.offset = 0, float(generator.integers(2**20)) / 2**20  # the same for all, in [0, 1)
        self.agents = [agent for agent in self.possible_agents if agent not in self.absent]
        return {agent: self._observe(agent) for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions):
        assert list(actions) == self.agents
        for agent, action in actions.items():
            assert self.action_space(agent).contains(action), (agent, action)
        self.asked.append(actions)
        self.steps += 1
        here = list(self.agents)
        ends = {agent: self.leave.get(agent, (None, None)) for agent in here}
        terminations = {agent: step == self.steps and by_termination for agent, (step, by_termination) in ends.items()}
        truncations = {agent: step == self.steps and not terminations[agent] for agent, (step, _) in ends.items()}
        self.agents = [agent for agent in here if not (terminations[agent] or truncations[agent])]
        rewards = {agent: self.rewards[agent] * self.steps for agent in here}
        return {agent: self._observe(agent) for agent in here}, rewards, terminations, truncations, {}

    def render(self):
        return np.full((32, 32, 3), self.steps, np.uint8)

    def close(self):
        pass


class Meeting(ParallelEnv):
    """Two players meet at one of two places, without a word: both get 1 at place 1, 0.5 at place 0, else nothing.

    Five rounds. The best return of both together is 10; who chooses at random gets 3.75.
    """

    metadata: ClassVar = {"name": "meeting", "render_modes": []}
    possible_agents: ClassVar = ["first", "second"]

    def __init__(self, rounds=5, is_alike=False):
        self.rounds, self.is_alike = rounds, is_alike

    def observation_space(self, agent):
        return Box(0, 1, (1 if agent == "first" or self.is_alike else 2,), np.float32)

    def action_space(self, agent):
        return Discrete(2)

    def _observe(self):
        return {a: np.ones(self.observation_space(a).shape, np.float32) for a in self.possible_agents}

    def reset(self, seed=None, options=None):
        self.agents, self.steps = list(self.possible_agents), 0
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.steps += 1
        first, second = actions.values()
        reward = 0.0 if first != second else (0.5, 1.0)[first]
        here, is_over = self.agents, self.steps == self.rounds
        self.agents = [] if is_over else here
        return (
            self._observe(), dict.fromkeys(here, reward), dict.fromkeys(here, is_over), dict.fromkeys(here, False), {}
        )  # fmt: skip

    def close(self):
        pass


class Turnstile(Meeting):
    """Meeting where each player may only do one thing at a time, and must: 0 and 1 in turn, the second the opposite.

    Args:
        place: "info" or "observation", where the action mask is found; the others' infos have it from the first step.
        is_off: the second player sees what lies outside of its space.
    """

    def __init__(self, place="info", is_off=False):
        super().__init__(rounds=4)
        self.place, self.is_off, self.choices = place, is_off, Discrete(2)
        line, mask = Box(0, 1, (2,), np.float32), Box(0, 1, (2,), np.int8)
        self.space = Dict({"line": line, "action_mask": mask}) if place == "observation" else line

    def observation_space(self, agent):
        return self.space

    def action_space(self, agent):
        return self.choices

    def _mask(self, agent):
        return np.roll(np.array([1, 0], np.int8), self.steps + (agent == "second"))

    def _observe(self):
        lines = {a: np.full(2, 2.0 if self.is_off and a == "second" else 0.5, np.float32) for a in self.possible_agents}
        if self.place == "info":
            return lines
        return {agent: {"line": line, "action_mask": self._mask(agent)} for agent, line in lines.items()}

    def _infos(self):
        masks = {
            agent: {"action_mask": self._mask(agent)} if self.place == "info" else {} for agent in self.possible_agents
        }
        masks["first"]["steps"] = self.steps
        return masks

    def reset(self, seed=None, options=None):
        observations, _ = super().reset(seed, options)
        return observations, self._infos()

    def step(self, actions):
        for agent, action in actions.items():
            if not self._mask(agent)[action]:
                raise RuntimeError(f"{action} is forbidden to {agent} at step {self.steps}")
        return *super().step(actions)[:4], self._infos()


register_parallel("tests/turnstile", Turnstile)
register_parallel("tests/roster", Roster)
register_parallel("tests/meeting", Meeting)
