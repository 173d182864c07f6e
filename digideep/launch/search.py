"""What a sweep searches: `search(trial, cpanel)` of a parameter file, or a JSON object of ranges and choices.

Both become one function, which asks a trial of Optuna's for values and says what they change of the control panel.
"""

import copy
import json
import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from digideep.launch.plan import Run, make_tree
from digideep.parameters.checks import require_between, shown
from digideep.parameters.control_panel import Panel, load_params, override_panel
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.tree import like, to_plain
from digideep.utility.errors import UsageError
from digideep.utility.files import is_finite
from digideep.utility.user_code import alone, place, words_unless_ours

Suggest = Callable[[Any, Panel], Any]  # a trial of Optuna's, and the control panel, which it changes

_SEEN = ("number", "params", "distributions")
_RANGE, _CHOICES = ("low", "high", "log", "step"), ("choices",)


class Suggestions:
    """What a search sees of a trial of Optuna's: it may draw values, and look at those that it has drawn.

    All else would end a trial, or note what a sweep notes itself.

    Args:
        trial: Optuna's, or one that plays its part.
    """

    def __init__(self, trial: Any):
        self._trial = trial

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("suggest_") and name not in _SEEN:
            raise AttributeError(f"a search draws values (trial.suggest_float, …), and has no trial.{name}")
        return getattr(self._trial, name)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Draw one of some choices. Raises: TypeError: for one that a journal of Optuna's would not give back."""
        for choice in choices:
            if not isinstance(choice, (str, int, float, NoneType)):
                raise TypeError(
                    f"choices of '{name}' must be null, true, false, numbers or words, got {shown(choice)}: draw "
                    "the name or the place of another value"
                )
        return self._trial.suggest_categorical(name, choices)


class Search:
    """Makes runs of trials.

    Args:
        template: what all trials share.
        ranges: from a JSON file; None takes `search(trial, cpanel)` of the parameter file.

    Raises:
        UsageError: if there is no such function, or a range or choice is none that the parameters take.
    """

    def __init__(self, template: Run, ranges: dict[str, Any] | None):
        self._template, module = template, load_params(template.params)
        self._panel = override_panel(module.cpanel, template.cpanel)
        if ranges is not None:
            self._suggest, self.name = suggest_from(ranges, self._panel), "--search"
            self._try_ends(ranges)
            return
        suggest = getattr(module, "search", None)
        if not callable(suggest):
            raise UsageError(
                f"{template.params} has no function 'search(trial, cpanel)'. Write one, or give --search FILE.json "
                'with ranges such as {"lr": {"low": 1e-4, "high": 1e-2, "log": true}}.'
            )
        self._suggest, self.name = suggest, f"search() of {template.params}"

    def _try_ends(self, ranges: dict[str, Any]) -> None:
        for key, value in ((key, value) for key, entry in ranges.items() for value in _ends(entry)):
            try:
                make_tree(self.run({key: value}))
            except UsageError as err:
                raise UsageError(f"--search '{key}' with {shown(value)}: {err}") from err

    def changes(self, trial: Any) -> Panel:
        """Return the values of the panel that a trial changes. Args: trial: of Optuna's, or one that plays its part.

        Raises:
            UsageError: if the search fails, or finds what is no value of a control panel.
        """
        panel, changed, name = self._panel, copy.deepcopy(self._panel), self.name
        try:
            with alone():
                returned = self._suggest(Suggestions(trial), changed)
        except BaseException as err:
            where = "" if isinstance(err, SystemExit) else place(err)
            raise UsageError(f"{name} fails: {words_unless_ours(err)}{where}.") from err
        if returned is not None and returned is not changed:
            raise UsageError(
                f"{name} must change the panel that it is given, and return nothing, got {shown(returned)}."
            )
        found: Panel = to_plain(
            {key: value for key, value in changed.items() if key not in panel or value != panel[key]}, name
        )
        if "seed" in found or not changed.keys() >= panel.keys():
            what = "change 'seed', which --seeds gives" if "seed" in found else "take keys away"
            raise UsageError(f"{name} must not {what}.")
        return found

    def check(self, changes: Panel) -> None:
        """Refuse a trial that no session could begin with. Args: changes: from `changes`. Raises: UsageError."""
        try:
            make_tree(self.run(changes))
        except UsageError as err:
            raise UsageError(f"{self.name}: {str(err).replace('--cpanel', 'the control panel')}") from err

    def run(self, changes: Panel, seed: int | None = None) -> Run:
        """Return a run of a trial. Args: changes: from `changes`; seed: None takes that of the panel."""
        cpanel, repeal = {**self._template.cpanel, **changes}, self._template.repeal
        if seed is not None and "seed" in self._panel:
            cpanel["seed"] = seed
        elif seed is not None:
            repeal = {**repeal, "/runner/seed": seed}
        return self._template._replace(cpanel=cpanel, repeal=repeal)


