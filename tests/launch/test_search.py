"""Searches and studies: what a sweep draws, whom it lets go on, and that no kill and no other order changes either."""

import json
import math
import random
import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import optuna
import pytest

from digideep.launch.plan import Run
from digideep.launch.search import Search
from digideep.launch.study import PRUNERS, SAMPLERS, Halving, Rules, Study, default_rungs
from digideep.utility.errors import UsageError
from params import ppo_classic

RANGES = {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "n_update": {"low": 2, "high": 10},
          "hidden_sizes": {"choices": [[64, 64], [16]]}}  # fmt: skip
RULES = Rules("tpe", "halving", False, seed=3, wave=9, rungs=(1, 3, 9), reduction=3)
PANEL = ppo_classic.cpanel


def function(search, monkeypatch) -> Search:
    """What a parameter file with that function searches."""
    module = ModuleType("mine")
    module.__dict__.update(cpanel=PANEL, gen_params=ppo_classic.gen_params, search=search)
    monkeypatch.setitem(sys.modules, "mine", module)
    return Search(Run("mine", {}, {}), None)


def ranges(given=RANGES):
    return Search(Run("params.ppo_classic", {}, {}), given)


def value_of(trial, rung):
    """A run's return: the better, the nearer lr is to 1e-3; trial 4 fails at the second rung."""
    if trial.number == 4 and rung > 1:
        return "it diverged"
    return -abs(math.log10(trial.changes.get("lr", 5e-4)) + 3) + 0.01 * rung


def sweep(study, trials=18):
    for count in range(RULES.wave, trials + 1, RULES.wave):
        study.ask(count)
        for rung in study.rules.rungs:
            running = [trial for trial in study.trials() if trial.state == "running" and rung not in trial.values]
            study.judge(rung, {trial.number: value_of(trial, rung) for trial in running})
    return study.trials()


# ---------------------------------------------------------------------- what is searched


def test_ranges_and_choices_become_values_of_the_panel_s_types():
    trial = optuna.trial.FixedTrial({"lr": 0.002, "n_update": 7, "hidden_sizes": "[16]"})
    assert ranges().changes(trial) == {"lr": 0.002, "n_update": 7, "hidden_sizes": [16]}
    whole = ranges({"lr": {"low": 0.1, "high": 0.3, "step": 0.2}})
    assert whole.changes(optuna.trial.FixedTrial({"lr": 0.3})) == {"lr": 0.3}
    whole = ranges({"lr": {"low": 1, "high": 2}, "gae_lambda": {"choices": [1, 0.9]}})
    found = whole.changes(optuna.trial.FixedTrial({"lr": 1.5, "gae_lambda": "0.9"}))
    assert found == {"lr": 1.5, "gae_lambda": 0.9}, "numbers of a panel that are no whole ones stay so"


def test_a_function_changes_the_panel_as_it_likes_and_what_is_the_same_is_not_listed(monkeypatch):
    def search(trial, cpanel):
        cpanel["gamma"] = 1 - trial.suggest_float("one_minus_gamma", 1e-3, 1e-1, log=True)
        cpanel["env_kwargs"]["sutton_barto_reward"] = True
        cpanel["seed"] = 0

    found = function(search, monkeypatch)
    assert found.changes(optuna.trial.FixedTrial({"one_minus_gamma": 0.05})) == {
        "gamma": 0.95, "env_kwargs": {"sutton_barto_reward": True}
    }  # fmt: skip
    assert PANEL["env_kwargs"] == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "--search is empty"),
        ({"lr": 1}, '--search \'lr\' must be an object with "low" and "high", or with "choices", got 1.'),
        ({"lr": {"low": 1}}, 'must be an object with "low" and "high"'),
        ({"lr": {"low": 0.1, "high": 0.2, "lgo": True}}, "has the unknown word 'lgo'. Did you mean "),
        ({"lr": {"low": 0.2, "high": 0.1}}, "low and high must be numbers, low the smaller, got 0.2 and 0.1."),
        ({"lr": {"low": "1e-4", "high": 1}}, "low and high must be numbers"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "needs a low above 0, got 0."),
        ({"lr": {"low": 1, "high": 2, "log": 1}}, "log must be true or false, got 1."),
        ({"lr": {"low": 1, "high": 2, "log": True, "step": 1}}, "a scale of logarithms has no step."),
        ({"n_update": {"low": 1, "high": 9, "step": 0.5}}, "step must be a whole number above 0"),
        ({"n_update": {"low": 1, "high": 9, "step": 20}}, "step must be at most 8, from low to high, got 20."),
        ({"n_update": {"low": 1.5, "high": 9}}, "--search 'n_update' must be an integer, got 1.5."),
        ({"lr": {"choices": [0.1]}}, "choices must be a list of at least two different values, got [0.1]."),
        ({"lr": {"choices": ["fast", 0.1]}}, "--search 'lr' must be a number, got 'fast'."),
        ({"leraning_rate": {"choices": [1, 2]}}, "--search 'leraning_rate' with 1: --cpanel has the unknown key"),
        (
            {"n_steps": {"low": 0, "high": 8}},
            "--search 'n_steps' with 0: n_steps must be an integer of at least 1, got 0.",
        ),
    ],
)
def test_a_range_that_is_none_is_refused_in_one_line_before_anything_starts(given, message):
    with pytest.raises(UsageError) as refusal:
        ranges(given)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (None, "has no function 'search(trial, cpanel)'. Write one, or give --search FILE.json"),
        (lambda trial, cpanel: {"lr": 1}, "must change the panel that it is given, and return nothing, got {'lr': 1}."),
        (lambda trial, cpanel: cpanel.update(seed=7), "must not change 'seed', which --seeds gives."),
        (lambda trial, cpanel: cpanel.clear(), "must not take keys away."),
        (lambda trial, cpanel: trial.suggest_flaot("lr", 0, 1), "search() of mine fails: AttributeError: "),
        (lambda trial, cpanel: exit(3), "search() of mine fails: called sys.exit(3)"),
    ],
)
def test_what_a_function_does_wrong_is_said_in_one_line(search, message, monkeypatch):
    with pytest.raises(UsageError) as refusal:
        function(search, monkeypatch).changes(optuna.trial.FixedTrial({}))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------------- who goes on


