"""Runs with hindsight: they resume exactly, log success, and refuse what cannot be relabelled."""

import json

import pytest

from digideep.main import main
from digideep.post.loader import Loader
from tests.support.helpers import ROOT, tiny

GOALS = {
    "model_name": "GoalLine-v0", "from_module": "tests.support.goals", "hindsight": True, "number_epochs": 2,
    "observation_path": ["/observation", "/desired_goal"], "epoch_size": 20, "n_steps": 3, "warm_start": 20,
    "batch_size": 16, "gradient_steps_per_frame": 0.25, "hidden_sizes": [8], "memory_size_in_chunks": 15,
}  # fmt: skip
QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")


def arguments(recipe="sac_classic", **changes):
    panel = {key: value for key, value in {**GOALS, **changes}.items() if value is not None}
    return ["--params", str(ROOT / f"params/{recipe}.py"), "--cpanel", tiny(**panel)]


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("sac_classic", {"overlap": True, "env_kwargs": {"is_terminal": True}}),
        ("td3_mujoco", {"prioritized": True, "n_step_return": 3, "goal_strategy": "episode"}),
        ("ddpg_classic", {"goal_strategy": "final", "info_keys": ["steps"], "env_kwargs": {"counts": True}}),
    ],
)
def test_a_stopped_run_ends_as_the_straight_one(recipe, changes, capfd):
    assert main([*arguments(recipe, **changes), "--verify-resume", "2"]) == 0
    assert "resume is exact" in capfd.readouterr().out


def test_success_is_logged_of_training_and_tests(tmp_path):
    assert main([*arguments(), "--session-path", str(tmp_path), "--session-name", "s", *QUIET]) == 0
    log = Loader(tmp_path / "s").varlog
    for key in ("/success/train", "/success/test"):
        assert ((log[key]["min"] >= 0) & (log[key]["max"] <= 1) & (log[key]["num"] > 0)).all()


KEPT = ["/masks", "/rewards", "/terminations", "/agents/agent/actions", "/observations/observation",
        "/observations/desired_goal"]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "repeal", "message"),
    [
        ({"model_name": "Pendulum-v1", "observation_path": "/agent"}, {}, "needs the observation '/achieved_goal'"),
        ({"env_kwargs": {"fault": "mute"}}, {}, "hindsight needs compute_reward"),
        ({"observation_path": "/observation"}, {}, "needs an agent that sees '/desired_goal'"),
        ({"num_sampled_goals": -1}, {}, "num_sampled_goals must be an integer in [0, 1000], got -1"),
        ({"goal_strategy": "past"}, {}, "goal_strategy must be future, final, episode, got 'past'"),
        ({"hindsight": 3}, {}, "hindsight must be true or false, got 3"),
        ({}, {"/memory/keys": KEPT}, "/memory/keys lacks /observations/achieved_goal"),
        ({"desired_goal": "/goal"}, {}, "needs the observation '/goal'"),
    ],
)
def test_what_cannot_be_relabelled_is_refused_before_anything_is_created(tmp_path, capsys, changes, repeal, message):
    argv = [*arguments(**changes), "--session-path", str(tmp_path / "new"), *QUIET, "--repeal", json.dumps(repeal)]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "new").exists()
