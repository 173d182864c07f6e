"""A sweep: a group whose sessions are the trials of a search, paused at the rungs until it is known which go on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from digideep.launch.engine import Job
from digideep.launch.group import Group
from digideep.launch.plan import Run
from digideep.launch.search import Search
from digideep.launch.study import PRUNERS, SAMPLERS, Rules, Study, Trial
from digideep.parameters.control_panel import Panel, load_params
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.checkpoint import checkpoint_order, list_checkpoints
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import as_typed, read_json_lines
from digideep.utility.own_files import DONE, require_own

TEMPLATE = "trial"  # the one run of a sweep's group: what all trials share
JOURNAL, TRIALS, BEST = "journal.log", "trials.json", "best.json"
_VERSION = 1  # of trials.json
_INTEGERS = {"trials": 1, "seed": 0, "wave": 1, "reduction": 2}  # settings, and the least of each


class Settings(NamedTuple):
    """What is searched, and by which measure.

    Attributes:
        trials: how many.
        seeds: of each trial's sessions, one each.
        metric: a name that sessions log under, such as "/return/test".
        ranges: from a JSON file; None where the parameter file has a `search`.
        rules: how trials are asked and judged.
    """

    trials: int
    seeds: tuple[int, ...]
    metric: str
    ranges: dict[str, Any] | None
    rules: Rules

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        own = self._asdict()
        return {**own, "rules": self.rules._asdict()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Settings":
        """Return the settings of `to_json`. Raises: ValueError: if these are none."""
        rules = found.get("rules")
        if found.keys() != set(cls._fields) or not isinstance(rules, dict) or rules.keys() != set(Rules._fields):
            raise ValueError("it has other settings than a sweep's")
        numbers = {name: {**found, **rules}[name] for name in _INTEGERS}
        rungs, ranges = rules["rungs"], found["ranges"]
        is_right = (
            all(type(value) is int and value >= _INTEGERS[name] for name, value in numbers.items())
            and all(isinstance(each, list) and each and all(map(_is_count, each)) for each in (rungs, found["seeds"]))
            and rungs == sorted(set(rungs))
            and isinstance(found["metric"], str)
            and isinstance(ranges, (dict, type(None)))
            and rules["sampler"] in SAMPLERS
            and rules["pruner"] in PRUNERS
            and isinstance(rules["is_minimized"], bool)
        )
        if not is_right:
            raise ValueError("its settings are not those of a sweep")
        seeds = tuple(found["seeds"])
        return cls(found["trials"], seeds, found["metric"], ranges, Rules(**{**rules, "rungs": tuple(rungs)}))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


class Sweep:
    """The trials of a group, from the first to the best.

    Args:
        group: its directory is there, and nobody else's meanwhile.
        settings: what is searched.

    Raises:
        UsageError: see `Study`.
    """

    def __init__(self, group: Group, settings: Settings):
        self.group, self.settings = group, settings
        for name in (TRIALS, BEST):
            require_own(group.path / name)
        self.search = Search(group.runs[TEMPLATE], settings.ranges)
        self.study = Study(settings.rules, self.search, group.path / JOURNAL)
        if self.study.trials():
            self.write()  # a kill may have come before that

    def next_rung(self) -> int | None:
        """Return the epoch at which trials are judged next, having asked for a wave if none runs; None at the end."""
        while True:
            trials = self.study.trials()
            running = [trial for trial in trials if trial.state == "running"]
            if running:
                return self.settings.rules.rungs[len(running[0].values)]
            if len(trials) >= self.settings.trials:
                return None
            self.study.ask(min(len(trials) + self.settings.rules.wave, self.settings.trials))
            self.write()

    def jobs(self, rung: int, flags: tuple[str, ...] = (), threads: int = 1) -> list[Job]:
        """Return the sessions that are not at a rung yet. Args: rung: from `next_rung`; flags, threads: see `Job`."""
        stop_after = None if rung == self.settings.rules.rungs[-1] else rung
        found = []
        for trial in self.study.trials():
            for name, run in self._runs(trial).items() if trial.state == "running" else ():
                session = self.group.path / name
                if not is_reached(session, stop_after):
                    begin = self.group.begin
                    found.append(Job(session, run.params, run.cpanel, run.repeal, begin, flags, stop_after, threads))
        return found

    def _runs(self, trial: Trial) -> dict[str, Run]:
        """Return the runs of a trial by the names of their sessions."""
        digits, seeds = len(str(self.settings.trials - 1)), self.settings.seeds
        name = f"trial={trial.number:0{digits}}"
        return {
            name + (f"_seed={seed}" if len(seeds) > 1 else ""): self.search.run(trial.changes, seed) for seed in seeds
        }

    def require_metric(self, session: Path) -> None:
        """Refuse to go on if a session at its first rung has logged nothing of the name of the metric."""
        logged, metric = _logged_keys(session), self.settings.metric
        if metric not in logged and not any(trial.values for trial in self.study.trials()):
            rung, place = self.settings.rules.rungs[0], as_typed(self.group.path)
            raise UsageError(
                f"Nothing is logged as '{metric}' until epoch {rung}. {did_you_mean(metric, logged)} Begin anew with "
                f"another --metric: remove {place}, or choose another --name."
            )

    def judge(self, rung: int, failed: Mapping[str, str]) -> None:
        """Take in what the running trials came to at a rung. Args: failed: reasons, by the names of sessions."""
        results: dict[int, float | str] = {}
        for trial in self.study.trials():
            if trial.state == "running":
                names = list(self._runs(trial))
                reasons = [failed[name] for name in names if name in failed]
                try:
                    values = [value_at(self.group.path / name, self.settings.metric, rung) for name in names]
                    results[trial.number] = reasons[0] if reasons else fmean(values)
                except SessionError as err:
                    results[trial.number] = reasons[0] if reasons else str(err)
        self.study.judge(rung, results)
        self.write()

    @property
    def is_finished(self) -> bool:
        """True if all trials were made and judged."""
        trials = self.study.trials()
        return len(trials) >= self.settings.trials and all(trial.state != "running" for trial in trials)

    # ------------------------------------------------------------------ what it leaves

    def summary(self, rung: int) -> str:
        """Return in a line what came of a rung of the newest wave."""
        trials, wave = self.study.trials(), self.settings.rules.wave
        there = [trial for trial in trials[(len(trials) - 1) // wave * wave :] if rung in trial.values]
        on = sum(trial.state == "running" for trial in there)
        sign = 1 if self.settings.rules.is_minimized else -1
        best = min(there, key=lambda trial: sign * trial.values[rung], default=None)
        metric = self.settings.metric
        words = f", the best is trial {best.number} with {metric} {best.values[rung]:,.4g}" if best is not None else ""
        going = f"; {on} go{'es' * (on == 1)} on" if rung != self.settings.rules.rungs[-1] else ""
        return f"epoch {rung}: {len(there)} trial{'s' if len(there) != 1 else ''}{words}{going}"

    def describe(self) -> dict[str, Any]:
        """Return all trials as JSON values."""
        rules, best = self.settings.rules, self.study.best
        trials = [
            {**trial._asdict(), "values": {str(rung): value for rung, value in trial.values.items()}}
            for trial in self.study.trials()
        ]
        return {
            "version": _VERSION, "metric": self.settings.metric, "sampler": rules.sampler, "pruner": rules.pruner,
            "direction": "minimize" if rules.is_minimized else "maximize", "rungs": rules.rungs,
            "best": best and best.number, "importances": self.study.importances(), "trials": trials,
        }  # fmt: skip

    def write(self) -> None:
        """Write `trials.json`, and `best.json` if a trial came to its end."""
        _replace(self.group.path / TRIALS, self.describe())
        if (best := self.study.best) is not None:
            _replace(self.group.path / BEST, self.best_panel(best))

    def best_panel(self, best: Trial) -> Panel:
        """Return what a trial's control panel has otherwise than the parameter file, but for the seed."""
        template = self.group.runs[TEMPLATE]
        panel = load_params(template.params).cpanel
        changed = {**template.cpanel, **best.changes}
        return {key: value for key, value in changed.items() if key != "seed" and value != panel.get(key, ...)}


