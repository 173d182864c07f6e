"""Infos and success of episodes, from the control panel to log files, evaluations, and through a resume."""

import csv
import json

import pytest

from digideep.main import main
from digideep.post.loader import Loader
from tests.support.helpers import CLASSIC, tiny

INFOS = [{"dist": 0.25, "success": False}, {"dist": 0.5, "outer": {"inner": 4}}, {"dist": 1.0, "is_success": True}]
TOLD = {
    "model_name": "Teller-v0", "from_module": "tests.support.scripted", "env_kwargs": {"infos": INFOS},
    "number_epochs": 2, "epoch_size": 1, "n_steps": 16, "num_mini_batches": 2, "n_update": 1, "test_interval": 1,
    "test_win_size": 3, "episode_infos": {"dist": "sum", "outer/inner": "last"},
}  # fmt: skip
QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    base = tmp_path_factory.mktemp("told")
    argv = ["--params", CLASSIC, "--cpanel", tiny(**TOLD), "--session-path", str(base), "--session-name", "s", *QUIET]
    assert main([*argv, "--repeal", '{"/runner/max_iter": 1}']) == 75
    assert main(["--resume", str(base / "s"), "--repeal", '{"/runner/max_iter": null}', *QUIET]) == 0
    return base / "s"


def test_a_run_logs_infos_and_success_of_training_and_tests(session):
    log = Loader(session).varlog
    for mode, number in (("train", 8), ("test", 3)):
        for key, value in (("info/{}/dist", 1.75), ("info/{}/outer/inner", 4.0), ("success/{}", 1.0)):
            figures = log[f"/{key.format(mode)}"]
            assert figures["num"].tolist() == [number, number]
            assert figures["min"].tolist() == figures["max"].tolist() == [value, value]


def test_a_monitors_file_has_their_columns_also_behind_a_resume(session):
    for mode, number in (("train", 8), ("test", 4)):
        with (session / f"monitor/{mode}.0.monitor.csv").open() as file:
            assert json.loads(file.readline()[1:])["env_id"] == "Teller-v0"
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["r", "l", "t", "dist", "outer/inner", "is_success"]
        assert len(rows) == number
        for row in rows:
            assert (row["r"], row["l"], row["dist"], row["outer/inner"], row["is_success"]) == (
                "6.000000", "3", "1.75", "4", "1",
            )  # fmt: skip


def test_playing_prints_them_and_its_json_has_them_by_episode(session, capsys):
    argv = ["--play", "--load-checkpoint", str(session), "--episodes", "2"]
    assert main([*argv, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["success"] == {"mean": 1.0, "values": [1.0, 1.0]}
    assert figures["infos"] == {
        "dist": {"mean": 1.75, "values": [1.75, 1.75]}, "outer/inner": {"mean": 4.0, "values": [4.0, 4.0]},
    }  # fmt: skip
    (evaluation,) = Loader(session).evaluations
    assert evaluation["success"] == figures["success"]
    assert main([*argv, "--render", "none"]) == 0
    printed = capsys.readouterr().out
    for line in ("success: mean 1.000", "dist: mean 1.75", "outer/inner: mean 4"):
        assert f"{line}\n" in printed


def test_an_unknown_way_is_refused_before_anything_is_made(tmp_path, capsys):
    panel = tiny(episode_infos={"x": "max"})
    assert main(["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path / "s"), *QUIET]) == 2
    assert "episode_infos: 'x' must be sum, mean or last, got 'max'" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
