"""Infos: the keys that are asked for, as arrays of one shape and dtype each.

An action mask may also stand in the observation, a Dict, as in PettingZoo's games; if it is asked for, it is moved.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, fit, summary
from digideep.environment.spaces import ACTION_MASK
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

Templates = dict[str, np.ndarray]


def sees_action_mask(space: gym.Space) -> bool:
    """True if observations hold an action mask beside what there is to see."""
    return isinstance(space, gym.spaces.Dict) and ACTION_MASK in space.spaces


def without_action_mask(space: gym.Space) -> gym.Space:
    """Return a space of observations without their action mask, if they hold one."""
    if not isinstance(space, gym.spaces.Dict):
        return space
    return gym.spaces.Dict({key: part for key, part in space.spaces.items() if key != ACTION_MASK})


class ActionMaskToInfo(gym.Wrapper):
    """Moves the action mask from the observation to the info."""

    def __init__(self, environment: gym.Env):
        super().__init__(environment)
        self.observation_space = without_action_mask(environment.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        return self._move(*self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._move(observation, info)
        return observation, reward, terminated, truncated, info

    @staticmethod
    def _move(observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        rest, mask = take_action_mask(observation)
        return rest, {**info, ACTION_MASK: mask}


def take_action_mask(observation: Any) -> tuple[dict[str, Any], Any]:
    """Take the action mask out of an observation. Returns: the rest, and the mask.

    Raises:
        NotAsDeclared: if there is none.
    """
    if not isinstance(observation, Mapping) or ACTION_MASK not in observation:
        raise NotAsDeclared(f"an observation without '{ACTION_MASK}', which its space has: {summary(observation)}")
    return {key: part for key, part in observation.items() if key != ACTION_MASK}, observation[ACTION_MASK]


def find_info(info: Mapping[str, Any], key: str) -> Any:
    """Return the value under a key, or under a path into nested dictionaries; None if there is none."""
    if key in info:
        return info[key]
    first, _, rest = key.partition("/")
    inner = info.get(first)
    return find_info(inner, rest) if rest and isinstance(inner, Mapping) else None


def info_templates(environment: gym.Env, keys: list[str]) -> Templates:
    """Learn the shapes and dtypes of infos from a first reset, and from a first step for what the reset does not have.

    Args:
        environment: to be reset and stepped.
        keys: of its info; a path "outer/inner" for nested ones.

    Returns:
        Zeros of each info's shape, by path ("/" and the key). Floats wider than float32 are narrowed.

    Raises:
        UsageError: if a key is in neither info, or its value is no number, boolean or array of them.
    """
    if not keys:
        return {}
    infos = first_infos(environment)
    info = next(infos)
    if any(find_info(info, key) is None for key in keys):
        info = {**next(infos), **info}
    for key in keys:
        if find_info(info, key) is None:
            raise UsageError(missing_info("the environment's", key, info))
    return {f"/{key}": info_template(key, find_info(info, key)) for key in keys}


def first_infos(environment: gym.Env) -> Iterator[Mapping[str, Any]]:
    """Yield the infos of a first reset and of a first step, which is taken only if that is asked for.

    The action is drawn among those that an action mask in the info allows.
    """
    _, info = environment.reset(seed=0)
    yield info
    environment.action_space.seed(0)
    mask = info.get(ACTION_MASK)
    is_masked = mask is not None and isinstance(environment.action_space, gym.spaces.Discrete)
    action = environment.action_space.sample(np.asarray(mask, np.int8)) if is_masked else None
    yield environment.step(environment.action_space.sample() if action is None else action)[4]


def missing_info(whose: str, key: str, known: Collection[str]) -> str:
    """Return the message for an info without a key. Args: known: keys that it has."""
    why = ", which use_action_mask needs" if key == ACTION_MASK else ""
    return f"info_keys: {whose} info has no '{key}'{why}. {did_you_mean(key, known) if known else 'It is empty.'}"


def check_info_keys(keys: Any) -> None:
    """Refuse keys that are no list of names. Raises: UsageError: if they are none."""
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) and key.strip("/") for key in keys):
        raise UsageError(f"info_keys must be a list of names, got {keys!r}.")


def info_template(key: str, value: Any) -> np.ndarray:
    """Return zeros in the shape and dtype of an info, in native byte order. Wider floats are narrowed to float32.

    Raises:
        UsageError: if it is no number, boolean or array of them.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"info_keys: '{key}' is {value!r}. Expected a number, a boolean or an array of them.")
    is_wide = array.dtype.kind == "f" and array.dtype.itemsize > 4
    # Neither torch nor a checkpoint takes another byte order, or floats wider than float64.
    return np.zeros(array.shape, np.float32 if is_wide else array.dtype.newbyteorder("="))


def write_info(array: np.ndarray, index: int, key: str, info: Mapping[str, Any]) -> None:
    """Copy one value into row `index` of an array; zero where the info does not have it.

    Raises:
        NotAsDeclared: if it has not the shape that the environment began with, or is a number of a kind that would
            change, such as a fraction where the first one was whole.
    """
    value = find_info(info, key)
    if value is None:
        array[index] = 0
    elif array.ndim == 1 and type(value) is float and array.dtype.kind == "f":
        array[index] = value
    else:
        array[index] = fit(value, array.shape[1:], array.dtype, f"info['{key}'] that is not like its first one")
