"""Wrappers around single environments, as the parameter tree lists them under `env/norm_wrappers`.

They are gymnasium's own wherever it has one. A wrapper's state has to live within an episode: re-living the episode
then brings it back. What learns across episodes belongs around the vector, where it is saved.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.parameters.checks import require, require_int
from digideep.parameters.component import ENABLED, Component, Description, asks_for, build, describe
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

_OFFERED = sorted(set(gym.wrappers.__all__) - {"vector", "ArrayConversion", "JaxToNumpy", "JaxToTorch", "NumpyToTorch"})
_LEARNS = "it learns across episodes, which a resume could not restore. Use"
_REFUSED = {
    "NormalizeObservation": f"{_LEARNS} VecNormalizeObs under vect_wrappers",
    "NormalizeReward": f"{_LEARNS} VecNormalizeReward under vect_wrappers",
    "Autoreset": "workers begin the next episode themselves. Leave it out",
    "RecordEpisodeStatistics": "episodes are counted anyway. Leave it out",
    "RecordVideo": "videos are recorded with video_interval and --play. Leave it out",
    "HumanRendering": "windows are opened with --play --render human. Leave it out",
    "RenderCollection": "it keeps every image of an episode. Use video_interval or --play",
}


def describe_wrapper(
    cls: type[gym.Wrapper] | type[Component], *, enabled: bool = True, **arguments: Any
) -> Description:
    """Describe a wrapper of a stack for a parameter file.

    Args:
        cls: one of `gymnasium.wrappers`, or a class of yours that is a `gymnasium.Wrapper` and a `Component`, with
            `env` before the `*` of its constructor; for vect_wrappers a `VectorWrapper`.
        enabled: False leaves it out of the stack; `--set /env/norm_wrappers/0/enabled=false` does so for a run.
        arguments: of its constructor, without the environment. Lists stand for arrays and tuples.

    Raises:
        UsageError: if it is neither, keeps state across episodes, or does not take the arguments.
    """
    if isinstance(cls, type) and issubclass(cls, Component):
        return {**describe(cls, **arguments), ENABLED: enabled}
    GymnasiumWrapper(wrapper=cls, arguments=arguments)
    return {**describe(GymnasiumWrapper, wrapper=cls, arguments=arguments), ENABLED: enabled}


def enabled_ones(stack: str, descriptions: list[Description]) -> list[Description]:
    """Return those of a stack that are enabled, without the word that says so. Args: stack: its name.

    Raises:
        UsageError: for a word that is neither true nor false.
    """
    found = []
    for description in map(dict, descriptions):
        word = description.pop(ENABLED, True)
        require(isinstance(word, bool), f"{stack}: {ENABLED}", word, "true or false")
        found += [description] if word else []
    return found


class GymnasiumWrapper(Component):
    """One of gymnasium's wrappers with its arguments. A file can name nothing but those: it is looked up by its name.

    Args:
        wrapper: the class; on disk its name.
        arguments: of its constructor, without the environment.

    Raises:
        UsageError: if there is no such wrapper, it is refused, or it does not take the arguments.
    """

    def __init__(self, *, wrapper: type[gym.Wrapper] | str, arguments: dict[str, Any] | None = None):
        path = wrapper if isinstance(wrapper, str) else f"{wrapper.__module__}.{wrapper.__qualname__}"
        place, _, self.name = path.rpartition(".")
        if place.partition(".")[0] != "gymnasium" or self.name not in _OFFERED:
            raise UsageError(f"'{path}' is no wrapper of gymnasium. {did_you_mean(self.name, _OFFERED)}")
        if self.name in _REFUSED:
            raise UsageError(f"{self.name} cannot stand under norm_wrappers: {_REFUSED[self.name]}.")
        self._cls = getattr(gym.wrappers, self.name)
        self._arguments = dict(arguments or {})
        _, *known = inspect.signature(self._cls).parameters.values()
        names = [argument.name for argument in known]
        for name in self._arguments:
            if name not in names:
                raise UsageError(f"{self.name} has no argument '{name}'. {did_you_mean(name, names)}")
        for argument in known:
            if argument.default is argument.empty and argument.name not in self._arguments:
                raise UsageError(f"{self.name} needs the argument '{argument.name}', which is not given.")

    def wrap(self, environment: gym.Env) -> gym.Env:
        """Put the wrapper around an environment."""
        arguments = {
            name: _CONVERSIONS[name](value) if name in _CONVERSIONS and isinstance(value, (list, tuple)) else value
            for name, value in self._arguments.items()
        }
        return self._cls(environment, **arguments)


# Files know lists only; these arguments want something else.
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"shape": tuple}
_CONVERSIONS |= dict.fromkeys(("min_obs", "max_obs", "min_action", "max_action"), partial(np.asarray, dtype=np.float32))


class RunProgress:
    """Says how much of a run is done; called without arguments.

    Attributes:
        share: of the run's frames, in [0, 1]. Around a single environment: what was done when the chunk began in which
            the episode began; around the workers: when the present chunk began. 1 where nothing is trained.
    """

    def __init__(self) -> None:
        self.share = 1.0

    def __call__(self) -> float:
        """Return the share of the run's frames that is done, in [0, 1]."""
        return self.share


