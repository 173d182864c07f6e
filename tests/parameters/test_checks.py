"""Limits of values and files: what lies on them is within."""

import pytest

from digideep.parameters.checks import require_between, require_int
from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.own_files import read_file


@pytest.mark.parametrize("value", [0, 0.0, 0.25, 1, 1.0])
def test_a_number_within_its_limits_passes(value):
    require_between("share", value, 0, 1)
    require_between("share", value)


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, 2, float("inf"), float("nan"), True, "1", None])
def test_a_number_beyond_its_limits_is_refused(value):
    with pytest.raises(UsageError, match=r"share must be a number in \[0, 1\], got "):
        require_between("share", value, 0, 1)


def test_an_integer_is_refused_beyond_its_limits_and_nowhere_else():
    for value in (1, 2, 3):
        require_int("count", value, 1, 3)
    for value in (0, 4, 2.0, True):
        with pytest.raises(UsageError, match=rf"count must be an integer in \[1, 3\], got {value}"):
            require_int("count", value, 1, 3)


@pytest.mark.parametrize("data", [b"abc", b"abcde"])
def test_a_file_that_is_shorter_or_longer_than_it_was_is_not_read(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"it has {len(data)} bytes, expected 4"):
        read_file(tmp_path / "x", 4)
    assert read_file(tmp_path / "x", len(data), count=2) == b"ab"
