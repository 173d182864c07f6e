"""visdom's server for real: what it takes, and what its absence, its end and its port cost a run."""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from digideep.main import main
from digideep.pipeline.verify import compare_checkpoints
from digideep.telemetry import visdom
from digideep.telemetry.server_process import ServerProcess
from digideep.telemetry.visdom import _SCRIPTS as SCRIPTS
from digideep.telemetry.visdom import is_answering, require_visdom
from digideep.telemetry.writers import EpochFigures
from tests.pipeline.test_dashboards import free_port, listening, post, wait_for
from tests.support.helpers import CLASSIC, ROOT, command, tiny


def is_open(port: int) -> bool:
    """Whether anything listens on a port of this machine."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Where visdom's package lies without the scripts of its page."""
    place = tmp_path_factory.mktemp("bare")
    package = Path(importlib.util.find_spec("visdom").origin).parent
    shutil.copytree(package, place / "visdom", ignore=shutil.ignore_patterns("*.map", "mathjax", *SCRIPTS))
    return place


@pytest.fixture(scope="module")
def whole(bare, tmp_path_factory):
    """An environment in which visdom has something in the place of each script: tests ask its server alone."""
    place = tmp_path_factory.mktemp("whole")
    shutil.copytree(bare, place, dirs_exist_ok=True)
    for name in SCRIPTS:
        (place / "visdom/static/js" / name).touch()
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}


def arguments(tmp_path, name, *more):
    """A run that goes on until it is stopped, and mostly sleeps, with a checkpoint every fifth epoch."""
    slow = {"model_name": "Slow-v0", "from_module": "tests.support.environments", "env_kwargs": {"seconds": 0.001}}
    panel = tiny(number_epochs=100_000, test_activate=False, n_update=1, save_interval=5, **slow)
    return ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", name, *more]


def start(*args, env):
    """Such a run in a process of its own."""
    argv = command(*arguments(*args))
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=env)


def newest_epoch(session):
    """Of its checkpoints that were written at the end of an epoch."""
    names = [path.name for path in (session / "checkpoints").glob("checkpoint-*") if "+" not in path.name]
    return max((int(name.removeprefix("checkpoint-")) for name in names), default=0)


def test_killing_the_visdom_server_costs_one_warning_and_changes_no_number(tmp_path, whole):
    port, watched = free_port(), tmp_path / "watched"
    process = start(tmp_path, "watched", "--visdom", "--visdom-port", str(port), env=whole)
    try:
        wait_for(lambda: newest_epoch(watched) and is_answering(port, "127.0.0.1"))
        (child,) = psutil.Process(process.pid).children()
        assert listening(child.pid) == {"127.0.0.1"}
        child.kill()
        # However fast the training is, the sender looks at the server only twice a second.
        wait_for(lambda: "visdom does not answer" in (watched / "report.log").read_text())
        warned_at = newest_epoch(watched)
        wait_for(lambda: newest_epoch(watched) >= warned_at + 10)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
    assert process.returncode == 75, output
    assert output.count("visdom does not answer") == 1
    assert "Traceback" not in output

    epoch = newest_epoch(watched)
    limit = ["--repeal", json.dumps({"/runner/max_iter": epoch}), "--no-monitor-cpu", "--no-monitor-gpu"]
    assert main(arguments(tmp_path, "plain", *limit)) == 75
    checkpoint = f"checkpoints/checkpoint-{epoch}"
    different, total = compare_checkpoints(tmp_path / "plain" / checkpoint, watched / checkpoint)
    assert different == ["/params/runner/max_iter"]
    assert total > 50


def test_a_server_dies_with_a_run_that_is_killed(tmp_path, whole):
    port = free_port()
    process = start(tmp_path, "killed", "--visdom", "--visdom-port", str(port), env=whole)
    wait_for(lambda: is_answering(port, "127.0.0.1"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not is_open(port), 10)


def test_a_server_that_comes_back_gets_everything(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(visdom, "_RETRY_S", 0.2)
    monkeypatch.setattr(visdom, "_LEAST_S", 0.0)
    port = free_port()
    first = ServerProcess("visdom", str(port), "127.0.0.1")
    wait_for(lambda: first.address)
    writer = visdom.VisdomWriter(tmp_path / "visdom.log", port, "127.0.0.1", "back")

    def epoch(frame):
        data = {"/x": {"std": 0.0, "num": 1, "min": frame, "max": frame, "sum": frame}}
        meta = {"epoch": 1, "frame": frame, "episode": 1}
        writer.epoch(EpochFigures(meta, [{"meta": {**meta, "clock": 0.0}, "data": data}], {}, {}))

    def shown():
        try:
            windows = json.loads(post(port, "win_data", {"eid": "back", "win": None}))
            return windows["/x"]["content"]["data"][0]["x"]
        except (OSError, KeyError, ValueError, http.client.HTTPException):
            return None

    epoch(1)
    wait_for(lambda: shown() == [1])
    first.close()
    epoch(2)
    time.sleep(1)  # it fails meanwhile
    second = ServerProcess("visdom", str(port), "127.0.0.1")
    try:
        wait_for(lambda: second.address)
        epoch(3)
        wait_for(lambda: shown() == [1, 2, 3])
    finally:
        writer.close()
        second.close()


def test_bind_opens_the_servers_with_a_warning(tmp_path, whole):
    port = free_port()
    process = start(tmp_path, "open", "--visdom", "--visdom-port", str(port), "--bind", "0.0.0.0", env=whole)
    try:
        wait_for(lambda: is_answering(port, "0.0.0.0"))
        assert "0.0.0.0" in listening(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
    assert "--bind 0.0.0.0 opens the dashboards" in output


def test_a_page_that_would_stay_empty_is_refused_unless_somebody_serves_it(tmp_path, capsys, monkeypatch, bare):
    for name in [name for name in sys.modules if name.partition(".")[0] == "visdom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(bare)
    argv = ["--params", CLASSIC, "--session-path", str(tmp_path / "s"), "--visdom", "--visdom-port"]
    assert main([*argv, str(free_port())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "page would stay empty: its package lacks jquery.min.js, react-react.min.js" in line
    assert "'make visdom'" in line
    assert not (tmp_path / "s").exists()
    server = ServerProcess("visdom", str(port := free_port()), "127.0.0.1")
    wait_for(lambda: server.address)
    require_visdom(port, "127.0.0.1")  # that one may have its scripts
    server.close()


def test_a_port_that_is_taken_is_refused_before_anything_is_made(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        argv = ["--params", CLASSIC, "--session-path", str(tmp_path / "s"), "--visdom"]
        assert main([*argv, "--visdom-port", str(other.getsockname()[1])]) == 2
    assert "is taken by something that is not visdom" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
