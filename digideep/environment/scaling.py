"""How a policy's continuous actions become the environment's: one function, on arrays of numpy and on torch's tensors.

The unit of a policy is [-1, 1] in every bounded dimension of a Box. -1 gives exactly the lower bound and 1 the upper
one; whatever lies between never leaves the Box by a rounding step, and is finite however large the bounds are.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from digideep.utility.errors import UsageError

_LARGEST_WHOLE = 2.0**53  # beyond, float64 does not hold every integer


class BoxScaler:
    """Clips actions to [-1, 1] and scales them into a Box, rounded where it holds integers.

    A dimension without two bounds is not scaled, only kept within the bound that it has.

    Args:
        space: of the environment.
        xp: the library of the arrays: numpy, or torch, which exports this very code.
    """

    def __init__(self, space: gym.spaces.Box, xp: Any = np):
        self._xp, self._is_integer = xp, np.dtype(space.dtype).kind in "iub"
        dtype: Any = np.float64 if self._is_integer or space.dtype == np.float64 else np.float32
        self._dtype = xp.float64 if dtype == np.float64 else xp.float32
        largest = np.finfo(dtype).max
        # Bounds that are no infinities: exporters want numbers.
        low, high = (np.clip(limit.astype(dtype), -largest, largest) for limit in (space.low, space.high))
        is_bounded = np.isfinite(space.low) & np.isfinite(space.high)
        # Halves are added, since the width of the largest Box is no number.
        scale = np.where(is_bounded, high / 2 - low / 2, 1).astype(dtype)
        center = np.where(is_bounded, high / 2 + low / 2, 0).astype(dtype)
        with np.errstate(over="ignore"):
            is_exact = (center - scale == low) & (center + scale == high) | ~is_bounded
            if self._is_integer:
                is_exact &= (np.abs(low) <= _LARGEST_WHOLE) & (np.abs(high) <= _LARGEST_WHOLE)
                low, high = _within(low, space.low, largest), _within(high, space.high, -largest)
            for _ in range(64):  # until both ends are reached; what goes beyond is clipped
                is_short = is_bounded & ~is_exact & ((center - scale > low) | (center + scale < high))
                scale = np.where(is_short, np.nextafter(scale, dtype(np.inf)), scale)
            self._overflows = not np.isfinite(np.abs(center) + scale).all()
        # Rounding is monotone: where both ends are exact, nothing between them can be outside.
        self._must_clip = not is_exact.all()
        self._is_identity = bool(np.all(scale == 1) and np.all(center == 0))
        lowest, highest = np.where(is_bounded, -1, low).astype(dtype), np.where(is_bounded, 1, high).astype(dtype)
        upper = np.where(low > high, 0.0, 1.0)  # where float64 holds no number between two integers: one or the other
        self._lowest, self._highest, self._scale, self._center = map(xp.asarray, (lowest, highest, scale, center))
        self._low, self._high, self._upper = map(xp.asarray, (low, high, upper))
        self._first, self._last = map(xp.asarray, (space.low, space.high))

    def __call__(self, actions: Any) -> Any:
        """Scale actions (N, *shape) into the Box. Returns: a new array in its dtype; in float32 for float16."""
        xp = self._xp
        unit = xp.minimum(xp.maximum(self._cast(actions, self._dtype), self._lowest), self._highest)
        if self._is_identity:
            scaled = unit
        elif self._overflows:
            with np.errstate(over="ignore"):  # before it is clipped
                scaled = unit * self._scale + self._center
        else:
            scaled = unit * self._scale + self._center
        if self._must_clip:
            scaled = xp.minimum(xp.maximum(scaled, self._low), self._high)
        if not self._is_integer:
            return scaled
        whole = self._cast(xp.round(scaled), self._last.dtype)
        if not self._must_clip:
            return whole
        # The bounds themselves may be integers that float64 does not hold.
        return xp.where(unit >= self._upper, self._last, xp.where(unit <= -self._upper, self._first, whole))

    def _cast(self, array: Any, dtype: Any) -> Any:
        return array.astype(dtype, copy=False) if self._xp is np else array.to(dtype)


def _within(limit: np.ndarray, bound: np.ndarray, towards: float) -> np.ndarray:
    """Return the float64 nearest to an integer bound, within it. Args: limit: the bound as float64, rounded."""
    inside = [
        value
        if (int(value) >= int(exact)) == (towards > 0) or int(value) == int(exact)
        else np.nextafter(value, towards)
        for value, exact in zip(limit.reshape(-1), bound.reshape(-1), strict=True)
    ]
    return np.array(inside, np.float64).reshape(limit.shape)


_ROUNDING = 1e-4  # of the range: what recorded actions may be beyond it


def unscale_actions(space: gym.Space[Any], actions: np.ndarray) -> np.ndarray:
    """Return the agent's actions that `ActionScaler` turns into those of an environment.

    Args:
        space: of the environment: Box, Discrete, MultiDiscrete or MultiBinary.
        actions: (N, ...), as the environment takes them.

    Returns:
        int64 (N,) for Discrete, int64 (N, A) for MultiDiscrete and MultiBinary, float32 (N, A) for Box.

    Raises:
        UsageError: for actions outside of the space.
    """
    number = len(actions)
    if isinstance(space, gym.spaces.Box):
        low, high = (np.float64(bound).reshape(-1) for bound in (space.low, space.high))
        is_bounded = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(is_bounded, low, -1), np.where(is_bounded, high, 1)
        center, half = high / 2 + low / 2, np.where(high > low, high / 2 - low / 2, 1)
        unit = (np.float64(actions).reshape(number, -1) - center) / half
        if (np.abs(unit[:, is_bounded]) > 1 + _ROUNDING).any():
            raise UsageError(f"there are actions outside of {space}.")
        return np.where(is_bounded, unit.clip(-1, 1), unit).astype(np.float32)
    chosen = np.asarray(actions, np.int64) - np.asarray(getattr(space, "start", 0), np.int64)
    choices = np.asarray(getattr(space, "n" if isinstance(space, gym.spaces.Discrete) else "nvec", 2))
    if (chosen < 0).any() or (chosen >= choices).any():
        raise UsageError(f"there are actions outside of {space}.")
    whole: np.ndarray = chosen if isinstance(space, gym.spaces.Discrete) else chosen.reshape(number, -1)
    return whole
