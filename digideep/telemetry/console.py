"""Show a run on the console: a line per epoch and, on a terminal, a live panel below the lines."""

import time

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
        self._rows: dict[str, str] = {}
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
        self._rows["progress"] = f"epoch {epoch}   {frames:,} frames   {episodes:,} episodes"
        self._rows["speed"] = f"{speed:,.0f} frames/s   average {average:,.0f}"
        if recent:
            mean = sum(recent) / len(recent)
            self._rows["recent return"] = (
                f"mean {mean:,.2f}   min {min(recent):,.2f}   max {max(recent):,.2f}   (last {len(recent)} episodes)"
            )
        if machine:
            self._rows["machine"] = _describe(machine)
        self._live.update(self._panel(frames, (self._total - frames) / max(average, 1e-9)), refresh=True)

    def _panel(self, frames: int, left_s: float) -> Panel:
        table = Table.grid(padding=(0, 2))
        for name in ("progress", "speed", "recent return", "test return", "losses", "time", "machine"):
            if name in self._rows:
                table.add_row(Text(name, style="cyan"), Text(self._rows[name]))
        share = min(frames / self._total, 1.0)
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(ProgressBar(1.0, share), f"{100 * share:.1f} %   {_duration(left_s)} left")
        return Panel(Group(bar, table), title=Text(self._title), title_align="left", border_style="dim")

    def epoch(self, epoch: int, frames: int, episodes: int, figures: dict[str, float | None]) -> None:
        """Print the epoch's line. Args: figures: columns besides epoch, frames, episodes, frames/s and time left."""
        average = self._average(time.perf_counter(), frames)
        columns = {
            "epoch": f"{epoch}",
            "frames": f"{frames:,}",
            "episodes": f"{episodes:,}",
            **{name: "-" if value is None else f"{value:,.2f}" for name, value in figures.items()},
            "frames/s": f"{self.speed:,.0f}",
            "left": _duration((self._total - frames) / max(average, 1e-9)),
        }
        widths = [max(len(name), _WIDTHS.get(name, 0)) for name in columns]
        if self._header_due == 0:
            self._print(" ".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True)), "bold")
        self._header_due = (self._header_due + 1) % 20
        self._print(" ".join(f"{text:>{width}}" for text, width in zip(columns.values(), widths, strict=True)), None)

    def measure(self, frames: int) -> float:
        """Close an epoch's clock. Returns: frames per second since the last one was closed."""
        now = time.perf_counter()
        self.speed = (frames - self._epoch_began[1]) / max(now - self._epoch_began[0], 1e-9)
        self._epoch_began = now, frames
        return self.speed

    def details(self, figures: EpochFigures) -> None:
        """Note for the panel what is known once an epoch: losses, test returns, the share of each phase."""
        if self._live is None:
            return
        means = {key: data["sum"] / data["num"] for pack in figures.packs for key, data in pack["data"].items()}
        losses = {key: value for key, value in means.items() if key.startswith("/update/")}
        self._rows["losses"] = "   ".join(f"{key.rpartition('/')[2]} {value:.3g}" for key, value in losses.items())
        if "/return/test" in means:
            self._rows["test return"] = f"mean {means['/return/test']:,.2f} at epoch {figures.meta['epoch']}"
        split = list(shares(figures.seconds).items())[:_PHASES]
        self._rows["time"] = "   ".join(f"{path.lstrip('/')} {share:.0f} %" for path, share in split)

    def _print(self, text: str, style: str | None) -> None:
        REPORT.info(text)
        if not self.is_quiet:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the panel away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _describe(machine: dict[str, float]) -> str:
    """Return the load in words."""
    words = []
    if "/cpu/process" in machine:
        used, total = machine["/cpu/memory/used"] / 1024, machine["/cpu/memory/total"] / 1024
        words.append(
            f"CPU {machine['/cpu/all/total']:.0f} %   this run {machine['/cpu/process']:.0f} %, "
            f"{machine['/cpu/memory/mem'] / 1024:.1f} GiB   memory {used:.1f} of {total:.1f} GiB"
        )
    for key, load in machine.items():
        if key.startswith("/gpu/") and key.endswith("/load"):
            name = key.removesuffix("/load")
            words.append(f"GPU {name[5:]} {load:.0f} %, {machine[f'{name}/memory/used'] / 1024:.1f} GiB")
    return "   ".join(words)


def _duration(seconds: float) -> str:
    """Return seconds as 1:02:03, or as 2:03."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
