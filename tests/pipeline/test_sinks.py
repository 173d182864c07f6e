"""Weights & Biases offline, and MLflow with a store of files: what their own readers find, also after a resume."""

import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from digideep.main import main
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.telemetry.logbook import Logbook
from digideep.telemetry.mlflow import _name as mlflow_name
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.writers import WatchOptions
from tests.pipeline.test_dashboards import events_of, wait_for
from tests.support.helpers import CLASSIC, ROOT, tiny

SINKS = ["--wandb", "--mlflow"]
EACH = {"video_interval": 1, "histogram_interval": 1}
PICTURE = "tests.support.rendering:Picture-v0"


@pytest.fixture(scope="module", autouse=True)
def environment():
    """As on a machine without a network, a login, or settings of these two."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_MODE", "offline")
        yield


def start(base, name, *more, **panel):
    argv = ["--params", CLASSIC, "--cpanel", tiny(**panel), "--session-path", str(base), "--session-name", name]
    return main([*argv, *more])


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session that sends to both, resumed from its second checkpoint, after its third epoch was sent already."""
    base = tmp_path_factory.mktemp("sinks")
    limit = ["--repeal", '{"/runner/max_iter": 3}']
    assert start(base, "s", *SINKS, *limit, number_epochs=4, model_name=PICTURE, **EACH) == 75
    shutil.rmtree(base / "s/checkpoints/checkpoint-3")  # as if it had been killed before that was whole
    assert main(["--resume", str(base / "s"), *SINKS, "--repeal", '{"/runner/max_iter": null}']) == 0
    return base / "s"


def records_of(session):
    """Records of each offline file of W&B, oldest first, as W&B's own reader shows them."""
    found = []
    for file in sorted(session.glob("wandb/offline-run-*/run-*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found.append([json.loads(line) for line in lines])
    return found


def points_of(session):
    """What the log holds: name -> [(frame, mean)]; but for the speed, which no exact resume repeats."""
    log = Loader(session).varlog
    names = [key for key in log if not key.startswith("/speed")]
    return {key[1:]: list(zip(log[key]["frame"].tolist(), log.mean(key).tolist(), strict=True)) for key in names}


def test_wandb_holds_every_epoch_once_in_one_run(session):
    files = records_of(session)
    assert len(files) == 2
    records = [record for file in files for record in file]
    assert len({record["run"]["run_id"] for record in records if "run" in record}) == 1
    rows = [record["history"]["item"] for record in records if "history" in record]
    expected = points_of(session)
    assert len(expected["return/train"]) == 4
    for name, points in expected.items():
        assert [(row["_step"], row[name]) for row in rows if name in row] == points
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))
    assert {"return/train/min", "return/train/max", "seconds/train/simulate"} <= rows[0].keys()
    frames = [frame for frame, _ in expected["return/train"]]
    films = [(row["_step"], row["episode.path"]) for row in rows if "episode.path" in row]
    assert [step for step, _ in films] == frames
    assert all(len(list(session.glob(f"wandb/*/files/{path}"))) == 1 for _, path in films)
    weights = [
        row["weights/agent/actor.0.weight.values"] for row in rows if "weights/agent/actor.0.weight.values" in row
    ]
    assert [sum(values) for values in weights] == [64 * 2] * 4
    (config,) = [
        record["config"]["update"] for record in records if "cpanel" in record.get("config", {}).get("update", {})
    ]
    assert config["cpanel"]["model_name"] == config["tree"]["env"]["name"] == PICTURE


