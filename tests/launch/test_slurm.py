"""`digideep group … --on slurm`: its script does what Slurm expects of it, and puts itself back into the queue.

The commands of Slurm are stand-ins here, which note how they were called. The script itself is run by bash, as Slurm
does it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from digideep.launch import slurm_script, slurm_task
from digideep.launch.engine import Job
from digideep.launch.slurm_script import queued_job, save_script, slurm_option, slurm_text
from digideep.main import main
from digideep.utility.errors import UsageError
from digideep.utility.own_files import DONE
from tests.support.forked import in_child
from tests.support.helpers import CLASSIC, tiny

ARRAY = 7


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Directory of the stand-ins, first on the path: each appends its arguments to `calls`, and prints a file."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("sbatch", "squeue", "scontrol"):
        (place / name).write_text(f'#!/bin/bash\necho "{name} $*" >> {place}/calls\ncat {place}/{name}.says\n')
        (place / name).chmod(0o755)
        (place / f"{name}.says").touch()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def calls(slurm, name):
    lines = (slurm / "calls").read_text().splitlines() if (slurm / "calls").exists() else []
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def start(script, index=0, output=subprocess.DEVNULL):
    variables = {"SLURM_JOB_ID": str(ARRAY), "SLURM_ARRAY_JOB_ID": str(ARRAY), "SLURM_ARRAY_TASK_ID": str(index)}
    return subprocess.Popen(["bash", str(script)], env={**os.environ, **variables}, stdout=output, stderr=output)


def wait_until(condition, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the script of a run, whose program is some lines of bash; the name of the run tries to be more of them."""
    program, group = tmp_path / "program", tmp_path / "g"
    monkeypatch.setattr(sys, "executable", str(program))
    group.mkdir()

    def write_script(lines, **options):
        program.write_text(f"#!/bin/bash\n{lines}\n")
        program.chmod(0o755)
        jobs = [Job(group / "it's $(exit 9); exit 9", CLASSIC)]
        return save_script(group, jobs, slurm_text(group, jobs, {}, **options))

    return write_script


@pytest.mark.parametrize(("code", "shown", "is_requeued"), [(0, 0, False), (3, 0, False), (75, 75, True)])
def test_a_task_goes_back_into_the_queue_when_its_run_stopped_with_a_checkpoint(slurm, write, code, shown, is_requeued):
    assert start(write(f"exit {code}")).wait() == shown
    # Not by SLURM_JOB_ID: the last task of an array has that of the whole array.
    assert calls(slurm, "scontrol") == [f"requeue {ARRAY}_0"] * is_requeued


