"""The session's directory, dry runs, playing, and custom jobs."""

import csv
import json
import re
import shutil
import subprocess
import sys

import imageio.v3 as imageio
import pytest
import yaml

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint, write_checkpoint
from tests.support.helpers import CLASSIC, MUJOCO, ROOT, run, tiny


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A finished run of three epochs with a test after the second."""
    base = tmp_path_factory.mktemp("sessions")
    argv = [
        "--params",
        CLASSIC,
        "--cpanel",
        tiny(),
        "--session-path",
        str(base),
        "--msg",
        "a note",
        "--save-modules",
        "tests",
    ]
    assert main([*argv, "--repeal", '{"/runner/keep_checkpoints": 2}']) == 0
    (path,) = (entry for entry in base.iterdir() if entry.is_dir())
    return path


def test_a_session_has_a_unique_readable_name(session):
    assert re.fullmatch(r"session_\d{14}_[a-z]+_[a-z]+", session.name)


def test_a_name_that_another_run_of_this_second_drew_is_drawn_again(tmp_path, monkeypatch):
    drawn = iter(
        ["session_20260101000000_calm_euler", "session_20260101000000_calm_euler", "session_20260101000000_fair_gauss"]
    )
    monkeypatch.setattr("digideep.pipeline.session_directory.draw_name", lambda: next(drawn))
    for _ in range(2):
        assert main(["--create-session-only", "--params", CLASSIC, "--session-path", str(tmp_path), "--quiet"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "session_20260101000000_calm_euler", "session_20260101000000_fair_gauss",
    ]  # fmt: skip


def test_the_parameters_are_kept_as_plain_json_and_safe_yaml(session):
    assert json.loads((session / "cpanel.json").read_text())["number_epochs"] == 3
    tree = yaml.safe_load((session / "params.yaml").read_text())
    assert tree["agents"]["agent"]["class"] == "digideep.agent.ppo.PPO"
    assert tree["agents"]["agent"]["policy"]["hidden_sizes"] == [64, 64]
    assert tree["runner"]["keep_checkpoints"] == 2
    assert (tree["session_name"], tree["session_msg"]) == (session.name, "a note")
    assert json.loads((session / "repeal.json").read_text())[0]["repeal"] == {"/runner/keep_checkpoints": 2}


def test_the_sources_that_ran_are_kept(session):
    assert (session / "modules/digideep/agent/ppo.py").read_text() == (ROOT / "digideep/agent/ppo.py").read_text()
    assert (session / "modules/params/ppo_classic.py").exists()
    assert (session / "modules/tests/support/helpers.py").exists()
    assert not list(session.rglob("__pycache__"))


def test_old_checkpoints_are_deleted_and_the_run_is_marked_as_done(session):
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == ["checkpoint-2", "checkpoint-3"]
    assert (session / "done.lock").exists()
    assert not [entry for entry in (session / "checkpoints").iterdir() if entry.name.startswith(".")]


def test_the_logs_hold_a_line_per_epoch(session):
    lines = [json.loads(line) for line in (session / "varlog.json").read_text().splitlines()]
    assert [line["meta"]["epoch"] for line in lines] == [1, 2, 3]
    assert [line["meta"]["frame"] for line in lines] == [128, 256, 384]
    assert lines[1]["data"]["/return/test"]["num"] == 2
    assert set(lines[0]["data"]["/update/agent/policy_loss"]) == {"std", "num", "min", "max", "sum"}
    timings = json.loads((session / "prolog.json").read_text().splitlines()[0])
    assert timings["data"]["/train/simulate"]["occurs"] == 64
    assert "frames/s" in (session / "report.log").read_text()


def test_each_worker_of_each_mode_has_a_file_of_its_episodes(session):
    with (session / "monitor/train.1.monitor.csv").open() as file:
        assert json.loads(file.readline()[2:])["env_id"] == "CartPole-v1"
        rows = list(csv.DictReader(file))
    assert rows
    assert all(float(row["r"]) == int(row["l"]) for row in rows), "CartPole pays 1 a step"
    assert (session / "monitor/test.0.monitor.csv").exists()


def test_a_dry_run_trains_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--params", CLASSIC, "--cpanel", tiny(), "--dry-run"]) == 0
    assert main(["--params", CLASSIC, "--cpanel", tiny(), "--dry-run", "--play", "--episodes", "1"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "Finished after 384 frames" in capsys.readouterr().out


def test_a_created_session_trains_when_it_is_resumed(tmp_path):
    argv = ["--params", CLASSIC, "--cpanel", tiny(), "--session-path", str(tmp_path), "--session-name", "later"]
    assert main([*argv, "--create-session-only"]) == 0
    assert [path.name for path in list_checkpoints(tmp_path / "later/checkpoints")] == ["checkpoint-0"]
    assert main(["--resume", "--load-checkpoint", str(tmp_path / "later")]) == 0
    assert (tmp_path / "later/done.lock").exists()


def test_play_prints_returns_and_records_a_video_per_episode(session, capsys):
    assert main(["--play", "--load-checkpoint", str(session) + "/", "--episodes", "2"]) == 0
    output = capsys.readouterr().out
    returns = [float(text) for text in re.findall(r"episode +\d: return ([\d.]+)", output)]
    assert len(returns) == 2
    assert f"mean {sum(returns) / 2:,.3f}" in output
    (evaluation,) = (session / "evaluations").iterdir()
    videos = sorted((evaluation / "videos").glob("*.mp4"))
    assert len(videos) == 2
    assert imageio.immeta(videos[0])["fps"] == 50
    assert len(imageio.imread(videos[0])) == int(returns[0]) + 1
    assert not (evaluation / "checkpoints").exists()


def test_play_repeats_itself_and_uses_the_normalisers_of_the_checkpoint(tmp_path, capsys):
    argv = ["--params", MUJOCO, "--session-path", str(tmp_path), "--session-name", "s"]
    panel = tiny(model_name="InvertedPendulum-v5", num_mini_batches=2, n_update=1, number_epochs=2)
    assert main([*argv, "--cpanel", panel]) == 0
    checkpoints = tmp_path / "s/checkpoints"
    (learned, figures, _), (fresh, *_) = (read_checkpoint(checkpoints / f"checkpoint-{epoch}") for epoch in (2, 0))
    outputs = []
    for statistics in (learned["statistics"], learned["statistics"], fresh["statistics"]):
        write_checkpoint(checkpoints, "checkpoint-2", {**learned, "statistics": statistics}, figures)
        directory = str(checkpoints / "checkpoint-2")
        capsys.readouterr()
        assert main(["--play", "--load-checkpoint", directory, "--episodes", "3", "--render", "none"]) == 0
        outputs.append(re.findall(r"return ([\d.]+)", capsys.readouterr().out))
    assert len(outputs[0]) == 3
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2], "the same weights without what was learned of the observations"


def test_mujoco_renders_without_a_display(tmp_path):
    panel = tiny(model_name="InvertedPendulum-v5", num_mini_batches=2)
    argv = ["--params", MUJOCO, "--cpanel", panel, "--play", "--episodes", "1", "--session-path", str(tmp_path)]
    done = run(*argv)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("*.mp4"))) == 1


CUSTOM = """
from digideep.pipeline.runner import Runner
from digideep.parameters.component import describe
from params import ppo_classic

