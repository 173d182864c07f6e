"""The curriculum in docs/environments.md: it is told the progress, and a stop or a kill changes nothing."""

import json
import re

import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from tests.support.helpers import CLASSIC, ROOT, tiny

PANEL = {
    "model_name": "Farther-v0", "from_module": "farther.py", "tell_progress": True, "number_epochs": 3,
    "episode_infos": {"distance": "last"}, "epoch_size": 6, "n_update": 1, "test_interval": 1, "test_win_size": 20,
}  # fmt: skip
QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")


@pytest.fixture(autouse=True)
def _beside_the_example(tmp_path, monkeypatch):
    (code,) = re.findall(
        r"<!-- file: farther.py -->\n\n```python\n(.*?)```", (ROOT / "docs/environments.md").read_text(), re.DOTALL
    )
    (tmp_path / "farther.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))


def train(name, *more):
    argv = ["--params", CLASSIC, "--cpanel", tiny(**PANEL), "--session-path", ".", "--session-name", name]
    return main([*argv, *QUIET, *more])


def test_goals_move_away_in_training_only_and_a_stopped_run_ends_as_the_straight_one(tmp_path, capsys):
    assert train("straight") == 0
    log = Loader(tmp_path / "straight").varlog
    distance = log["/info/train/distance"]
    assert distance["min"][0] == 1
    assert distance["max"].tolist() == sorted(distance["max"].tolist())
    assert distance["max"][0] <= 1 + round(9 / 3) < distance["max"][2]
    assert log["/info/test/distance"]["max"].min() > 7, "tests are told 1 from the start"
    assert log["/success/train"]["max"].tolist() == [1, 1, 1]

    assert train("stopped", "--repeal", '{"/runner/max_iter": 1}') == 75
    for code, limit in ((75, 1), (0, None)):
        assert main(["--resume", "stopped", "--repeal", json.dumps({"/runner/max_iter": limit}), *QUIET]) == code
    last = [list_checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("straight", "stopped")]
    assert compare_checkpoints(*last)[0] == []

    capsys.readouterr()
    assert main(["--play", "--load-checkpoint", "straight", "--episodes", "20", "--json"]) == 0
    assert max(json.loads(capsys.readouterr().out)["infos"]["distance"]["values"]) > 7
