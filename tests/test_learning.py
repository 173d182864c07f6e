"""Does it learn? Quick looks in every test run (see tests/margins.py); `make learning` trains to published levels."""

import pytest

from tests.margins import TRAININGS, final_return, outcome
from tests.support.helpers import CLASSIC, MUJOCO


@pytest.mark.parametrize("name", TRAININGS)
def test_what_is_learned_within_seconds(name, tmp_path):
    training = TRAININGS[name]
    assert training.least <= outcome(name, tmp_path) <= training.most


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_balances_the_pole_within_500_000_frames(tmp_path, seed):
    assert final_return(tmp_path, CLASSIC, seed=seed) >= 475


@pytest.mark.learning
@pytest.mark.timeout(1800)
def test_ppo_runs_as_a_cheetah_within_1_000_000_frames(tmp_path):
    assert final_return(tmp_path, MUJOCO) >= 4000


RECALL = {"model_name": "Recall-v0", "from_module": "tests.support.environments", "lr": 1e-3,
          "env_kwargs": {"delay": 20}, "number_epochs": 5, "epoch_size": 10, "test_activate": False,
          "compile": "off"}  # fmt: skip


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_recurrent_ppo_remembers_for_20_steps_within_50_000_frames(tmp_path, cell, seed):
    assert final_return(tmp_path, CLASSIC, **RECALL, recurrent=True, cell=cell, seed=seed) >= 0.95


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_feed_forward_ppo_stays_at_chance_there(tmp_path, seed):
    # Half of 100 episodes, four standard deviations either way.
    assert 0.3 <= final_return(tmp_path, CLASSIC, **RECALL, seed=seed) <= 0.7