class EpisodeNumber:
    """Counts the episodes of a worker, from 0; called without arguments. A wrapper around one may ask for it."""

    def __init__(self) -> None:
        self.number = -1  # none has begun

    def __call__(self) -> int:
        """Return the number of the episode that is played; within `reset`, of the one that begins."""
        return self.number


@dataclass(frozen=True)
class Surroundings:
    """What a wrapper around a single environment may ask for, by arguments of these names before its `*`.

    Attributes:
        mode: of the explorer: "train", "test", "eval" or a further one's name.
        worker: its number in the explorer, those of other ranks counted through.
        seed: of the run; each rank has its own.
        progress: how far the run is, see `RunProgress`.
        episode: which of the worker's episodes is played, see `EpisodeNumber`.
    """

    mode: str = "train"
    worker: int = 0
    seed: int = 0
    progress: RunProgress = field(default_factory=RunProgress)
    episode: EpisodeNumber = field(default_factory=EpisodeNumber)


def ask_for_progress(descriptions: list[Description]) -> bool:
    """True if one of these wrappers asks for the run's progress."""
    return any(asks_for(description["class"], "progress") for description in descriptions)


class MaskGoal(gym.ObservationWrapper, Component):
    """Shows the end of the observation, where a goal stands, with the first observation only: a policy has to remember.

    Args:
        env: whose observations are a one-dimensional Box; 0 need not lie within its bounds.
        num_masked: entries at the end that are 0 after the first step.
    """

    def __init__(self, env: gym.Env, *, num_masked: int):
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise UsageError(f"MaskGoal needs observations in a one-dimensional Box, got {space}.")
        require_int("num_masked", num_masked, 1, space.shape[0])
        low, high = space.low.copy(), space.high.copy()
        low[-num_masked:], high[-num_masked:] = np.minimum(low[-num_masked:], 0), np.maximum(high[-num_masked:], 0)
        self.observation_space = gym.spaces.Box(low, high, dtype=space.dtype.type)
        self.num_masked = num_masked

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, with everything in sight."""
        return self.env.reset(seed=seed, options=options)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Hide the goal."""
        masked = observation.copy()
        masked[-self.num_masked :] = 0
        return masked


class RawReward(gym.RewardWrapper):
    """Keeps count of rewards below other wrappers, so that the returns that are logged are the environment's own."""

    _sum = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._sum = 0.0
        return self.env.reset(seed=seed, options=options)

    def reward(self, reward: Any) -> Any:
        """Count a reward, and pass it on."""
        self._sum += float(reward)
        return reward

    def take(self) -> float:
        """Return the sum of rewards since it was last asked."""
        taken, self._sum = self._sum, 0.0
        return taken


def wrap(environment: gym.Env, descriptions: list[Description], surroundings: Surroundings) -> gym.Env:
    """Stack wrappers, the first one innermost. Raises: UsageError: if one does not fit the environment."""
    if descriptions:
        environment = RawReward(environment)
    for description in descriptions:
        cls = description["class"]
        try:
            if issubclass(cls, GymnasiumWrapper):
                environment = build(description, GymnasiumWrapper).wrap(environment)
            else:
                environment = build(description, gym.Wrapper, env=environment, **vars(surroundings))
        except UsageError:
            raise
        except (TypeError, ValueError, AssertionError, AttributeError, gym.error.Error, ImportError) as err:
            wrapper: Any = description.get("wrapper", cls)
            name = wrapper.rpartition(".")[2] if isinstance(wrapper, str) else wrapper.__name__
            raise UsageError(
                f"norm_wrappers: {name} does not fit the observations or actions here: {type(err).__name__}: "
                f"{' '.join(str(err).split())}"
            ) from err
    return environment


def raw_reward(environment: gym.Env) -> RawReward | None:
    """Return the counter of raw rewards among an environment's wrappers; None without wrappers of `wrap`."""
    while isinstance(environment, gym.Wrapper):
        if isinstance(environment, RawReward):
            return environment
        environment = environment.env
    return None
