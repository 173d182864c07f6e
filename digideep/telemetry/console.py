"""Show a run on the console: a line per epoch and, on a terminal, a live panel below the lines."""

import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from digideep.telemetry.log_handlers import REPORT
from digideep.telemetry.writers import EpochFigures, shares

_REFRESH_S = 0.5  # drawing takes some milliseconds of the training's own thread
_PHASES = 6
# Of the columns of an epoch's line: with a space between two of them they fill 80 columns.
_WIDTHS = {"epoch": 6, "frames": 13, "episodes": 10, "recent return": 13, "test return": 11, "frames/s": 9, "left": 9}
_NARROW = {"epoch": 5, "frames": 11, "episodes": 9, "frames/s": 8, "left": 8}  # where there is a column for success
_ROWS = ("progress", "speed", "recent return", "test return", "success", "episode length", "losses", "time", "machine")


def make_console(output: Any) -> Console:
    """Return the console that writes to a stream, live only on a terminal.

    A notebook would show each picture of the panel below the last one.
    """
    is_live = None if output.isatty() else False
    return Console(file=output, force_jupyter=False, force_terminal=is_live)


class Display:
    """Shows the progress of a run.

    Args:
        console: where to; one that is no terminal gets the lines only.
        is_quiet: show nothing; the lines go to `report.log` all the same.
    """

    def __init__(self, console: Console, *, is_quiet: bool = False):
        self.console, self.is_quiet = console, is_quiet
        self._live: Live | None = None
        self._header_due = 0
        self._columns: list[str] = []
        self._rows: dict[str, list[str]] = {}
        self._success: float | None = None  # of the epoch's training episodes
        self._latest: dict[str, float] = {}  # the newest mean of each monitored value
        self._begin("", 1, 0)

    def start(self, title: str, total_frames: int, frames: int) -> None:
        """Begin to show. Args: title: of the panel; total_frames: of the whole run; frames: done before."""
        self._begin(title, total_frames, frames)
        if self.console.is_terminal and not self.is_quiet:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def _begin(self, title: str, total_frames: int, frames: int) -> None:
        now = time.perf_counter()
        self._title, self._total, self._first, self._started = title, max(total_frames, 1), frames, now
        self._epoch_began = self._drawn = now, frames
        self.speed = 0.0

    def _average(self, now: float, frames: int) -> float:
        """Return frames per second since the start."""
        return (frames - self._first) / max(now - self._started, 1e-9)

    def cycle(self, epoch: str, frames: int, episodes: int, recent: list[float], machine: dict[str, float]) -> None:
        """Redraw the panel, if it is time.

        Args:
            epoch: such as "3/24".
            recent: returns of the last episodes.
            machine: load, see `StatLogger`.
        """
        now = time.perf_counter()
        if self._live is None or now - self._drawn[0] < _REFRESH_S:
            return
        speed = (frames - self._drawn[1]) / (now - self._drawn[0])
        self._drawn = now, frames
        average = self._average(now, frames)
        self._rows["progress"] = [f"epoch {epoch}", f"{frames:,} frames", f"{episodes:,} episodes"]
        self._rows["speed"] = [f"{speed:,.0f} frames/s", f"average {average:,.0f}"]
        if recent:
            mean = sum(recent) / len(recent)
            figures = {"mean": mean, "min": min(recent), "max": max(recent)}
            words = [f"{name} {value:,.2f}" for name, value in figures.items()]
            self._rows["recent return"] = [*words, f"(last {len(recent)} episodes)"]
        if machine:
            self._rows["machine"] = _describe(machine)
        left_s = (self._total - frames) / max(average, 1e-9)
        self._live.update(self._panel(frames, now - self._started, left_s), refresh=True)

    def _panel(self, frames: int, elapsed_s: float, left_s: float) -> Panel:
        table = Table.grid(padding=(0, 2))
        names = [name for name in _ROWS if self._rows.get(name)]
        width = self.console.width - 4 - 2 - max(map(len, names))  # within border and padding, beside the names
        for name in names:
            table.add_row(Text(name, style="cyan"), Text(_flow(self._rows[name], width)))
        share = min(frames / self._total, 1.0)
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(
            ProgressBar(1.0, share), f"{100 * share:.1f} %   {duration(elapsed_s)} elapsed   {duration(left_s)} left"
        )
        return Panel(Group(bar, table), title=Text(self._title), title_align="left", border_style="dim")

    def epoch(self, epoch: int, frames: int, episodes: int, figures: dict[str, float | None]) -> None:
        """Print the epoch's line, in 80 columns.

        Args:
            figures: columns besides epoch, frames, episodes, frames/s, time left, and success where it is told.
        """
        average = self._average(time.perf_counter(), frames)
        columns = {
            "epoch": f"{epoch}",
            "frames": f"{frames:,}",
            "episodes": f"{episodes:,}",
            **{name: "-" if value is None else f"{value:,.2f}" for name, value in figures.items()},
            **({"success": _percent(self._success)} if "/success/train" in self._latest else {}),
            "frames/s": f"{self.speed:,.0f}",
            "left": duration((self._total - frames) / max(average, 1e-9)),
        }
        known = _WIDTHS | (_NARROW if "success" in columns else {})
        widths = [max(len(name), known.get(name, 0)) for name in columns]
        if self._header_due == 0 or self._columns != list(columns):
            self._print(" ".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True)), "bold")
            self._header_due, self._columns = 20, list(columns)
        self._header_due -= 1
        self._print(" ".join(f"{text:>{width}}" for text, width in zip(columns.values(), widths, strict=True)), None)

    def measure(self, frames: int) -> float:
        """Close an epoch's clock. Returns: frames per second since the last one was closed."""
        now = time.perf_counter()
        self.speed = (frames - self._epoch_began[1]) / max(now - self._epoch_began[0], 1e-9)
        self._epoch_began = now, frames
        return self.speed

    def details(self, figures: EpochFigures, best_return: float | None) -> None:
        """Note what is known once an epoch: success, and for the panel losses, tests, the share of each phase.

        Args:
            best_return: mean of the best test of the run; None before the first one.
        """
        means = figures.means
        self._success = means.get("/success/train")
        self._latest.update(means)
        if self._live is None:
            return
        packed = {key: data for pack in figures.packs for key, data in pack["data"].items()}
        changing = [key for key in packed if key.startswith("/update/") and not _is_constant(packed[key])]
        self._rows["losses"] = [f"{key.rpartition('/')[2]} {means[key]:.3g}" for key in changing]
        if "/return/test" in means:
            self._rows["test return"] = [f"mean {means['/return/test']:,.2f} at epoch {figures.meta['epoch']}"]
            self._rows["test return"] += [] if best_return is None else [f"best so far {best_return:,.2f}"]
        self._rows["success"] = self._by_mode("/success", _percent)
        self._rows["episode length"] = self._by_mode("/length", lambda steps: f"{steps:,.1f}")
        split = list(shares(figures.seconds).items())[:_PHASES]
        self._rows["time"] = [f"{path.lstrip('/')} {share:.0f} %" for path, share in split]

    def _by_mode(self, key: str, show: Callable[[float], str]) -> list[str]:
        """Return the newest figures of training and of tests in words."""
        found = {mode: self._latest.get(f"{key}/{mode}") for mode in ("train", "test")}
        return [f"{mode} {show(value)}" for mode, value in found.items() if value is not None]

    def _print(self, text: str, style: str | None) -> None:
        REPORT.info(text)
        if not self.is_quiet:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the panel away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _is_constant(data: Mapping[str, float]) -> bool:
    """True if a value was the same at each of several updates: a setting, which the panel need not repeat."""
    return data["num"] > 1 and data["min"] == data["max"]


def _flow(parts: Iterable[str], width: int) -> str:
    """Return lines of parts that are not broken themselves."""
    text = "   ".join(part.replace(" ", "\xa0") for part in parts)
    return "\n".join(textwrap.wrap(text, max(width, 20))).replace("\xa0", " ")


def _describe(machine: dict[str, float]) -> list[str]:
    """Return the load in words."""
    words = []
    if "/cpu/process" in machine:
        used, total = machine["/cpu/memory/used"] / 1024, machine["/cpu/memory/total"] / 1024
        words += [
            f"CPU {machine['/cpu/all/total']:.0f} %",
            f"this run {machine['/cpu/process']:.0f} %, {machine['/cpu/memory/mem'] / 1024:.1f} GiB",
            f"memory {used:.1f} of {total:.1f} GiB",
        ]
    for key, load in machine.items():
        if key.startswith("/gpu/") and key.endswith("/load"):
            name = key.removesuffix("/load")
            words.append(f"GPU {name[5:]} {load:.0f} %, {machine[f'{name}/memory/used'] / 1024:.1f} GiB")
    return words


def duration(seconds: float) -> str:
    """Return seconds as 1:02:03, or as 2:03."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
