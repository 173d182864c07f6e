"""Sampler units and their composition."""

import logging

import numpy as np
import pytest

from digideep.memory.generic import Memory
from digideep.memory.sampler import (
    Compose,
    add_transition_rows,
    check_finite,
    check_shape,
    get_last_chunk,
    select_keys,
    shuffled_minibatches,
)
from digideep.utility.errors import NonFiniteError


def test_transitions_start_where_the_mask_is_true_but_never_at_the_last_row():
    memory = Memory(chunk_sample_len=3)
    masks = np.array([[True, False, True, True], [True, True, True, False]])[..., None]
    memory.store({"/masks": masks, "/x": np.zeros((2, 4, 1))})
    data = Compose([get_last_chunk, select_keys, add_transition_rows])(memory, {"keys": ["/masks"]})
    assert data["/rows"].tolist() == [0, 2, 4, 5, 6]
    assert set(data) == {"/masks", "/rows"}


def test_every_row_comes_once_and_only_the_last_minibatch_is_filled_up():
    rows = np.arange(10, 21)
    minibatches = shuffled_minibatches(rows, 4, np.random.default_rng(0))
    assert minibatches.shape == (3, 4)
    flat = minibatches.reshape(-1)
    assert sorted(flat[:11].tolist()) == rows.tolist()
    assert flat[11] == flat[0]
    assert flat[:11].tolist() != rows.tolist()


def test_few_rows_fill_a_minibatch_by_repetition():
    assert sorted(shuffled_minibatches(np.array([3, 4]), 4, np.random.default_rng(0))[0].tolist()) == [3, 3, 4, 4]


def test_debug_units_name_what_is_wrong_and_pass_the_rest_on(caplog, monkeypatch):
    chunk = {"/good": np.zeros(2), "/bad": np.array([0.0, np.inf])}
    with pytest.raises(NonFiniteError, match="/bad"):
        check_finite(chunk, {})
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    with caplog.at_level(logging.INFO, "digideep"):
        assert check_shape(chunk, {}) is chunk
    assert "/good: (2,) float64" in caplog.text
