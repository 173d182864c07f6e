"""Exact resume: stopped, killed, resumed, and still the same to the last bit."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from tests.kills.marked import TRAINS
from tests.support.helpers import CLASSIC, MUJOCO, ROOT, command, tiny


def train(base: Path, name: str, params: str, cpanel: str, *more: str) -> int:
    argv = ["--params", params, "--cpanel", cpanel, "--session-path", str(base), "--session-name", name]
    return main([*argv, "--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu", *more])


def last(base: Path, name: str) -> Path:
    return list_checkpoints(base / name / "checkpoints")[-1]


def start(*arguments: str, stdout: int = subprocess.DEVNULL, **environment: str) -> subprocess.Popen:
    """The program in a process of its own, its output thrown away."""
    argv, variables = command(*arguments, "--no-monitor-cpu", "--no-monitor-gpu"), {**os.environ, **environment}
    return subprocess.Popen(argv, cwd=ROOT, stdout=stdout, stderr=subprocess.DEVNULL, env=variables)


LONG_EPOCH = tiny(number_epochs=1, epoch_size=24, n_steps=64)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The last checkpoint of a run of one long epoch that nothing stopped."""
    base = tmp_path_factory.mktemp("straight")
    assert train(base, "straight", CLASSIC, LONG_EPOCH) == 0
    return last(base, "straight")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_after_the_cycle_with_a_checkpoint_and_code_75(tmp_path, straight, number):
    session = tmp_path / "stopped"
    argv = ["--params", CLASSIC, "--cpanel", LONG_EPOCH, "--session-path", str(tmp_path), "--session-name", "stopped"]
    process = start(*argv)
    while process.poll() is None and not (session / "monitor").exists():  # until the loop turns
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait() == 75
    assert "+" in last(tmp_path, "stopped").name, "stopped within the epoch"
    assert not (session / "done.lock").exists()
    assert main(["--resume", str(session), "--log-level", "3"]) == 0
    assert compare_checkpoints(straight, last(tmp_path, "stopped"))[0] == []


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        (MUJOCO, {"num_workers": 3, "n_steps": 48, "num_mini_batches": 4, "n_update": 2}),
        (MUJOCO, {"num_workers": 3, "num_processes": 3, "n_steps": 48, "num_mini_batches": 4, "n_update": 2}),
        (CLASSIC, {"num_workers": 4, "num_processes": 2, "model_name": "Pendulum-v1"}),
        (CLASSIC, {"model_name": "Noise-v0", "from_module": "tests.support.environments"}),
        (CLASSIC, {"compile": "on", "num_workers": 2, "n_steps": 32}),
    ],
)
def test_a_resumed_run_is_bit_identical_from_every_checkpoint(tmp_path, params, changes):
    panel = tiny(number_epochs=4, **changes)
    assert train(tmp_path, "straight", params, panel) == 0
    session, one_epoch = tmp_path / "stopped", '{"/runner/max_iter": 1}'
    assert train(tmp_path, "stopped", params, panel, "--repeal", one_epoch) == 75
    assert main(["--resume", str(session), "--log-level", "3"]) == 75
    for epoch in (2, 0):
        checkpoint = session / f"checkpoints/checkpoint-{epoch}"
        go_on = ["--resume", str(checkpoint), "--log-level", "3", "--repeal", '{"/runner/max_iter": null}']
        assert main(go_on) == 0
        assert compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))[0] == []


def test_a_difference_is_reported(tmp_path):
    panel = tiny(number_epochs=1)
    for name, seed in (("a", 1), ("b", 2)):
        assert train(tmp_path, name, CLASSIC, tiny(number_epochs=1, seed=seed)) == 0
    different, _ = compare_checkpoints(last(tmp_path, "a"), last(tmp_path, "b"))
    assert "/agents/agent/policy/actor.0.weight" in different
    assert "/params/runner/seed" in different
    assert train(tmp_path, "c", CLASSIC, panel.replace("}", ', "seed": 1}')) == 0
    assert compare_checkpoints(last(tmp_path, "a"), last(tmp_path, "c"))[0] == []


def test_verify_resume_proves_it_on_the_users_own_parameters(capfd, tmp_path):
    """In worker processes, that are told the progress and sum up infos."""
    own = {"model_name": "Pupil-v0", "from_module": "tests.support.scripted", "tell_progress": True}
    panel = tiny(epoch_size=16, n_update=2, num_workers=3, num_processes=2, episode_infos={"steps": "sum"}, **own)
    argv = ["--params", CLASSIC, "--verify-resume", "2", "--device", "cpu"]
    assert main([*argv, "--cpanel", panel]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


@pytest.mark.usefixtures("forking_verify")
def test_verify_resume_notices_an_environment_that_cannot_be_relived(capfd):
    argv = ["--params", CLASSIC, "--verify-resume", "2", "--device", "cpu"]
    panel = tiny(epoch_size=20, n_update=1, model_name="Forgetful-v0", from_module="tests.support.environments")
    assert main([*argv, "--cpanel", panel]) == 1
    assert "resume is NOT exact" in capfd.readouterr().out


def test_a_crash_leaves_its_traceback_in_the_report_and_code_1(tmp_path, capsys):
    panel = tiny(
        model_name="Trouble-v0", from_module="tests.support.environments", env_kwargs={"kind": "raise", "at": 40},
        test_activate=False,
    )  # fmt: skip
    assert train(tmp_path, "crashed", CLASSIC, panel) == 1
    assert "the gripper is stuck" in capsys.readouterr().err
    report = (tmp_path / "crashed/report.log").read_text()
    assert "Traceback (most recent call last)" in report
    assert "RuntimeError: the gripper is stuck" in report
    assert main(["--resume", str(tmp_path / "crashed"), "--log-level", "3"]) == 1, "the lock is free again"


def test_a_second_interrupt_stops_at_once_without_saving(tmp_path):
    session = tmp_path / "s"
    own = {"model_name": "MarkedPole-v0", "from_module": "tests.kills.marked"}
    panel = tiny(number_epochs=1, epoch_size=10**6, n_steps=512, n_update=300, **own)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "s"]
    mark = tmp_path / "mark"
    mark.write_bytes(b"-")
    with start(*argv, stdout=subprocess.PIPE, KILLS_MARK=str(mark)) as process:
        while process.poll() is None and not (session / "monitor").exists():
            time.sleep(0.005)
        mark.write_bytes(b"-")
        while process.poll() is None and mark.read_bytes() != TRAINS:  # in the second cycle, whose update takes seconds
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert any(b"stopping after this cycle" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 1
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == ["checkpoint-0"]


def test_more_epochs_can_be_added_to_a_finished_run(tmp_path):
    assert train(tmp_path, "s", CLASSIC, tiny(number_epochs=1)) == 0
    assert main(["--resume", str(tmp_path / "s"), "--repeal", '{"/runner/n_epochs": 2}', "--log-level", "3"]) == 0
    assert last(tmp_path, "s").name == "checkpoint-2"
    notes = json.loads((tmp_path / "s/repeal.json").read_text())
    assert notes == [{"epoch": 1, "repeal": {"/runner/n_epochs": 2}}]
