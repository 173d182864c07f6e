"""Running normalisation of observations and rewards: wrappers around the workers of an Explorer.

Statistics learn in mode "train" only; other modes use what was synchronised from there.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.running_statistics import RunningMeanStd, merge
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.parameters.checks import require, require_between
from digideep.parameters.component import Component
from digideep.utility.errors import UsageError
from digideep.utility.images import is_image, pixel_divisor
from digideep.utility.ranks import Ranks

Arrays = dict[str, np.ndarray]


class VectorWrapper(Component):
    """Changes what the workers of an Explorer return. A subclass with statistics keeps them in its `state_dict`.

    Attributes:
        changes_observations: False for a subclass that changes rewards only: exported policies need not know of it.
        changes_rewards: False for a subclass that changes observations only: hindsight needs rewards as they are. One
            that leaves some observations as they are names the others by `paths`, a parameter.
    """

    changes_observations = changes_rewards = True

    def reset(self, buffers: StepBuffers, observations: Arrays) -> Arrays:
        """Change observations after a reset of all workers: path -> (N, ...). Returns: the changed ones."""
        return self.observe(observations)

    def step(
        self, buffers: StepBuffers, observations: Arrays, rewards: np.ndarray, moved: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Change the outcome of a step.

        Args:
            buffers: the workers' own arrays; `buffers.workers` are the rows they belong to: all, or a part of them.
            observations: path -> (N, ...), to be changed in copies only.
            rewards: float32 (N,).
            moved: bool (N,), False where the worker began an episode instead of taking a step.

        Returns:
            The changed observations and rewards.
        """
        return self.observe(observations), rewards

    def observe(self, observations: Arrays) -> Arrays:
        """Change observations only. Never in place: they may be another wrapper's."""
        return observations

    def wrap_recorded(
        self, observations: Arrays, rewards: np.ndarray, masks: np.ndarray, ranks: Ranks
    ) -> tuple[Arrays, np.ndarray]:
        """Change what a data set holds, having learned from all of it.

        Args:
            observations: path -> (R, ...), the rows of one episode after the other.
            rewards: float32 (R,).
            masks: bool (R,), False at the last row of each episode, where no step was taken.
            ranks: that have a share of the data set each.

        Returns:
            The changed observations and rewards.
        """
        return self.observe(observations), rewards

    def merge(self, ranks: Ranks) -> None:
        """Take in what the wrappers of other ranks have learned since the last call, so that all know the same."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""

    def statistics(self) -> dict[str, Any]:
        """Return the part of the state that other explorers synchronise with."""
        return {}

    def load_statistics(self, state: dict[str, Any]) -> None:
        """Take over another explorer's statistics."""

    def metrics(self) -> dict[str, float]:
        """Return what is to be logged of the steps since the last call, by path, such as "/intrinsic/error"."""
        return {}

    def follow(self, other: Any) -> None:
        """Change what comes as another explorer's wrapper does now, which is of the same class."""
        self.load_statistics(other.statistics())


