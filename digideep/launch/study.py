"""The trials of a sweep, asked of Optuna in waves and judged at rungs: the same, whatever was killed when."""

import json
import math
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from digideep.launch.journal import MARK, cut_journal, open_storage, quietly
from digideep.launch.search import Search
from digideep.parameters.control_panel import Panel
from digideep.telemetry.requirements import has_package
from digideep.utility.errors import UsageError
from digideep.utility.own_files import require_own
from digideep.utility.seeding import derive_seed
from digideep.utility.text import one_line

_NAME = "sweep"  # of the study
_CHANGES, _REASON = "cpanel", "reason"  # what a trial notes
_BEST = 0.25  # of the trials, which importance is about
# Of Optuna's module, the seed of a trial, and that of the sweep, by which a sequence is one over all trials.
SAMPLERS: dict[str, Callable[[Any, int, int], Any]] = {
    "tpe": lambda optuna, seed, _: optuna.TPESampler(seed=seed, constant_liar=True),
    "random": lambda optuna, seed, _: optuna.RandomSampler(seed=seed),
    "qmc": lambda optuna, seed, whole: optuna.QMCSampler(
        seed=whole, scramble=True, independent_sampler=optuna.RandomSampler(seed=seed)
    ),
    "gp": lambda optuna, seed, _: optuna.GPSampler(seed=seed, deterministic_objective=False),
}
_WITH_SCIPY = ("qmc", "gp")
PRUNERS = ("halving", "none", "median", "hyperband", "asha")


class Rules(NamedTuple):
    """How trials are asked and judged.

    Attributes:
        sampler, pruner: keys of `SAMPLERS`, one of `PRUNERS`.
        is_minimized: lower values are better.
        seed: of the sampler, from which each trial derives its own.
        wave: trials that are asked and judged together, at least 1.
        rungs: finished epochs at which trials are judged, rising; the last one is the end of the run.
        reduction: of so many trials one goes on at a rung, at least 2.
    """

    sampler: str
    pruner: str
    is_minimized: bool
    seed: int
    wave: int
    rungs: tuple[int, ...]
    reduction: int


class Trial(NamedTuple):
    """A trial as it stands.

    Attributes:
        number: from 0.
        state: "running", "complete", "pruned" or "failed".
        suggested: what was drawn, by name.
        changes: what that makes of the control panel.
        values: of the metric, by rung.
        reason: why it failed; empty if it did not.
    """

    number: int
    state: str
    suggested: dict[str, Any]
    changes: Panel
    values: dict[int, float]
    reason: str

    @property
    def value(self) -> float | None:
        """The value of the last rung that it reached; None if there is none."""
        return self.values[max(self.values)] if self.values else None


