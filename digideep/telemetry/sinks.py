"""Sinks: dashboards that are told each epoch of a session once, whatever is stopped, resumed, or begun late."""

import contextlib
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from digideep.telemetry.requirements import without_password
from digideep.telemetry.writers import EpochFigures, Writer
from digideep.utility.errors import SessionError
from digideep.utility.files import append_json, is_number, read_json_lines

TITLES = {"tensorboard": "TensorBoard", "visdom": "visdom", "wandb": "W&B", "mlflow": "MLflow"}
# What decides where these two send: another place is another run, which is told everything.
_PLACES = {
    "tensorboard": (),
    "visdom": (),
    "wandb": ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"),
    "mlflow": ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
}


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the process as it was: its random generators, from which W&B draws names of files, and hooks of its end."""
    state, numpy, hooks = random.getstate(), np.random.get_state(), (sys.exit, sys.excepthook)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy)
        sys.exit, sys.excepthook = hooks


class Sink:
    """A dashboard and the record of what it has been told: lines of JSON, one an epoch, with its run and the frame.

    Where a resume cuts what was shown (files of TensorBoard and visdom), it cuts the record, too. What W&B or MLflow
    have got stays there: they are told what comes after it.

    Args:
        name: one of `TITLES`.
        record: the record's file.
        session: tells the session from others that might use this record, such as a copy's original.
        make: makes the writer, from the run's name there and the frames that it has been told; None for a new run.

    Attributes:
        is_new: True if it has been told nothing, not even the parameters.
        told: frames up to which it had been told everything when it was opened.
    """

    def __init__(self, name: str, record: Path, session: str, make: Callable[[str | None, int | None], Writer]):
        self.title, self._record = TITLES[name], record
        self._whose = {"session": session, "place": _place(name)}
        last = _last_of(record, self._whose)
        self.is_new, self.told = last is None, 0 if last is None else last["frame"]
        record.parent.mkdir(parents=True, exist_ok=True)
        self.writer = make(None, None) if last is None else make(last["run"], self.told)
        if self.is_new:
            self._note(0)

    def _note(self, frame: int) -> None:
        append_json(self._record, [{**self._whose, "run": self.writer.run_id, "frame": frame}])

    def epoch(self, figures: EpochFigures) -> None:
        """Tell what is new in the figures of an epoch."""
        frame = figures.meta["frame"]
        if frame > self.told:
            packs = [pack for pack in figures.packs if pack["meta"].get("frame", frame) > self.told]
            self.writer.epoch(figures._replace(packs=packs))
            self._note(frame)

    def catch_up(self, session: Path) -> int:
        """Tell what it has missed of what a session has logged. Returns: how many epochs."""
        number = 0
        for figures in past_epochs(session):
            number += figures.meta["frame"] > self.told
            self.epoch(figures)
        return number

    def histograms(self, arrays: dict[str, np.ndarray], frame: int) -> None:
        """Tell how numbers are spread."""
        if frame > self.told:
            self.writer.histograms(arrays, frame)

    def video(self, path: Path, frame: int) -> None:
        """Show an episode."""
        if frame > self.told:
            self.writer.video(path, frame)


def past_epochs(session: Path) -> Iterator[EpochFigures]:
    """Yield what the logs of a session hold: the figures of each moment, oldest first.

    Raises:
        SessionError: for a log that cannot be read.
    """
    seconds = {
        entry["meta"].get("frame"): {path: float(timing["totals"] or 0) for path, timing in entry["data"].items()}
        for _, entry in read_json_lines(session / "prolog.json")
    }
    samples = deque(
        (entry["meta"]["clock"], {key: data["sum"] for key, data in entry["data"].items()})
        for _, entry in read_json_lines(session / "monlog.json")
    )
    machine: dict[str, float] = {}
    packs = (pack for _, pack in read_json_lines(session / "varlog.json"))
    for frame, group in groupby(packs, lambda pack: pack["meta"].get("frame")):
        of_frame = list(group)
        meta = of_frame[-1]["meta"]
        while samples and samples[0][0] <= meta["clock"]:
            machine = samples.popleft()[1]
        moment = {name: meta.get(name, 0) for name in ("epoch", "frame", "episode")}
        yield EpochFigures(moment, of_frame, seconds.get(frame, {}), machine)


def _place(name: str) -> str:
    """Return where a dashboard sends, as its variables say, without passwords."""
    return without_password(" ".join(os.environ.get(variable, "") for variable in _PLACES[name])).strip()


def _last_of(record: Path, whose: dict[str, Any]) -> dict[str, Any] | None:
    """Return the last line of a record; None without one, or if it is of something else."""
    last: Any = None
    with contextlib.suppress(SessionError):  # what is damaged counts for nothing: everything is told to a new run
        for _, line in read_json_lines(record):
            last = line
    if not isinstance(last, dict) or {**last, **whose} != last or not is_number(last.get("frame")):
        return None
    return last if last.get("run") is None or isinstance(last["run"], str) else None
