"""Exact resume of environments with packages of their own, with wrappers around each of them."""

import json

import pytest

from digideep.main import main
from tests.support.helpers import CLASSIC, ROOT, tiny

WRAPPED = """
import gymnasium as gym

from digideep.environment.making.wrappers import describe_wrapper
from params import {name} as base

cpanel = base.cpanel


def gen_params(cpanel):
    tree = base.gen_params(cpanel)
    tree["env"]["norm_wrappers"] = [
        describe_wrapper(gym.wrappers.{innermost}),
        describe_wrapper(gym.wrappers.TimeAwareObservation),
        describe_wrapper(gym.wrappers.DelayObservation, delay=1),
        describe_wrapper(gym.wrappers.ClipReward, min_reward=-5, max_reward=5),
    ]
    return tree
"""


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize(
    ("name", "innermost", "changes"),
    [
        (
            "ppo_classic",
            "StickyAction, repeat_action_probability=0.3",
            {"model_name": "LunarLander-v3", "env_kwargs": {"enable_wind": True}},
        ),
        ("ppo_dmc", "FlattenObservation", {"env_kwargs": {"time_limit": 0.5}, "num_mini_batches": 2, "n_update": 1}),
    ],
)
def test_verify_resume_passes_with_wrappers(tmp_path, monkeypatch, capfd, name, innermost, changes):
    (tmp_path / "wrapped.py").write_text(WRAPPED.format(name=name, innermost=innermost))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    argv = ["--params", "wrapped.py", "--verify-resume", "2", "--device", "cpu", "--cpanel"]
    assert main([*argv, tiny(epoch_size=8, num_workers=2, test_activate=False, **changes)]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


def test_an_environment_that_does_not_repeat_itself_is_announced_at_the_start(capsys):
    changes = {"model_name": "Forgetful-v0", "from_module": "tests.support.environments", "number_epochs": 1}
    assert main(["--params", CLASSIC, "--dry-run", "--cpanel", tiny(**changes)]) == 0
    assert "Forgetful-v0: exact resume: NO, it does not repeat itself; stepped in this process; time limit 30 steps; "\
        "renders nothing" in capsys.readouterr().out  # fmt: skip


def test_what_a_session_says_about_wrappers_can_be_changed_to_nothing_else(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    argv = [
        "--params",
        str(ROOT / "params/ppo_dmc.py"),
        "--dry-run",
        "--cpanel",
        tiny(frame_skip=2, num_mini_batches=2),
    ]
    other = {"/env/norm_wrappers/0/wrapper": "os.system"}
    assert main([*argv, "--repeal", json.dumps(other)]) == 2
    assert "'os.system' is no wrapper of gymnasium" in capsys.readouterr().err
