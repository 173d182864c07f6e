"""What a user may put in the place of each part, in a file outside of the project: copied there by its test."""

import gymnasium as gym
import numpy as np
import torch

from digideep.agent.sac import SAC
from digideep.environment.making.wrappers import describe_wrapper
from digideep.learning.optimizers import Optimizer
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.parameters.component import Component, describe
from digideep.pipeline.runner import Runner
from digideep.policy.networks import Scalar
from params import sac_classic, shared

cpanel = sac_classic.cpanel | {"part": "runner"}


class Turning(Runner):
    """Learns twice in every third cycle, which it counts."""

    def override(self):
        self.turns = 0

    def train_cycle(self):
        super().train_cycle()
        self.turns += 1
        if self.turns % 3 == 0:
            self.agents["agent"].update()

    def state_dict(self):
        return {**super().state_dict(), "turns": self.turns}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.turns = state.get("turns", 0)


class Drifting(SAC):
    """Its targets rise by a number that grows with each step."""

    def __init__(self, context, *, drift: float = 1e-3, **parameters):
        super().__init__(context, **parameters)
        self.drift, self.level = drift, self.register("level", Scalar(0.0))

    def critic_targets(self, batch, actor, critics, noise, alpha):
        return super().critic_targets(batch, actor, critics, noise, alpha) + self.level.value

    def after_step(self):
        with torch.no_grad():
            self.level.value += self.drift


class Doubting(Memory):
    """Adds noise of its own to rewards."""

    def __init__(self, *, spread: float = 0.1, **parameters):
        super().__init__(**parameters)
        self.generator, self.spread = np.random.default_rng(5), spread

    def store(self, chunk):
        noise = self.spread * self.generator.standard_normal(chunk["/rewards"].shape)
        noise[:, 0] = noise[:, -1] = 0  # the half-steps, which chunks have in common
        super().store({**chunk, "/rewards": (chunk["/rewards"] + noise).astype(np.float32)})

    def state_dict(self):
        return {**super().state_dict(), "doubt": self.generator.bit_generator.state}

    def load_state_dict(self, state):
        super().load_state_dict({key: value for key, value in state.items() if key != "doubt"})
        self.generator.bit_generator.state = state["doubt"]


def halve_rewards(chunk, info):
    return {**chunk, "/rewards": chunk["/rewards"] * np.float32(0.5)}


class Halving(Replay):
    """Draws as Replay does, and halves rewards."""

    def __call__(self, memory, info):
        return halve_rewards(super().__call__(memory, info), info)


class Slower(gym.Wrapper, Component):
    """Takes actions by halves, and less so from episode to episode."""

    def __init__(self, env, episode, *, share: float = 0.5):
        super().__init__(env)
        self.episode, self.share = episode, share

    def step(self, action):
        return self.env.step(action * (1 - self.share / (1 + self.episode())))


class Signs(Optimizer):
    """Steps by the sign of a running mean of gradients."""

    def __init__(self, *, decay: float = 0.9):
        self.decay = decay

    def init(self, flat):
        return {"mean": torch.zeros_like(flat)}

    def step(self, flat, gradient, state, lr):
        state["mean"].lerp_(gradient, 1 - self.decay)
        flat.sub_(lr * state["mean"].sign())


class Line(gym.Env):
    """Stay near 0."""

    observation_space = gym.spaces.Box(-10, 10, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.place, {}

    def step(self, action):
        self.place = (self.place + 0.1 * action + 0.05 * self.np_random.standard_normal(1)).astype(np.float32)
        return self.place, -abs(float(self.place[0])), bool(abs(self.place[0]) > 2), False, {}


def gen_params(cpanel):
    part, tree = cpanel["part"], sac_classic.gen_params(cpanel)
    agent = tree["agents"]["agent"]
    if part == "runner":
        tree["runner"] |= {"class": Turning}
    elif part == "agent":
        tree["agents"] = {"agent": agent | {"class": Drifting, "drift": 0.01}}
    elif part == "memory":
        tree["memory"] |= {"class": Doubting, "spread": 0.2}
    elif part == "sampler":
        tree["agents"] = {"agent": agent | {"sampler": agent["sampler"] | {"class": Halving}}}
    elif part == "wrapper":
        tree["env"] = shared.environment_tree(cpanel, norm_wrappers=[describe_wrapper(Slower, share=0.4)])
    elif part == "optimizer":
        tree["agents"] = {"agent": agent | {"optimizer": describe(Signs, decay=0.8)}}
    elif part == "environment":
        registration = {"id": "Line-v0", "entry_point": Line, "max_episode_steps": 30}
        tree["env"] |= {"name": "Line-v0", "from_params": registration}
    return tree
