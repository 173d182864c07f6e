"""Curves of groups of sessions, for the pictures of a report: what is drawn of each key, on each x-axis."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from digideep.post.comparison import Group
from digideep.post.drawing import align, series_of
from digideep.utility.errors import UsageError

AXES = {"frame": "frames", "time": "minutes of training", "episode": "episodes"}  # fields, see `series_of`
Members = list[tuple[int, Group]]  # groups with their numbers, which decide their colours


class Line(NamedTuple):
    """The runs of a group in a picture, or one of them, if they have no part of the x-axis in common.

    Attributes:
        group: its number.
        curves: by field of the x-axis: the places, float64 (P,), and the value of each run there, float64 (runs, P).
    """

    group: int
    curves: dict[str, tuple[np.ndarray, np.ndarray]]


class Chart(NamedTuple):
    """A picture of one key.

    Attributes:
        key: such as "/return/train".
        title: in words, or as it was named by who monitors it.
        environment: name of the environment.
        window: epochs of the moving average; 1 for values as they were measured.
        lines: one for each group that has the key.
    """

    key: str
    title: str
    environment: str
    window: int
    lines: list[Line]

    @property
    def constant(self) -> float | None:
        """The only value that all runs have everywhere; None if there are several."""
        values = [rows for line in self.lines for _, rows in line.curves.values()]
        first = float(values[0][0, 0])
        return first if all((rows == first).all() for rows in values) else None


def environments(groups: list[Group]) -> dict[str, Members]:
    """Return the groups by environment: returns of different ones do not compare."""
    found: dict[str, Members] = {}
    for index, group in enumerate(groups):
        found.setdefault(group.loaders[0].params["env"]["name"], []).append((index, group))
    return found


def keys_of(members: Members) -> list[str]:
    """Return all keys that any run monitored, in the order in which they were first."""
    return list(dict.fromkeys(key for _, group in members for loader in group.loaders for key in loader.varlog))


def make_charts(keys: Iterable[str], members: Members, window: int, most: int) -> list[Chart]:
    """Return a picture for each key that has something to draw.

    Args:
        members: groups of one environment.
        window: epochs of the moving average of what training episodes say; all else is drawn as it was measured.
        most: points of a curve at most.
    """
    keys, charts = list(keys), []
    environment = members[0][1].loaders[0].params["env"]["name"]
    for key in keys:
        width = window if "train" in key.split("/") else 1
        lines = [line for index, group in members for line in _lines(index, group, key, width, most)]
        if lines:
            charts.append(Chart(key, _title(key, keys), environment, width, lines))
    return charts


def _lines(index: int, group: Group, key: str, window: int, most: int) -> list[Line]:
    """Return the runs of a group as one line, or as one each."""
    found = {}
    for field in AXES:
        series = []
        for loader in group.loaders:
            with contextlib.suppress(UsageError):  # this run has nothing to draw there
                series.append(series_of(loader, "varlog", key, field))
        try:
            found[field] = [align(series, window, most)] if series else []
        except UsageError:
            found[field] = [align([one], window, most) for one in series]
    count = max(map(len, found.values()))
    return [
        Line(index, {field: curves[place] for field, curves in found.items() if place < len(curves)})
        for place in range(count)
    ]


_MODES = {"train": "training", "test": "tests"}


def _title(key: str, keys: list[str]) -> str:
    """Return the title of a key's picture: in words where it is one of digideep's own."""
    kind, *rest = key.strip("/").split("/")
    mode = _MODES.get(rest[0]) if rest else None
    if kind == "return" and mode:
        return " ".join([rest[0], "return", *(f"of {player}" for player in rest[1:])])
    if kind == "success" and mode:
        return ", ".join(["success rate", mode, *rest[1:]])
    if kind == "length" and mode:
        return f"episode length, {mode}"
    if kind == "info" and mode and len(rest) > 1:
        return f"{'/'.join(rest[1:])}, {mode}"
    if key == "/speed/frames_per_s":
        return "frames/s"
    short = key.rpartition("/")[2]
    is_alone = sum(other.rpartition("/")[2] == short for other in keys) == 1
    return short if kind == "update" and is_alone else key.removeprefix("/")
