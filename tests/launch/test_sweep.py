"""`digideep sweep`: from a parameter file to the best values, whatever is killed meanwhile."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from digideep.launch.local import LocalEngine
from digideep.launch.sweep import Settings, is_reached, value_at
from digideep.main import main
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from digideep.utility.errors import SessionError
from tests.support.documents import blocks
from tests.support.forked import ForkedProgram, forking_jobs, in_child
from tests.support.helpers import ROOT, tiny

RANGES = {"lr": {"low": 1e-4, "high": 1e-1, "log": True}, "n_update": {"choices": [1, 2]}}
PANEL = tiny(number_epochs=2, epoch_size=1, n_steps=16, test_win_size=1, hidden_sizes=[8])
PLAN = ["params.ppo_classic", "--search", json.dumps(RANGES), "--trials", "4", "--wave", "3", "--cpanel", PANEL]


QUIET = ["--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu", "--quiet"]


@pytest.fixture
def started(monkeypatch):
    """What is started, as (session, epoch after which it stops)."""
    return note_starts(monkeypatch)


def note_starts(patch):
    found, start = [], LocalEngine.start

    def note(self, job):
        found.append((job.name, job.stop_after))
        start(self, job)

    patch.setattr(LocalEngine, "start", note)
    return found


def command(base, *arguments):
    """The command line of the sweep `all` in a directory."""
    return ["sweep", *PLAN, "--session-path", str(base), "--name", "all", *QUIET, *arguments]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A sweep that nobody disturbed, and what was started for it."""
    base = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch, forking_jobs():
        found = note_starts(patch)
        assert main(command(base, "--jobs", "1")) == 0
    return base / "all", found


def about(path):
    return json.loads((path / "trials.json").read_text())


def differences(one: Path, other: Path):
    """What is not the same in two sweeps, but for the times at which it was done."""
    names = [sorted(path.name for path in each.glob("trial=*")) for each in (one, other)]
    found = [name for name in ("trials.json", "best.json") if (one / name).read_bytes() != (other / name).read_bytes()]
    found += [] if names[0] == names[1] else names
    for name in names[0]:
        ends = [list_checkpoints(each / name / "checkpoints")[-1] for each in (one, other)]
        different, total = compare_checkpoints(*ends)
        found += [f"{name}: {ends[0].name} and {ends[1].name}"] if ends[0].name != ends[1].name else different
        assert total > 50
    return found


def test_trials_are_paused_at_the_rung_and_the_best_goes_on_to_its_end(straight):
    path, started = straight
    found = about(path)
    states = [trial["state"] for trial in found["trials"]]
    assert started[:3] == [(f"trial={number}", 1) for number in range(3)]
    assert started[3:] == [(f"trial={states.index('complete')}", None), ("trial=3", 1), ("trial=3", None)]
    assert states[3] == "complete", "alone in its wave"
    assert sorted(states) == ["complete", "complete", "pruned", "pruned"]
    assert found["rungs"] == [1, 2]
    ended = [trial for trial in found["trials"] if trial["state"] == "complete"]
    assert found["trials"][found["best"]]["values"]["2"] == max(trial["values"]["2"] for trial in ended)
    for trial in found["trials"]:
        session = path / f"trial={trial['number']}"
        assert (session / "done.lock").exists() == (trial["state"] == "complete")
        for rung, value in trial["values"].items():
            assert value == value_at(session, "/return/test", int(rung))


def test_best_values_are_what_train_takes(straight):
    path, _ = straight
    best = json.loads((path / "best.json").read_text())
    chosen = about(path)["trials"][about(path)["best"]]
    assert best.keys() >= {"number_epochs", "lr"}
    assert best["lr"] == chosen["suggested"]["lr"]
    assert "seed" not in best
    args = parse_arguments(["train", "params.ppo_classic", "--cpanel", f"@{path}/best.json"])
    assert args.cpanel == best


