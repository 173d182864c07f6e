"""Windows of one's own in visdom: a Runner hands them values, and they are drawn where `--visdom` is on.

What is drawn goes to `visdom.log` of the session first: a resumed run shows it as if it had not stopped.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from digideep.telemetry.logbook import Logbook
from digideep.utility.errors import UsageError


class MovingAverage:
    """Statistics of the newest values. Args: window_size: how many count.

    Attributes:
        data: the values, oldest first.
    """

    def __init__(self, window_size: int):
        if not isinstance(window_size, int) or window_size < 1:
            raise UsageError(f"window_size must be an integer of at least 1, got {window_size!r}.")
        self.data: deque[float] = deque(maxlen=window_size)

    def append(self, value: float) -> None:
        """Take in a value."""
        self.data.append(float(value))

    def of(self, function: Callable[[Any], Any]) -> float:
        """Return what a function such as `np.mean` says of the values; NaN if there are none."""
        return float(function(self.data)) if self.data else math.nan

    @property
    def newest(self) -> float:
        """The newest value."""
        return self.data[-1] if self.data else math.nan

    @property
    def mean(self) -> float:
        """The mean."""
        return self.of(np.mean)

    @property
    def std(self) -> float:
        """The standard deviation, of all values and not of a sample."""
        return self.of(np.std)

    @property
    def median(self) -> float:
        """The median."""
        return self.of(np.median)

    @property
    def min(self) -> float:
        """The least."""
        return self.of(min)

    @property
    def max(self) -> float:
        """The greatest."""
        return self.of(max)


# What a series can draw, and the lines that it is drawn by.
_MODES: dict[str, Callable[[MovingAverage], tuple[float, ...]]] = {
    "main": lambda window: (window.newest,),
    "mean": lambda window: (window.mean,),
    "median": lambda window: (window.median,),
    "min": lambda window: (window.min,),
    "max": lambda window: (window.max,),
    "2sigma": lambda window: _around(window, 1),
    "4sigma": lambda window: _around(window, 2),
    "6sigma": lambda window: _around(window, 3),
}


def _around(window: MovingAverage, deviations: int) -> tuple[float, float]:
    return window.mean - deviations * window.std, window.mean + deviations * window.std


class Plotter:
    """Draws a window of lines over frames, or over whatever is counted.

    Args:
        logbook: of the session, `self.session.logbook` in a Runner.
        window: its name and title.
        series: of each value by name, what is drawn: "main" (the newest), "mean", "median", "min", "max", or a band
            around the mean, "2sigma", "4sigma" or "6sigma" wide. Statistics are those of the newest values.
        window_size: how many values these are.
        options: visdom's `opts` of the window, such as {"xlabel": "episodes"}.
    """

    def __init__(
        self, logbook: Logbook, window: str, series: dict[str, list[str]], *, window_size: int = 10,
        options: dict[str, Any] | None = None,
    ):  # fmt: skip
        for mode in (mode for modes in series.values() for mode in modes):
            if mode not in _MODES:
                raise UsageError(f"series of {window} must be of {', '.join(_MODES)}, got {mode!r}.")
        self._logbook, self._window, self._series, self._options = logbook, window, series, options or {}
        self._averages = {name: MovingAverage(window_size) for name in series}
        self._names = [name for name, _ in self._lines()]

    def _lines(self) -> list[tuple[str, float]]:
        """Return each line's name and its newest point."""
        lines: list[tuple[str, float]] = []
        for name, modes in self._series.items():
            for mode in modes:
                points = _MODES[mode](self._averages[name])
                label = name if mode == "main" else f"{name}, {mode}"
                labels = [label] if len(points) == 1 else [f"{label} below", f"{label} above"]
                lines += zip(labels, points, strict=True)
        return lines

    def append(self, x: float, **values: float) -> None:
        """Take in a value of each series, and draw a point. Args: x: where."""
        if set(values) != set(self._series):
            raise UsageError(f"values for {self._window} must be {[*self._series]}, got {[*values]}.")
        for name, value in values.items():
            self._averages[name].append(value)
        points = [point for _, point in self._lines()]
        self._logbook.tell_visdom(
            lambda visdom: visdom.draw_lines(self._window, self._names, [x], [points], self._options)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the values that the statistics are made of."""
        return {name: np.array(average.data) for name, average in self._averages.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        for name, average in self._averages.items():
            average.data.clear()
            average.data.extend(state[name].tolist())


class VisdomWindow:
    """One window, drawn by any command of visdom's client, such as `image`, `histogram` or `text`.

    Args:
        logbook: of the session.
        command: of visdom.Visdom.
        window: its name and title.
        options: further arguments of the command that stay the same.
    """

    def __init__(self, logbook: Logbook, command: str, window: str, **options: Any):
        self._logbook, self._command, self._window = logbook, command, window
        self._options = {"opts": {"title": window}, **options}

    def __call__(self, *args: Any, **options: Any) -> None:
        """Draw. Args: as of the command; `win` is known."""
        given = {**self._options, **options}
        self._logbook.tell_visdom(
            lambda visdom: getattr(visdom.client, self._command)(*args, win=self._window, **given)
        )
