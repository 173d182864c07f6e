"""The Logbook: writes the figures of a run to files and dashboards."""

import csv
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from digideep.telemetry.machine import StatLogger
from digideep.telemetry.mlflow import MlflowWriter
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.requirements import require_mlflow, require_wandb
from digideep.telemetry.server_process import require_address
from digideep.telemetry.sinks import TITLES, Sink, undisturbed
from digideep.telemetry.tensorboard import TensorBoardWriter
from digideep.telemetry.visdom import VisdomWriter, require_visdom
from digideep.telemetry.wandb import WandbWriter
from digideep.telemetry.writers import LOCALHOST, EpochFigures, WatchOptions, Writer

_log = logging.getLogger("digideep")

# Files that only ever grow, and that a checkpoint must agree with.
_GROWING = (
    "varlog.json", "prolog.json", "monlog.json", "visdom.log", "monitor/*.csv", "tensorboard/events.*",
    "sinks/tensorboard.json", "sinks/visdom.json",
)  # fmt: skip


class Logbook:
    """Owns the log files and the dashboards of a session. Nothing that it does changes a number of the training.

    Args:
        monitor: statistics of named values.
        profiler: where the time goes.
        options: which dashboards there are, and what is logged of the machine.

    Attributes:
        path: the session's directory; None while nothing is written.
    """

    def __init__(self, monitor: Monitor, profiler: Profiler, options: WatchOptions):
        self.monitor, self.profiler, self._options = monitor, profiler, options
        self.path: Path | None = None
        self._stats: StatLogger | None = None
        self._sinks: list[Sink] = []
        self._columns: dict[Path, list[str]] = {}  # of the episodes' files, beyond return, length and time

    def require(self) -> None:
        """Refuse dashboards that cannot work here."""
        options = self._options
        if options.tensorboard or options.visdom:
            require_address(options.bind)
        if options.visdom:
            require_visdom(options.visdom_port, options.bind)
        if options.wandb:
            require_wandb()
        if options.mlflow:
            require_mlflow()

    @property
    def machine(self) -> dict[str, float]:
        """The newest load of the machine: percent, MiB."""
        return self._stats.latest if self._stats is not None else {}

    @property
    def has_dashboards(self) -> bool:
        """True if anybody wants histograms."""
        return bool(self._sinks)

    def tell_visdom(self, action: Callable[[VisdomWriter], object]) -> None:
        """Let something be shown by visdom, if the run has it; what fails there costs a warning, and visdom."""
        for sink in tuple(self._sinks):
            if isinstance(sink.writer, VisdomWriter):
                self._tell(lambda each: action(each.writer), sink)  # type: ignore[arg-type]  # it is this sink's

    # ------------------------------------------------------------------ opening and cutting

    def open(self, path: Path | None, *, first_frame: int | None, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        """Start what writes.

        Args:
            path: the session's directory; None writes nothing.
            first_frame: frames of the checkpoint that is resumed; None for a new run.
        """
        self.path, options = path, self._options
        self._stats = StatLogger(
            None if path is None else path / "monlog.json",
            monitor_cpu=not options.no_monitor_cpu,
            monitor_gpu=not options.no_monitor_gpu,
        )
        if path is None:
            return
        if (options.tensorboard or options.visdom) and options.bind != LOCALHOST:
            _log.warning(
                "--bind %s opens the dashboards to whoever reaches that address; they ask for no password.",
                options.bind,
            )
        for name in TITLES:
            if getattr(options, name):
                self._begin(name, path, cpanel, tree, first_frame or 0)

    def _begin(self, name: str, path: Path, cpanel: dict[str, Any], tree: dict[str, Any], first_frame: int) -> None:
        """Open a dashboard, and tell it what it has missed of the epochs so far."""
        options = self._options

        def make(run_id: str | None, told: int | None) -> Writer:
            if name == "tensorboard":
                return TensorBoardWriter(path / "tensorboard", told, options.bind, path.name)
            if name == "visdom":
                return VisdomWriter(path / "visdom.log", options.visdom_port, options.bind, path.name)
            if name == "wandb":
                return WandbWriter(path, path.name, run_id)
            return MlflowWriter(path / "mlflow", path.name, run_id)

        try:
            with undisturbed():
                sink = Sink(name, path / "sinks" / f"{name}.json", path.name, make)
        except Exception as err:
            self._give_up(TITLES[name], err)
            return
        self._sinks.append(sink)
        if sink.writer.address:
            _log.info("%s: %s", sink.title, sink.writer.address)
        if sink.is_new:
            self._tell(lambda each: each.writer.parameters(cpanel, tree), sink)
        if sink.told < first_frame:
            self._tell(lambda each: each.catch_up(path), sink)

    def cut(self, path: Path, sizes: dict[str, int]) -> None:
        """Take back what a stopped run logged after the checkpoint that is resumed, whose `sizes` are given."""
        for file in growing_files(path):
            size = sizes.get(str(file.relative_to(path)))
            if size is None:
                file.unlink()
            elif size < file.stat().st_size:
                os.truncate(file, size)

    def sizes(self) -> dict[str, int]:
        """Let everything reach its file. Returns: bytes by name, for a checkpoint."""
        if self.path is None:
            return {}
        self._tell(lambda sink: sink.writer.flush())
        return {str(file.relative_to(self.path)): file.stat().st_size for file in growing_files(self.path)}

    # ------------------------------------------------------------------ while it runs

    def log_epoch(self) -> EpochFigures:
        """Write the figures of an epoch to `varlog.json`, `prolog.json` and the dashboards, and begin anew."""
        meta = self.monitor.moment()
        packs = self.monitor.dump(self.path and self.path / "varlog.json")
        timings = self.profiler.dump(self.path and self.path / "prolog.json", meta)
        for key, data in (item for pack in packs for item in pack["data"].items()):
            extremes = f"{data['min']:.6g} to {data['max']:.6g}"
            mean = data["sum"] / data["num"]
            _log.debug("%s [%dx] = %.6g (std %.3g) in %s", key, data["num"], mean, data["std"], extremes)
        for name, timing in timings.items():
            _log.debug("%s [%sx, %.3f s]", name, timing["occurs"], timing["totals"])
        seconds = {name: float(timing["totals"] or 0) for name, timing in timings.items()}
        figures = EpochFigures(meta, packs, seconds, self.machine)
        self._tell(lambda sink: sink.epoch(figures))
        return figures

    def show_histograms(self, arrays: dict[str, np.ndarray], frame: int) -> None:
        """Hand numbers such as weights and gradients to the dashboards."""
        self._tell(lambda sink: sink.histograms(arrays, frame))

    def show_video(self, path: Path, frame: int) -> None:
        """Hand an mp4 file to the dashboards."""
        self._tell(lambda sink: sink.video(path, frame))

    def _tell(self, action: Callable[[Sink], object], *sinks: Sink) -> None:
        """Do something with some or with every dashboard; one that fails is left alone from then on."""
        for sink in sinks or tuple(self._sinks):
            if sink not in self._sinks:
                continue
            try:
                with undisturbed():
                    action(sink)
            except Exception as err:  # whatever it is, the training goes on
                self._give_up(sink.title, err)
                self._sinks.remove(sink)
                self._close(sink)

    def _give_up(self, title: str, err: Exception) -> None:
        reason = " ".join(str(err).split())[:300]
        _log.warning("%s fails (%s: %s): the training goes on without it.", title, type(err).__name__, reason)

    def _close(self, sink: Sink) -> None:
        try:
            sink.writer.close()
        except (Exception, SystemExit) as err:  # W&B may end the program because its own process has ended badly
            _log.warning("%s does not close well: %s", sink.title, err)

    def write_episodes(
        self,
        mode: str,
        episodes: Sequence[tuple[int, float, int, Mapping[str, float]]],
        elapsed_s: float,
        environment: str,
        names: Iterable[str] = (),
    ) -> None:
        """Append finished episodes to `monitor/<mode>.<worker>.monitor.csv`: return, length, seconds so far, and more.

        Args:
            episodes: (worker, return, length in steps, further figures by name) of each.
            elapsed_s: seconds since the run began.
            names: of figures that have a column in any case. A file that is begun here has one for all that there are
                in `episodes`, too; one that is there already keeps its columns.
        """
        if self.path is None or not episodes:
            return
        (self.path / "monitor").mkdir(exist_ok=True)
        known = [*dict.fromkeys((*names, *(name for *_, more in episodes for name in more)))]
        for worker in {worker: None for worker, *_ in episodes}:
            file = self.path / "monitor" / f"{mode}.{worker}.monitor.csv"
            is_new = not file.exists()
            if file not in self._columns:
                self._columns[file] = known if is_new else _columns_of(file)
            columns = self._columns[file]
            with file.open("a", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                if is_new:
                    header = json.dumps({"t_start": time.time() - elapsed_s, "env_id": environment})
                    stream.write(f"# {header}\n")
                    writer.writerow(["r", "l", "t", *columns])
                for other, episode_return, length, more in episodes:
                    if other == worker:
                        figures = (f"{more[name]:.9g}" if name in more else "" for name in columns)
                        writer.writerow([f"{episode_return:.6f}", length, f"{elapsed_s:.6f}", *figures])

    def close(self) -> None:
        """Stop everything; safe to call more than once."""
        if self._stats is not None:
            self._stats.close()
        for sink in self._sinks:
            self._close(sink)
        self._stats, self._sinks = None, []


def _columns_of(file: Path) -> list[str]:
    """Return the columns of a file of episodes beyond return, length and time."""
    with file.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(islice(stream, 1, None)), [])[3:]


def growing_files(path: Path) -> list[Path]:
    """Return the log files of a session."""
    return sorted(file for pattern in _GROWING for file in path.glob(pattern))