def test_a_finished_sweep_says_so_by_its_name_and_by_the_same_command(straight, started, capsys):
    path, _ = straight
    for words in (["sweep", str(path)], command(path.parent)):
        assert main(words) == 3
        assert "All 4 trials" in capsys.readouterr().err
    assert main(["sweep", str(path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == about(path)
    assert started == []


def test_what_a_kill_left_unwritten_is_written_by_the_next_start(straight, tmp_path):
    path = shutil.copytree(straight[0], tmp_path / "all", ignore=shutil.ignore_patterns("trial=*", "*.json"))
    shutil.copy(straight[0] / "group.json", path)
    assert main(["sweep", str(path)]) == 3
    assert (path / "best.json").read_bytes() == (straight[0] / "best.json").read_bytes()
    assert about(path) == about(straight[0])


def test_a_sweep_whose_launcher_and_sessions_are_killed_and_stopped_ends_as_one_that_was_not(straight, tmp_path):
    path, words = tmp_path / "all", command(tmp_path, "--jobs", "2", "--retries", "1")
    for number, end in enumerate((signal.SIGKILL, signal.SIGTERM)):
        launcher = ForkedProgram(words, tmp_path / "output")
        wait_until(lambda: (path / f"output/trial={number + 1}.log").exists())  # noqa: B023
        launcher.send_signal(end)
        assert launcher.wait() in (-signal.SIGKILL, 75)
    assert "Stopped (SIGTERM). Go on: digideep sweep" in (tmp_path / "output").read_text()
    journal = path / "journal.log"
    journal.write_bytes(journal.read_bytes()[:-30])
    with pytest.MonkeyPatch.context() as patch:
        kill_second(patch)
        assert main(words) == 0
    assert differences(straight[0], path) == []


def kill_second(patch):
    """Kill the process of the second session that is started."""
    start, count = LocalEngine.start, iter(range(100))

    def start_and_kill(self, job):
        start(self, job)
        if next(count) == 1:
            process = next(process for process in self._slots if process is not None and process.job == job)
            os.kill(process.pid, signal.SIGKILL)

    patch.setattr(LocalEngine, "start", start_and_kill)


def wait_until(condition, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_trial_that_fails_is_told_so_and_the_others_go_on(tmp_path, capsys):
    (tmp_path / "failing.py").write_text(
        "from params.ppo_classic import cpanel, gen_params\n"
        "def search(trial, cpanel):\n"
        "    cpanel['gamma'] = [0.9, 1.5][trial.suggest_int('case', 0, 1) * 0 + trial.number % 2]\n"
    )
    plan = [
        "sweep",
        str(tmp_path / "failing.py"),
        "--trials",
        "2",
        "--pruner",
        "none",
        "--seeds",
        "2",
        "--cpanel",
        PANEL,
    ]
    assert main([*plan, "--session-path", str(tmp_path), *QUIET, "--json"]) == 0
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert [trial["state"] for trial in found["trials"]] == ["complete", "failed"]
    assert "gamma must be a number in [0, 1], got 1.5" in found["trials"][1]["reason"]
    assert "gamma must be" in out.err
    path = tmp_path / "failing_sweep"
    assert sorted(each.name for each in path.glob("trial=*")) == ["trial=0_seed=0", "trial=0_seed=1"]
    values = [value_at(each, "/return/test", 2) for each in path.glob("trial=0*")]
    assert found["trials"][0]["values"] == {"2": sum(values) / 2}


def test_the_searches_of_the_documents_are_listed_without_writing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs/sweeps.md"
    files = {block.marker[6:]: block.text for block in blocks(page) if block.marker.startswith("file: ")}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["sweep", "searched.py", "--trials", "24", "--seeds", "3", "--dry-run"]) == 0
    assert main(["sweep", "params.ppo_classic", "--search", "ranges.json", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("trial 11: ") == 2
    assert "core_size = " in out
    assert "24 trials, judged after epochs 4, 12, 28. Dry run: nothing is written." in out
    assert "24 trials, judged after epochs 3, 9, 24. Dry run: nothing is written." in out
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == sorted(files)


def test_a_search_s_processes_take_no_part_and_its_names_stay_on_their_line(tmp_path):
    (tmp_path / "forking.py").write_text(
        "import os\nfrom params import ppo_classic\ncpanel = ppo_classic.cpanel\nos.fork()\n"
        "def gen_params(cpanel):\n    os.fork()\n    return ppo_classic.gen_params(cpanel)\n"
        "def search(trial, cpanel):\n    os.fork()\n    cpanel['lr'] = trial.suggest_float('a\\nb', 0.1, 0.2)\n"
    )
    words = ["sweep", str(tmp_path / "forking.py"), "--trials", "2", "--pruner", "none", "--cpanel", PANEL, "--dry-run"]
    code, said, _ = in_child(lambda: main(words), tmp_path / "log")
    assert code == 0
    assert [line[:16] for line in said.splitlines()] == ["trial 0: a\\nb = ", "trial 1: a\\nb = ", "2 trials, judged"]


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing to search in: give a parameter file, or the directory of a sweep."),
        (["params.ppo_classic", "params.sac_classic"], "A sweep has one parameter file: give"),
        (
            ["params.ppo_classic"],
            "params.ppo_classic has no function 'search(trial, cpanel)'. Write one, or give --search",
        ),
        (["params.ppo_classik"], "cannot be imported"),
        ([*PLAN, "--search", "nowhere.json"], "nowhere.json cannot be read: No such file"),
        ([*PLAN, "--search", '{"lr": {"low": 1}}'], "--search 'lr' must be an object with"),
        ([*PLAN, "--search", '{"lr": {"low": 1, "high": 2}, "lr": {"low": 1, "high": 2}}'], "'lr' is given twice"),
        ([*PLAN, "--trials", "0"], "'0' is no positive integer"),
        ([*PLAN, "--sampler", "cmaes"], "invalid choice: 'cmaes'"),
        ([*PLAN, "--pruner", "halfing"], "invalid choice: 'halfing'"),
        ([*PLAN, "--metric", ""], "argument --metric: it is empty"),
        ([*PLAN, "--reduction", "1"], "one of one goes on without a rung"),
        ([*PLAN, "--rungs", "2"], "--rungs must rise and lie below the 2 epochs of a run, got [2]."),
        (
            [*PLAN, "--rungs", "1", "--pruner", "none"],
            "--rungs are for a pruner: leave them out, or leave --pruner out.",
        ),
        ([*PLAN, "--seeds", "2", "--set", "seed=3"], "--seeds and 'seed' both give seeds: leave one of them out."),
        (
            [*PLAN, "--set", "/runner/test_int=2"],
            "Runs are tested every 2 epochs (/runner/test_int), and judged at epochs 1",
        ),
        ([*PLAN, "--set", "lr=fast"], "--cpanel 'lr' must be a number, got 'fast'."),
        ([*PLAN, "--set", "model_name=CartPole-v9"], "CartPole-v9"),
        ([*PLAN, "--name", "a/b"], "must be a plain directory name"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line_and_nothing_is_made(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert len(out.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--trials", "9"],
            "is a sweep with another plan: trials is 4 there, 9 here. Go on with it by `digideep sweep",
        ),
        (["--sampler", "random"], "sampler is 'tpe' there, 'random' here"),
        (["--metric", "/return/recent"], "metric is '/return/test' there, '/return/recent' here"),
        (["--search", '{"lr": {"choices": [0.1, 0.2]}}'], "search is {'lr': {'low': 0.0001"),
        (["--set", "gamma=0.9"], "run trial has gamma not given there, 0.9 here"),
    ],
)
def test_a_command_that_means_another_sweep_is_refused(straight, started, words, message, capsys):
    assert main(command(straight[0].parent, *words)) == 2
    assert message in capsys.readouterr().err
    assert started == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda plan: plan["sweep"].pop("metric"),
            "is no sweep of this version: it has other settings than a sweep's.",
        ),
        (lambda plan: plan["sweep"].update(trials=True), "its settings are not those of a sweep"),
        (lambda plan: plan["sweep"]["rules"].update(rungs=[2, 1]), "its settings are not those of a sweep"),
        (lambda plan: plan["sweep"]["rules"].update(sampler="cmaes"), "its settings are not those of a sweep"),
        (lambda plan: plan.update(digideep_group=2), "is of version 2; this digideep knows 1. Install a newer one."),
        (lambda plan: plan.pop("sweep"), "is a group that searches nothing: go on with it by `digideep group"),
    ],
)
def test_a_plan_that_is_damaged_or_of_another_version_is_refused(straight, tmp_path, damage, message, capsys):
    plan = json.loads((straight[0] / "group.json").read_text())
    damage(plan)
    (tmp_path / "group.json").write_text(json.dumps(plan, indent=1))
    assert main(["sweep", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["group.json"]


def test_groups_and_sweeps_are_not_taken_for_each_other_and_a_plan_is_given_once(straight, capsys):
    assert main(["group", str(straight[0])]) == 2
    assert "is a sweep: go on with it by `digideep sweep" in capsys.readouterr().err
    assert main(["sweep", str(straight[0]), "--trials", "9"]) == 2
    assert "has its plan already: leave --trials out." in capsys.readouterr().err


def test_a_metric_that_nothing_logs_is_told_with_those_that_there_are_after_one_session(tmp_path, started, capsys):
    assert main(command(tmp_path, "--metric", "/return/tset", "--jobs", "1")) == 2
    err = capsys.readouterr().err
    assert "Nothing is logged as '/return/tset' until epoch 1. Did you mean '/return/test'? Begin anew" in err
    assert len(started) <= 2


def test_settings_survive_json():
    text = '{"trials": 4, "seeds": [0], "metric": "/x", "ranges": null, "rules": {"sampler": "qmc", "pruner": "asha", '
    text += '"is_minimized": true, "seed": 3, "wave": 2, "rungs": [1, 3], "reduction": 3}}'
    assert Settings.from_json(json.loads(text)).to_json() == {**json.loads(text), "seeds": (0,)} | {
        "rules": {**json.loads(text)["rules"], "rungs": (1, 3)}
    }


def test_the_value_at_a_rung_is_the_last_one_up_to_it(tmp_path):
    lines = [
        {"meta": {"epoch": epoch}, "data": {"/x": {"num": 2, "sum": 2 * value}}} for epoch, value in ((1, 5), (3, 7))
    ]
    log = tmp_path / "varlog.json"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [value_at(tmp_path, "/x", epoch) for epoch in (1, 2, 3)] == [5, 5, 7]
    with pytest.raises(SessionError, match="it logged nothing as '/y' until epoch 3"):
        value_at(tmp_path, "/y", 3)
    log.write_text('{"meta": {}, "data": {"/x": {}}}\n')
    with pytest.raises(SessionError, match=r"varlog\.json, line 1, is no line of a session's log"):
        value_at(tmp_path, "/x", 3)


def test_a_session_has_reached_a_rung_with_its_checkpoint_or_its_end(tmp_path):
    assert not is_reached(tmp_path, 1)
    (tmp_path / "checkpoints/checkpoint-1").mkdir(parents=True)
    assert [is_reached(tmp_path, epoch) for epoch in (1, 2, None)] == [True, False, False]
    (tmp_path / "checkpoints/checkpoint-1+2").mkdir()
    assert [is_reached(tmp_path, epoch) for epoch in (1, 2, None)] == [True, False, False]
    (tmp_path / "done.lock").touch()
    assert [is_reached(tmp_path, epoch) for epoch in (9, None)] == [True, True]
