"""Dashboards: where the figures of an epoch go besides the log files, and which of them a person wants."""

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from digideep.telemetry.monitor import Pack

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class WatchOptions:
    """What is logged and shown besides the files of every run, named as on the command line."""

    tensorboard: bool = False
    visdom: bool = False
    visdom_port: int = 8097
    wandb: bool = False
    mlflow: bool = False
    bind: str = LOCALHOST  # the address that both servers listen on
    no_monitor_cpu: bool = False
    no_monitor_gpu: bool = False


class EpochFigures(NamedTuple):
    """What is known at the end of an epoch."""

    meta: dict[str, int]  # "epoch", "frame", "episode"
    packs: list[Pack]  # of the Monitor: what went to varlog.json
    seconds: dict[str, float]  # of the Profiler, by path
    machine: dict[str, float]  # newest sample of the StatLogger: percent, MiB

    @property
    def means(self) -> dict[str, float]:
        """The mean of each monitored value, such as "/return/train"; of several windows, of the last one."""
        return {key: data["sum"] / data["num"] for pack in self.packs for key, data in pack["data"].items()}


class Writer:
    """Somewhere to show figures. It never disturbs the run: what fails there costs a warning.

    A method that a dashboard has no use for does nothing.

    Attributes:
        run_id: what tells the run from others there; None where it takes no name.
        address: where to look, for a person; empty if the dashboard says so itself.
    """

    run_id: str | None = None
    address = ""

    def parameters(self, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        """Show what was chosen. Args: cpanel: plain control panel; tree: plain parameter tree."""

    def epoch(self, figures: EpochFigures) -> None:
        """Show the figures of an epoch."""

    def histograms(self, arrays: dict[str, np.ndarray], frame: int) -> None:
        """Show how numbers such as weights and gradients are spread."""

    def video(self, path: Path, frame: int) -> None:
        """Show an episode. Args: path: an mp4 file."""

    def flush(self) -> None:
        """Let everything sent so far reach its file."""

    def close(self) -> None:
        """Send no more."""


def scalars(figures: EpochFigures) -> Iterator[tuple[str, float, int, float]]:
    """Yield every number of an epoch: name, value, frame, time in seconds since 1970.

    The means of `varlog.json` come under their keys, of returns the least and the greatest, too; then "seconds/…" of
    each timed block, and "machine/…".
    """
    frame, clock = figures.meta["frame"], time.time()
    for pack in figures.packs:
        at, clock = pack["meta"].get("frame", frame), pack["meta"]["clock"]
        for key, data in pack["data"].items():
            name = key.lstrip("/")
            yield name, data["sum"] / data["num"], at, clock
            if key.startswith("/return/"):
                yield f"{name}/min", data["min"], at, clock
                yield f"{name}/max", data["max"], at, clock
    for path, seconds in figures.seconds.items():
        yield f"seconds{path}", seconds, frame, clock
    for key, value in figures.machine.items():
        yield f"machine{key}", value, frame, clock


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each leaf of a plain tree; an empty mapping is one."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def parent_of(path: str, timed: Container[str]) -> str:
    """Return the block around a block, "" for none. A name may hold a slash: the longest timed prefix is the parent."""
    parent = path.rpartition("/")[0]
    while parent and parent not in timed:
        parent = parent.rpartition("/")[0]
    return parent


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Return percent of the time per phase, each without the phases within it, largest first."""
    own = dict(seconds)
    for path, value in seconds.items():
        if parent := parent_of(path, own):
            own[parent] -= value
    total = sum(own.values())
    if total <= 0:
        return {}
    return {path: 100 * max(value, 0) / total for path, value in sorted(own.items(), key=lambda item: -item[1])}
