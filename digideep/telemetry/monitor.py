"""The Monitor: statistics of named values, written to `varlog.json` as JSON lines."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from digideep.utility.files import append_json

Pack = dict[str, Any]  # {"meta": {"epoch", "frame", "episode", "clock"}, "data": {key: figures of a Statistic}}


class Statistic:
    """Count, sum, extremes and spread of a stream of numbers (Welford 1962)."""

    def __init__(self) -> None:
        self.num, self.sum, self.mean, self.m2 = 0, 0.0, 0.0, 0.0
        self.min, self.max = math.inf, -math.inf

    def add(self, value: float) -> None:
        """Take in one number."""
        self.num += 1
        self.sum += value
        delta = value - self.mean
        self.mean += delta / self.num
        self.m2 += delta * (value - self.mean)
        self.min, self.max = min(self.min, value), max(self.max, value)

    def merge(self, other: Mapping[str, float]) -> None:
        """Take in the numbers of another statistic (Chan, Golub, LeVeque 1979). Args: other: its `state_dict`."""
        num, delta = int(other["num"]), other["mean"] - self.mean
        total = self.num + num
        self.m2 += other["m2"] + delta * delta * (self.num * num / max(total, 1))
        self.mean += delta * (num / max(total, 1))
        self.num, self.sum = total, self.sum + other["sum"]
        self.min, self.max = min(self.min, other["min"]), max(self.max, other["max"])

    def summary(self) -> dict[str, float]:
        """Return the figures of a `varlog.json` entry; `std` is the sample's, 0 for a single value."""
        std = math.sqrt(self.m2 / (self.num - 1)) if self.num > 1 else 0.0
        return {"std": std, "num": self.num, "min": self.min, "max": self.max, "sum": self.sum}

    def state_dict(self) -> dict[str, float]:
        """Return all that `load_state_dict` needs."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue where `state_dict` left off. Raises: ValueError: if that is another state."""
        if state.keys() != vars(self).keys() or not all(isinstance(value, (int, float)) for value in state.values()):
            raise ValueError(f"The figures of a statistic are {state!r:.200}, expected numbers for {list(vars(self))}.")
        vars(self).update(state)


class Monitor:
    """Collects values under path-like keys and writes their statistics.

    A key without a window is summed up over everything since the last `dump`. A key with `window=n` is packed as soon
    as n values have come, into a line of its own; what is left of a window stays open over dumps.

    Attributes:
        moment: tells "epoch", "frame" and "episode" of now: the meta of each pack that is made.
    """

    def __init__(self) -> None:
        self.moment: Callable[[], dict[str, int]] = dict
        self._open: dict[str, Statistic] = {}
        self._windows: dict[str, int | None] = {}
        self._packs: list[Pack] = []

    def __call__(self, key: str, value: float, window: int | None = None) -> None:
        """Add one value. Raises: ValueError: if a key comes with another window than before."""
        if self._windows.setdefault(key, window) != window:
            raise ValueError(f"The window of '{key}' was {self._windows[key]}, got {window}. Keep one window per key.")
        statistic = self._open.get(key)
        if statistic is None:
            statistic = self._open[key] = Statistic()
        statistic.add(value)
        if window is not None and statistic.num >= window:
            self._packs.append(self._pack({key: self._open.pop(key).summary()}))

    def record(self, prefix: str, values: Mapping[str, float]) -> None:
        """Add several values under one prefix, such as the metrics of an update."""
        for name, value in values.items():
            self(f"{prefix}/{name}", value)

    def give(self) -> dict[str, Any]:
        """Return what is collected, for another monitor to `take`, and forget it."""
        given, self._open, self._packs = self.state_dict(), {}, []
        return given

    def take(self, given: Mapping[str, Any]) -> None:
        """Take in what another monitor gives."""
        for key, figures in given["open"].items():
            self._windows.setdefault(key, given["windows"][key])
            self._open.setdefault(key, Statistic()).merge(figures)
        self._packs += given["packs"]

    def _pack(self, data: dict[str, dict[str, float]]) -> Pack:
        return {"meta": {**self.moment(), "clock": time.time()}, "data": data}

    def dump(self, path: Path | None) -> list[Pack]:
        """Write one JSON line per pack and forget the packs.

        Returns:
            The packs: full windows first, each under the meta of its moment, then all keys without a window.
        """
        closed = {key: self._open.pop(key).summary() for key in list(self._open) if self._windows[key] is None}
        packs = [*self._packs, *([self._pack(closed)] if closed else [])]
        append_json(path, packs)
        self._packs = []
        return packs

    def state_dict(self) -> dict[str, Any]:
        """Return what is collected and not yet written."""
        return {
            "open": {key: statistic.state_dict() for key, statistic in self._open.items()},
            "windows": dict(self._windows),
            "packs": list(self._packs),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off. Raises: ValueError: if that is another state."""
        self._open = {}
        for key, figures in state["open"].items():
            self._open[key] = Statistic()
            self._open[key].load_state_dict(figures)
        windows, packs = state["windows"], state["packs"]
        if not all(window is None or (isinstance(window, int) and window > 0) for window in windows.values()):
            raise ValueError(f"A window is a number of values, got {windows!r:.200}.")
        if not all(isinstance(pack, dict) and pack.keys() == {"meta", "data"} for pack in packs):
            raise ValueError(f"A pack has meta and data, got {packs!r:.200}.")
        self._windows, self._packs = dict(windows), list(packs)
