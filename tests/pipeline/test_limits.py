"""What finishes a run before its plan is met: a target that tests reach, or patience that they exhaust."""

import json

import numpy as np
import pytest

from digideep.main import main
from digideep.parameters.tree import leaves
from digideep.pipeline.checkpoint import read_checkpoint
from digideep.pipeline.limits import Limits
from digideep.pipeline.progress import Progress
from digideep.pipeline.session_directory import DONE
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, tiny


def train(base, name, code=0, **changes):
    panel = tiny(**{"number_epochs": 6, "epoch_size": 1, "test_interval": 1, **changes})
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(base), "--session-name", name, "--quiet"]
    assert main(argv) == code
    return base / name


def resume(session, code=0, **repeal):
    assert main(["--resume", str(session), "--quiet", "--repeal", json.dumps(repeal)]) == code


def list_tests(session):
    return Loader(session).varlog["/return/test"]["epoch"].tolist()


def test_a_target_return_finishes_a_run_with_a_checkpoint_and_exit_code_0(tmp_path, capsys):
    session = train(tmp_path, "quick", target_return=5.0, test_interval=4)
    assert list_tests(session) == [1], "a pole stands for 8 steps at least"
    assert (session / DONE).exists()
    assert (session / "checkpoints/best/manifest.json").exists()
    assert Loader(session).checkpoints == ["checkpoint-0", "checkpoint-1"]
    assert "a test returned " in (session / "report.log").read_text()
    assert main(["--resume", str(session)]) == 3
    resume(session, 3, **{"/runner/n_epochs": 8})
    assert "target_return is 5: nothing is left to do" in capsys.readouterr().err
    resume(session, **{"/runner/target_return": None})
    assert list_tests(session) == [1, 4, 6]


def test_a_run_stops_after_the_epoch_that_is_named_also_one_that_is_there_already(tmp_path, capsys):
    session = train(tmp_path, "paused", number_epochs=3)
    straight = Loader(session).state()
    argv = ["--params", CLASSIC, "--session-path", str(tmp_path), "--quiet", "--cpanel"]
    argv += [tiny(number_epochs=3, epoch_size=1, test_interval=1, save_interval=2)]
    session = tmp_path / "halves"
    assert main([*argv, "--session-name", session.name, "--stop-after", "1"]) == 75
    assert Loader(session).checkpoints[-1] == "checkpoint-1"
    assert main(["resume", str(session), "--quiet", "--stop-after", "1"]) == 75
    assert Loader(session).checkpoints[-1] == "checkpoint-1"
    assert "Stopped at 64 frames (--stop-after 1)." in (session / "report.log").read_text()
    assert main(["resume", str(session), "--quiet", "--stop-after", "3"]) == 0
    resumed = Loader(session).state()
    assert (resumed["runner"]["i_epoch"], (session / DONE).exists()) == (3, True)
    policies = [leaves(state["agents"]["agent"]["policy"]) for state in (straight, resumed)]
    assert len(policies[0]) > 1
    assert all(np.array_equal(policies[0][path], policies[1][path]) for path in policies[0])
    assert main(["--play", "--load-checkpoint", str(session), "--stop-after", "1"]) == 2
    assert "--stop-after says where a training stops" in capsys.readouterr().err


def test_a_target_that_is_not_reached_changes_nothing(tmp_path):
    session = train(tmp_path, "slow", target_return=501.0, number_epochs=2, patience=9)
    assert list_tests(session) == [1, 2]
    assert "Finished after 128 frames.\n" in (session / "report.log").read_text()


class Returns(Progress):
    """Tests have given returns: the best is the second one."""

    def test(self, explorer):
        explorer._finished = [e._replace(episode_return=(3, 5, 4, 5, 5, 9)[self.number]) for e in explorer._finished]
        self.number += 1
        return super().test(explorer)

    @property
    def number(self):
        return getattr(self, "_number", None) or round(self._session.monitor.moment()["epoch"]) - 1

    @number.setter
    def number(self, value):
        self._number = value


@pytest.fixture
def returns(monkeypatch):
    monkeypatch.setattr("digideep.pipeline.runner.Progress", Returns)


@pytest.mark.usefixtures("returns")
def test_patience_finishes_a_run_whose_tests_do_not_get_better(tmp_path):
    session = train(tmp_path, "patient", patience=2)
    assert list_tests(session) == [1, 2, 3, 4], "an equal test is not a better one"
    assert "no better test in 2, patience is 2" in (session / "report.log").read_text()


@pytest.mark.usefixtures("returns")
def test_patience_counts_on_over_a_resume(tmp_path):
    session = train(tmp_path, "stopped", 75, patience=2, max_exec_iter=3)
    state = read_checkpoint(session / "checkpoints/checkpoint-3")[0]["runner"]
    assert (state["tests_since_best"], state["best_return"]) == (1, 5.0)
    resume(session, **{"/runner/max_iter": None})
    assert list_tests(session) == [1, 2, 3, 4]


class Figures:
    def __init__(self, test_return=None, test_success=None, tests_since_best=0):
        self.test_return, self.test_success, self.tests_since_best = test_return, test_success, tests_since_best


def test_a_verdict_names_the_figure_and_the_limit():
    limits = Limits(-100.0, 0.9, 3, is_tested=True, max_iter=None, max_time=None)
    assert limits.verdict(Figures()) is None
    assert limits.verdict(Figures(-100.5, 0.89, 2)) is None
    assert limits.verdict(Figures(-100.0)) == "a test returned -100.00, target_return is -100"
    assert limits.verdict(Figures(-200.0, 0.9)) == "90% of a test's episodes succeeded, target_success is 90%"
    assert limits.verdict(Figures(-200.0, 0.0, 3)) == "no better test in 3, patience is 3"
    assert limits.verdict(Figures(np.nan, None)) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_return": float("inf")}, "target_return must be a finite number"),
        ({"target_success": 0}, "target_success must be above 0, which every test reaches, got 0"),
        ({"target_success": 1.5}, r"target_success must be a number in \[0, 1\], got 1.5"),
        ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
        ({"patience": 1, "is_tested": False}, "patience must be null where nothing is tested"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
    ],
)
def test_limits_out_of_range_are_refused(values, message):
    nothing = dict.fromkeys(("target_return", "target_success", "patience", "max_iter", "max_time")) | {
        "is_tested": True
    }
    with pytest.raises(UsageError, match=message):
        Limits(**(nothing | values))


@pytest.mark.usefixtures("forking_verify")
def test_a_goal_that_is_reached_at_once_does_not_end_a_verification(capfd):
    panel = tiny(epoch_size=1, test_interval=1, target_return=1.0)
    assert main(["verify", CLASSIC, "--epochs", "2", "--cpanel", panel]) == 0
    assert "resume is exact" in capfd.readouterr().out