def test_mlflow_holds_every_epoch_once_in_one_run(session):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(session / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("digideep").experiment_id
    (run,) = client.search_runs([experiment])
    assert (run.info.run_name, run.info.status) == ("s", "FINISHED")
    for name, points in points_of(session).items():
        stored = client.get_metric_history(run.info.run_id, mlflow_name(name))
        assert [(metric.step, metric.value) for metric in stored] == points, name
    least = client.get_metric_history(run.info.run_id, "return/train.min")
    assert [metric.value for metric in least] == Loader(session).varlog["/return/train"]["min"].tolist()
    assert run.data.params["model_name"] == PICTURE
    assert run.data.params["tree/agents.agent.gamma"] == "0.98"


def test_they_change_no_number_of_the_training(session, tmp_path):
    panel = {"number_epochs": 4, "model_name": PICTURE, "video_interval": None, "histogram_interval": None}
    assert start(tmp_path, "plain", **panel) == 0
    different, total = compare_checkpoints(
        tmp_path / "plain/checkpoints/checkpoint-4", session / "checkpoints/checkpoint-4"
    )
    assert total > 50
    assert {path.split("/")[1] for path in different} == {"params", "cpanel"}


def test_they_leave_no_process_no_handler_and_nothing_on_the_terminal(tmp_path, capfd):
    numbers = [number for number in signal.Signals if number not in (signal.SIGKILL, signal.SIGSTOP)]

    def state():
        return [signal.getsignal(number) for number in numbers], sys.excepthook, sys.exit, random.getstate()

    before = state()
    assert start(tmp_path, "quiet", *SINKS, "--quiet", number_epochs=1) == 0
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert not [child for child in psutil.Process().children() if "wandb" in child.name()]
    assert not [thread for thread in threading.enumerate() if "wandb" in thread.name.lower()]
    assert len(records_of(tmp_path / "quiet")) == 1


@pytest.mark.parametrize("uri", ["file:///proc/none", "http://me:secret@127.0.0.1:9"])
def test_a_store_that_cannot_be_reached_costs_a_warning(tmp_path, capsys, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert start(tmp_path, "s", "--mlflow", number_epochs=1) == 0
    output = capsys.readouterr().out
    assert "MLflow fails (" in output
    assert "secret" not in output + "".join(file.read_text() for file in (tmp_path / "s").glob("sinks/*"))


class Steps:
    """A logbook of a session in which nothing runs, but a frame an epoch."""

    def __init__(self, path, first_frame=None, **options):
        path.mkdir(exist_ok=True)
        self.book = Logbook(monitor := Monitor(), Profiler(None), WatchOptions(no_monitor_cpu=True, **options))
        monitor.moment = lambda: dict.fromkeys(("epoch", "frame", "episode"), self.frame)
        self.frame = first_frame or 0
        self.book.open(path, first_frame=first_frame, cpanel={"seed": 1}, tree={"env": {"name": "x"}})

    def epoch(self):
        """Log one."""
        self.frame += 1
        self.book.monitor("/x", self.frame)
        self.book.log_epoch()


# A run in which nothing is learned: an epoch for each line that it is told.
TOLD = """
import sys
from pathlib import Path
from tests.pipeline.test_sinks import Steps
steps = Steps(Path(sys.argv[1]), wandb=True)
for _ in sys.stdin:
    steps.epoch()
"""


@pytest.fixture
def told(tmp_path):
    """That run, after three epochs that W&B's process has written, within a twentieth of a second; and that process."""
    run = subprocess.Popen([sys.executable, "-c", TOLD, str(tmp_path / "s")], cwd=ROOT, text=True,
                           stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    log_epochs(run, tmp_path / "s", 3)
    time.sleep(0.5)
    (child,) = [child for child in psutil.Process(run.pid).children() if "wandb" in child.name()]
    return run, child


def log_epochs(run, session, number):
    """Let it log so many, and wait until it has."""
    log = session / "varlog.json"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    run.stdin.write("\n" * number)
    run.stdin.flush()
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) == before + number)


def rows_of(session):
    """What W&B holds of the value that is logged: [(frame, value)]."""
    rows = [record["history"]["item"] for file in records_of(session) for record in file if "history" in record]
    return [(row["_step"], row["x"]) for row in rows]


def test_a_run_that_is_killed_takes_the_process_of_wandb_with_it_and_loses_no_epoch(tmp_path, told):
    run, child = told
    run.kill()
    assert run.communicate()[1] == ""
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
    assert rows_of(tmp_path / "s") == [(1, 1), (2, 2), (3, 3)]


@pytest.fixture
def warnings_seen():
    """Warnings of digideep, as its console shows them."""
    handler, seen = logging.Handler(logging.WARNING), []
    handler.emit = lambda record: seen.append(record.getMessage())
    logging.getLogger("digideep").addHandler(handler)
    yield seen
    logging.getLogger("digideep").removeHandler(handler)


def test_mlflow_that_fails_on_the_way_is_left_alone_and_told_everything_later(tmp_path, warnings_seen):
    from mlflow import MlflowClient

    steps = Steps(tmp_path / "s", mlflow=True)
    steps.epoch()
    (tmp_path / "s/mlflow").rename(tmp_path / "away")
    steps.epoch()
    steps.epoch()
    steps.book.close()
    assert ["MLflow fails" in line for line in warnings_seen] == [True, False]  # the other: it does not close well
    (tmp_path / "away").rename(tmp_path / "s/mlflow")
    steps = Steps(tmp_path / "s", first_frame=3, mlflow=True)
    steps.epoch()
    steps.book.close()
    client = MlflowClient(tracking_uri=(tmp_path / "s/mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("digideep").experiment_id])
    stored = client.get_metric_history(run.info.run_id, "x")
    assert [(metric.step, metric.value) for metric in stored] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_wandb_whose_process_dies_is_left_alone_and_told_everything_later(tmp_path, told):
    run, child = told
    child.kill()
    wait_for(lambda: child.status() == psutil.STATUS_ZOMBIE)
    time.sleep(0.5)
    log_epochs(run, tmp_path / "s", 2)
    run.kill()
    _, output = run.communicate()
    assert output.count("W&B fails (ConnectionResetError") == 1
    assert "Traceback" not in output
    steps = Steps(tmp_path / "s", first_frame=5, wandb=True)
    steps.epoch()
    steps.book.close()
    assert rows_of(tmp_path / "s") == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert start(tmp_path / "s", "s", f"--{package}") == 2
    assert f"--{package} needs a package that is missing: pip install 'digideep[{package}]'." in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("key", [None, "abc"])
def test_a_missing_login_is_refused_without_a_network(tmp_path, capfd, monkeypatch, key):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_MODE")
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    assert start(tmp_path / "s", "s", "--wandb") == 2
    output, error = capfd.readouterr()
    assert output == ""
    assert len(error.splitlines()) == 1
    assert "run 'wandb login', or set WANDB_MODE=offline" in error
    assert not (tmp_path / "s").exists()


def test_a_setting_that_wandb_refuses_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    assert start(tmp_path / "s", "s", "--wandb") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Invalid project name 'a/b'" in line
    assert not (tmp_path / "s").exists()


def test_a_database_without_its_packages_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "alembic", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/x.db")
    assert start(tmp_path / "s", "s", "--mlflow") == 2
    assert "pip install mlflow" in capsys.readouterr().err


def test_a_copy_and_a_dashboard_that_is_asked_for_late_are_told_all_epochs(session, tmp_path, capsys):
    shutil.copytree(session, tmp_path / "copy")
    more = ["--mlflow", "--tensorboard", "--repeal", '{"/runner/n_epochs": 5}']
    assert main(["--resume", str(tmp_path / "copy"), *more]) == 0
    output = capsys.readouterr().out
    assert 0 < output.index("TensorBoard: http://127.0.0.1:") < output.index("epoch ") < output.index("Finished")
    expected = points_of(tmp_path / "copy")["return/train"]
    assert len(expected) == 5
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "copy/mlflow").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("digideep").experiment_id])
    (own,) = [run for run in runs if run.info.run_name == "copy"]
    stored = client.get_metric_history(own.info.run_id, "return/train")
    assert [(metric.step, metric.value) for metric in stored] == expected
    scalars, accumulator = events_of(tmp_path / "copy")
    assert [step for step, _ in scalars["return/train"]] == [frame for frame, _ in expected]
    assert "parameters/text_summary" in accumulator.Tags()["tensors"]
