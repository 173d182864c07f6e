"""What is taken from the info of an environment: the keys that are asked for, as arrays of one shape and dtype each."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.utility.errors import UsageError
from digideep.utility.suggest import did_you_mean

Templates = dict[str, np.ndarray]


def find_info(info: Mapping[str, Any], key: str) -> Any:
    """The value under a key, or under a path into nested dictionaries. Returns: None if it is not there."""
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
        Zeros of each info's shape, by path ("/" and the key). float64 is narrowed to float32.

    Raises:
        UsageError: if a key is in neither info, or its value is no number, boolean or array of them.
    """
    if not keys:
        return {}
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) and key.strip("/") for key in keys):
        raise UsageError(f"info_keys must be a list of names, got {keys!r}.")
    _, info = environment.reset(seed=0)
    if any(find_info(info, key) is None for key in keys):
        environment.action_space.seed(0)
        mask = info.get("action_mask")
        is_masked = mask is not None and isinstance(environment.action_space, gym.spaces.Discrete)
        action = environment.action_space.sample(np.asarray(mask, np.int8)) if is_masked else None
        info = {**environment.step(environment.action_space.sample() if action is None else action)[4], **info}
    return {f"/{key}": _template(key, info) for key in keys}


def _template(key: str, info: Mapping[str, Any]) -> np.ndarray:
    value = find_info(info, key)
    if value is None:
        raise UsageError(f"info_keys: the environment's info has no '{key}'. {did_you_mean(key, info)}")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"info_keys: '{key}' is {value!r}. Expected a number, a boolean or an array of them.")
    return np.zeros(array.shape, np.float32 if array.dtype == np.float64 else array.dtype)


def write_info(array: np.ndarray, index: int, key: str, info: Mapping[str, Any]) -> None:
    """Copy one value into row `index` of an array; zero where the info does not have it.

    Raises:
        ValueError: if its shape is not the one that the environment began with.
    """
    value = find_info(info, key)
    if value is None:
        array[index] = 0
        return
    if np.shape(value) != array.shape[1:]:
        raise ValueError(f"info['{key}'] has the shape {np.shape(value)}, its first one had {array.shape[1:]}")
    array[index] = value
