"""Figures of the table of `python -m benchmarks.learning`: what a row reached, beside what others published."""

from typing import NamedTuple

import numpy as np

from benchmarks.learning_plan import Published, Row
from digideep.post import comparison
from digideep.post.drawing import series_of
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError


class Figures(NamedTuple):
    """What the runs of a finished row reached.

    Attributes:
        mean, std: over seeds, of the mean return of the last test; a single seed has no deviation.
        iqm: interquartile mean of the same, lower and upper end of its 95 % interval.
        training: mean over seeds of the last 100 training episodes, with exploration.
        minutes: of training, mean over seeds.
    """

    mean: float
    std: float | None
    iqm: tuple[float, float, float]
    training: float
    minutes: float


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
    std = float(np.std(found.values, ddof=1)) if len(found.values) > 1 else None
    return Figures(found.mean[0], std, found.iqm, float(np.mean(training)), float(np.mean(minutes)))


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
