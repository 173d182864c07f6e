"""Sampler units and their composition."""

import logging

import numpy as np
import pytest

from digideep.memory.generic import Memory
from digideep.memory.sampler import (
    NewestChunk,
    Sampler,
    check_finite,
    check_shape,
)
from digideep.utility.errors import NonFiniteError


def test_transitions_start_where_the_mask_is_true_but_never_at_the_last_row():
    memory = Memory(chunk_sample_len=3)
    masks = np.array([[True, False, True, True], [True, True, True, False]])[..., None]
    memory.store({"/masks": masks, "/x": np.zeros((2, 4, 1))})
    data = NewestChunk()(memory, {"keys": ["/masks"]})
    assert data["/rows"].tolist() == [0, 2, 4, 5, 6]
    assert set(data) == {"/masks", "/rows"}
    np.testing.assert_array_equal(memory.last_chunk()["/masks"], masks)


def test_units_follow_each_other_and_the_agent_has_the_last_word():
    class Shout(Sampler):
        units = (lambda data, info: data + info["end"], lambda data, info: data.upper())
        info = {"end": "?"}  # noqa: RUF012

    assert Shout()("who", {}) == "WHO?"
    assert Shout()("who", {"end": "!"}) == "WHO!"


def test_debug_units_name_what_is_wrong_and_pass_the_rest_on(caplog, monkeypatch):
    chunk = {"/good": np.zeros(2), "/bad": np.array([0.0, np.inf])}
    with pytest.raises(NonFiniteError, match="/bad"):
        check_finite(chunk, {})
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    with caplog.at_level(logging.INFO, "digideep"):
        assert check_shape(chunk, {}) is chunk
    assert "/good: (2,) float64" in caplog.text
