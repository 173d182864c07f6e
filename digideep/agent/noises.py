"""Noise processes: how agents with a deterministic policy explore. Part of the agent, saved with it.

Actions are in [-1, 1], which the environment's edge scales: so a noise of 0.1 is 5 % of any action range.
"""

from abc import abstractmethod
from typing import Any

import numpy as np

from digideep.parameters.checks import require_between
from digideep.parameters.component import Component, Description
from digideep.parameters.schedule import Course
from digideep.utility.seeding import generator_state, set_generator_state


class Noise(Component):
    """Changes the actions of one vector of workers. Args: generator: owned by the noise from here on."""

    acts_in_parts = True  # see `AgentBase`; a noise that remembers something of each worker cannot

    def __init__(self, generator: np.random.Generator):
        self.generator = generator

    @abstractmethod
    def __call__(self, actions: np.ndarray, masks: np.ndarray, frames: int, allowed: np.ndarray | None) -> np.ndarray:
        """Explore.

        Args:
            actions: float32 (N, A) in [-1, 1], or int64 (N,).
            masks: bool (N,), False where the episode is over and the action will be ignored.
            frames: collected so far.
            allowed: bool (N, choices), the action mask; None allows everything.

        Returns:
            New actions, within the range.
        """
        raise NotImplementedError

    def schedules(self) -> dict[str, Course]:
        """Return what changes over the frames of the run, by name; nothing by default."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs."""
        return {"generator": generator_state(self.generator)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        set_generator_state(self.generator, state["generator"])


class GaussianNoise(Noise):
    """Independent normal noise. Source: Fujimoto et al. 2018, arXiv:1802.09477, Section 6.1 (std 0.1).

    With `epsilon`, e-greedy too. Source: Andrychowicz et al. 2017, arXiv:1707.01495, Appendix A (std 0.05 of the range,
    epsilon 0.2).

    Args:
        planned_frames: of the whole run.
        std: in the unit of actions; a number or a schedule over frames.
        epsilon: the chance of an action that is uniform over the range, in the place of that with noise; in [0, 1].
    """

    def __init__(
        self, generator: np.random.Generator, planned_frames: int = 0, *, std: float | Description, epsilon: float = 0.0
    ):
        super().__init__(generator)
        if not isinstance(std, dict):
            require_between("std", std)
        require_between("epsilon", epsilon, 0, 1)
        self.std, self.epsilon = Course(std, planned_frames), epsilon

    def schedules(self) -> dict[str, Course]:
        """See `Noise`: the spread, if it changes."""
        return {} if self.std.is_constant else {"noise_std": self.std}

    def __call__(self, actions: np.ndarray, masks: np.ndarray, frames: int, allowed: np.ndarray | None) -> np.ndarray:
        noise = self.generator.standard_normal(actions.shape, np.float32) * np.float32(self.std(frames))
        changed: np.ndarray = np.clip(actions + noise, -1, 1)
        if self.epsilon:
            is_random = self.generator.random(len(actions)) < self.epsilon
            changed[is_random] = self.generator.uniform(-1, 1, (is_random.sum(), *actions.shape[1:]))
        return changed


class OrnsteinUhlenbeckNoise(Noise):
    """Noise that drifts: each worker's begins at 0 with each episode. Source: Lillicrap et al. 2016, arXiv:1509.02971.

    Args:
        std: of the steps of the process, in the unit of actions.
        theta: pull towards 0 in each step, in [0, 1].
    """

    acts_in_parts = False

    def __init__(self, generator: np.random.Generator, *, std: float, theta: float = 0.15):
        super().__init__(generator)
        require_between("std", std)
        require_between("theta", theta, 0, 1)
        self.std, self.theta = std, theta
        self._level = np.zeros((0, 0), np.float32)

    def __call__(self, actions: np.ndarray, masks: np.ndarray, frames: int, allowed: np.ndarray | None) -> np.ndarray:
        if self._level.shape != actions.shape:
            self._level = np.zeros(actions.shape, np.float32)
        noise = self.generator.standard_normal(actions.shape, np.float32)
        self._level += np.float32(self.std) * noise - np.float32(self.theta) * self._level
        changed = (actions + self._level).clip(-1, 1)
        self._level[~masks] = 0  # the next row begins an episode
        return changed

    def state_dict(self) -> dict[str, Any]:
        """The generator, and where the processes are."""
        return {**super().state_dict(), "level": self._level}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self._level = np.array(state["level"])


class EpsilonGreedy(Noise):
    """A random action now and then, uniform over all of them.

    Args:
        num_actions: how many there are.
        planned_frames: of the whole run.
        epsilon: the chance of it, in [0, 1], a number or a schedule over frames.
    """

    def __init__(
        self, generator: np.random.Generator, num_actions: int, planned_frames: int = 0, *, epsilon: float | Description
    ):
        super().__init__(generator)
        self.num_actions, self.epsilon = num_actions, Course(epsilon, planned_frames)
        for frames in (0, planned_frames):
            require_between("epsilon", self.epsilon(frames), 0, 1)

    def schedules(self) -> dict[str, Course]:
        """See `Noise`."""
        return {"epsilon": self.epsilon}

    def __call__(self, actions: np.ndarray, masks: np.ndarray, frames: int, allowed: np.ndarray | None) -> np.ndarray:
        """See `Noise`."""
        is_random = self.generator.random(len(actions)) < self.epsilon(frames)
        if allowed is None:
            return np.where(is_random, self.generator.integers(self.num_actions, size=len(actions)), actions)
        ranks = np.where(allowed, self.generator.random(allowed.shape), -1.0)
        return np.where(is_random, ranks.argmax(1), actions)
