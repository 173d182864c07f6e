"""Spaces: observations as flat paths, and the scaling of a policy's actions to the environment's.

Continuous actions have one unit everywhere in digideep: [-1, 1] spans the range that the environment declares. A
policy's action is stored as it was chosen; it is clipped and scaled only on its way to the environment.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.scaling import BoxScaler
from digideep.utility.errors import UsageError, WorkerError
from digideep.utility.images import is_image

ObservationSpaces = dict[str, gym.Space]
ACTION_MASK = "action_mask"  # key of an info, or of a part of an observation

CONTAINERS = (gym.spaces.Dict, gym.spaces.Tuple)
_LEAVES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


def observation_spaces(space: gym.Space, key: str) -> ObservationSpaces:
    """Return the space of each array that an observation consists of, by path.

    A Dict gives a path per entry, a Tuple one per position (`/0`, `/1`); nested ones `/outer/inner`. Any other space
    stands under `key`. float64 is narrowed to float32, the other dtypes stay.

    Args:
        space: of the environment.
        key: path of an observation that is neither Dict nor Tuple, such as "/agent".

    Raises:
        UsageError: for a space that is not supported, or two of the same path.
    """
    found: ObservationSpaces = {}
    for path, _, leaf in leaves(space, key):
        if path in found:
            raise UsageError(f"Two observations have the path {path}: a name with a slash hides a nested one.")
        if isinstance(leaf, gym.spaces.Box) and leaf.dtype == np.float64:
            leaf = gym.spaces.Box(leaf.low.astype(np.float32), leaf.high.astype(np.float32), dtype=np.float32)
        found[path] = leaf
    if not found:
        raise UsageError(f"Observations {space} hold nothing to see.")
    return found


def parts(space: gym.Space, path: str = "", keys: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any, gym.Space]]:
    """Yield a space and all that a Dict or a Tuple holds, outer ones first: path, the keys that lead to it, itself."""
    yield path, keys, space
    if isinstance(space, CONTAINERS):
        for name, part in space.items() if isinstance(space, gym.spaces.Dict) else enumerate(space):
            yield from parts(part, f"{path}/{name}", (*keys, name))


def leaves(space: gym.Space, path: str) -> Iterator[tuple[str, tuple[Any, ...], gym.Space]]:
    """Yield those of a space's `parts` that are arrays, as they are declared. Args: path: of one that stands alone.

    Arrays that hold no number are left out: there is nothing to see in them.

    Raises:
        UsageError: for a space that is not supported.
    """
    for found, keys, leaf in parts(space):
        if isinstance(leaf, _LEAVES):
            _check_dtype("Observations", leaf)
            if 0 not in (leaf.shape or ()):
                yield found or path, keys, leaf
        elif not isinstance(leaf, CONTAINERS):
            raise UsageError(
                f"Observations of type {type(leaf).__name__} are not supported. Expected Box, Discrete, MultiDiscrete, "
                "MultiBinary, or Dict and Tuple of them."
            )


def _check_dtype(what: str, space: gym.Space) -> None:
    """Refuse arrays that neither torch nor a checkpoint takes. Raises: UsageError: if these are such."""
    dtype = np.dtype(space.dtype)
    if not dtype.isnative or dtype.itemsize > 8:
        raise UsageError(f"{what} {space} have the dtype {dtype.str}. Expected 64 bits at most, in native byte order.")


def bounds(space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest number of each place in an array of a space, in its dtype."""
    if isinstance(space, gym.spaces.Box):
        return space.low, space.high
    if isinstance(space, gym.spaces.MultiBinary):
        return np.zeros(space.shape, space.dtype), np.ones(space.shape, space.dtype)
    low = np.asarray(space.start, space.dtype)
    return low, low + np.asarray(space.n if isinstance(space, gym.spaces.Discrete) else space.nvec, space.dtype) - 1