@pytest.mark.parametrize(
    ("epochs", "wave", "reduction", "rungs"),
    [(24, 12, 3, (3, 9, 24)), (27, 27, 3, (1, 3, 9, 27)), (24, 8, 2, (3, 6, 12, 24)), (100, 1, 3, (100,)),
     (2, 27, 3, (1, 2)), (1, 9, 3, (1,))],
)  # fmt: skip
def test_rungs_multiply_until_one_of_a_wave_is_left(epochs, wave, reduction, rungs):
    assert default_rungs(epochs, wave, reduction) == rungs


@pytest.mark.parametrize(("direction", "kept"), [("MAXIMIZE", [1, 3]), ("MINIMIZE", [0, 2])])
def test_halving_keeps_the_best_of_those_of_a_wave_that_got_there_and_of_equals_the_earlier(direction, kept):
    values = [1.0, 5.0, 2.0, 5.0, 5.0, None, 3.0]  # trial 5 has failed; trial 6 is of the next wave
    trials = [
        SimpleNamespace(number=n, last_step=3, intermediate_values={} if value is None else {1: 9.0, 3: value})
        for n, value in enumerate(values)
    ]
    study = SimpleNamespace(get_trials=lambda deepcopy: trials, direction=SimpleNamespace(name=direction))
    pruner = Halving(wave=6, reduction=2)
    assert [trial.number for trial in trials[:5] if not pruner.prune(study, trial)] == kept
    assert not pruner.prune(study, trials[6]), "one goes on in any case"


def test_a_sweep_halves_its_waves_notes_why_trials_fail_and_finds_the_best():
    study = Study(RULES, ranges())
    trials = sweep(study)
    assert [sum(rung in trial.values for trial in trials[:9]) for rung in (1, 3, 9)] == [9, 3 - (4 in kept(trials)), 1]
    assert {trial.state for trial in trials} <= {"complete", "pruned", "failed"}
    assert [trial.reason for trial in trials if trial.state == "failed"] == ["it diverged"] * (4 in kept(trials))
    best = study.best
    assert best.value == max(trial.value for trial in trials if trial.state == "complete")
    assert next(iter(study.importances())) == "lr"


def kept(trials):
    """Numbers of those of the first wave that were let on from the first rung."""
    return sorted(sorted(range(9), key=lambda number: (-trials[number].values[1], number))[:3])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_the_same_again_and_others_by_another_seed(sampler):
    drawn = []
    for seed in (0, 0, 1):
        study = Study(RULES._replace(sampler=sampler, seed=seed), ranges())
        study.ask(4)
        drawn.append([trial.suggested for trial in study.trials()])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({trial["lr"] for trial in drawn[0]}) == 4


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_comes_to_an_end_without_a_word(pruner, capfd):
    trials = sweep(Study(RULES._replace(pruner=pruner), ranges()))
    assert {trial.state for trial in trials} <= {"complete", "pruned", "failed"}
    assert any(trial.state == "pruned" for trial in trials) == (pruner != "none")
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------- kills


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])  # what each notes is in trials, and in the study
def test_a_journal_cut_anywhere_leads_to_the_same_trials(sampler, tmp_path):
    rules, journal = RULES._replace(sampler=sampler), tmp_path / "journal.log"
    straight = sweep(Study(rules, ranges(), journal))
    whole = journal.read_bytes()
    draw = random.Random(0)
    for place in [len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(2))]:
        journal.write_bytes(whole[:place])
        assert sweep(Study(rules, ranges(), journal)) == straight
        timeless = [[without_time(line) for line in text.splitlines()] for text in (whole, journal.read_bytes())]
        assert timeless[0] == timeless[1]


