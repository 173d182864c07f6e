"""`digideep group … --on ray`: what a node of the cluster does, and what is refused before one is asked.

`python -m tests.kills.ray_nodes` has a whole cluster, whose nodes are killed.
"""

import _thread
import json
import signal
import socket
import sys
import threading
import time

import pytest

from digideep.launch.engine import Job
from digideep.launch.ray_tasks import run_on_node
from digideep.main import main
from digideep.pipeline.session_directory import hold, let_go
from digideep.utility.own_files import DONE
from tests.support.helpers import CLASSIC, ROOT, TINY, tiny

ORDER = {"cwd": str(ROOT), "path": sys.path, "program": "digideep", "environment": {"OMP_NUM_THREADS": "1"}}
FLAGS = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")


def job(base, **changes):
    return Job(base / "run", CLASSIC, cpanel=TINY | {"test_activate": False} | changes, flags=FLAGS)


def test_a_task_trains_a_session_that_a_lost_node_has_let_go_of(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = job(tmp_path).words()
    assert main([*words, "--stop-after", "1"]) == 75
    is_held = threading.Event()

    def hold_for_a_while():
        lock = hold(tmp_path / "run")
        is_held.set()
        time.sleep(0.5)
        let_go(lock)

    threading.Thread(target=hold_for_a_while).start()
    is_held.wait()
    assert run_on_node(job(tmp_path).to_json(), json.dumps(ORDER)) == (0, "")
    assert (tmp_path / "run" / DONE).exists()


def test_a_task_that_is_cancelled_stops_with_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def cancel():
        while not (tmp_path / "run/checkpoints").is_dir():
            time.sleep(0.02)
        _thread.interrupt_main()  # as Ray does

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as Ray's workers have
    try:
        threading.Thread(target=cancel).start()
        assert run_on_node(job(tmp_path, number_epochs=10_000).to_json(), json.dumps(ORDER)) == (75, "")
    finally:
        signal.signal(signal.SIGINT, before)
    assert any((tmp_path / "run/checkpoints").iterdir())


def test_a_node_that_lacks_the_shared_directory_says_so_and_makes_nothing(tmp_path):
    code, reason = run_on_node(job(tmp_path / "nfs").to_json(), json.dumps(ORDER))
    assert code == 1
    assert (
        reason == f"{tmp_path}/nfs is not there on {socket.gethostname()}: all nodes of the Ray cluster must share it"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--ray-address", "head"], "--ray-address must be 'auto' or HOST:PORT, got 'head'"),
        (["--ray-address", "he ad:1", "--dry-run"], "--ray-address must be 'auto' or HOST:PORT, got 'he ad:1'"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address 127.0.0.1:1: nothing answers there (Connection refused)"),
        (["--ray-address", "127.0.0.1:99999"], "--ray-address must be 'auto' or HOST:PORT, got '127.0.0.1:99999'"),
        (["--gpus-per-run", "1.5"], "'1.5' is no number of GPUs"),
        (["--cpus-per-run", "0"], "--cpus-per-run"),
        (["--slurm", "mem=8G"], "--slurm says nothing of --on ray"),
        ([], "--on ray needs a package that is missing: pip install 'digideep[ray]'"),
    ],
)
def test_what_ray_cannot_do_is_refused_in_a_line_and_nothing_is_made(tmp_path, capsys, monkeypatch, words, refusal):
    is_there = bool(words)
    monkeypatch.setattr("digideep.launch.ray_tasks.has_package", lambda name: is_there)
    base = tmp_path / "sessions"
    words = [*words, "--on", "ray", "--seeds", "2", "--cpanel", tiny()]
    assert main(["group", CLASSIC, "--session-path", str(base), *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert refusal in said[0]
    assert not base.exists()
