"""Show how the runs of a group are: a live table on a terminal, elsewhere a line whenever a run changes."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from digideep.launch.launcher import ELSEWHERE, FAILED, FINISHED, RUNNING, STOPPED_EARLY, WAITING, RunState
from digideep.launch.progress import Progress, read_progress
from digideep.telemetry.console import duration
from digideep.utility.text import printable

_REFRESH_S = 1.0
_NAME = 26  # letters at most; with the other columns 80
_COLOURS = {
    RUNNING: "green",
    FINISHED: "cyan",
    STOPPED_EARLY: "yellow",
    FAILED: "red",
    ELSEWHERE: "yellow",
    WAITING: "dim",
}
_LEAST_ROWS, _OTHER_LINES = 3, 4  # of a low terminal; besides the rows


class RunTable:
    """Shows runs.

    Args:
        runs: whose states are shown as they change.
        console: where to; one that is no terminal gets lines only.
        is_quiet: show failures and nothing else.
    """

    def __init__(self, runs: Sequence[RunState], console: Console, *, is_quiet: bool = False):
        self._runs, self._console, self._is_quiet = runs, console, is_quiet
        self._told = [WAITING if run.state == ELSEWHERE else run.state for run in runs]
        self._figures: dict[int, tuple[str, Progress]] = {}  # by number: the state in which they were read
        self._drawn, self._began = 0.0, time.monotonic()
        self._live: Live | None = None
        if console.is_terminal and not is_quiet:
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()

    def update(self) -> None:
        """Tell what has changed, and draw the table anew if it is time."""
        for number, run in enumerate(self._runs):
            if run.state != self._told[number]:
                self._told[number] = run.state
                if run.state == FAILED or not (self._live is not None or self._is_quiet):
                    self._say(number)
        if self._live is not None and time.monotonic() - self._drawn >= _REFRESH_S:
            self._drawn = time.monotonic()
            rows = max(self._console.height - _OTHER_LINES, _LEAST_ROWS)
            self._live.update(Group(self._picture(rows), Text(self.summary())), refresh=True)

    def _say(self, number: int) -> None:
        run, figures = self._runs[number], self.figures(number)
        words = f": {run.reason}" if run.reason else f", {figures.frames:,} frames" if figures.frames else ""
        mean = f", return {figures.mean_return:,.2f}" if figures.mean_return is not None and not run.reason else ""
        self._console.print(Text(printable(f"{run.job.name} {_word(run)}{words}{mean}")), soft_wrap=True)

    def close(self, *, keeps: bool = True) -> None:
        """Take the live table away. Safe to call again. Args: keeps: leave a last one."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            if keeps:
                self._console.print(self._picture(len(self._runs)))

    def show(self) -> None:
        """Print the table as it is now, also where there is no terminal."""
        self._console.print(self._picture(len(self._runs)))

    def figures(self, number: int) -> Progress:
        """Return how far a run is. Args: number: of the run."""
        state = self._runs[number].state
        if state in (RUNNING, ELSEWHERE) or self._figures.get(number, ("",))[0] != state:
            self._figures[number] = state, read_progress(self._runs[number].job.session)
        return self._figures[number][1]

    def summary(self) -> str:
        """Return in a line how many runs are in which state, and for how long it has gone on."""
        counts = Counter(run.state for run in self._runs)
        words = ", ".join(f"{counts[state]} {state}" for state in _COLOURS if counts[state])
        return f"{len(self._runs)} runs: {words}   {duration(time.monotonic() - self._began)}"

    def rows(self) -> list[dict[str, Any]]:
        """Return each run as JSON values."""
        return [
            {"run": run.job.name, "session": str(run.job.session), "state": run.state, "epoch": figures.epoch,
             "frames": figures.frames, "return": figures.mean_return, "reason": run.reason}
            for run, figures in ((run, self.figures(number)) for number, run in enumerate(self._runs))
        ]  # fmt: skip

    def _picture(self, most: int) -> Group:
        """Return the table, and why runs failed. Args: most: rows; runs of which there is something to see first."""
        table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
        table.add_column("run", max_width=_NAME, no_wrap=True)
        table.add_column("state", no_wrap=True)
        for name in ("epoch", "frames", "return", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        order = list(range(len(self._runs)))
        if len(order) > most:
            urgency = [RUNNING, ELSEWHERE, FAILED, STOPPED_EARLY, WAITING, FINISHED]
            order = sorted(sorted(order, key=lambda number: urgency.index(self._runs[number].state))[:most])
        for number in order:
            table.add_row(*self._row(number))
        reasons = [
            f"{self._runs[number].job.name}: {self._runs[number].reason}"
            for number in order
            if self._runs[number].reason
        ]
        return Group(table, *(Text(printable(reason), "red") for reason in reasons))

    def _row(self, number: int) -> tuple[Text, ...]:
        run, (epoch, frames, mean, speed) = self._runs[number], self.figures(number)
        total = run.length
        of = f"/{total.epochs}" if total is not None and epoch <= total.epochs else ""
        left = ""
        if run.state == RUNNING and total is not None and speed:
            left = duration(max(total.frames - frames, 0) / speed)
        texts = (
            _shortened(run.job.name),
            _word(run),
            f"{epoch}{of}",
            f"{frames:,}",
            "-" if mean is None else f"{mean:,.2f}",
            left,
        )
        return tuple(
            Text(printable(text), _COLOURS[run.state] if index == 1 else "") for index, text in enumerate(texts)
        )


def _word(run: RunState) -> str:
    """Return a run's state as it is shown: one that stopped where it was told to is paused."""
    return "paused" if run.state == STOPPED_EARLY and run.job.stop_after is not None else run.state


def _shortened(name: str) -> str:
    """Return a name with its middle left out where it is long: both ends say what differs."""
    return name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}…{name[-_NAME // 2 :]}"
