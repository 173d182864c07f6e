"""Wrappers that ask for what the session knows. Observations tell what they were told."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from digideep.environment.normalizers import VectorWrapper
from digideep.parameters.component import Component


class Asking(gym.ObservationWrapper, Component):
    """Sees [progress, worker, seed, 1 in a test]."""

    def __init__(self, env, mode: str, worker: int, seed: int, progress: Callable[[], float], *, scale: float = 1.0):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.known, self.progress, self.scale = (worker, seed, float(mode == "test")), progress, scale

    def observation(self, observation):
        return np.array([self.progress(), *self.known], np.float32) * self.scale


class Own(gym.Wrapper, Component):
    """Has parameters of these names, which stay its own."""

    def __init__(self, env, *, mode: str = "own", seed: int = 7):
        super().__init__(env)
        self.own = mode, seed


class Fading(VectorWrapper):
    """Multiplies rewards by what is left of the run, and adds the seed."""

    def __init__(self, seed: int, progress: Callable[[], float], num_workers: int):
        self.seed, self.progress = seed, progress

    def step(self, buffers, observations, rewards, moved):
        return observations, (rewards * (1 - self.progress()) + self.seed).astype(np.float32)


class Counting(gym.ObservationWrapper, Component):
    """Sees the number of its worker's episode."""

    def __init__(self, env, episode: Callable[[], int]):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.episode = episode

    def observation(self, observation):
        return np.array([self.episode()], np.float32)
