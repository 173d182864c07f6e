"""Does it learn? One quick look in every test run; `make learning` trains for minutes, to published levels."""

import json
from pathlib import Path
from statistics import fmean

import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from tests.helpers import CLASSIC, MUJOCO


def final_return(base: Path, params: str, **cpanel) -> float:
    """The mean return of the last 100 training episodes."""
    argv = ["--params", params, "--cpanel", json.dumps(cpanel), "--session-path", str(base), "--session-name", "s"]
    assert main(argv) == 0
    state = json.loads((list_checkpoints(base / "s/checkpoints")[-1] / "runner.json").read_text())
    return fmean(state["runner"]["recent_returns"])


def test_ppo_learns_a_good_deal_of_cartpole_within_60_000_frames(tmp_path):
    assert final_return(tmp_path, CLASSIC, number_epochs=3, compile="off", test_activate=False) >= 150


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_balances_the_pole_within_500_000_frames(tmp_path, seed):
    assert final_return(tmp_path, CLASSIC, seed=seed) >= 475


@pytest.mark.learning
@pytest.mark.timeout(1800)
def test_ppo_runs_as_a_cheetah_within_1_000_000_frames(tmp_path):
    assert final_return(tmp_path, MUJOCO) >= 4000


RECALL = {"model_name": "Recall-v0", "from_module": "tests.environments", "lr": 1e-3, "env_kwargs": {"delay": 20},
          "number_epochs": 5, "epoch_size": 10, "test_activate": False, "compile": "off"}  # fmt: skip


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
