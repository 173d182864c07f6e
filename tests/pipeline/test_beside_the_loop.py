"""What a run does beside the loop: tests, the best policy, films, clocks, and logs that obey the checkpoint."""

import json
import shutil
import time
from typing import ClassVar

import numpy as np
import pytest

from digideep.environment.explorer import Episode
from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint, write_checkpoint
from digideep.pipeline.evaluation import summarize
from digideep.pipeline.runner import Runner
from digideep.pipeline.session import Session
from digideep.pipeline.stop_signals import StopSignals
from digideep.post.loader import Loader
from digideep.telemetry.logbook import Logbook
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.writers import WatchOptions
from digideep.utility.seeding import make_generator
from tests.support.helpers import CLASSIC, tiny
from tests.support.scripted import Witness

QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu")
BRIEF = {"n_steps": 16, "num_mini_batches": 2, "n_update": 1, "epoch_size": 1, "keep_checkpoints": None}
LOTTERY = BRIEF | {"model_name": "Lottery-v0", "from_module": "tests.support.scripted", "number_epochs": 6,
                   "test_interval": 1, "test_win_size": 3}  # fmt: skip


def train(base, name, params=CLASSIC, code=0, **changes):
    argv = ["--params", params, "--cpanel", tiny(**BRIEF | changes), "--session-path", str(base)]
    assert main([*argv, "--session-name", name, *QUIET]) == code
    return base / name


def resume(session, **repeal):
    more = ["--repeal", json.dumps(repeal)] if repeal else []
    assert main(["--resume", str(session), *QUIET, *more]) == 0


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# ---------------------------------------------------------------------- tests, and the best policy


@pytest.fixture(scope="module")
def lottery(tmp_path_factory):
    """A run whose returns are drawn from the seeds of its tests: they rise and fall."""
    return train(tmp_path_factory.mktemp("lottery"), "s", **LOTTERY)


def test_the_best_policy_is_that_of_the_best_test(lottery):
    returns = Loader(lottery).varlog.mean("/return/test")
    best_epoch = int(returns.argmax()) + 1
    assert 1 < best_epoch < 6, "a test that is no ramp"
    best, _, _ = read_checkpoint(lottery / "checkpoints/best")
    assert best["runner"]["i_epoch"] == best_epoch
    assert best["runner"]["best_return"] == best["runner"]["test_return"] == pytest.approx(returns.max())
    for path in list_checkpoints(lottery / "checkpoints")[1:]:
        state, _, _ = read_checkpoint(path)
        weights = [each["agents"]["agent"]["policy"] for each in (best, state)]
        is_same = all((weights[0][key] == weights[1][key]).all() for key in weights[0])
        epoch = state["runner"]["i_epoch"]
        assert is_same == (epoch == best_epoch)
        assert state["runner"]["test_return"] == pytest.approx(returns[epoch - 1])
        assert state["runner"]["best_return"] == pytest.approx(returns[:epoch].max())


def test_each_test_is_under_seeds_of_its_own_epoch(lottery):
    log = Loader(lottery).varlog["/return/test"]
    for index, epoch in enumerate(log["epoch"].tolist()):
        # Three episodes of two workers: the first one plays two.
        generators = [make_generator(0, "environment", "test", epoch, rank) for rank in range(2)]
        seeds = [int(generators[rank].integers(2**31)) for rank in (0, 1, 0)]
        prizes = [np.random.Generator(np.random.PCG64(seed)).random() for seed in seeds]
        assert (log["min"][index], log["max"][index]) == (min(prizes), max(prizes))
        assert log["sum"][index] == pytest.approx(sum(prizes))


