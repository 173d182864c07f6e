"""Digideep from Python: the runs of the command line, by the same code and with the same bits."""

import json
import threading

import numpy as np
import pytest
import torch

import digideep
from digideep.main import main
from digideep.pipeline.verify import compare_checkpoints
from params import ppo_classic
from tests.support.helpers import CLASSIC, TINY, tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def session(base):
    return digideep.train(CLASSIC, cpanel=TINY, session_path=str(base), session_name="file", quiet=True)


def checkpoint(session):
    return session.path / "checkpoints" / session.checkpoints[-1]


def test_a_run_has_the_bits_of_the_command_line_and_leaves_the_process_as_it_was(base, session):
    argv = [
        "--params",
        CLASSIC,
        "--cpanel",
        tiny(),
        "--session-path",
        str(base),
        "--session-name",
        "command",
        "--quiet",
    ]
    before = torch.get_deterministic_debug_mode(), torch.get_num_threads(), torch.get_rng_state()
    assert main(argv) == 0
    different, total = compare_checkpoints(checkpoint(session), checkpoint(digideep.load(base / "command")))
    assert (different, total > 50) == ([], True)
    again = digideep.train(CLASSIC, cpanel=TINY, session_path=str(base), session_name="again", quiet=True)
    assert (torch.get_deterministic_debug_mode(), torch.get_num_threads()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert (session.status, again.status) == ("done", "done")


@pytest.mark.parametrize("kind", ["name", "module", "recipe", "tree"])
def test_a_recipe_is_a_name_a_module_a_dictionary_or_a_tree(base, session, kind):
    recipe = {
        "name": "params.ppo_classic",
        "module": ppo_classic,
        "recipe": {"cpanel": ppo_classic.cpanel, "gen_params": ppo_classic.gen_params},
        "tree": ppo_classic.gen_params(ppo_classic.cpanel | TINY),
    }[kind]
    changes = {} if kind == "tree" else TINY
    other = digideep.train(recipe, cpanel=changes, session_path=str(base), session_name=kind, quiet=True)
    different, _ = compare_checkpoints(checkpoint(session), checkpoint(other))
    assert {path for path in different if not path.startswith("/cpanel")} == set()


def test_each_epoch_is_told_and_the_answer_false_stops_a_run_that_goes_on_exactly(base, session):
    told = []

    def on_epoch(figures):
        told.append((figures.meta["epoch"], figures.means["/return/train"]))
        return figures.meta["epoch"] < 2

    stopped = digideep.train(
        CLASSIC, cpanel=TINY, session_path=str(base), session_name="stopped", quiet=True, on_epoch=on_epoch
    )
    assert (stopped.status, stopped.checkpoints[-1]) == ("stopped", "checkpoint-2")
    done = digideep.resume(stopped, on_epoch=on_epoch, quiet=True)
    assert done.status == "done"
    log = session.varlog
    assert [epoch for epoch, _ in told] == [1, 2, 3]
    assert [mean for _, mean in told] == pytest.approx(log.mean("/return/train").tolist())
    assert compare_checkpoints(checkpoint(session), checkpoint(done))[0] == []
    with pytest.raises(digideep.UsageError, match="has finished"):
        digideep.resume(done)


def test_what_a_callback_raises_ends_the_run_and_stands_in_its_report(base):
    def on_epoch(figures):
        raise ArithmeticError("enough")

    with pytest.raises(ArithmeticError, match="enough"):
        digideep.train(
            CLASSIC, cpanel=TINY, session_path=str(base), session_name="raised", quiet=True, on_epoch=on_epoch
        )
    assert "ArithmeticError: enough" in (base / "raised/report.log").read_text()
    assert digideep.resume(base / "raised", quiet=True).status == "done", "the session is free again"


def test_runs_may_be_started_in_threads(base, session):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(
            digideep.train(CLASSIC, cpanel=TINY, session_path=str(base), session_name="thread", quiet=True)
        )
    )
    thread.start()
    thread.join(60)
    assert compare_checkpoints(checkpoint(session), checkpoint(found[0]))[0] == []


