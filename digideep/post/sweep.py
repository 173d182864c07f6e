"""What a report says of a sweep: its trials, what was best when, and which parameters mattered.

It reads `trials.json`, which a sweep writes beside its sessions, and needs nothing of Optuna.
"""

import html
import math
import os
from pathlib import Path
from typing import Any

from digideep.post.drawing import COLOURS, plain_label
from digideep.post.report_plots import Pictures, section, table
from digideep.utility.errors import SessionError
from digideep.utility.files import is_finite, read_json
from digideep.utility.text import printable

TRIALS = "trials.json"
_STATES = {"complete": COLOURS[0], "pruned": "#9a9a9a", "running": COLOURS[1], "failed": COLOURS[3]}
_WIDE = 30.0  # greatest by least value of a parameter, from which on its axis is logarithmic
_LONGEST = 60  # letters of a value


def read_sweep(directory: Path) -> dict[str, Any] | None:
    """Return what `trials.json` of a directory says; None if there is none. Raises: SessionError: if it is broken."""
    file = directory / TRIALS
    if not os.path.lexists(file):
        return None
    found: dict[str, Any] = read_json(file, dict)
    if not _is_sweep(found):
        raise SessionError(f"{printable(str(file))} is not what a sweep of this version writes.")
    return found


def _is_sweep(found: dict[str, Any]) -> bool:
    trials, shares = found.get("trials"), found.get("importances")
    return (
        found.get("version") == 1
        and all(isinstance(found.get(name), str) for name in ("metric", "direction", "sampler", "pruner"))
        and isinstance(shares, dict)
        and all(is_finite(share) for share in shares.values())
        and isinstance(trials, list)
        and all(map(_is_trial, trials))
    )


def _is_trial(trial: Any) -> bool:
    return (
        isinstance(trial, dict)
        and isinstance(trial.get("number"), int)
        and trial.get("state") in _STATES
        and isinstance(trial.get("reason"), str)
        and isinstance(trial.get("suggested"), dict)
        and isinstance(values := trial.get("values"), dict)
        and all(rung.isdecimal() and len(rung) < 18 and is_finite(value) for rung, value in values.items())
    )


def sweep_part(name: str, sweep: dict[str, Any], pictures: Pictures) -> str:
    """Draw and list the trials of a sweep. Args: name: of its directory; sweep: from `read_sweep`."""
    trials, metric = sweep["trials"], plain_label(sweep["metric"])
    sign = 1 if sweep["direction"] == "minimize" else -1
    words = f"{name}: {sweep['direction']} {sweep['metric']}, sampler {sweep['sampler']}, pruner {sweep['pruner']}. "
    words = html.escape(printable(f"{words}A value is that of the last rung that a trial reached."))
    places = pictures.add(_history(trials, metric, sign), "large") + pictures.add(_rungs(trials, metric), "large")
    shares = sweep["importances"]
    content = f'<p class="note">{words}</p><div class="pictures">{places}</div>'
    if shares:
        content += pictures.add(_importances(shares), "wide")
        content += (
            '<p class="note">Importance: the share of each parameter in what makes a trial one of the best quarter '
        )
        content += "(PED-ANOVA, Watanabe et al. 2023). Few trials make it vague.</p>"
    parameters = list(dict.fromkeys(key for trial in trials for key in trial["suggested"]))
    shown = [key for key in parameters if any(trial["values"] and key in trial["suggested"] for trial in trials)]
    slices = "".join(pictures.add(_slice(trials, metric, key), "small") for key in shown)
    content += f'<div class="pictures">{slices}</div>' if slices else ""
    return section("Sweep", content + _list(trials, sweep["best"], sweep["metric"], sign, parameters))


def _list(trials: list[dict[str, Any]], best: Any, metric: str, sign: int, parameters: list[str]) -> str:
    """List the trials: first those that came to their end, best first, then the others. Args: best: its number."""

    def rank(trial: dict[str, Any]) -> tuple[bool, float]:
        return trial["state"] != "complete", sign * _value(trial) if trial["values"] else math.inf

    rows, has_failed = [], any(trial["reason"] for trial in trials)
    for trial in sorted(trials, key=rank):
        values = [_shown(trial["suggested"].get(key, "-")) for key in parameters]
        state = "best" if trial["number"] == best else trial["state"]
        reached = (_value(trial), max(map(int, trial["values"]))) if trial["values"] else ("-", "-")
        rows.append((trial["number"], state, *reached, *values, *([trial["reason"]] if has_failed else [])))
    return table(("trial", "state", metric, "epochs", *parameters, *(["why it failed"] if has_failed else [])), rows)