class VecNormalizeObs(VectorWrapper):
    """Standardises observations by their running mean and variance and clips them.

    Args:
        mode: the explorer's; statistics change in "train" only.
        observation_spaces: of the environment, by path.
        clip: limit of the result, in standard deviations, at least 0.001.
        epsilon: added to the variance, at least 1e-16.
        paths: which observations; None for all vectors of numbers but bytes, whose bounds scale them. An image that is
            named has one mean and one variance for all its pixels.
    """

    changes_rewards = False

    def __init__(
        self,
        mode: str,
        observation_spaces: dict[str, Any],
        *,
        clip: float = 10.0,
        epsilon: float = 1e-8,
        paths: list[str] | None = None,
    ):
        require_between("clip", clip, 1e-3)
        require_between("epsilon", epsilon, 1e-16)
        numbers = {path: space for path, space in observation_spaces.items() if _is_normalisable(space)}
        for path in paths or ():
            require(path in numbers, "paths", path, f"one of the observations that can be normalised {list(numbers)}")
        if paths is None:
            paths = [path for path, space in numbers.items() if not is_image(space) and space.dtype != np.uint8]
        self._is_learning = mode == "train"
        self.clip, self.epsilon = clip, epsilon
        self._running = {path: RunningMeanStd(() if is_image(numbers[path]) else numbers[path].shape) for path in paths}

    @property
    def paths(self) -> list[str]:
        """The observations that are normalised."""
        return list(self._running)

    def observe(self, observations: Arrays, counted: np.ndarray | None = None) -> Arrays:
        """Learn from the rows, then standardise: each observation counts once, an episode's last too.

        Args:
            observations: path -> (N, ...).
            counted: bool (N,), the rows to learn from; None for all.
        """
        changed = dict(observations)
        for path, running in self._running.items():
            rows = observations[path]
            if self._is_learning and (counted is None or counted.any()):
                learned = rows if counted is None else rows[counted]
                running.update(learned.reshape(-1, *running.mean.shape))
            scaled = (rows - running.mean) / np.sqrt(running.var + self.epsilon)
            changed[path] = np.minimum(np.maximum(scaled, -self.clip), self.clip).astype(np.float32)
        return changed

    def reset(self, buffers: StepBuffers, observations: Arrays) -> Arrays:
        """Standardise; players that have not come yet do not count."""
        return self.observe(observations, None if buffers.is_stale is None else ~buffers.is_stale)

    def step(
        self, buffers: StepBuffers, observations: Arrays, rewards: np.ndarray, moved: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Standardise; players that left before this step do not count."""
        return self.observe(observations, None if buffers.is_stale is None else ~buffers.is_stale), rewards

    def wrap_recorded(
        self, observations: Arrays, rewards: np.ndarray, masks: np.ndarray, ranks: Ranks
    ) -> tuple[Arrays, np.ndarray]:
        """Standardise by the statistics of the whole: each row counts once, an episode's last too."""
        self.observe(observations)
        if ranks.size > 1:
            self.merge(ranks)
        return self.observe(observations, np.zeros(len(rewards), np.bool_)), rewards

    def merge(self, ranks: Ranks) -> None:
        """See `VectorWrapper`."""
        if self._is_learning:
            merge(list(self._running.values()), ranks)

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics by path."""
        return {path: running.state_dict() for path, running in self._running.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off. Raises: UsageError: if other observations were normalised then."""
        if state.keys() != self._running.keys():
            raise UsageError(
                f"This session was begun with {sorted(state)} normalised, and now {sorted(self._running)} would be. "
                "Give VecNormalizeObs the same paths, or begin a new session."
            )
        for path, running in self._running.items():
            running.load_state_dict(state[path])

    statistics, load_statistics = state_dict, load_state_dict  # all of the state is statistics


def _is_normalisable(space: Any) -> bool:
    """True for a Box of numbers, unless it holds images that are scaled by their bounds."""
    if not isinstance(space, gym.spaces.Box) or np.dtype(space.dtype).kind not in "iuf":
        return False
    return not is_image(space) or pixel_divisor(space) == 1


class VecNormalizeReward(VectorWrapper):
    """Divides rewards by the standard deviation of the running discounted return, then clips; the mean stays.

    Only in mode "train", and where an explorer follows that one: elsewhere rewards pass as they are. Source: Engstrom
    et al. 2020, arXiv:2005.12729, Section 3, "reward scaling".

    Args:
        mode: the explorer's.
        num_workers: of the explorer.
        gamma: discount of the agent that learns from these rewards, in [0, 1].
        clip: limit of the result, at least 0.001.
        epsilon: added to the variance, at least 1e-16.
    """

    changes_observations = False

    def __init__(self, mode: str, num_workers: int, *, gamma: float, clip: float = 10.0, epsilon: float = 1e-8):
        require_between("gamma", gamma, 0, 1)
        require_between("clip", clip, 1e-3)
        require_between("epsilon", epsilon, 1e-16)
        self._is_learning, self._is_following = mode == "train", False
        self._gamma, self._clip, self._epsilon = gamma, clip, epsilon
        self._running = RunningMeanStd(())
        self._returns = np.zeros(num_workers)

    def reset(self, buffers: StepBuffers, observations: Arrays) -> Arrays:
        """Forget the returns of the episodes that were cut off."""
        self._returns[:] = 0
        return observations

    def step(
        self, buffers: StepBuffers, observations: Arrays, rewards: np.ndarray, moved: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Scale the rewards; rows that took no step neither count nor change (their reward is 0)."""
        if self._is_following:
            return observations, self._scale(rewards)
        if not self._is_learning:
            return observations, rewards
        returns = self._returns[buffers.workers]
        if not moved.all():
            returns[~moved] = 0  # ended without a step: by a resume that cannot re-live episodes
        returns *= self._gamma
        returns += rewards
        learned = returns if moved.all() else returns[moved]
        if learned.size:
            self._running.update(learned)
        returns[buffers.ended] = 0
        return observations, self._scale(rewards)

    def wrap_recorded(
        self, observations: Arrays, rewards: np.ndarray, masks: np.ndarray, ranks: Ranks
    ) -> tuple[Arrays, np.ndarray]:
        """Scale by the spread of the discounted returns in the whole."""
        returns, total = np.zeros(len(rewards)), 0.0
        for row, (reward, has_step) in enumerate(zip(rewards.tolist(), masks.tolist(), strict=True)):
            returns[row] = total = total * self._gamma + reward if has_step else 0.0
        self._running.update(returns[masks])
        if ranks.size > 1:
            self.merge(ranks)
        return observations, self._scale(rewards)

    def _scale(self, rewards: np.ndarray) -> np.ndarray:
        scale = 1 / np.sqrt(self._running.var + self._epsilon)
        return np.minimum(np.maximum(rewards * scale, -self._clip), self._clip).astype(np.float32)

    def follow(self, other: "VecNormalizeReward") -> None:
        """See `VectorWrapper`."""
        self._running, self._is_following = other._running, True

    def merge(self, ranks: Ranks) -> None:
        """See `VectorWrapper`."""
        if self._is_learning:
            merge([self._running], ranks)

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics and each worker's return so far."""
        return {"running": self._running.state_dict(), "returns": self._returns.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off; one that follows another one does so when it is told again."""
        self._running.load_state_dict(state["running"])
        self._returns = np.array(state["returns"])


class VecSignReward(VectorWrapper):
    """Keeps the sign of each reward only: -1, 0 or 1, so that one learning rate serves every game.

    Source: Mnih et al. 2015, Nature 518, Methods. The returns that are logged stay raw.
    """

    changes_observations = False

    def step(
        self, buffers: StepBuffers, observations: Arrays, rewards: np.ndarray, moved: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Clip the rewards."""
        return observations, np.sign(rewards)

    def wrap_recorded(
        self, observations: Arrays, rewards: np.ndarray, masks: np.ndarray, ranks: Ranks
    ) -> tuple[Arrays, np.ndarray]:
        """Clip the rewards."""
        return observations, np.sign(rewards)
