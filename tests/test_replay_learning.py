"""Do replay methods learn? `make learning` trains to published levels."""

import json
from pathlib import Path

import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.post.loader import Loader
from tests.support.helpers import ROOT


def best_return(base: Path, params: str, **cpanel) -> float:
    """The largest mean of ten deterministic test episodes."""
    argv = ["--params", str(ROOT / f"params/{params}.py"), "--cpanel", json.dumps(cpanel), "--log-level", "3"]
    assert main([*argv, "--session-path", str(base), "--session-name", "s"]) == 0
    state = json.loads((list_checkpoints(base / "s/checkpoints")[-1] / "runner.json").read_text())
    return state["runner"]["best_return"]


PENDULUM = {"model_name": "Pendulum-v1", "number_epochs": 20, "epoch_size": 1000, "warm_start": 1000, "gamma": 0.98,
            "memory_size_in_chunks": 200_000}  # fmt: skip


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("params", "changes"),
    [("ddpg_classic", {}), ("td3_mujoco", PENDULUM), ("sac_classic", {})],
    ids=["ddpg", "td3", "sac"],
)
def test_a_pendulum_is_swung_up_within_20_000_frames(tmp_path, params, changes, seed):
    # The best of ten episodes each depends on luck; their mean over 100 is in docs/methods.
    assert best_return(tmp_path, params, seed=seed, compile="on", **changes) >= -170


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dqn_balances_the_pole(tmp_path, seed):
    assert best_return(tmp_path, "dqn_classic", seed=seed) >= 475


@pytest.mark.learning
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_hand_learns_from_demonstrations_where_its_goal_is(tmp_path, seed):
    assert best_return(tmp_path, "sac_demo", seed=seed) >= 0.95


@pytest.mark.learning
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("params", "level"), [("sac_mujoco", 5000), ("td3_mujoco", 4500)])
def test_a_cheetah_runs_within_100_000_frames(tmp_path, params, level):
    assert best_return(tmp_path, params, number_epochs=20) >= level


@pytest.mark.learning
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_fetch_robot_reaches_its_goals_within_20_000_frames(tmp_path, seed):
    panel = json.dumps({"seed": seed, "target_success": 0.95})
    argv = ["--params", str(ROOT / "params/sac_fetch.py"), "--cpanel", panel, "--log-level", "3"]
    assert main([*argv, "--session-path", str(tmp_path), "--session-name", "s"]) == 0
    successes = Loader(tmp_path / "s").varlog["/success/test"]
    assert (successes["sum"] / successes["num"]).max() >= 0.95
