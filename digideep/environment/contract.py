"""Checks of what an environment returns against its spaces, the same in training, tests, play and `play --check`.

Nothing is broadcast, and no number changes on its way, but that floats are narrowed to float32. Floats slightly outside
of their bounds are common and do no harm; whole numbers have no such excuse.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.environment.spaces import CONTAINERS, bounds, follow, leaves, parts
from digideep.utility.user_code import text_of

_ARRAYS = (np.ndarray, np.generic)


class NotAsDeclared(ValueError):
    """An environment returned what it does not declare. The message states what was expected, and what was returned."""


class _Leaf(NamedTuple):
    """An array that an observation consists of."""

    path: str
    read: Callable[[Any], Any] | None  # takes it out of an observation; None where it is the observation itself
    shape: tuple[int, ...]
    dtype: np.dtype
    choices: range  # the numbers that are allowed, where it is a single number


class ObservationJudge:
    """Reads observations of a space, and refuses what the space does not hold.

    `read` looks at shape and kind of each array, `check` at the range of whole numbers, of many observations at once.

    Args:
        space: of the environment.
        key: path of an observation that is neither Dict nor Tuple.
    """

    def __init__(self, space: gym.Space, key: str):
        self._containers = [
            (follow(keys), path, part.keys() if isinstance(part, gym.spaces.Dict) else len(part))
            for path, keys, part in parts(space)
            if isinstance(part, CONTAINERS)
        ]
        self._leaves, self._ranges = [], []
        for path, keys, leaf in leaves(space, key):
            dtype, shape = np.dtype(leaf.dtype), tuple(leaf.shape or ())
            is_choice = isinstance(leaf, gym.spaces.Discrete)
            choices = range(int(leaf.start), int(leaf.start + leaf.n)) if is_choice else range(0)  # type: ignore[attr-defined]
            self._leaves.append(_Leaf(path, follow(keys) if keys else None, shape, dtype, choices))
            if not is_choice and dtype.kind in "iu" and (found := WholeRange.of(leaf)) is not None:
                self._ranges.append((path, found))

    def read(self, observation: Any, arrays: Mapping[str, np.ndarray], index: int) -> None:
        """Write an observation into a row of arrays.

        Args:
            observation: as the environment returned it.
            arrays: path -> (N, ...). Arrays that are no part of the space are left alone.
            index: of the row.

        Raises:
            NotAsDeclared: if an array is missing, or has another shape or kind, or values that would change.
        """
        for follow_to, path, names in self._containers:
            _check_container(follow_to(observation), path, names)
        for path, read, shape, dtype, choices in self._leaves:
            value = observation if read is None else read(observation)
            # The usual cases come first: this is asked at every step of every worker.
            if type(value) is np.ndarray:
                is_right = value.dtype is dtype and value.shape == shape and not choices
            elif choices:
                is_right = (
                    value if type(value) is int else value.item() if type(value) is np.int64 else None
                ) in choices
            else:
                is_right = isinstance(value, np.generic) and value.dtype is dtype and not shape
            arrays[path][index] = value if is_right else _fit_leaf(value, path, shape, dtype, choices)

    def check(self, arrays: Mapping[str, np.ndarray]) -> tuple[int, NotAsDeclared] | None:
        """Look for whole numbers that the space does not hold.

        Args:
            arrays: path -> (N, ...), as `read` wrote them.

        Returns:
            The first row that holds one, and what is wrong; None if all is well.
        """
        for path, found in self._ranges:
            row = found.first_outside(arrays[path])
            if row is not None:
                return row, NotAsDeclared(f"{_WRONG}: {path}: expected {found}, got {summary(arrays[path][row])}")
        return None


_WRONG = "an observation that is not what its space says"


def _fit_leaf(value: Any, path: str, shape: tuple[int, ...], dtype: np.dtype, choices: range) -> np.ndarray:
    array = fit(value, shape, dtype, f"{_WRONG}: {path}")
    if choices and array.item() not in choices:
        raise NotAsDeclared(
            f"{_WRONG}: {path}: expected a number from {choices[0]} to {choices[-1]}, got {summary(value)}"
        )
    return array


class WholeRange:
    """The range of whole numbers in an array, where it is narrower than that of their dtype.

    Args:
        low, high: inclusive, each of the array's shape.
        dtype: of the array.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, dtype: np.dtype):
        self.low, self.high = low, high
        # Distances from the lower bound are unsigned: those below it wrap around to the largest.
        self._dtype = np.dtype(f"u{dtype.itemsize}")
        self._low = low.astype(dtype).view(self._dtype)
        self._width = high.astype(dtype).view(self._dtype) - self._low
        is_plain = self._width.size > 0 and not self._low.any() and bool((self._width == self._width.flat[0]).all())
        self._limit = int(self._width.flat[0]) if is_plain else None

    @classmethod
    def of(cls, space: gym.Space) -> "WholeRange | None":
        """Return the range of a space of whole numbers; None if it is all that the dtype holds."""
        dtype = np.dtype(space.dtype)
        low, high = bounds(space)
        limits = np.iinfo(dtype)
        is_whole = bool((low == limits.min).all() and (high == limits.max).all())
        return None if is_whole else cls(low, high, dtype)

    def first_outside(self, array: np.ndarray) -> int | None:
        """Return the first row of an array (N, ...) that holds a number outside of the range; None if none does."""
        distances = array.view(self._dtype)
        if self._limit is not None and (not array.size or np.maximum.reduce(distances, axis=None) <= self._limit):
            return None
        is_outside = distances - self._low > self._width
        return int(is_outside.reshape(len(array), -1).any(1).argmax()) if is_outside.any() else None

    def __str__(self) -> str:
        low, high = np.unique(self.low), np.unique(self.high)
        if len(low) == len(high) == 1:
            return f"numbers from {low[0]} to {high[0]}"
        return f"numbers from {_short(self.low)} to {_short(self.high)}"


