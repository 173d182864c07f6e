"""Ranks: what they exchange, checked by two of them (`tests.support.rank_checks`), and what torchrun tells them."""

import pytest
import torch

from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from tests.support.rank_checks import CHECKS, rank_variables, run_ranks, start_ranks


@pytest.fixture(scope="module")
def said():
    return run_ranks()


@pytest.mark.parametrize("name", CHECKS)
def test_in_two_ranks(said, name):
    for rank, each in enumerate(said):
        assert each.get(name, "was not reached") == "", f"rank {rank}"


def test_a_rank_that_hangs_ends_itself_and_the_others_with_the_place_where_it_hangs():
    processes = start_ranks("hang")
    first, second = (process.communicate(timeout=60)[1] for process in processes)
    assert [process.returncode for process in processes] == [1, 1]
    assert "digideep: rank 1: it has been in one step for 1 s, in hang_in_one_step (" in second
    assert "rank 1 has failed: it has been in one step for 1 s" in first


def test_one_process_is_one_rank_that_asks_nobody():
    ranks = Ranks.from_environment({})
    assert (ranks.rank, ranks.size, ranks.prefix) == (0, 1, "")
    assert ranks.seed(7) == 7
    assert ranks.gather({"a": 1}) == [{"a": 1}]
    tensor = torch.ones(2)
    assert ranks.sum(tensor) is tensor


def test_one_rank_of_torchrun_is_a_plain_run():
    ranks = Ranks.from_environment(rank_variables(0, 1, 29500))
    ranks.connect(torch.device("cpu"))
    assert ranks.store is None
    assert ranks.size == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0, LOCAL_WORLD_SIZE 2, expected at least 1"),
        ({"RANK": "2"}, "RANK is 2, expected less than 2"),
        ({"RANK": "-1"}, "RANK is '-1', expected a whole number"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a whole number"),
        ({"LOCAL_RANK": "5"}, "LOCAL_RANK is 5, expected less than 2"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT is 99999, expected at most 65535"),
        ({"WORLD_SIZE": "9" * 30}, "WORLD_SIZE is 9+, expected at most"),
    ],
)
def test_variables_that_contradict_each_other_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        Ranks.from_environment(rank_variables(0, 2, 29500) | changes)
