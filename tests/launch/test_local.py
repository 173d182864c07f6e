"""Jobs as processes of this machine: what they find, why they fail, and that they end."""

import os
import time

import pytest

from digideep.launch import child, local
from digideep.launch.engine import Job
from digideep.launch.local import LocalEngine, share_cores
from tests.support.helpers import CLASSIC, TINY

SAYS = """
import os, sys
from digideep.utility.errors import UsageError
cores = getattr(os, "sched_getaffinity", lambda pid: "")(0)
gpu, threads = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"]
raise UsageError(f"{cores} {gpu} {threads} {sys.argv[1:3]} {sys.stdin.read()!r}")
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""


def write(path, text):
    path.write_text(text)
    return str(path)


def test_a_process_has_cores_and_threads_of_its_own_and_nothing_to_read(tmp_path, monkeypatch, real_jobs):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    engine = LocalEngine(1)
    job = Job(tmp_path / "s", write(tmp_path / "says.py", SAYS), threads=3)
    engine.start(job)
    assert engine.free == 0
    (ended,) = engine.wait(120)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ""
    assert ended == (job, 2, f"--params {job.params}: {cores} None 3 ['train', {job.params!r}] ''")
    assert (engine.free, engine.stop(), (tmp_path / "s").exists()) == (1, [], False)


def test_jobs_at_once_have_cores_and_gpus_of_their_own(tmp_path):
    engine, params = LocalEngine(2, gpus=["5", "6"]), write(tmp_path / "says.py", SAYS)
    for name in ("a", "b"):
        engine.start(Job(tmp_path / name, params))
    ended = engine.wait(60)
    ended += [] if engine.free == 2 else engine.wait(60)
    shares = [set(cores) or os.sched_getaffinity(0) for cores in share_cores(2)]
    assert sorted(each.reason.split(": ", 1)[1].split(" [")[0] for each in ended) == sorted(
        f"{cores} {gpu} 1" for cores, gpu in zip(shares, "56", strict=True)
    )


@pytest.mark.parametrize("who", [child, local])
def test_a_process_that_does_not_stop_kills_itself_or_is_killed(tmp_path, monkeypatch, who):
    monkeypatch.setattr(who, "STOP_S", 0.2)
    monkeypatch.setattr(local, "_SPARE_S", 0.0)
    engine = LocalEngine(1)
    engine.start(Job(tmp_path / "deaf", write(tmp_path / "deaf.py", DEAF)))
    assert engine.wait(0.5) == []
    assert engine.free == 0
    began = time.monotonic()
    (ended,) = engine.stop()
    assert time.monotonic() - began < 30
    assert ended.code == -9
    assert ended.reason.startswith("killed, since it did not stop within ")


def test_a_job_goes_on_with_what_is_there_and_says_nothing_else_to_a_program_than_a_person_would(tmp_path):
    job = Job(tmp_path / "s", CLASSIC, {"lr": 0.1}, {"/runner/save_int": 2}, ("--msg", "a"), ("--quiet",), stop_after=3)
    assert Job.from_json(job.to_json()) == job
    assert job.words() == [
        "train", CLASSIC, "--cpanel", '{"lr": 0.1}', "--repeal", '{"/runner/save_int": 2}',
        "--session-path", str(tmp_path), "--session-name", "s", "--msg", "a", "--quiet", "--stop-after", "3",
    ]  # fmt: skip
    job.session.mkdir()
    (job.session / "params.yaml").touch()
    assert job.words() == ["resume", str(job.session), "--quiet", "--stop-after", "3"]


def test_a_job_that_is_paused_at_an_epoch_ends_there_and_goes_on_later(tmp_path):
    engine, panel = LocalEngine(1), TINY | {"number_epochs": 2, "epoch_size": 1, "test_activate": False}
    job = Job(tmp_path / "s", CLASSIC, panel, flags=("--quiet",))
    for stop_after, code in ((1, 75), (1, 75), (None, 0)):
        engine.start(Job(job.session, job.params, job.cpanel, flags=job.flags, stop_after=stop_after))
        (ended,) = engine.wait(60)
        assert (ended.code, ended.reason) == (code, "")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system knows no affinity")
def test_cores_are_shared_out_in_neighbours_and_left_to_the_system_where_there_are_too_few(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 1, 2, 3, 5})
    assert share_cores(2) == [(1, 2), (3, 5, 7)]
    assert share_cores(5) == [(1,), (2,), (3,), (5,), (7,)]
    assert share_cores(6) == [()] * 6