def suggest_from(ranges: dict[str, Any], panel: Panel) -> Suggest:
    """Return the search that a JSON object describes.

    Args:
        ranges: by key of the panel: {"low": 1e-4, "high": 1e-2}, with "log": true or a "step" if wanted; or
            {"choices": [...]} of anything. Both ends are whole numbers where the values are to be.
        panel: the control panel, whose values say the types.

    Raises:
        UsageError: for anything else.
    """
    if not ranges:
        raise UsageError("--search is empty. Give at least one key of the control panel.")
    for key, entry in ranges.items():
        _check(key, entry)
        for value in _ends(entry) if key in panel else ():
            like(f"--search '{key}'", value, panel[key])

    def suggest(trial: Any, cpanel: Panel) -> None:
        for key, entry in ranges.items():
            cpanel[key] = _suggest_one(trial, key, entry, is_float=isinstance(panel.get(key), float))

    return suggest


def _suggest_one(trial: Any, key: str, entry: dict[str, Any], *, is_float: bool) -> Any:
    if "choices" in entry:  # as text, since Optuna keeps no lists
        return json.loads(trial.suggest_categorical(key, [json.dumps(choice) for choice in entry["choices"]]))
    low, high, log, step = (entry.get(name) for name in _RANGE)
    if is_float or not (isinstance(low, int) and isinstance(high, int)):
        return trial.suggest_float(key, float(low), float(high), log=bool(log), step=step)  # type: ignore[arg-type]
    return trial.suggest_int(key, low, high, log=bool(log), step=step or 1)


def _check(key: str, entry: Any) -> None:
    """Refuse what is no range and no choice."""
    name = f"--search '{key}'"
    expected = 'an object with "low" and "high", or with "choices"'
    if not isinstance(entry, dict) or not ("choices" in entry or {"low", "high"} <= entry.keys()):
        raise UsageError(f"{name} must be {expected}, got {shown(entry)}.")
    known = _CHOICES if "choices" in entry else _RANGE
    for word in entry:
        if word not in known:
            raise UsageError(f"{name} has the unknown word '{word}'. {did_you_mean(word, known)}")
    if "choices" in entry:
        choices = entry["choices"]
        texts = [json.dumps(choice) for choice in choices] if isinstance(choices, list) else []
        if len(set(texts)) < 2 or len(set(texts)) < len(texts):
            raise UsageError(f"{name}: choices must be a list of at least two different values, got {shown(choices)}.")
        return
    low, high, log, step = (entry.get(word) for word in _RANGE)
    if not (is_finite(low) and is_finite(high) and low < high):  # type: ignore[operator]
        raise UsageError(f"{name}: low and high must be numbers, low the smaller, got {shown(low)} and {shown(high)}.")
    if not isinstance(log, (bool, type(None))):
        raise UsageError(f"{name}: log must be true or false, got {shown(log)}.")
    if log and (low <= 0 or step is not None):  # type: ignore[operator]
        what = "has no step" if step is not None else f"needs a low above 0, got {shown(low)}"
        raise UsageError(f"{name}: what is drawn on a scale of logarithms {what}.")
    if step is not None:
        require_between(f"{name}: step", step)
        is_whole = isinstance(low, int) and isinstance(high, int)
        if step == 0 or (is_whole and not isinstance(step, int)):
            expected = "a whole number above 0, as low and high are" if is_whole else "a number above 0"
            raise UsageError(f"{name}: step must be {expected}, got {shown(step)}.")
        width = high - low  # type: ignore[operator]
        if step > width and not math.isclose(step, width):
            raise UsageError(f"{name}: step must be at most {width:g}, from low to high, got {shown(step)}.")


def _ends(entry: dict[str, Any]) -> list[Any]:
    """Return the values to try before anything starts: all choices, or both ends of a range."""
    return list(entry["choices"]) if "choices" in entry else [entry["low"], entry["high"]]
