"""Runs of two ranks under torchrun; `python -m tests.kills.ranks` kills many more of them."""

import json
import os
import random
import subprocess
import sys
import time

import psutil
import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint
from tests.kills.methods import METHODS
from tests.kills.ranks import RankVictim, different
from tests.support.helpers import CLASSIC, ROOT, tiny

METHOD = METHODS["dqn, prioritised, from two memories"]


class Restarted(RankVictim):
    """One whose ranks torchrun starts anew, once."""

    def begin(self, arguments, environment):
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                 "--max-restarts", "1", "main.py", *arguments],
                cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output,
            )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run twice: left alone, and with one rank killed after some epochs."""
    base = tmp_path_factory.mktemp("ranks")
    straight, killed = (Restarted(METHOD, base / name, random.Random(0)) for name in ("straight", "killed"))
    straight.start()
    assert straight.end(None) == 0, straight.output.read_text()
    killed.start()
    while not list_checkpoints(killed.session / "checkpoints")[2:]:
        assert killed._process.poll() is None, killed.output.read_text()
        time.sleep(0.01)
    killed._ranks()[1].kill()
    assert killed.end(None) == 0, killed.output.read_text()
    return straight, killed


def test_a_run_whose_rank_is_killed_goes_on_in_its_session_and_ends_bit_identical_to_one_left_alone(runs):
    assert different(*runs) == []


def test_the_last_word_of_a_run_names_the_rank_that_was_lost(runs):
    _, killed = runs
    assert "rank 1 died: it was killed, or ran out of memory" in killed.output.read_text()


def test_ranks_have_weights_in_common_and_worlds_of_their_own(runs):
    path = list_checkpoints(runs[0].session / "checkpoints")[-1]
    (first, *_), (second, *_) = read_checkpoint(path), read_checkpoint(path, 1)
    ours, theirs = (state["agents"]["agent"] for state in (first, second))
    assert all((ours["policy"][name] == theirs["policy"][name]).all() for name in ours["policy"])
    assert ours["numpy_generator"] != theirs["numpy_generator"]
    assert first["runner"] == second["runner"]
    assert first["explorer"]["train"]["workers"] != second["explorer"]["train"]["workers"]
    sizes = [(path / name).stat().st_size for name in ("states.safetensors", "states-1.safetensors")]
    assert sizes[1] < sizes[0]  # what is the same is written once


def test_episodes_and_frames_of_both_ranks_are_logged(runs):
    session = runs[0].session
    workers = {path.name.split(".")[1] for path in session.glob("monitor/train.*.csv")}
    assert workers <= {"0", "1", "2", "3"}
    assert workers & {"2", "3"}
    last = json.loads((session / "varlog.json").read_text().splitlines()[-1])
    panel = METHOD.cpanel
    cycles = panel["number_epochs"] * panel["epoch_size"]
    assert last["meta"]["frame"] == cycles * panel["n_steps"] * panel["num_workers"] * 2


def test_a_session_of_two_ranks_is_refused_by_one_process_with_what_to_do(runs, capsys):
    session = str(runs[0].session)
    for more in ([], ["--total-frames", "100000"]):
        (runs[0].session / "done.lock").unlink(missing_ok=True)
        before = sorted(runs[0].session.rglob("*"))
        assert main(["--resume", session, *more]) == 2
        said = capsys.readouterr().err.strip()
        assert "was trained by 2 ranks" in said
        assert "--nproc-per-node 2" in said
        assert len(said.splitlines()) == 1
        assert sorted(runs[0].session.rglob("*")) == before


def test_its_policy_plays_in_one_process(runs, capsys, monkeypatch):
    monkeypatch.setenv("KILLS_MARK", str(runs[0]._mark))
    arguments = ["--play", "--load-checkpoint", str(runs[0].session), "--episodes", "1", "--render", "none", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1


def test_a_number_of_ranks_that_was_not_started_is_refused(tmp_path, capsys):
    arguments = ["--params", CLASSIC, "--cpanel", tiny(num_ranks=3), "--session-path", str(tmp_path / "base")]
    assert main(arguments) == 2
    assert "num_ranks is 3, and this is one process: start torchrun with --nproc-per-node 3" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ranks_do_not_play(tmp_path, capsys, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert main(["--play", "--load-checkpoint", str(tmp_path)]) == 2
    assert "2 ranks can train, and nothing else" in capsys.readouterr().err


def test_a_rank_that_finds_no_others_says_where_it_looked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("digideep.utility.ranks._MEET_S", 0.5)
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["--params", CLASSIC, "--session-path", str(tmp_path / "base")]) == 2
    assert "Rank 1 cannot reach the other ranks at 127.0.0.1:1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_rank_is_left_behind(runs):
    sessions = [str(victim.session) for victim in runs]
    for process in psutil.process_iter(["cmdline"]):
        assert not any(session in " ".join(process.info["cmdline"] or ()) for session in sessions)
