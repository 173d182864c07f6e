"""What a Box of pixels is: layouts, and what pixels and bytes are divided by."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from digideep.utility.errors import UsageError
from digideep.utility.images import ImageLayout, divisors, pixel_divisor


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (0, 255, np.uint8, 255),
        (0, 3, np.uint8, 3),
        (0, 1, np.uint8, 1),
        (0, 0, np.uint8, 1),
        (0, 1, np.float32, 1),
        (-1, 1, np.float32, 1),
        (0, 255, np.float32, 255),
        (-128, 127, np.int8, 128),
        (0, 65535, np.uint16, 65535),
        (0, np.inf, np.float32, 1),
        (-np.finfo(np.float32).max, np.finfo(np.float32).max, np.float32, 1),  # a bound by name only
    ],
)
def test_pixels_are_divided_by_their_larger_bound(low, high, dtype, expected):
    assert pixel_divisor(Box(low, high, (3, 8, 9), dtype)) == expected


def test_each_number_of_a_vector_is_divided_by_its_own_bound():
    space = Box(np.array([0, 0, 5], np.uint8), np.array([3, 255, 10], np.uint8), dtype=np.uint8)
    assert divisors(space).tolist() == [3, 255, 10]


@pytest.mark.parametrize(
    ("shape", "axis", "channels", "words"),
    [
        ((8, 9), None, 1, "8 x 9 pixels"),
        ((3, 8, 9), None, 3, "8 x 9 pixels, 3 channels first"),
        ((8, 9, 3), None, 3, "8 x 9 pixels, 3 channels last"),
        ((8, 8, 8), None, 8, "8 x 8 pixels, 8 channels first"),
        ((8, 8, 8), "last", 8, "8 x 8 pixels, 8 channels last"),
        ((6, 9, 12), "last", 12, "6 x 9 pixels, 12 channels last"),
        ((4, 8, 9, 3), None, 3, "4 images of 8 x 9 pixels, 3 channels last"),
        ((4, 3, 5, 2), "first", 3, "4 images of 5 x 2 pixels, 3 channels first"),
    ],
)
def test_the_smaller_end_holds_the_channels_unless_it_is_said(shape, axis, channels, words):
    layout = ImageLayout.of(Box(0, 255, shape, np.uint8), axis)
    assert layout.channels == channels
    assert str(layout) == words


def test_an_axis_that_is_neither_end_is_refused():
    with pytest.raises(UsageError, match="channel_axis must be first, last or null, got 'middle'"):
        ImageLayout.of(Box(0, 255, (3, 8, 9), np.uint8), "middle")