def _check_container(value: Any, path: str, names: Iterable[Any] | int) -> None:
    if isinstance(names, int):
        is_sequence = isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)
        if not is_sequence or len(value) != names:
            raise NotAsDeclared(f"{_WRONG}: {path or '/'}: expected a tuple of {names}, got {summary(value)}")
    elif not isinstance(value, Mapping):
        raise NotAsDeclared(f"{_WRONG}: {path or '/'}: expected a dictionary with {_list(names)}, got {summary(value)}")
    elif value.keys() != names:
        raise NotAsDeclared(f"{_WRONG}: {path or '/'}: expected the keys {_list(names)}, got {_list(value)}")


def _list(names: Iterable[Any]) -> str:
    return ", ".join(map(_shown, names)) or "none"


def fit(value: Any, shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
    """Make an array of a value, if that changes no number but by rounding a float.

    Args:
        value: anything.
        shape: that it must have.
        dtype: of the array that it will be written to: floats take every number, whole numbers only whole ones that
            they hold, booleans only 0 and 1.
        what: it is, for the message.

    Raises:
        NotAsDeclared: if it does not fit.
    """
    try:
        array = np.asarray(value)
    except Exception as err:  # ragged lists; tensors that are elsewhere; objects of any kind
        reason = " ".join(text_of(err).split())
        raise NotAsDeclared(f"{what}: expected {dtype} {shape}, got {summary(value)}: {reason}") from err
    if np.ma.is_masked(value):
        raise NotAsDeclared(f"{what}: expected {dtype} {shape}, got an array with masked values: {summary(value)}")
    is_kind = array.dtype.kind in ("biuf" if dtype.kind == "f" else "biu")
    if array.shape != shape or not is_kind:
        raise NotAsDeclared(f"{what}: expected {dtype} {shape}, got {summary(value)}")
    if dtype.kind != "f" and array.size and not np.can_cast(array.dtype, dtype):
        limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if int(array.min()) < limits[0] or int(array.max()) > limits[1]:
            raise NotAsDeclared(f"{what}: expected {dtype} {shape}, got {summary(value)}")
    return array


def read_number(value: Any, what: str) -> float:
    """Return a single number, such as a reward. Raises: NotAsDeclared: if it is none, or an array of them."""
    if isinstance(value, (float, int, np.floating, np.integer)):
        try:
            return float(value)
        except OverflowError as err:
            raise NotAsDeclared(f"{what} beyond all floats: {summary(value)}") from err
    return float(fit(value, (), np.dtype(np.float64), f"{what} that is no number"))


def read_truth(value: Any, what: str) -> bool:
    """Return a boolean, such as a termination. Raises: NotAsDeclared: if it is neither that nor 0 or 1."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return bool(fit(value, (), np.dtype(np.bool_), f"{what} that is neither true nor false"))


def read_outcome(reward: Any, terminated: Any, truncated: Any) -> tuple[float, bool, bool]:
    """Return reward and ends of a step. Raises: NotAsDeclared: if they are no number and no booleans."""
    return read_number(reward, "a reward"), read_truth(terminated, "terminated"), read_truth(truncated, "truncated")


def check_info(info: Any) -> None:
    """Refuse an info that is no dictionary. Raises: NotAsDeclared: if it is none."""
    if type(info) is not dict and not isinstance(info, Mapping):
        raise NotAsDeclared(f"an info that is no dictionary: {summary(info)}")


def check_reset(outcome: Any) -> tuple[Any, dict[str, Any]]:
    """Return observation and info of a reset. Raises: NotAsDeclared: if `outcome` is not that."""
    if not isinstance(outcome, (tuple, list)) or len(outcome) != 2:
        raise NotAsDeclared(f"no pair of observation and info at its reset: {summary(outcome)}")
    check_info(outcome[1])
    return outcome[0], outcome[1]


def summary(value: Any) -> str:
    """Describe a value in few words: dtype and shape of an array, and its values or their range."""
    if isinstance(value, Mapping):
        return f"a dictionary with {_list(value)}"
    if not isinstance(value, _ARRAYS):
        return f"{type(value).__name__} {_short(value)}" if value is not None else "None"
    array = np.asarray(value)
    text = f"{array.dtype} {array.shape}"
    if 0 < array.size <= 4:
        return f"{text}: {_short(array.tolist())}"
    return f"{text} from {array.min()} to {array.max()}" if array.size and array.dtype.kind in "biuf" else text


def _short(value: Any) -> str:
    text = " ".join(_shown(value.tolist() if isinstance(value, np.ndarray) else value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # of an object that is not ours
        return object.__repr__(value)