cpanel = ppo_classic.cpanel


class Counting(Runner):
    def custom(self):
        print("parameters:", sum(each.numel() for each in self.agents["agent"].policy.parameters()))
        return 0


def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    return tree | {"runner": tree["runner"] | {"class": Counting}}
"""


def test_a_custom_runner_does_a_job_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counting_params.py").write_text(CUSTOM)
    assert main(["--params", "counting_params.py", "--cpanel", tiny(), "--custom"]) == 0
    assert "parameters: 9155" in capsys.readouterr().out
    assert main(["--params", "counting_params.py", "--cpanel", tiny(), "--session-name", "s"]) == 0
    assert main(["--custom", "--load-checkpoint", "digideep_sessions/s"]) == 0
    assert len(list((tmp_path / "digideep_sessions/s/customs").iterdir())) == 1


def test_the_program_starts_as_a_script_a_module_and_a_command(tmp_path):
    argv = ["--params", CLASSIC, "--cpanel", tiny(number_epochs=1), "--session-path", str(tmp_path)]
    done = subprocess.run([sys.executable, str(ROOT / "main.py"), *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    executable = shutil.which("digideep", path=str(ROOT / ".venv/bin")) or shutil.which("digideep")
    assert executable is not None
    for program in ([sys.executable, "-m", "digideep.main"], [executable]):
        done = subprocess.run([*program, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "exit codes: 0 finished" in done.stdout
