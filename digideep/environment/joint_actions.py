"""Actions of several parts: the entries of a Dict or a Tuple, one behind the other in one array.

An entry is called by its path, such as "arm/gripper", or "0" in a Tuple. Agents choose float32 arrays (N, A), or what a
single entry wants; environments are handed a float64 vector of all entries, and make of it what they have declared.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.spaces import CONTAINERS, ActionScaler, agent_action_space, bounds, parts, sample_actions
from digideep.utility.errors import UsageError

_LARGEST_NUMBERS = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}  # up to which a dtype has all integers


def action_entries(space: gym.Space) -> dict[str, gym.Space]:
    """Return what an action consists of: path -> the space that is declared there, in the order of declaration.

    Args:
        space: of the environment; one that is neither Dict nor Tuple has a single entry, without a path.

    Raises:
        UsageError: if there is none, two have the same path, or one is of a kind that is not supported.
    """
    entries: dict[str, gym.Space] = {}
    for path, _, part in parts(space):
        if isinstance(part, CONTAINERS):
            continue
        if path[1:] in entries:
            raise UsageError(f"Two actions have the path {path[1:]}: a name with a slash hides a nested one.")
        try:
            agent_action_space(part)
            require_exact(part, np.float64)
        except UsageError as err:
            raise UsageError(f"Action '{path[1:]}': {err}" if path else str(err)) from err
        entries[path[1:]] = part
    if not entries:
        raise UsageError(f"Actions {space} hold nothing to choose. Give the environment an action with an entry.")
    return entries


def joint_space(entries: Mapping[str, gym.Space]) -> gym.Space:
    """Return the space of several entries, a Dict by path in their order; of one entry its own."""
    return gym.spaces.Dict(list(entries.items())) if len(entries) > 1 else next(iter(entries.values()))


def entries_of(space: gym.Space) -> dict[str, gym.Space]:
    """Return the entries of a space from `joint_space`; of any other one itself, without a path."""
    return dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"": space}


def joint_agent_space(space: gym.Space) -> gym.Space:
    """Return the space that an agent chooses from; of `joint_space`, one by path.

    Raises:
        UsageError: if float32, which holds all parts of one action, does not hold the numbers of one.
    """
    if not isinstance(space, gym.spaces.Dict):
        return agent_action_space(space)
    chosen = {path: agent_action_space(part) for path, part in space.spaces.items()}
    for path, part in chosen.items():
        try:
            require_exact(part, np.float32)
        except UsageError as err:
            raise UsageError(f"Action '{path}' among several of one agent: {err}") from err
    return joint_space(chosen)


def require_exact(space: gym.Space, dtype: Any) -> None:
    """Refuse a space with whole numbers that an array of all actions does not hold. Args: dtype: of that array.

    Raises:
        UsageError: if it does not.
    """
    if np.dtype(space.dtype).kind == "f":
        return
    largest = _LARGEST_NUMBERS[np.dtype(dtype)]
    if max(abs(int(number)) for limit in bounds(space) for number in np.ravel(limit)) > largest:
        raise UsageError(f"actions {space} reach beyond {largest}, which is not supported among several.")


def width(space: gym.Space) -> int:
    """Return how many numbers one action of a space has in an array."""
    return sum(math.prod(part.shape or ()) for part in entries_of(space).values())


def array_of(space: gym.Space, dtype: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of one action in an array. Args: dtype: of actions of several entries."""
    if isinstance(space, gym.spaces.Dict):
        return (width(space),), np.dtype(dtype)
    return tuple(space.shape or ()), np.dtype(space.dtype)


def columns_of(spaces: Iterable[gym.Space]) -> list[slice]:
    """Return where the numbers of each space lie in an array of all."""
    ends = np.cumsum([width(space) for space in spaces]).tolist()
    return [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]


