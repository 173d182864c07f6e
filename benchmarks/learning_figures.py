"""What rows of `python -m benchmarks.learning` reached, beside what others published, and the files that keep it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.learning_plan import Published, Row
from benchmarks.measuring import machine
from digideep.parameters.control_panel import load_params, override_panel
from digideep.post import comparison
from digideep.post.drawing import WINDOW, align, series_of
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError

_POINTS = 150  # of a curve: small files
_DIGITS = 5


class Figures(NamedTuple):
    """What the runs of a finished row reached.

    Attributes:
        returns: of each seed, the mean return of its last test.
        iqm: their interquartile mean, lower and upper end of its 95 % interval.
        training: of each seed, the mean return of its last 100 training episodes, with exploration.
        minutes: of training, of each seed.
        curve: frames, and what training episodes of each seed returned there, smoothed.
        machine: that it was made on.
    """

    returns: list[float]
    iqm: list[float]
    training: list[float]
    minutes: list[float]
    curve: tuple[list[float], list[list[float]]]
    machine: str

    @property
    def std(self) -> float | None:
        """Standard deviation of the returns over seeds; a single seed has none."""
        return float(np.std(self.returns, ddof=1)) if len(self.returns) > 1 else None


def measure(loaders: list[Loader]) -> Figures:
    """Return what finished runs reached. Raises: UsageError: if one was not tested, or is damaged."""
    found = comparison.score(comparison.Group("", loaders))
    try:
        training = [loader.varlog.mean("/return/recent")[-1] for loader in loaders]
    except KeyError as err:
        raise UsageError(f"{err.args[0]} No training episode has ended.") from err
    if found is None or found.measure != "test":
        raise UsageError("A run was not tested.")
    minutes = [series_of(loader, "varlog", "/speed/frames_per_s", "time")[0][-1] for loader in loaders]
    places, curves = align([series_of(each, "varlog", "/return/train", "frame") for each in loaders], WINDOW, _POINTS)
    curve = _rounded(places), [_rounded(each) for each in curves]
    return Figures(found.values, list(found.iqm), _rounded(training), _rounded(minutes), curve, machine())


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]


def keep(row: Row, figures: Figures, directory: Path) -> None:
    """Write what a row reached, and with which panel, to a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {"recipe": row.recipe, "panel": _panel(row), **figures._asdict()}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    (directory / f"{row.name}.json").write_text(f"{{\n{lines}\n}}\n")


def recall(row: Row, directory: Path) -> Figures | None:
    """Return what a row reached when it was kept; None if it was not, with as many seeds.

    Raises:
        UsageError: if the recipe, or the plan, has other values now, or the file is damaged.
    """
    path = directory / f"{row.name}.json"
    try:
        kept = json.loads(path.read_text())
        figures = Figures(**{name: kept[name] for name in Figures._fields})
        was = {"recipe": kept["recipe"], **kept["panel"]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UsageError(f"{path.name} is damaged ({err}): delete it, and train the row again.") from err
    if len(figures.returns) != row.seeds:
        return None
    # A key that is newer than the file does by default what was done without it.
    now = {"recipe": row.recipe, **_panel(row)}
    changed = [f"{key} is {now[key]}, was {was[key]}" for key in was if key in now and now[key] != was[key]]
    if changed:
        raise UsageError(f"made by other parameters: {changed[0]}")
    return figures


def _panel(row: Row) -> Mapping[str, Any]:
    """Return the whole control panel of a row's runs, as JSON has it."""
    panel = override_panel(load_params(row.recipe).cpanel, {**row.cpanel, "total_frames": row.frames})
    found: dict[str, Any] = json.loads(json.dumps(panel))
    return found


def verdict(mean: float, other: Published | None) -> str:
    """Return if a mean of ours reaches what others published; empty where they did not."""
    if other is None:
        return ""
    return "yes" if mean >= other.least else f"short by {number(other.least - mean)}"


def published(other: Published | None) -> str:
    """Return the cell that says what others reached."""
    if other is None:
        return "none"
    return f"{number(other.mean)}{f' ± {number(other.std)}' if other.std is not None else ''} ({other.source})"


def seeds(row: Row) -> str:
    """Return which seeds a row has."""
    return f"0 to {row.seeds - 1}" if row.seeds > 1 else "0"


def number(value: float) -> str:
    """Return a return as the table has it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"
