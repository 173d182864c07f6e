"""Batches from several memories: whole rows, exact over a run, each memory in its own way."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.memory.replay import Replay
from digideep.memory.shares import Shares
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.utility.errors import UsageError
from tests.memory.test_replay import Stream, filled

INFO = {"observations": "/observations/agent", "actions": "/agents/a/actions", "gamma": 0.9}


def info(seed=0):
    return INFO | {"generator": np.random.default_rng(seed)}


def memories(*names):
    return {name: filled(3) for name in ("train", *names)}


@pytest.mark.parametrize(
    ("share", "batch_size"), [(0.25, 8), (0.1, 64), (1 / 3, 7), (0.999, 3), (0.0, 5), (1.0, 5), (1e-6, 1)]
)
def test_the_rows_of_a_share_are_exact_after_any_number_of_batches(share, batch_size):
    shares, given = Shares({"demo": share}, memories("demo")), 0
    exact = Fraction(share).limit_denominator(1_000_000)
    for number in range(1, 200):
        rows = shares.split(batch_size)
        assert sum(rows.values()) == batch_size
        given += rows["demo"]
        assert given == int(exact * batch_size * number)


def test_a_share_that_falls_gives_the_sum_of_its_values():
    shares = Shares({"demo": describe(Linear, start=0.5, end=0.0)}, memories("demo"), 1000)
    rows = [shares.split(64)["demo"] for _ in range(1000)]
    values = [0.5 - 0.5 * (n / 1000) for n in range(1000)]
    assert sum(rows) == int(sum(Fraction(round(value * 10**9), 10**9) * 64 for value in values))
    assert (rows[0], rows[500]) == (32, 16)
    assert all(abs(first - second) <= 1 for first, second in pairwise(rows))


def test_several_shares_leave_no_row_out_and_none_is_below_zero():
    shares, given = Shares({"a": 0.5, "b": 0.3, "c": 0.2}, memories("a", "b", "c")), np.zeros(4, int)
    for number in range(1, 300):
        rows = list(shares.split(3).values())
        assert sum(rows) == 3
        assert min(rows) >= 0
        given += rows
        assert np.abs(given - np.array([0, 0.5, 0.3, 0.2]) * 3 * number).max() < 3


def test_an_empty_memory_gives_nothing_and_nothing_is_owed_to_it():
    stores = memories("demo")
    stores["demo"] = Memory(chunk_sample_len=4, buffer_chunk_len=3)
    shares = Shares({"demo": 0.5}, stores)
    assert [shares.split(4) for _ in range(3)] == [{"train": 4}] * 3
    stores["demo"].store(Stream().chunk(4))
    assert shares.split(4) == {"train": 2, "demo": 2}


def test_shares_go_on_where_they_were_stopped():
    first, second = (Shares({"demo": describe(Linear, start=0.4)}, memories("demo"), 50) for _ in range(2))
    for _ in range(7):
        first.split(5)
    second.load_state_dict(first.state_dict())
    assert [first.split(5) for _ in range(30)] == [second.split(5) for _ in range(30)]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"dmeo": 0.1}, r"shares names a memory 'dmeo' that there is not. Did you mean 'demo'\?"),
        ({"train": 0.1}, "shares names 'train', which gives what the others leave"),
        ({"demo": -0.1}, r"shares\['demo'\] must be a number in \[0, 1\], got -0.1"),
        ({"demo": float("nan")}, r"shares\['demo'\] must be a number in \[0, 1\], got nan"),
        ({"demo": describe(Linear, start=0.5, end=1.2)}, r"shares\['demo'\] must be in \[0, 1\] at all times"),
        ({"demo": 0.6, "more": 0.6}, "shares must be at most 1 together"),
        (
            {"demo": describe(Linear, start=0.2, end=0.8), "more": 0.5},
            r"at most 1 together, and after \d+ batches they are not",
        ),
    ],
)
def test_shares_that_are_none_are_refused(shares, message):
    with pytest.raises(UsageError, match=message):
        Shares(shares, memories("demo", "more"), 100)


def _replay(**parameters):
    """A sampler of two memories whose rewards tell them apart: those of "demo" are above 1000."""
    stores = memories("demo")
    stores["demo"].buffer["/rewards"] += 1000
    return stores, Replay(100, memories=stores, batch_size=8, **parameters)


def test_a_batch_has_the_rows_of_train_first_and_those_of_a_share_behind_them():
    stores, replay = _replay(shares={"demo": 0.25})
    batch = replay(stores["train"], info())
    assert {len(array) for array in batch.values()} == {8}
    assert (batch["/rewards"] > 900).tolist() == [False] * 6 + [True] * 2


def test_without_shares_a_batch_is_what_it_would_be_without_other_memories():
    stores, replay = _replay()
    alone = Replay(100, batch_size=8)
    for key, array in alone(stores["train"], info()).items():
        np.testing.assert_array_equal(array, replay(stores["train"], info())[key])


def test_each_memory_has_priorities_of_its_own_and_learns_its_own_errors():
    priorities = describe(Priorities, alpha=1.0, eps=1e-3)
    stores, replay = _replay(shares={"demo": 0.5}, priorities={"demo": priorities})
    batch = replay(stores["train"], info())
    assert batch["/weights"][:4].tolist() == [1.0] * 4  # train draws uniformly
    errors = torch.arange(8.0)
    replay.note_errors(errors)
    leaves = replay.state_dict()["priorities of demo"]["leaves"]
    assert {round(leaf, 3) for leaf in leaves} - {0.0, 1.0} <= {4.001, 5.001, 6.001, 7.001}
    assert 7.001 in {round(leaf, 3) for leaf in leaves}
    assert list(replay.schedules()) == ["share_demo", "beta_demo"]


def test_priorities_for_a_memory_without_a_share_are_refused():
    with pytest.raises(UsageError, match="priorities names a memory 'demo' that has no share"):
        Replay(100, batch_size=8, priorities={"demo": describe(Priorities)})


def test_a_sampler_of_two_memories_goes_on_where_it_was_stopped():
    priorities = {"train": describe(Priorities), "demo": describe(Priorities)}
    stores, first = _replay(shares={"demo": 0.3}, priorities=priorities)
    second = Replay(100, memories=stores, batch_size=8, shares={"demo": 0.3}, priorities=priorities)
    for seed in range(3):
        first(stores["train"], info(seed))
        first.note_errors(torch.rand(8, generator=torch.Generator().manual_seed(seed)))
    second.load_state_dict(first.state_dict())
    for seed in range(5):
        ours, theirs = (each(stores["train"], info(seed)) for each in (first, second))
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