class JointScaler:
    """Scales the actions of an agent that has several entries to the environment's. As `ActionScaler` for each.

    Args:
        space: of the entries, from `joint_space`.
        xp: the library of the arrays: numpy, or torch, which exports this very code.
    """

    def __init__(self, space: gym.spaces.Dict, xp: Any = np):
        self._xp, spaces = xp, list(space.spaces.values())
        is_box = [isinstance(part, gym.spaces.Box) for part in spaces]
        scales = [ActionScaler(part, xp) for part in spaces]
        self._parts = list(zip(scales, columns_of(spaces), is_box, strict=True))

    def parts(self, actions: Any) -> list[Any]:
        """Scale actions (N, A). Returns: of each entry, a new array (N, ...)."""
        return [scale(actions[:, c] if is_box else self._whole(actions[:, c])) for scale, c, is_box in self._parts]

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Scale actions (N, A). Returns: float64 (N, A), all entries."""
        return np.concatenate([part.reshape(len(actions), -1) for part in self.parts(actions)], 1, dtype=np.float64)

    def _whole(self, numbers: Any) -> Any:
        return numbers.astype(np.int64) if self._xp is np else numbers.to(self._xp.int64)


def action_scaler(space: gym.Space, xp: Any = np) -> ActionScaler | JointScaler:
    """Return what scales agent actions to environment actions. Args: space: of the environment, or `joint_space`."""
    return JointScaler(space, xp) if isinstance(space, gym.spaces.Dict) else ActionScaler(space, xp)


def sample_joint(
    space: gym.Space, generator: np.random.Generator, num_workers: int, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Draw actions as `sample_actions`; of several entries, float32 (N, A). Args: space: from `joint_agent_space`."""
    if not isinstance(space, gym.spaces.Dict):
        return sample_actions(space, generator, num_workers, allowed)
    drawn = (sample_actions(part, generator, num_workers) for part in space.spaces.values())
    return np.concatenate([part.reshape(num_workers, -1) for part in drawn], 1, dtype=np.float32)


class RandomActions:
    """Draws actions from the whole range, as an environment takes them. Args: space: its own, or `joint_space`."""

    def __init__(self, space: gym.Space):
        self._is_joint = isinstance(space, gym.spaces.Dict)
        self._parts = [(agent_action_space(part), ActionScaler(part)) for part in entries_of(space).values()]

    def __call__(
        self, generator: np.random.Generator, num_workers: int, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw actions as `sample_actions`. Returns: (N, ...) in the environment's unit; of entries, float64 (N, A)."""
        drawn = [scale(sample_actions(space, generator, num_workers, allowed)) for space, scale in self._parts]
        if not self._is_joint:
            return drawn[0]
        return np.concatenate([part.reshape(num_workers, -1) for part in drawn], 1, dtype=np.float64)


class JointReader:
    """Reads vectors of all entries as the environment has declared them. Args: entries: by path, in their order."""

    def __init__(self, entries: Mapping[str, gym.Space]):
        columns = columns_of(entries.values())
        self._entries = [(path, part, c) for (path, part), c in zip(entries.items(), columns, strict=True)]

    def one(self, vector: np.ndarray) -> dict[str, Any]:
        """Return the entries of one action by path. Args: vector: float64 (A,); of a single entry, its own array."""
        vector = np.reshape(vector, -1)
        return {
            path: int(vector[c][0])
            if isinstance(part, gym.spaces.Discrete)
            else vector[c].astype(part.dtype).reshape(part.shape)
            for path, part, c in self._entries
        }

    def many(self, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """Return the entries of a batch by path: (B, ...). Args: vectors: float64 (B, A), or (B, ...)."""
        vectors = vectors.reshape(len(vectors), -1)
        return {
            path: vectors[:, c].astype(part.dtype).reshape(-1, *(part.shape or ())) for path, part, c in self._entries
        }


def nested(space: gym.Space, entries: Mapping[str, Any], path: str = "") -> Any:
    """Return an action as a space declares it: a dictionary or a tuple, nested as it is.

    Args:
        space: of the environment.
        entries: of the action, by path.
        path: of this part.
    """
    prefix = f"{path}/" if path else ""
    if isinstance(space, gym.spaces.Dict):
        return {name: nested(part, entries, f"{prefix}{name}") for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(nested(part, entries, f"{prefix}{index}") for index, part in enumerate(space.spaces))
    return entries[path]


def flat(space: gym.Space, action: Any) -> dict[str, Any]:
    """Return the entries of an action by path: what `nested` nests."""
    found = {}
    for path, keys, part in parts(space):
        if not isinstance(part, CONTAINERS):
            value = action
            for key in keys:
                value = value[key]
            found[path[1:]] = value
    return found