def test_a_best_return_of_before_a_resume_is_still_to_be_beaten(lottery, tmp_path):
    session = shutil.copytree(lottery, tmp_path / "s", ignore=shutil.ignore_patterns("modules"))
    (session / "done.lock").unlink()
    state, figures, _ = read_checkpoint(session / "checkpoints/checkpoint-5")
    state["runner"]["best_return"] = 1e9
    write_checkpoint(session / "checkpoints", "checkpoint-5", state, figures)
    shutil.rmtree(session / "checkpoints/checkpoint-6")
    before = content(session / "checkpoints/best")
    resume(session)
    assert content(session / "checkpoints/best") == before
    assert read_checkpoint(session / "checkpoints/checkpoint-6")[0]["runner"]["best_return"] == 1e9


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -float("inf")])
def test_figures_that_are_not_finite_are_read_back_and_then_forgotten(lottery, tmp_path, figure):
    session = shutil.copytree(lottery, tmp_path / "s", ignore=shutil.ignore_patterns("modules"))
    (session / "done.lock").unlink()
    state, figures, _ = read_checkpoint(session / "checkpoints/checkpoint-5")
    state["runner"] |= {"best_return": figure, "test_return": figure, "recent_returns": [figure, -figure, 0.5]}
    write_checkpoint(session / "checkpoints", "checkpoint-5", state, figures)
    shutil.rmtree(session / "checkpoints/checkpoint-6")
    resume(session)
    assert not list(session.glob("checkpoints/*.aside"))
    runner = read_checkpoint(session / "checkpoints/checkpoint-6")[0]["runner"]
    assert runner["best_return"] == runner["test_return"] == pytest.approx(runner["test_return"])
    assert runner["recent_returns"][0] == 0.5
    assert np.isfinite(runner["recent_returns"]).all()


def test_every_so_many_epochs_are_saved_and_the_last_one(tmp_path):
    session = train(tmp_path, "s", number_epochs=5, save_interval=2, test_activate=False)
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == [
        "checkpoint-0", "checkpoint-2", "checkpoint-4", "checkpoint-5",
    ]  # fmt: skip


class Watched(Runner):
    """Keeps what it has built and, of each test, what the normalisers of train and test had learned."""

    films: ClassVar[list] = []
    tested: ClassVar[list] = []

    def make_explorer(self, mode, **more):
        explorer = super().make_explorer(mode, **more)
        if mode == "eval":
            self.films.append(explorer)
        return explorer

    def test(self):
        super().test()
        self.tested.append([self.explorer[name].statistics()["agent"]["0"]["/agent"] for name in ("train", "test")])


def test_tests_and_films_see_what_the_normalisers_of_train_have_learned_by_then(tmp_path):
    (tmp_path / "watched_params.py").write_text(
        "from params import ppo_mujoco\n"
        "from tests.pipeline.test_beside_the_loop import Watched\n"
        "cpanel = ppo_mujoco.cpanel\n"
        "def gen_params(cpanel):\n"
        "    tree = ppo_mujoco.gen_params(cpanel)\n"
        "    return {**tree, 'runner': {**tree['runner'], 'class': Watched}}\n"
    )
    for notes in (Watched.films, Watched.tested, Witness.seeds):
        notes.clear()
    changes = {
        "model_name": "tests.support.scripted:Witness-v0",
        "number_epochs": 2,
        "test_interval": 1,
        "video_interval": 1,
    }
    session = train(tmp_path, "s", str(tmp_path / "watched_params.py"), **changes)
    means = []
    for epoch, (train_learned, test_learned) in enumerate(Watched.tested, 1):
        state, _, _ = read_checkpoint(session / f"checkpoints/checkpoint-{epoch}")
        film_learned = Watched.films[epoch - 1].statistics()["agent"]["0"]["/agent"]
        for learned in (train_learned, test_learned, film_learned):
            for name in ("mean", "var"):
                np.testing.assert_array_equal(learned[name], state["statistics"]["agent"]["0"]["/agent"][name])
        means.append(test_learned["mean"].tolist())
    assert len(means) == len(Watched.films) == 2
    assert means[0] != means[1]
    assert any(means[0])
    # The first picture only shows that there are any.
    expected = [int(make_generator(0, "environment", "eval", epoch, 0).integers(2**31)) for epoch in (1, 2)]
    assert Witness.seeds[1:] == expected, "each film is under a seed of its epoch"


