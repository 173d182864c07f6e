"""Logs of sessions that ran without a dashboard, sent to each of them afterwards."""

import shutil

import pytest

from digideep.post.export_logs import main
from digideep.post.loader import Loader


@pytest.fixture
def session(pendulum):
    return pendulum


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """As on a machine without a network or settings."""
    for name in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def stored_in(name, place, run):
    """Points of a key: [(frame, value)], as the dashboard's own reader finds them."""
    key = "return/train"
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(place / run if (place / run).exists() else place / name))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars(key)]
    if name == "wandb":
        from tests.pipeline.test_sinks import records_of

        rows = [record["history"]["item"] for file in records_of(place) for record in file if "history" in record]
        return [(row["_step"], row[key]) for row in rows if key in row]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(place / name).as_uri())
    runs = client.search_runs([client.get_experiment_by_name("digideep").experiment_id])
    (found,) = [each for each in runs if each.info.run_name == run]
    return [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, key)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_every_epoch_is_sent_once_however_often_it_is_asked_for(session, tmp_path, capsys, name):
    log = Loader(session).varlog
    expected = list(zip(log["/return/train"]["frame"].tolist(), log.mean("/return/train").tolist(), strict=True))
    before = sorted(session.rglob("*"))
    for said in (f"{session.name}: {log['/return/train']['frame'].size} epochs sent", f"{session.name}: nothing new"):
        assert main([str(session), "--to", name, "-o", str(tmp_path / "out")]) == 0
        assert said in capsys.readouterr().out
        found = stored_in(name, tmp_path / "out", session.name)
        assert [frame for frame, _ in found] == [frame for frame, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert sorted(session.rglob("*")) == before


def test_a_session_takes_its_own_logs(session, tmp_path, capsys):
    shutil.copytree(session, tmp_path / "s")
    assert main([str(tmp_path / "s"), "--to", "tensorboard"]) == 0
    frames = Loader(tmp_path / "s").varlog["/return/train"]["frame"].tolist()
    assert [frame for frame, _ in stored_in("tensorboard", tmp_path / "s", "-")] == frames


@pytest.mark.parametrize("link", ["sinks", "tensorboard", "sinks/tensorboard.json"])
def test_nothing_is_written_through_a_link(session, tmp_path, capsys, link):
    shutil.copytree(session, tmp_path / "s")
    (tmp_path / "outside").mkdir()
    (tmp_path / "s" / link).parent.mkdir(exist_ok=True)
    (tmp_path / "s" / link).symlink_to(tmp_path / "outside")
    assert main([str(tmp_path / "s"), "--to", "tensorboard"]) == 2
    assert "is a link" in capsys.readouterr().err
    assert not list((tmp_path / "outside").iterdir())


def test_what_cannot_be_sent_is_refused_in_one_line(session, tmp_path, capsys):
    shutil.copytree(session, tmp_path / session.name)
    (tmp_path / "empty").mkdir()
    out = ["--to", "tensorboard", "-o", str(tmp_path / "out")]
    refusals = {
        "is no session": [str(tmp_path / "empty"), *out],
        f"Two sessions are called {session.name}": [str(session), str(tmp_path / session.name), *out],
    }
    for words, argv in refusals.items():
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (tmp_path / "out").exists()