def test_an_evaluation_is_that_of_play(session, capsys):
    found = digideep.evaluate(session, episodes=3, seed=4, checkpoint=2)
    assert capsys.readouterr().out == ""
    argv = ["evaluate", str(session.path / "checkpoints/checkpoint-2"), "--episodes", "3", "--seed", "4", "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert (found["checkpoint"], len(found["returns"])) == ("checkpoint-2", 3)
    assert found["mean"] == pytest.approx(np.mean(found["returns"]))
    assert len(digideep.load(session.path).evaluations) >= 2
    with pytest.raises(digideep.UsageError, match="checkpoint-77"):
        digideep.evaluate(session, checkpoint=77)


def test_logs_are_tables_and_curves(session):
    table = session.varlog.to_pandas()
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table["frame"].tolist() == session.varlog["/return/train"]["frame"].tolist()
    assert table["/return/train"].tolist() == session.varlog.mean("/return/train").tolist()
    assert table["/return/test"].notna().tolist() == [True, True, True]
    assert session.varlog.to_pandas("num")["/return/train"].tolist() == session.varlog["/return/train"]["num"].tolist()
    assert (session.prolog.to_pandas()["/train"] > 0).all()
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    assert session.plot("/return/train", ax=ax, color="black") is ax
    (line,) = ax.lines
    assert line.get_xdata().tolist() == table["frame"].tolist()
    assert (line.get_label(), ax.get_xlabel(), ax.get_ylabel()) == ("file", "frame", "/return/train")
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sesion_name": "x"}, r"train\(\) has no argument 'sesion_name'. Did you mean 'session_name'\?"),
        ({"play": True}, r"train\(\) has no argument 'play'"),
        ({"cpanel": {"lrr": 1}}, "unknown key 'lrr'"),
        ({"dry_run": True}, r"train\(\) has no argument 'dry_run'. Known: bind, device"),
        ({"total_frames": 0}, "total_frames: '0' is no positive integer."),
        ({"total_frames": 1e5}, "total_frames cannot be 100000.0."),
        ({"device": 3}, "device: '3' is no device. Expected auto"),
        ({"session_name": "a/b"}, "session_name: 'a/b' must be a plain directory name."),
        ({"quiet": "yes"}, "quiet must be True or False, got 'yes'."),
        ({"save_modules": "digideep"}, "save_modules must be a list, got 'digideep'."),
        ({"log_level": 9}, "log_level must be one of 0, 1, 2, 3, 4, got 9."),
        ({"load_checkpoint": ""}, "session: it is empty. Give a path."),
        ({"repeal": {3: 1}}, "repeal must be a dictionary whose keys are strings"),
        ({"on_epoch": 3}, "on_epoch must be a function, got 3."),
        ({"params": digideep}, "params must be a file's name, or a module or dictionary with"),
        ({"params": {"gen_params": dict}}, "params must be a file's name, or a module or dictionary with"),
        (
            {"params": ppo_classic.gen_params(ppo_classic.cpanel), "total_frames": 9},
            "--total-frames sets 'total_frames' of the control panel, which these parameters do not have",
        ),
        (
            {"params": {"cpanel": {"a": 1}, "gen_params": len}},
            "The parameter tree must be a dictionary of runner, agents and more, got 1 from gen_params of dictionary.",
        ),
        ({"params": None}, "params must be a file's name, or a module or dictionary with"),
    ],
)
def test_mistakes_are_usage_errors_and_leave_nothing(tmp_path, arguments, message):
    with pytest.raises(digideep.UsageError, match=message):
        digideep.train(**{"params": CLASSIC, "session_path": str(tmp_path / "none"), **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_callback_may_evaluate_without_a_trace_in_the_training_but_another_thread_may_not_train(base, session):
    refused = []

    def train_too():
        try:
            digideep.train(CLASSIC, cpanel=TINY, session_path=str(base), quiet=True)
        except digideep.UsageError as err:
            refused.append(str(err))

    def on_epoch(figures):
        torch.manual_seed(figures.meta["epoch"])
        np.random.seed(0)
        if figures.meta["epoch"] == 2:
            assert digideep.evaluate(base / "watched", episodes=1)["checkpoint"] == "checkpoint-1"
            thread = threading.Thread(target=train_too)
            thread.start()
            thread.join()

    other = digideep.train(
        CLASSIC, cpanel=TINY, session_path=str(base), session_name="watched", quiet=True, on_epoch=on_epoch
    )
    assert compare_checkpoints(checkpoint(session), checkpoint(other))[0] == []
    assert [text.partition(":")[0] for text in refused] == ["Another thread of this process has a run going on"]


def test_a_new_session_may_begin_with_the_weights_of_another_one(base, session):
    tuned = digideep.train(
        CLASSIC,
        cpanel=TINY | {"seed": 1},
        load_checkpoint=session,
        session_path=str(base),
        session_name="tuned",
        quiet=True,
    )
    assert tuned.params["session_from"].startswith(str(session.path))
