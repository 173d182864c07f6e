"""What an environment says of goals: what a step would have brought if another one had been desired.

As in Gymnasium-Robotics' `GoalEnv`: `compute_reward(achieved_goal, desired_goal, info)` gives the reward of a step that
led to `achieved_goal`; `compute_terminated`, if there is one, takes the same and says whether that is a terminal state.
`compute_truncated` is not asked: a truncation keeps its bootstrap, and an episode that is stored ends where it ended.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.closing import close_environment
from digideep.environment.infos import find_info, info_templates
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.environment.spaces import leaves, observation_reader
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.user_code import words_unless_ours

Infos = Mapping[str, np.ndarray]
_STEPS = 3  # whose rewards are compared before any is computed
_log = logging.getLogger("digideep")


class GoalFunction:
    """Asks a function of an environment's about many steps: by one call where it can answer that, or one by one.

    Args:
        function: takes an achieved goal, a desired one and an info.
        name: what it is called in messages.
    """

    def __init__(self, function: Callable[..., Any], name: str):
        self._function, self._name = function, name
        self.is_vectorised = False

    def __call__(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> np.ndarray:
        """Return an answer for each of B steps, (B,). Raises: UsageError: if it fails, or gives no such thing."""
        try:
            answers = (self._at_once if self.is_vectorised else self._one_by_one)(achieved, desired, infos)
        except KeyError as err:
            raise UsageError(f"{self._name} asks for info[{err}], which is not kept. Add it to info_keys.") from err
        except BaseException as err:  # an environment's own code raises what it likes
            raise UsageError(f"{self._name} failed: {words_unless_ours(err)}") from err
        if answers.shape != (len(achieved),) or answers.dtype.kind not in "biuf":
            raise UsageError(f"{self._name} must give a number, and gave {answers.dtype}{list(answers.shape[1:])}.")
        return answers

    def _at_once(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> np.ndarray:
        return np.asarray(self._function(achieved, desired, dict(infos)))

    def _one_by_one(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> np.ndarray:
        told: Iterable[dict[str, Any]] = repeat({})
        if infos:
            told = (dict(zip(infos, step, strict=True)) for step in zip(*infos.values(), strict=True))
        return np.asarray(list(map(self._function, achieved, desired, told)))

    def look_for_vectors(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> bool:
        """Find out whether one call answers for several steps, and as single calls do. Returns: True if so."""
        expected = self(achieved, desired, infos)
        try:
            answers = self._at_once(achieved, desired, infos)
            self.is_vectorised = answers.shape == expected.shape and bool(np.allclose(answers, expected))
        except BaseException as err:
            words_unless_ours(err)
        return self.is_vectorised


class GoalOutcomes:
    """Says what steps would have brought with other goals.

    Args:
        environment: that is asked, used for nothing else.
        spec: of it.
        achieved_goal, desired_goal: paths of observations.

    Raises:
        UsageError: if it lacks them, or `compute_reward`, or if that gives other rewards than the environment.
    """

    def __init__(self, environment: gym.Env, spec: EnvironmentSpec, achieved_goal: str, desired_goal: str):
        self._environment, self._spec, self._paths = environment, spec, (achieved_goal, desired_goal)
        spaces = {path: leaf for path, _, leaf in leaves(environment.observation_space, spec.observation_key)}
        for path in self._paths:
            if path not in spaces:
                raise UsageError(
                    f"hindsight needs the observation '{path}', which {spec.name} does not have. "
                    f"{did_you_mean(path, spaces)}"
                )
        achieved, desired = (spaces[path] for path in self._paths)
        if (type(achieved), achieved.shape) != (type(desired), desired.shape):
            raise UsageError(f"hindsight needs goals of one kind: {achieved_goal} is {achieved}, the other {desired}.")
        self._dtypes = achieved.dtype, desired.dtype  # memories narrow them
        reward, self._terminated = self._find("compute_reward"), self._find("compute_terminated")
        if reward is None:
            raise UsageError(f"hindsight needs compute_reward(achieved_goal, desired_goal, info), of {spec.name}.")
        self._reward = reward
        self._try()

    def rewards(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> np.ndarray:
        """Return the rewards of B steps, float32 (B,). Args: goals (B, ...); infos by key, (B, ...)."""
        rewards = self._reward(*self._as_declared(achieved, desired), infos).astype(np.float32)
        if not np.isfinite(rewards).all():
            raise UsageError(f"compute_reward of {self._spec.name} gave a reward that is not finite.")
        return rewards

    def terminations(self, achieved: np.ndarray, desired: np.ndarray, infos: Infos) -> np.ndarray | None:
        """Return which of B steps end in a terminal state, bool (B,); None if the environment does not say."""
        if self._terminated is None:
            return None
        return self._terminated(*self._as_declared(achieved, desired), infos).astype(np.bool_)

    def _as_declared(self, achieved: np.ndarray, desired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return achieved.astype(self._dtypes[0], copy=False), desired.astype(self._dtypes[1], copy=False)

    def _find(self, name: str) -> GoalFunction | None:
        """Return a function of the environment, or of the outermost wrapper that has one."""
        environment: Any = self._environment
        while True:
            if callable(function := getattr(environment, name, None)):
                return GoalFunction(function, f"{name} of {self._spec.name}")
            if not isinstance(environment, gym.Wrapper):
                return None
            environment = environment.env

    def _try(self) -> None:
        """Take some steps, whose rewards must be those that are computed; find out how to ask."""
        try:
            seen, given, told = self._take_steps()
        except UsageError:
            raise
        except BaseException as err:
            raise UsageError(f"{self._spec.name} failed: {words_unless_ours(err)}") from err
        readers = [observation_reader(self._environment.observation_space, path) for path in self._paths]
        achieved, desired = (np.stack([np.asarray(reader(each)) for each in seen]) for reader in readers)
        infos = {key: np.stack([info[key] for info in told]) for key in told[0]}
        computed = self._reward(achieved, desired, infos)
        if not np.allclose(computed, given, 1e-4, 1e-6):
            raise UsageError(
                f"compute_reward of {self._spec.name} says {computed.tolist()} of steps that brought {given}: they "
                "must agree. Correct it; of wrappers that change rewards or goals, it asks theirs."
            )
        # With their own outcomes as goals too, so that answers differ.
        goals, twice = np.concatenate([desired, achieved]), np.concatenate([achieved, achieved])
        infos = {key: np.concatenate([array, array]) for key, array in infos.items()}
        if not self._reward.look_for_vectors(twice, goals, infos):
            _log.warning("compute_reward of %s takes one goal at a time, which is slow.", self._spec.name)
        if self._terminated is not None:
            self._terminated.look_for_vectors(twice, goals, infos)

    def _take_steps(self) -> tuple[list[Any], list[float], list[dict[str, np.ndarray]]]:
        """Return observations, rewards and kept infos of some random steps."""
        environment = self._environment
        templates = info_templates(environment, self._spec.info_keys)
        environment.reset(seed=0)
        environment.action_space.seed(0)
        seen, given, told = [], [], []
        for _ in range(_STEPS):
            observation, reward, terminated, truncated, info = environment.step(environment.action_space.sample())
            kept = {path[1:]: (find_info(info, path[1:]), zeros) for path, zeros in templates.items()}
            seen.append(observation)
            given.append(float(reward))
            told.append({key: zeros if value is None else np.asarray(value) for key, (value, zeros) in kept.items()})
            if terminated or truncated:
                break
        return seen, given, told


class EnvironmentGoals:
    """What the environment that is learned in says of goals. Makes one of its own when it is first asked.

    Args:
        spec: of the environment.
        unnoticed: a context in which it is made and tried, so that a run that asks later goes the same way.
    """

    def __init__(
        self, spec: EnvironmentSpec, unnoticed: Callable[[], AbstractContextManager[None]] = nullcontext
    ):  # fmt: skip
        self._spec, self._unnoticed = spec, unnoticed
        self._environment: gym.Env | None = None

    def of(self, achieved_goal: str, desired_goal: str) -> GoalOutcomes:
        """Return what can be asked. Args: paths of observations.

        Raises:
            UsageError: if nothing can, or if a wrapper around the workers changes rewards or goals.
        """
        for description in self._spec.vect_wrappers:
            cls, paths = description["class"], description.get("paths")
            if cls.changes_rewards:
                raise UsageError(f"hindsight needs rewards as they are. Leave {cls.__name__} out of vect_wrappers.")
            if cls.changes_observations and (paths is None or {achieved_goal, desired_goal} & set(paths)):
                raise UsageError(
                    f"hindsight needs goals as they are. Give {cls.__name__} 'paths' of other observations."
                )
        with self._unnoticed():
            if self._environment is None:
                self._environment = make_environment(self._spec)
            environment = self._environment
            declared = environment.env if isinstance(environment, JoinedActions) else environment
            return GoalOutcomes(declared, self._spec, achieved_goal, desired_goal)

    def close(self) -> None:
        """Close the environment, if there is one."""
        if self._environment is not None:
            close_environment(self._environment, self._spec.name)
        self._environment = None