def test_a_task_that_fails_is_tried_again_as_often_as_asked(slurm, write):
    script = write("exit 1", retries=1)
    assert [(start(script).wait(), len(calls(slurm, "scontrol"))) for _ in range(3)] == [(1, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize(("name", "is_requeued"), [("SIGUSR1", True), ("SIGTERM", False)])
def test_a_task_stops_before_its_time_is_over_and_comes_back_unless_somebody_ends_it(slurm, write, name, is_requeued):
    begun = slurm / "begun"
    task = start(write(f"trap 'sleep 0.1; exit 75' USR1 TERM; touch {begun}; while true; do sleep 0.02; done"))
    wait_until(begun.exists)
    task.send_signal(getattr(signal, name))
    assert task.wait() == 75
    assert calls(slurm, "scontrol") == [f"requeue {ARRAY}_0"] * is_requeued


def test_a_session_is_trained_stopped_and_gone_on_with_by_a_real_task(slurm, tmp_path, monkeypatch):
    panel = tiny(number_epochs=20, epoch_size=1, n_update=4, test_activate=False)
    words = ["group", CLASSIC, "--session-path", str(tmp_path), "--name", "g", "--cpanel", panel, "--device", "cpu"]
    assert main([*words, "--seeds", "2", "--on", "slurm", "--slurm", "time=01:00:00", "mem=8G", "--jobs", "3"]) == 0
    script, session = tmp_path / "g/slurm/array.sh", tmp_path / "g/seed=1"
    assert {f"#SBATCH --{option}" for option in (
        "array=0-1%3", "requeue", "signal=B:USR1@120", "time=01:00:00", "mem=8G", "open-mode=append"
    )} < set(script.read_text().splitlines())  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    task = start(script, index=1)
    wait_until((session / "checkpoints").is_dir)
    task.send_signal(signal.SIGUSR1)
    assert task.wait() == 75
    assert calls(slurm, "scontrol") == [f"requeue {ARRAY}_1"]
    assert not (session / DONE).exists()
    jobs = str(script.with_name("jobs.json"))
    assert in_child(lambda: slurm_task.main([jobs, "seed=1"]), tmp_path / "log")[0] == 0  # what the task runs next
    assert (session / DONE).exists()


def test_a_group_that_is_queued_is_shown_and_neither_submitted_nor_run_again(slurm, tmp_path, capsys):
    words = ["group", CLASSIC, "--session-path", str(tmp_path), "--name", "g", "--seeds", "3", "--cpanel", tiny()]
    (slurm / "sbatch.says").write_text(f"{ARRAY}\n")
    assert main([*words, "--on", "slurm", "--submit"]) == 0
    assert calls(slurm, "sbatch") == ["--test-only", f"--parsable {tmp_path}/g/slurm/array.sh"]
    (slurm / "squeue.says").write_text("0 PENDING\n1 RUNNING\n")
    (tmp_path / "g/slurm/seed=2.reason").write_text("/observations is not finite\n")
    assert main([*words, "--on", "slurm", "--submit"]) == 2
    assert f"scancel {ARRAY}" in capsys.readouterr().err
    assert main(["group", str(tmp_path / "g"), "--json"]) == 75
    said = json.loads(capsys.readouterr().out)
    states = [(run["state"], run["reason"]) for run in said["runs"]]
    assert states == [("waiting", ""), ("running", ""), ("failed", "/observations is not finite")]
    assert sorted(path.name for path in (tmp_path / "g").iterdir() if path.is_dir()) == ["slurm"]


def test_a_group_with_a_script_trains_here_only_if_somebody_says_so(slurm, tmp_path, capsys):
    words = ["group", CLASSIC, "--session-path", str(tmp_path), "--name", "g", "--seeds", "2", "--cpanel", tiny()]
    (slurm / "sbatch").write_text("#!/bin/bash\necho sbatch: error: no controller >&2\nexit 1\n")
    assert main([*words, "--on", "slurm"]) == 0
    assert "no controller" in capsys.readouterr().err
    assert main(["group", str(tmp_path / "g")]) == 75
    assert "--on slurm --submit; on this machine: --on local" in capsys.readouterr().out
    assert not (tmp_path / "g/seed=0").exists()
    assert main(["group", str(tmp_path / "g"), "--on", "local", "--dry-run"]) == 0
    assert main([*words, "--on", "slurm", "--submit"]) == 2


@pytest.mark.parametrize(
    ("squeue", "reason"),
    [
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", "Unable to contact slurm"),
        ("exec sleep 9", "squeue does not answer within 0.2 s."),
        ("echo CLUSTER: all of them", "squeue prints 'CLUSTER: all of them'."),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", None),
        ("true", None),
    ],
)
def test_only_a_job_that_slurm_has_forgotten_is_taken_for_ended(slurm, tmp_path, monkeypatch, squeue, reason):
    save_script(tmp_path, [Job(tmp_path / "seed=0", CLASSIC)], "").with_name("job").write_text("42\n")
    (slurm / "squeue").write_text(f"#!/bin/bash\n{squeue}\n")
    monkeypatch.setattr(slurm_script, "_ANSWER_S", 0.2)
    if reason is None:
        assert queued_job(tmp_path) is None
        return
    with pytest.raises(UsageError) as refusal:
        queued_job(tmp_path)
    assert str(refusal.value).startswith(f"Slurm does not say whether it still has job 42 of {tmp_path}. ")
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "option",
    ["a b=1", 'comment="a"', "comment=$(rm)", "comment=a b", "comment=x\n#SBATCH --wrap=x", "array=0-3",
     "output=/tmp/x", "signal=USR1", "=1", ""],
)  # fmt: skip
def test_an_option_that_could_do_something_else_to_the_script_is_refused(option):
    with pytest.raises(argparse.ArgumentTypeError):
        slurm_option(option)


def test_an_option_of_sbatch_is_passed_on():
    assert slurm_option("--mem=8G") == ("mem", "8G")
    assert slurm_option("exclusive") == ("exclusive", None)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--on", "cloud"], "choose from 'local', 'ray', 'slurm'"),
        (["--submit"], "--submit says nothing of --on local"),
        (["--on", "slurm", "--gpus-per-run", "0.5"], "Slurm gives whole GPUs"),
        (["--on", "slurm", "--ray-address", "auto"], "--ray-address says nothing of --on slurm"),
        (["--on", "slurm", "--submit", "--name", "a%j"], "characters that Slurm does not take"),
        (["--on", "slurm", "--submit"], "failed: sbatch: error: no such partition"),
    ],
)
def test_what_slurm_cannot_do_is_refused_in_a_line_and_nothing_is_made(slurm, tmp_path, capsys, words, refusal):
    (slurm / "sbatch").write_text("#!/bin/bash\necho sbatch: error: no such partition >&2\nexit 1\n")
    base = tmp_path / "sessions"
    assert main(["group", CLASSIC, "--session-path", str(base), "--seeds", "2", "--cpanel", tiny(), *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert refusal in said[0]
    assert not base.exists()


def test_to_submit_takes_slurm(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["group", CLASSIC, "--session-path", str(tmp_path / "s"), "--seeds", "2", "--cpanel", tiny()]
    assert main([*words, "--on", "slurm", "--submit"]) == 2
    assert "--submit needs sbatch, which is not here" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
