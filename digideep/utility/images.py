"""What a Box of pixels is: where its channels are, and by what its pixels are divided."""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.utility.errors import UsageError

_LARGEST_PIXEL = 65535  # of 16 bits; a larger bound is one by name only


def is_image(space: gym.Space[Any]) -> bool:
    """True if a space holds images: a Box of bytes with two to four dimensions, or of other numbers with three.

    (H, W), (C, H, W) or (H, W, C); with four dimensions, a stack of the latter two. Everything else is a vector,
    whatever its shape: a window of past values (T, D) is no picture.
    """
    if not isinstance(space, gym.spaces.Box):
        return False
    dims = len(space.shape)
    return 2 <= dims <= 4 if space.dtype == np.uint8 else dims == 3


def divisors(space: gym.spaces.Box) -> np.ndarray:
    """Return what numbers are divided by to lie in [-1, 1], float64: the larger bound of each; 1 if it is not known."""
    bounds = np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64)))
    return np.where((bounds > 1) & (bounds <= _LARGEST_PIXEL), bounds, 1.0)


def pixel_divisor(space: gym.spaces.Box) -> float:
    """Return what all pixels of an image are divided by: 255 for bytes from 0 to 255, 1 for floats from 0 to 1."""
    return float(divisors(space).max())


class ImageLayout(NamedTuple):
    """Where the dimensions of an image are.

    Attributes:
        is_flat: (H, W) alone. is_stack: of `frames` images, whose channels are joined.
        is_channels_last: (H, W, C) instead of (C, H, W).
        channels, height, width: of one image.
    """

    is_flat: bool
    is_stack: bool
    is_channels_last: bool
    frames: int
    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, space: gym.spaces.Box, channel_axis: str | None = None) -> "ImageLayout":
        """Return the layout of an image.

        Args:
            space: for which `is_image` is true.
            channel_axis: "first" or "last"; None takes the smaller end, the first where both are equal.
        """
        if channel_axis not in (None, "first", "last"):
            raise UsageError(f"channel_axis must be first, last or null, got {channel_axis!r}.")
        shape = space.shape
        is_flat, is_stack = len(shape) == 2, len(shape) == 4
        frame = (1, *shape) if is_flat else shape[-3:]
        is_last = not is_flat and (frame[2] < frame[0] if channel_axis is None else channel_axis == "last")
        channels, height, width = (frame[2], *frame[:2]) if is_last else frame
        return cls(is_flat, is_stack, is_last, shape[0] if is_stack else 1, channels, height, width)

    def __str__(self) -> str:
        stack = f"{self.frames} images of " if self.is_stack else ""
        where = "" if self.is_flat else f", {self.channels} channels {'last' if self.is_channels_last else 'first'}"
        return f"{stack}{self.height} x {self.width} pixels{where}"


def divided_by(divisor: np.ndarray | float) -> str:
    """Say how numbers are scaled."""
    values = np.unique(divisor)
    if len(values) > 1:
        return f"divided by {values[0]:g} to {values[-1]:g}"
    return "as given" if values[0] == 1 else f"divided by {values[0]:g}"
