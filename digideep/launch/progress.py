"""How far a session is, by the end of its log: cheap enough to ask every second."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from digideep.utility.errors import UsageError
from digideep.utility.files import is_finite, open_regular
from digideep.utility.text import parse_json

_TAIL_BYTES = 65_536  # an epoch's line has some thousand
_RETURNS = ("/return/recent", "/return/train")


class Progress(NamedTuple):
    """Figures of a session's last finished epoch.

    Attributes:
        epoch: how many have finished.
        frames: so far.
        mean_return: of recent training episodes; None if there was none.
        frames_per_s: of that epoch; None if it is not known.
    """

    epoch: int = 0
    frames: int = 0
    mean_return: float | None = None
    frames_per_s: float | None = None


def read_progress(session: Path) -> Progress:
    """Return how far a session is; the beginning, where no log says otherwise."""
    try:
        with open_regular(session / "varlog.json") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            lines = file.read(_TAIL_BYTES).split(b"\n")[:-1]
    except UsageError:
        return Progress()
    for line in reversed(lines):
        try:
            return _read(parse_json(line.decode()))
        except (ValueError, LookupError, TypeError):  # a line that was cut, or is not ours
            continue
    return Progress()


def _read(entry: Any) -> Progress:
    meta, data = entry["meta"], entry["data"]
    returns = [_mean(data[key]) for key in _RETURNS if key in data]
    speed = _mean(data["/speed/frames_per_s"]) if "/speed/frames_per_s" in data else None
    return Progress(int(meta["epoch"]), int(meta["frame"]), next(iter(returns), None), speed)


def _mean(figures: Any) -> float | None:
    mean = figures["sum"] / figures["num"] if figures["num"] else None
    return mean if is_finite(mean) else None
