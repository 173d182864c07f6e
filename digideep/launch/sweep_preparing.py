"""Find out what a command means by its sweep, and refuse what could not be run, before anything is made."""

import argparse
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from digideep.launch.group import Group, open_group, require_trusted
from digideep.launch.plan import Length, Run, check_runs, make_tree, stem
from digideep.launch.preparing import VALUES, begin_words, panels_of
from digideep.launch.search import Search
from digideep.launch.study import Rules, Study, Trial, default_rungs, require_optuna
from digideep.launch.sweep import TEMPLATE, Settings
from digideep.parameters.checks import shown
from digideep.parameters.control_panel import frames_in_panel, load_params
from digideep.pipeline.argument_types import directory_name
from digideep.pipeline.arguments import take_assignments
from digideep.pipeline.session_directory import find_new_directory
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import as_typed, is_directory
from digideep.utility.importing import SESSIONS

# Flags that say what a sweep is: one that is there has its own.
PLAN = ("trials", "seeds", "metric", "minimize", "sampler", "pruner", "search", "wave", "rungs", "reduction", "name")
TRIALS, WAVE, REDUCTION, SAMPLER, PRUNER = 24, 12, 3, "tpe", "halving"
TESTS = "/runner/test_int"


class PreparedSweep(NamedTuple):
    """A sweep that may be run.

    Attributes:
        length: of a trial that runs to its end.
        is_new: it is not on disk yet.
        first: of a new one, the trials that it begins with.
        notes: what a person should know of it, in lines.
    """

    group: Group
    settings: Settings
    length: Length
    is_new: bool
    first: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()


def prepare_sweep(args: argparse.Namespace) -> PreparedSweep:
    """Return the sweep that a command line names or describes. Args: args: of `digideep sweep`.

    Raises:
        UsageError: for anything that keeps it from starting. Nothing is made.
    """
    files = [*args.file, *(args.params or [])]
    if len(files) != 1:
        what = "Nothing to search in" if not files else "A sweep has one parameter file"
        raise UsageError(f"{what}: give a parameter file, or the directory of a sweep. See --help for examples.")
    path = Path(directory_name(files[0])).resolve()
    return _reopen(args, path) if is_directory(path) else _describe(args, files[0])


def _reopen(args: argparse.Namespace, path: Path) -> PreparedSweep:
    """Return a sweep that is there, by its directory."""
    for flag in (*VALUES, *PLAN):
        if getattr(args, flag.replace("-", "_")) not in (None, False):
            raise UsageError(f"{path} is there, and has its plan already: leave --{flag} out.")
    group = open_group(path)
    settings = _settings_of(group)
    require_optuna(settings.rules.sampler)
    require_trusted(group, [group.runs[TEMPLATE].params])
    group.require_files(group.files or {})
    return PreparedSweep(group, settings, check_runs(group.runs, None, group.begin)[TEMPLATE], False)


def _settings_of(group: Group) -> Settings:
    where = as_typed(group.path)
    if group.sweep is None:
        raise UsageError(f"{where} is a group that searches nothing: go on with it by `digideep group {where}`.")
    try:
        if group.runs.keys() != {TEMPLATE}:
            raise ValueError("it does not say what its trials share")
        return Settings.from_json(group.sweep)
    except (ValueError, TypeError, LookupError) as err:
        raise SessionError(f"{where} is no sweep of this version: {err}. Make a new one with another --name.") from err


