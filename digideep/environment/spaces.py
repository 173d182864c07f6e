"""Spaces: observations as flat paths, and the edge where a policy's action becomes the environment's.

Continuous actions have one unit everywhere in digideep: [-1, 1] spans the range that the environment declares. What a
policy chose is stored as it is; only at this edge it is clipped and scaled.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.utility.errors import UsageError

ObservationSpaces = dict[str, gym.Space]


def observation_spaces(space: gym.Space, key: str) -> ObservationSpaces:
    """The arrays that an observation consists of, by path.

    A Dict space gives a path per entry, nested ones `/outer/inner`; any other space stands under `key`. float64 is
    narrowed to float32, the other dtypes stay.

    Args:
        space: of the environment.
        key: path of an observation that is no Dict, such as "/agent".

    Raises:
        UsageError: for a space that is not supported.
    """
    if isinstance(space, gym.spaces.Dict):
        return {
            f"/{name}{inner if isinstance(part, gym.spaces.Dict) else ''}": box
            for name, part in space.items()
            for inner, box in observation_spaces(part, "").items()
        }
    if isinstance(space, gym.spaces.Box):
        dtype = np.dtype(np.float32) if space.dtype == np.float64 else space.dtype
        return {key: gym.spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype.type)}
    raise UsageError(f"Observations of type {type(space).__name__} are not supported. Expected Box, or Dict of Box.")


def observation_reader(space: gym.Space, path: str) -> Callable[[Any], Any]:
    """A function that takes the array under `path` out of an observation."""
    if not isinstance(space, gym.spaces.Dict):
        return lambda observation: observation
    keys = path.strip("/").split("/")

    def read(observation: Any) -> Any:
        for key in keys:
            observation = observation[key]
        return observation

    return read


def agent_action_space(space: gym.Space) -> gym.Space:
    """The space that agents choose from: Discrete as it is, Box as [-1, 1] in every bounded dimension.

    Raises:
        UsageError: for a space that is not supported.
    """
    if isinstance(space, gym.spaces.Discrete):
        return gym.spaces.Discrete(int(space.n))  # counted from 0; the edge adds the start
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low = np.where(bounded, -1.0, -np.inf).astype(np.float32)
        return gym.spaces.Box(low, -low, dtype=np.float32)
    raise UsageError(f"Actions {space} are not supported. Expected Discrete or a one-dimensional Box.")


class ActionEdge:
    """Turns a batch of agent actions into environment actions.

    Box: clipped to [-1, 1], then scaled to [low, high]; unbounded dimensions pass. Discrete: shifted by the space's
    start."""

    def __init__(self, space: gym.Space):
        self.space = space
        if isinstance(space, gym.spaces.Box):
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            low, high = np.where(bounded, space.low, -1.0), np.where(bounded, space.high, 1.0)
            self._scale, self._center = ((high - low) / 2).astype(space.dtype), ((high + low) / 2).astype(space.dtype)
            self._limit = np.where(bounded, 1.0, np.inf).astype(np.float32)
            self._is_identity = bool(np.all(self._scale == 1) and np.all(self._center == 0))

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Args: actions: (N, ...) as an agent chose them. Returns: a new array (N, ...) for the environments."""
        if isinstance(self.space, gym.spaces.Discrete):
            return actions + self.space.start
        clipped = np.minimum(np.maximum(actions, -self._limit), self._limit)
        return clipped if self._is_identity else clipped * self._scale + self._center


def sample_actions(space: gym.Space, generator: np.random.Generator, num_workers: int) -> np.ndarray:
    """Random actions over the whole range: uniform where it is bounded, standard normal where it is not.

    Args:
        space: from `agent_action_space`.
        generator: owned by the caller.
        num_workers: N.

    Returns:
        int64 (N,) for Discrete, float32 (N, A) for Box.
    """
    if isinstance(space, gym.spaces.Discrete):
        return generator.integers(int(space.n), size=num_workers)
    assert isinstance(space, gym.spaces.Box)
    shape = (num_workers, *space.shape)
    uniform, normal = generator.uniform(-1, 1, shape), generator.standard_normal(shape)
    return np.where(np.isfinite(space.low), uniform, normal).astype(np.float32)