def declared_range(space: gym.Space) -> str | None:
    """Return the range of an observation's numbers in words, where a policy may scale them by it.

    Args:
        space: of one array, from `observation_spaces`.

    Returns:
        Words that are the same for the same bounds: of whole numbers, numbered choices and images. None for vectors of
        floats, which pass as given, and for booleans.
    """
    is_scaled = isinstance(space, gym.spaces.Box) and (np.dtype(space.dtype).kind in "iu" or is_image(space))
    if not is_scaled and not isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        return None
    limits = bounds(space)
    ends = [f"{end.min()}" if end.min() == end.max() else f"{end.min()} ... {end.max()}" for end in limits]
    if not any("..." in end for end in ends):
        return " to ".join(ends)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(end).tobytes() for end in limits)).hexdigest()
    return f"{' to '.join(ends)} (sha256 {digest[:16]})"


def observation_reader(space: gym.Space, path: str) -> Callable[[Any], Any]:
    """Return a function that takes the array under `path` out of an observation."""
    return follow(next(keys for found, keys, _ in leaves(space, path) if found == path))


def follow(keys: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Return a function that follows keys into an observation."""
    if not keys:
        return lambda observation: observation

    def read(observation: Any) -> Any:
        for key in keys:
            observation = observation[key]
        return observation

    return read


def agent_action_space(space: gym.Space) -> gym.Space:
    """Return the space that agents choose from.

    Discrete and MultiDiscrete counted from 0, MultiBinary as it is, Box as [-1, 1] in every bounded dimension; each
    with one dimension at most, whatever the shape of the environment's.

    Raises:
        UsageError: for a space that is not supported.
    """
    _check_dtype("Actions", space)
    if 0 in (space.shape or ()):
        raise UsageError(
            f"Actions {space} hold nothing to choose. Give the environment an action of one number at least."
        )
    if isinstance(space, gym.spaces.Discrete):
        return gym.spaces.Discrete(int(space.n))
    if isinstance(space, gym.spaces.MultiDiscrete):
        return gym.spaces.MultiDiscrete(space.nvec.reshape(-1))
    if isinstance(space, gym.spaces.MultiBinary):
        return gym.spaces.MultiBinary(math.prod(space.shape))
    if isinstance(space, gym.spaces.Box):
        bounded = (np.isfinite(space.low) & np.isfinite(space.high)).reshape(-1)
        low = np.where(bounded, -1.0, -np.inf).astype(np.float32)
        return gym.spaces.Box(low, -low, dtype=np.float32)
    raise UsageError(f"Actions {space} are not supported. Expected Discrete, MultiDiscrete, MultiBinary or Box.")


class ActionScaler:
    """Scales agent actions to environment actions, in the shape of the environment's.

    Box: clipped to [-1, 1], then scaled to [low, high], see `BoxScaler`. Discrete and MultiDiscrete: shifted by the
    space's start.

    Args:
        space: of the environment.
        xp: the library of the arrays: numpy, or torch, which exports this very code.
    """

    def __init__(self, space: gym.Space, xp: Any = np):
        self.space, self._shape = space, tuple(space.shape or ())
        self._start: Any = xp.asarray(getattr(space, "start", 0))
        self._scale = BoxScaler(space, xp) if isinstance(space, gym.spaces.Box) else None

    def __call__(self, actions: Any) -> Any:
        """Scale actions (N, ...) as an agent chose them. Returns: a new array (N, ...) for the environments."""
        if actions.ndim != 1 + len(self._shape):
            actions = actions.reshape(-1, *self._shape)
        return actions + self._start if self._scale is None else self._scale(actions)


def sample_actions(
    space: gym.Space, generator: np.random.Generator, num_workers: int, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Draw actions from the whole range: uniformly where it is bounded, else from a standard normal.

    Args:
        space: from `agent_action_space`.
        generator: owned by the caller.
        num_workers: N.
        allowed: bool, as in `check_action_mask`; None allows everything.

    Returns:
        int64 (N,) for Discrete, int64 (N, A) for MultiDiscrete and MultiBinary, float32 (N, A) for Box.
    """
    if allowed is not None:
        # The largest of equally distributed numbers is uniform among those that take part.
        ranks = np.where(allowed, generator.random(allowed.shape), -1.0)
        choices = [part.argmax(1) for part in np.split(ranks, mask_bounds(space)[1:], axis=1)]
        return choices[0] if isinstance(space, gym.spaces.Discrete) else np.stack(choices, 1)
    if isinstance(space, gym.spaces.Discrete):
        return generator.integers(int(space.n), size=num_workers)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return generator.integers(space.nvec, size=(num_workers, len(space.nvec)))
    if isinstance(space, gym.spaces.MultiBinary):
        return generator.integers(2, size=(num_workers, math.prod(space.shape)))
    assert isinstance(space, gym.spaces.Box)
    shape = (num_workers, *space.shape)
    uniform, normal = generator.uniform(-1, 1, shape), generator.standard_normal(shape)
    return np.where(np.isfinite(space.low), uniform, normal).astype(np.float32)


def mask_bounds(space: gym.Space) -> np.ndarray:
    """Return where the choices of each component begin in an action mask.

    Args:
        space: Discrete, whose mask is (n,); or MultiDiscrete, whose mask joins those of its components, (sum of nvec,).

    Raises:
        UsageError: for a space that has no such mask.
    """
    if isinstance(space, gym.spaces.Discrete):
        return np.array([0])
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.concatenate([[0], np.cumsum(space.nvec.reshape(-1))[:-1]])
    raise UsageError(f"Action masks are for Discrete and MultiDiscrete actions, not for {space}.")


def mask_size(space: gym.Space) -> int | None:
    """Return the number of entries of an action mask; None for actions that have none. Args: space: of the agent."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, gym.spaces.MultiDiscrete) else None


def has_action_mask(space: gym.Space, infos: Mapping[str, np.ndarray]) -> bool:
    """True if the infos hold a mask of the actions that are allowed.

    Args:
        space: from `agent_action_space`.
        infos: zeros of each info's shape, by path.

    Raises:
        UsageError: if the mask has not one entry for each choice.
    """
    size = mask_size(space)
    if f"/{ACTION_MASK}" not in infos or size is None:
        return False
    shape = infos[f"/{ACTION_MASK}"].shape
    if shape != (size,):
        raise UsageError(f"info['action_mask'] has the shape {shape}, expected {(size,)}: one entry for each choice.")
    return True


def check_action_mask(
    space: gym.Space, mask: np.ndarray, acting: np.ndarray, first_worker: int = 0, players: Sequence[str] = ("",)
) -> np.ndarray:
    """Return a mask of allowed actions as booleans; refuse one that leaves nothing to a row that has to act.

    Args:
        space: from `agent_action_space`.
        mask: (N, A), not 0 where an action is allowed; see `mask_bounds`.
        acting: bool (N,), False where the episode is over and the action will be ignored.
        first_worker: number of the first row's worker.
        players: names of those who have a row each in every worker, where there are several.

    Returns:
        bool (N, A).

    Raises:
        WorkerError: naming the worker whose actions are all forbidden, or whose mask holds NaN.
    """
    allowed = mask if mask.dtype == np.bool_ else mask != 0
    possible = np.logical_or.reduceat(allowed, mask_bounds(space), axis=1).all(1)
    if mask.dtype.kind == "f":
        possible &= ~np.isnan(mask).any(1)
    possible |= ~acting
    if not possible.all():
        row = int(possible.argmin())
        worker, index = divmod(row, len(players))
        player = f" player '{players[index]}'" if players[index] else ""
        is_unclear = mask.dtype.kind == "f" and bool(np.isnan(mask[row]).any())
        what = f"gives{player} a mask with NaN" if is_unclear else f"forbids{player} every action"
        raise WorkerError(
            f"worker {first_worker + worker} {what} though its episode goes on: info['action_mask'] is "
            f"{mask[row].tolist()}. Correct the environment: "
            + ("each entry must be a number." if is_unclear else "at least one action must be allowed.")
        )
    return allowed
