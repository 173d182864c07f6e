"""Atari as a whole: exact resume through gymnasium, and what the log says of backends that cannot do it."""

import json

import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from tests.pipeline.test_resume import train
from tests.support.helpers import ROOT

PPO, DQN = str(ROOT / "params/ppo_atari.py"), str(ROOT / "params/dqn_atari.py")
SMALL = {"number_epochs": 3, "epoch_size": 2, "num_workers": 2, "n_steps": 12, "test_activate": False,
         "save_interval": 1, "num_threads": 1}  # fmt: skip
STICKY = {"backend": "gymnasium", "repeat_action_probability": 0.25}


def panel(**changes) -> str:
    return json.dumps(SMALL | changes)


@pytest.mark.usefixtures("forking_verify")
def test_verify_resume_proves_it_for_pong_through_gymnasium(capfd):
    small = panel(num_mini_batches=1, n_update=1, **STICKY)
    assert main(["--params", PPO, "--verify-resume", "2", "--device", "cpu", "--cpanel", small]) == 0
    assert "are bit-identical: resume is exact." in capfd.readouterr().out


def test_dqn_with_frames_stored_once_resumes_exactly_amid_games(tmp_path):
    small = panel(warm_start=24, batch_size=4, memory_size_in_chunks=4, prioritized=True, **STICKY)
    assert train(tmp_path, "straight", DQN, small) == 0
    assert train(tmp_path, "stopped", DQN, small, "--repeal", '{"/runner/max_iter": 1}') == 75
    again = ["--resume", str(tmp_path / "stopped"), "--log-level", "3", "--repeal", '{"/runner/max_iter": null}']
    assert main(again) == 0
    straight, resumed = (list_checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("straight", "stopped"))
    different, total = compare_checkpoints(straight, resumed)
    assert total > 50
    assert [path for path in different if "max_iter" not in path] == []


def test_a_native_backend_trains_on_after_a_resume_and_the_log_says_that_episodes_restart(tmp_path):
    small = panel(num_mini_batches=1, n_update=1)
    assert train(tmp_path, "stopped", PPO, small, "--repeal", '{"/runner/max_iter": 1}') == 75
    session = tmp_path / "stopped"
    assert main(["--resume", str(session), "--repeal", '{"/runner/max_iter": null}']) == 0
    log = (session / "report.log").read_text()
    assert log.count("ALE's vector environment cannot re-live episodes: the 2 that were running restart") == 1
    assert "Finished after 144 frames" in log