def _describe(args: argparse.Namespace, file: str) -> PreparedSweep:
    """Return the sweep of a parameter file."""
    require_optuna(args.sampler or SAMPLER)
    values: dict[str, Any] = {"set": args.set or [], "cpanel": args.cpanel or {}, "repeal": args.repeal or {}}
    take_assignments(values)
    given = {**values["cpanel"], **values["repeal"]}
    for name in ("seed", "/runner/seed") if args.seeds is not None else ():
        if name in given:
            raise UsageError(f"--seeds and '{name}' both give seeds: leave one of them out.")
    for name in ("total_frames", "number_epochs"):
        if args.total_frames is not None and given.get(name) is not None:
            raise UsageError(f"--total-frames and '{name}' both say how long a run is: give one of them.")
    panel = load_params(file).cpanel
    template = Run(file, {**values["cpanel"], **frames_in_panel(panel, args.total_frames)}, values["repeal"])
    begin = begin_words(args)
    length = check_runs({TEMPLATE: template}, None, begin)[TEMPLATE]
    tree = make_tree(template)
    settings, notes = _settings(args, length.epochs, tree["runner"])
    template, more = _with_tests(template, tree["runner"], settings, is_chosen=TESTS in given)
    base = Path(args.session_path or SESSIONS).resolve()
    name = args.name or f"{stem(file)}_sweep"
    runs = {TEMPLATE: template}
    meant = Group(base / name, runs, begin, panels_of([file]), settings.to_json())
    if os.path.lexists(meant.path):
        group = open_group(meant.path)
        _require_same(group, meant, settings)
        group.require_files(meant.files or {})
        return PreparedSweep(group, settings, length, False)
    find_new_directory(base, name)  # refuses one that cannot be made
    study = Study(settings.rules, Search(template, settings.ranges))
    study.ask(min(settings.rules.wave, settings.trials))
    if all(trial.state == "failed" for trial in study.trials()):
        raise UsageError(study.trials()[0].reason)
    return PreparedSweep(meant, settings, length, True, tuple(study.trials()), (*notes, *more))


def _settings(args: argparse.Namespace, epochs: int, runner: dict[str, Any]) -> tuple[Settings, list[str]]:
    """Return the settings that flags give, and what to say of them. Args: epochs: of a whole run."""
    trials, reduction, pruner = args.trials or TRIALS, args.reduction or REDUCTION, args.pruner or PRUNER
    wave, notes = min(args.wave or WAVE, trials), []
    if args.rungs is not None:
        if pruner == "none":
            raise UsageError("--rungs are for a pruner: leave them out, or leave --pruner out.")
        if sorted(set(args.rungs)) != args.rungs or args.rungs[-1] >= epochs:
            raise UsageError(f"--rungs must rise and lie below the {epochs} epochs of a run, got {shown(args.rungs)}.")
        rungs = (*args.rungs, epochs)
    else:
        rungs = (epochs,) if pruner == "none" else default_rungs(epochs, max(wave, reduction), reduction)
    if pruner != "none" and len(rungs) == 1:
        notes.append("A run has one epoch, so that no trial is stopped early: give it shorter ones (epoch_frames).")
    seed, is_tested = runner.get("seed", 0), runner.get("test_act", True)
    rules = Rules(args.sampler or SAMPLER, pruner, bool(args.minimize), seed, wave, rungs, reduction)
    metric = args.metric or ("/return/test" if is_tested else "/return/recent")
    return Settings(trials, tuple(args.seeds or [seed]), metric, args.search, rules), notes


def _with_tests(
    template: Run, runner: dict[str, Any], settings: Settings, *, is_chosen: bool
) -> tuple[Run, tuple[str, ...]]:
    """Return the template with a test at each rung where the metric is one of tests, and a line that says so.

    Tests change no number of a training.

    Args:
        is_chosen: a person has said how often a run is tested.
    """
    rungs = settings.rules.rungs[:-1]
    interval = runner.get("test_int", 10)
    is_of_tests = "test" in settings.metric.split("/") and runner.get("test_act", True)
    if not is_of_tests or all(rung % interval == 0 for rung in rungs):
        return template, ()
    if is_chosen:
        raise UsageError(
            f"Runs are tested every {interval} epochs ({TESTS}), and judged at epochs {', '.join(map(str, rungs))}: "
            "leave it out, or give other --rungs or another --metric."
        )
    every = math.gcd(*rungs)
    note = f"Trials are tested when they are judged: {TESTS} is {every}, not {interval}."
    return template._replace(repeal={**template.repeal, TESTS: every}), (note,)


def _require_same(group: Group, meant: Group, settings: Settings) -> None:
    """Refuse to go on with a sweep by a command that means another one, naming the first difference."""
    there, here = _settings_of(group), settings
    for name in ("trials", "seeds", "metric", "ranges"):
        _require_equal(group, "search" if name == "ranges" else name, getattr(there, name), getattr(here, name))
    for name in Rules._fields:
        _require_equal(group, name, getattr(there.rules, name), getattr(here.rules, name))
    group.require_same(meant)


def _require_equal(group: Group, name: str, there: Any, here: Any) -> None:
    if there != here:
        path = as_typed(group.path)
        raise UsageError(
            f"{path} is a sweep with another plan: {name} is {shown(there)} there, {shown(here)} here. Go on with it "
            f"by `digideep sweep {path}`, or choose another --name."
        )