def without_time(line):
    entry = json.loads(line)
    return {key: value for key, value in entry.items() if key != "worker_id" and not key.startswith("datetime")}


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """The journal of a sweep whose first wave is asked."""
    journal = tmp_path_factory.mktemp("halfway") / "journal.log"
    Study(RULES, ranges(), journal).ask(9)
    return journal


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [*lines[:3], b"\x00\xff\n", *lines[4:]], "line 4, is no line of a journal of Optuna's"),
        (lambda lines: [*lines[:3], b"{}\n", *lines[4:]], "line 4, is no line of a journal of Optuna's"),
        (lambda lines: [*lines[:3], b'{"op_code": 77}\n', *lines[4:]], "cannot be read by Optuna"),
        (lambda lines: [line.replace(b"FloatD", b"FoldD") for line in lines], "cannot be read by Optuna"),
    ],
)
def test_a_damaged_journal_is_refused_in_one_line(halfway, tmp_path, damage, message):
    journal = tmp_path / "journal.log"
    journal.write_bytes(b"".join(damage(halfway.read_bytes().splitlines(keepends=True))))
    before = journal.read_bytes()
    with pytest.raises(UsageError) as refusal:
        Study(RULES, ranges(), journal)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert journal.read_bytes() == before


def test_a_search_that_has_changed_is_refused(halfway, tmp_path):
    journal = shutil.copy(halfway, tmp_path)
    for other in (RANGES | {"gamma": {"choices": [0.9, 0.99]}}, RANGES | {"lr": {"low": 1e-4, "high": 1e-3}}):
        with pytest.raises(UsageError, match="The search has changed since trial 0 was asked"):
            Study(RULES, ranges(other), tmp_path / journal)
    assert len(Study(RULES, ranges(), tmp_path / journal).trials()) == 9


def choose(*choices):
    return lambda trial, cpanel: cpanel.update(hidden_sizes=trial.suggest_categorical("size", choices))


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (choose((8,), (16,)), "choices of 'size' must be null, true, false, numbers or words, got (8,)"),
        (choose([8], [16]), "choices of 'size' must be null, true, false, numbers or words, got [8]"),
        (choose(*np.arange(1, 4)), "choices of 'size' must be null, true, false, numbers or words, got np.int64(1)"),
        (lambda trial, cpanel: trial.study.tell(trial, 1.0), "AttributeError: a search draws values"),
        (lambda trial, cpanel: trial.report(1.0, 1), "a search draws values (trial.suggest_float, …), and has no "),
        (lambda trial, cpanel: cpanel.update(lr=random.random()), "draws numbers of its own, or of a range beyond"),
        (lambda trial, cpanel: cpanel.update(n_update=trial.suggest_int("n", 1, 10**30)), "of a range beyond"),
        (lambda trial, cpanel: cpanel.update(lr=math.nan), "search() of mine: Linear: start must be a finite number"),
        (lambda trial, cpanel: cpanel.update(lrr=1), "mine: the control panel has the unknown key 'lrr'. Did you "),
    ],
)
def test_a_search_that_could_not_be_repeated_fails_its_trial_and_the_sweep_goes_on(
    search, reason, tmp_path, monkeypatch
):
    def sometimes(trial, cpanel):
        cpanel["gamma"] = trial.suggest_float("gamma", 0.9, 0.99)
        if trial.number == 1:
            search(trial, cpanel)

    found = function(sometimes, monkeypatch)
    study = Study(RULES, found, tmp_path / "journal.log")
    study.ask(3)
    assert reason in study.trials()[1].reason
    study = Study(RULES, found, tmp_path / "journal.log")
    study.judge(1, {0: 1.0, 2: 2.0})
    assert [trial.state for trial in study.trials()] == ["pruned", "failed", "running"]
    study.importances()


def test_a_trial_whose_search_or_tree_fails_does_not_stop_the_others(monkeypatch):
    def search(trial, cpanel):
        if trial.number == 1:
            raise ZeroDivisionError("of mine")
        cpanel["n_steps"] = 0 if trial.number == 2 else 2
        cpanel["lr"] = trial.suggest_float("lr", 1e-4, 1e-2)

    study = Study(RULES, function(search, monkeypatch))
    study.ask(9)
    reasons = {trial.number: trial.reason for trial in study.trials() if trial.state == "failed"}
    assert reasons.keys() == {1, 2}
    assert reasons[1].startswith("search() of mine fails: ZeroDivisionError: of mine (test_search.py, line")
    assert "n_steps" in reasons[2]