# ---------------------------------------------------------------------- clocks


@pytest.mark.parametrize(("seconds", "code"), [(3590.0, 0), (3600.0, 75)])
def test_a_process_stops_after_its_hours_and_whole_episodes_are_cut_off_then(tmp_path, monkeypatch, seconds, code):
    limits = []
    monkeypatch.setattr(Session, "process_s", property(lambda self: seconds))
    monkeypatch.setattr(StopSignals, "limit", lambda self, time_s: limits.append(time_s))
    train(tmp_path, "s", code=code, number_epochs=1, max_exec_time=1.0, test_activate=False)
    assert limits == [3600.0 - seconds]


def test_the_seconds_of_all_processes_of_a_run_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "process_s", property(lambda self: 100.0))
    session = train(tmp_path, "s", code=75, number_epochs=2, max_exec_iter=1)
    monkeypatch.setattr(Session, "process_s", property(lambda self: 50.0))
    resume(session)
    elapsed = [read_checkpoint(path)[1]["elapsed_s"] for path in list_checkpoints(session / "checkpoints")]
    assert elapsed == [100.0, 100.0, 150.0]
    last = (session / "monitor/test.0.monitor.csv").read_text().splitlines()[-1]
    assert float(last.split(",")[2]) == 150.0


def test_the_start_of_a_run_is_that_of_its_first_process(tmp_path):
    logbook = Logbook(Monitor(), Profiler(), WatchOptions())
    logbook.path = tmp_path
    before = time.time()
    logbook.write_episodes("train", [(3, 1.5, 7, {})], 1000.0, "Counter-v0")
    header, _, row = (tmp_path / "monitor/train.3.monitor.csv").read_text().splitlines()
    assert 0 <= json.loads(header[2:])["t_start"] - (before - 1000.0) < 60
    assert row == "1.500000,7,1000.000000"


# ---------------------------------------------------------------------- logs, and figures of an evaluation


def test_what_was_logged_after_the_checkpoint_that_is_resumed_is_taken_back(tmp_path):
    session = train(tmp_path, "s", number_epochs=3, test_interval=3, n_steps=32)

    def logged():
        files = {path.name: path.read_text().splitlines() for path in session.glob("monitor/*.csv")}
        rows = {name: [line.rsplit(",", 1)[0] for line in lines[1:]] for name, lines in files.items()}
        packs = [json.loads(line) for line in (session / "varlog.json").read_text().splitlines()]
        return rows, [(pack["meta"]["epoch"], pack["data"]["/return/recent"]) for pack in packs]

    before = logged()
    assert {"train.0.monitor.csv", "train.1.monitor.csv", "test.0.monitor.csv"} <= before[0].keys()
    shutil.rmtree(session / "checkpoints/checkpoint-3")
    (session / "done.lock").unlink()
    resume(session)
    assert logged() == before, "the only test, whose files were new, was in the epoch that is lived again"


def test_an_evaluation_is_summed_up_over_all_its_episodes():
    returns = [3.0, -1.0, 10.0, 2.0, 6.0]
    episodes = [Episode(0, each, 10 + i, {"a": each - i, "b": float(i)}) for i, each in enumerate(returns)]
    assert summarize(episodes) == {
        "episodes": 5, "mean": 4.0, "std": pytest.approx(14**0.5), "min": -1.0, "max": 10.0,
        "quantiles": {
            "0.05": pytest.approx(-0.4), "0.25": 2.0, "0.5": 3.0, "0.75": 6.0, "0.95": pytest.approx(9.2),
        },
        "returns": returns, "lengths": [10, 11, 12, 13, 14], "players": {"a": 2.0, "b": 2.0},
    }  # fmt: skip