def _replace(file: Path, value: Any) -> None:
    """Write a JSON file so that it is there as a whole or as it was."""
    aside = file.with_name(f".{file.name}.new")
    require_own(aside)
    aside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, file)


def is_reached(session: Path, epoch: int | None) -> bool:
    """True if a session has a checkpoint of that epoch or a later one, or is done. Args: epoch: None for its end."""
    if (session / DONE).exists():
        return True
    found = list_checkpoints(session / "checkpoints") if epoch is not None else []
    return bool(found) and (checkpoint_order(found[-1]) or (0, 0)) >= (epoch or 0, 0)


def value_at(session: Path, metric: str, epoch: int) -> float:
    """Return the mean of what a session last logged of a metric, up to an epoch.

    Raises:
        SessionError: if it logged nothing of that name, or its log is damaged.
    """
    found = None
    for where, entry in read_json_lines(session / "varlog.json"):
        try:
            figures = entry["data"].get(metric)
            if figures is not None and entry["meta"]["epoch"] <= epoch:
                found = figures["sum"] / figures["num"]
        except (LookupError, TypeError, AttributeError, ArithmeticError) as err:
            raise SessionError(f"{where} is no line of a session's log.") from err
    if found is None:
        raise SessionError(f"it logged nothing as '{metric}' until epoch {epoch}")
    return float(found)


def _logged_keys(session: Path) -> list[str]:
    return list(dict.fromkeys(key for _, entry in read_json_lines(session / "varlog.json") for key in entry["data"]))