class Halving:
    """A pruner with the interface of `optuna.pruners.BasePruner`: synchronous successive halving.

    Of the trials of a wave that reached a rung, the best `1 / reduction` go on, at least one; of equals the earlier.
    All of them must have reported there before the first is judged. Optuna's own decides as soon as a trial reports,
    by those that came before it, so that its verdicts depend on who is faster.
    Source: Jamieson and Talwalkar 2016, arXiv:1502.07943, Algorithm 1, with the reduction of Li et al. 2018,
    arXiv:1603.06560, in the place of 2.
    """

    def __init__(self, wave: int, reduction: int):
        self._wave, self._reduction = wave, reduction

    def prune(self, study: Any, trial: Any) -> bool:
        """True if a trial does not go on. Args: study, trial: Optuna's."""
        first, rung = trial.number // self._wave * self._wave, trial.last_step
        wave = study.get_trials(deepcopy=False)[first : first + self._wave]
        values = {each.number: each.intermediate_values[rung] for each in wave if rung in each.intermediate_values}
        sign = 1 if study.direction.name == "MINIMIZE" else -1
        best = sorted(values, key=lambda number: (sign * values[number], number))
        return trial.number not in best[: max(len(best) // self._reduction, 1)]


def default_rungs(epochs: int, wave: int, reduction: int) -> tuple[int, ...]:
    """Return the rungs of successive halving, with which fewer than `reduction` of a wave come to the end.

    Args:
        epochs: of a whole run.
    """
    rounds = 1
    while reduction**rounds <= wave:
        rounds += 1
    first = max(math.ceil(epochs / reduction ** (rounds - 1)), 1)
    return (*(rung for n in range(rounds - 1) if (rung := first * reduction**n) < epochs), epochs)


def require_optuna(sampler: str) -> None:
    """Refuse a sweep without the packages that it needs."""
    if not has_package("optuna") or (sampler in _WITH_SCIPY and not has_package("scipy")):
        raise UsageError("Sweeps need a package that is missing: pip install 'digideep[sweep]'.")


class Study:
    """The trials of a sweep. It knows values and verdicts, nothing of sessions.

    Args:
        rules: how trials are asked and judged.
        search: what they change.
        journal: Optuna's file; None keeps everything in memory. Nobody else writes it meanwhile.

    Raises:
        UsageError: if the journal is damaged, was written by something else, or the search is another one today.
    """

    def __init__(self, rules: Rules, search: Search, journal: Path | None = None):
        self.rules, self._search = rules, search
        if journal is not None:
            require_own(journal)
            cut_journal(journal)
        with quietly() as optuna:
            try:
                self._storage = open_storage(journal)
                self._study = self._load_or_create(optuna)
                self.trials()
            except UsageError:
                raise
            except Exception as err:
                said = one_line(f"{type(err).__name__}: {err}".rstrip(": "))
                raise UsageError(
                    f"{journal} cannot be read by Optuna {metadata.version('optuna')} ({said}). Go on with the version "
                    "that wrote it, or begin a sweep elsewhere with --name."
                ) from err
            self._study.pruner = self._make_pruner(optuna)
        self._require_same_search()

    def _load_or_create(self, optuna: Any) -> Any:
        if self._storage.get_all_studies():
            study = optuna.load_study(study_name=_NAME, storage=self._storage)
        else:
            direction = "minimize" if self.rules.is_minimized else "maximize"
            study = optuna.create_study(study_name=_NAME, storage=self._storage, direction=direction)
        return study

    def _make_pruner(self, optuna: Any) -> Any:
        rungs, pruners = self.rules.rungs, optuna.pruners
        steps = {"min_resource": rungs[0], "reduction_factor": self.rules.reduction}
        return {
            "halving": lambda: Halving(self.rules.wave, self.rules.reduction),
            "none": pruners.NopPruner,
            "median": pruners.MedianPruner,
            "hyperband": lambda: pruners.HyperbandPruner(max_resource=rungs[-1], **steps),
            "asha": lambda: pruners.SuccessiveHalvingPruner(**steps),
        }[self.rules.pruner]()

    def _require_same_search(self) -> None:
        """Refuse to go on where the search has changed: the next trials would not belong to the ones that are there."""
        for frozen, trial in zip(self._frozen(), self.trials(), strict=True):
            if _CHANGES in frozen.user_attrs and not self._finds_again(frozen, trial.changes):
                raise UsageError(
                    f"The search has changed since trial {trial.number} was asked, or draws numbers of its own: it "
                    "would find others today. Put it back as it was, or begin a sweep elsewhere with --name."
                )

    def _finds_again(self, frozen: Any, changes: Panel) -> bool:
        """True if the search makes the same of the values that a trial has drawn. Args: changes: what it made then."""
        with quietly() as optuna:
            repeated = optuna.trial.FixedTrial(frozen.params, number=frozen.number)
            try:
                found = self._search.changes(repeated)
            except UsageError:
                return False
            # As text, in which NaN is itself, and a tuple the list that JSON gives back.
            return json.dumps(found) == json.dumps(changes) and repeated.distributions == frozen.distributions

    # ------------------------------------------------------------------ asking

    def ask(self, count: int) -> None:
        """Ask for trials until there are so many. A trial for which the search fails is there, as failed."""
        asked = range(len(self.trials()), count)
        with quietly() as optuna:
            for number in asked:
                seeds = derive_seed(self.rules.seed, "trial", number), derive_seed(self.rules.seed, "sweep")
                make = SAMPLERS[self.rules.sampler]
                self._study.sampler = make(optuna.samplers, *(seed % 2**32 for seed in seeds))
                trial = self._study.ask()
                try:
                    changes = self._search.changes(trial)
                    if not self._finds_again(self._frozen()[number], changes):
                        raise UsageError(
                            f"{self._search.name} finds other values when it is asked again: it draws numbers of its "
                            "own, or of a range beyond what Optuna keeps."
                        )
                    trial.set_user_attr(_CHANGES, changes)
                    self._search.check(changes)
                except UsageError as err:
                    trial.set_user_attr(_REASON, one_line(str(err)))
                    self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        if asked:
            self._commit()

    # ------------------------------------------------------------------ judging

    def judge(self, rung: int, results: Mapping[int, float | str]) -> None:
        """Take in what trials came to at a rung, in the order of their numbers, and decide which go on.

        Args:
            rung: one of the rules'.
            results: by number, of trials that run: the value of the metric, or a line that says why there is none.
        """
        with quietly() as optuna:
            states, is_last = optuna.trial.TrialState, rung == self.rules.rungs[-1]
            reported = []
            for number, result in sorted(results.items()):
                if isinstance(result, float) and math.isfinite(result):
                    self._storage.set_trial_intermediate_value(self._id(number), rung, result)
                    reported.append(number)
                else:
                    reason = result if isinstance(result, str) else f"its value is {result}"
                    self._storage.set_trial_user_attr(self._id(number), _REASON, one_line(reason))
                    self._study.tell(number, state=states.FAIL)
            for number in reported:
                frozen = self._storage.get_trial(self._id(number))
                if is_last:
                    self._study.tell(number, frozen.intermediate_values[rung])
                elif self._study.pruner.prune(self._study, frozen):
                    self._study.tell(number, state=states.PRUNED)
        if results:
            self._commit()

    def _id(self, number: int) -> int:
        """Return the storage's own number of a trial."""
        return int(self._frozen()[number]._trial_id)

    def _commit(self) -> None:
        with quietly():
            self._study.set_user_attr(MARK, self._study.user_attrs.get(MARK, 0) + 1)

    # ------------------------------------------------------------------ looking

    def _frozen(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def trials(self) -> list[Trial]:
        """Return all trials as they stand, in their order."""
        states = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        found = []
        for frozen in self._frozen():
            notes, values = frozen.user_attrs, dict(sorted(frozen.intermediate_values.items()))
            changes, reason = dict(notes.get(_CHANGES, {})), str(notes.get(_REASON, ""))
            found.append(Trial(frozen.number, states[frozen.state.name], dict(frozen.params), changes, values, reason))
        return found

    @property
    def best(self) -> Trial | None:
        """The best trial that came to its end, of equals the first; None if there is none."""
        sign = 1 if self.rules.is_minimized else -1
        ended = [trial for trial in self.trials() if trial.state == "complete"]
        return min(ended, key=lambda trial: sign * trial.values[max(trial.values)], default=None)

    def importances(self) -> dict[str, float]:
        """Return the share of each parameter in what makes a trial one of the best, greatest first.

        The best quarter are those that got furthest, in the order of their values there. Nothing, where too few trials
        are there to say anything.
        Source: Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA), by Optuna; it looks at the order of values only.
        """
        sign = 1 if self.rules.is_minimized else -1
        values = {frozen.number: frozen.intermediate_values for frozen in self._frozen() if frozen.intermediate_values}
        order = sorted(values, key=lambda number: (-max(values[number]), sign * values[number][max(values[number])]))
        with quietly() as optuna:
            ranked = optuna.create_study(direction="minimize")
            for rank, number in enumerate(order):
                frozen = self._frozen()[number]
                ranked.add_trial(
                    optuna.trial.create_trial(
                        params=frozen.params, distributions=frozen.distributions, value=float(rank)
                    )
                )
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST)
            try:
                found = optuna.importance.get_param_importances(ranked, evaluator=evaluator)
            except (ValueError, RuntimeError):
                return {}
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}