def _value(trial: dict[str, Any]) -> float:
    return float(trial["values"][max(trial["values"], key=int)])


def _shown(value: Any) -> str:
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _points(trials: list[dict[str, Any]], places: list[Any]) -> dict[str, Any]:
    """Return a trace of a mark for each trial."""
    return {
        "x": places, "y": [_value(trial) for trial in trials], "mode": "markers", "hoverinfo": "text",
        "marker": {"size": 8, "color": [_STATES[trial["state"]] for trial in trials]},
        "text": [f"trial {trial['number']}, {trial['state']}: {_value(trial):,.5g}" for trial in trials],
    }  # fmt: skip


def _history(trials: list[dict[str, Any]], metric: str, sign: int) -> dict[str, Any]:
    """Draw the value of each trial, and the best so far of those that came to their end."""
    shown = [trial for trial in trials if trial["values"]]
    best: list[tuple[int, float]] = []
    for trial in shown:
        if trial["state"] == "complete" and (not best or sign * _value(trial) < sign * best[-1][1]):
            best.append((trial["number"], _value(trial)))
    if best:
        best.append((trials[-1]["number"], best[-1][1]))
    line = {"x": [place for place, _ in best], "y": [value for _, value in best], "mode": "lines", "hoverinfo": "skip",
            "line": {"shape": "hv", "color": _STATES["complete"], "width": 1.5}}  # fmt: skip
    note = "the line: the best so far of those that came to their end; grey: pruned"
    layout = {"title": {"text": "trials", "subtitle": {"text": note}}, "xaxis": {"title": {"text": "trial"}},
              "yaxis": {"title": {"text": metric}}}  # fmt: skip
    return {"traces": [line, _points(shown, [trial["number"] for trial in shown])], "layout": layout}


def _rungs(trials: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Draw what each trial came to at the rungs."""
    traces = []
    for trial in (trial for trial in trials if trial["values"]):
        rungs, colour = sorted(map(int, trial["values"])), _STATES[trial["state"]]
        values = [trial["values"][str(rung)] for rung in rungs]
        pairs = zip(rungs, values, strict=True)
        text = [f"trial {trial['number']}, epoch {rung}: {value:,.5g}" for rung, value in pairs]
        shown = {"mode": "lines+markers", "hoverinfo": "text", "text": text}
        style = {"line": {"color": colour, "width": 1.3}, "marker": {"size": 5, "color": colour}}
        traces.append({"x": rungs, "y": values, **shown, **style})
    layout = {
        "title": {"text": "rungs", "subtitle": {"text": "values at the epochs at which trials were judged"}},
        "xaxis": {"title": {"text": "epochs"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": metric}},
    }  # fmt: skip
    return {"traces": traces, "layout": layout}


def _importances(shares: dict[str, float]) -> dict[str, Any]:
    names = sorted(shares, key=lambda name: -shares[name])
    bar = {"type": "bar", "orientation": "h", "x": [shares[name] for name in names], "y": list(range(len(names))),
           "text": [f"{100 * shares[name]:.0f} %" for name in names], "textposition": "auto", "hoverinfo": "skip",
           "marker": {"color": COLOURS[0]}, "width": 0.6}  # fmt: skip
    axis = {"tickvals": bar["y"], "ticktext": [plain_label(name) for name in names], "automargin": True,
            "range": [len(names) - 0.5, -0.5], "fixedrange": True, "showgrid": False}  # fmt: skip
    layout = {"title": {"text": "importance of the parameters"}, "height": 110 + 30 * len(names), "yaxis": axis,
              "xaxis": {"tickformat": ".0%", "rangemode": "tozero"}}  # fmt: skip
    return {"traces": [bar], "layout": layout}


def _slice(trials: list[dict[str, Any]], metric: str, key: str) -> dict[str, Any]:
    """Draw the values of the trials over one of the parameters."""
    shown = [trial for trial in trials if trial["values"] and key in trial["suggested"]]
    places = [trial["suggested"][key] for trial in shown]
    axis: dict[str, Any] = {"title": {"text": plain_label(key)}}
    if not all(map(is_finite, places)):
        places = [plain_label(_shown(place)) for place in places]
        axis |= {"type": "category", "categoryorder": "array", "categoryarray": sorted(set(places), key=_in_order)}
    elif min(places) > 0 and max(places) / min(places) > _WIDE:
        axis |= {"type": "log", "dtick": 1, "exponentformat": "e"}
    layout = {"title": {"text": plain_label(key)}, "xaxis": axis, "yaxis": {"title": {"text": metric}}}
    return {"traces": [_points(shown, places)], "layout": layout}


def _in_order(text: str) -> tuple[float, str]:
    """Return what puts numbers in their order, and words after them."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text
