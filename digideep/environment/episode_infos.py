"""What is logged of an episode's infos: values that are asked for, and whether it was a success.

A worker writes the figures of an episode when that ends, a row for the environment or for each of its players: one for
each key of `EnvironmentSpec.episode_infos`, in their order, and success. NaN: the infos had none. Infinity: what they
had is no finite number, or no success in [0, 1].
"""

import logging
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from digideep.environment.contract import NotAsDeclared, read_number
from digideep.environment.infos import find_info
from digideep.parameters.checks import require, shown
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks

_WAYS = ("sum", "mean", "last")
_SUCCESS = ("is_success", "success")  # keys of an episode's last info; the first that is there counts
_COLUMNS = ("r", "l", "t")  # of a monitor's file; another one of that name would hide the return
_log = logging.getLogger("digideep")


def check_episode_infos(ways: Any) -> None:
    """Refuse what is no dictionary from keys of infos to ways. Raises: UsageError: naming what is wrong."""
    if not isinstance(ways, Mapping):
        raise UsageError(f"episode_infos must be a dictionary such as {{'reward_dist': 'sum'}}, got {shown(ways)}.")
    for key, way in ways.items():
        if not isinstance(key, str) or not key.strip("/") or not key.isprintable():
            raise UsageError(f"episode_infos: a key of the info must be a printable name, got {shown(key)}.")
        require(key not in _COLUMNS, "episode_infos: a key", key, "none of r, l, t, the first columns of monitor/*.csv")
        require(way in _WAYS, f"episode_infos: '{key}'", way, "sum, mean or last")


def check_first_infos(ways: Mapping[str, str], *infos: Mapping[str, Any]) -> None:
    """Refuse keys under which an environment's first infos hold something else than a number.

    A key that they do not have is not refused: it may come at the end of an episode.

    Raises:
        UsageError: naming the key.
    """
    for key in ways:
        for value in (find_info(info, key) for info in infos):
            if value is not None:
                try:
                    read_number(value, "a value")
                except NotAsDeclared:
                    require(False, f"episode_infos: '{key}' of the info", value, "a number or a boolean")


class Episode(NamedTuple):
    """A finished episode, before any wrapper changed its rewards; of a game with lives, the whole game."""

    worker: int
    episode_return: float
    length: int
    player_returns: dict[str, float] | None = None  # where there are several players; the return is their sum
    success: float | None = None  # None where the environment says nothing; of several players, their mean
    infos: Mapping[str, float] = MappingProxyType({})  # by key; by "<player>/<key>" where there are several players
    player_successes: dict[str, float] | None = None  # where there are several, of those who say something

    def columns(self) -> dict[str, float]:
        """Return infos and successes by the names that they have in a monitor's file."""
        players = {f"{player}/is_success": value for player, value in (self.player_successes or {}).items()}
        return dict(self.infos) | ({} if self.success is None else {"is_success": self.success}) | players


def gather_episodes(episodes: list[Episode], ranks: Ranks, num_workers: int) -> list[Episode]:
    """Return the episodes of all ranks, whose workers are counted through. Args: num_workers: of a rank."""
    if ranks.size == 1:
        return episodes
    gathered = ranks.gather([list(episode) for episode in episodes] or None)
    return [
        Episode(worker + rank * num_workers, *figures)
        for rank, others in enumerate(gathered)
        for worker, *figures in others or ()
    ]


class EpisodeTally:
    """Sums up the infos of an episode, those of the environment or of one player.

    Args:
        ways: key -> "sum", "mean" or "last", over the steps whose info has it.
        row: float64 (len(ways) + 1,), where the figures of an episode are written when it ends.
    """

    def __init__(self, ways: Mapping[str, str], row: np.ndarray):
        self._ways, self._row = list(ways.items()), row
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self._values, self._counts = [0.0] * len(self._ways), [0] * len(self._ways)

    def add(self, info: Mapping[str, Any]) -> None:
        """Take in the info of a step."""
        for index, (key, way) in enumerate(self._ways):
            value = find_info(info, key)
            if value is not None:
                number = _number(value)
                self._values[index] = number if way == "last" else self._values[index] + number
                self._counts[index] += 1

    def end(self, info: Mapping[str, Any]) -> None:
        """Write the episode's figures. Args: info: of its last step, which has been added before."""
        for index, (_, way) in enumerate(self._ways):
            value, count = self._values[index], self._counts[index]
            figure = value / count if way == "mean" and count else value
            self._row[index] = math.nan if not count else figure if math.isfinite(figure) else math.inf
        found = (info[key] for key in _SUCCESS if info.get(key) is not None)
        success = next(map(_number, found), math.nan)
        self._row[-1] = math.inf if success < 0 or success > 1 else success


def _number(value: Any) -> float:
    """Return a value as a number; infinity if it is none, or not finite."""
    try:
        number = read_number(value, "a value")
    except NotAsDeclared:
        return math.inf
    return number if math.isfinite(number) else math.inf


class FigureReader:
    """Reads the figures of episodes that workers have written, and warns once of each that cannot be logged.

    Args:
        keys: those of `episode_infos`.
        players: whose rows there are, in their order; none where there is one row for the environment.
        mode: of the explorer.

    Attributes:
        names: of the infos that an episode may have.
    """

    def __init__(self, keys: Sequence[str], players: Sequence[str], mode: str):
        self._keys, self._players, self._mode = keys, players, mode
        self.names = [f"{player}/{key}" for player in players for key in keys] if players else list(keys)
        self._complaints: dict[str, bool] = {}  # True once it has been logged

    def read(self, figures: np.ndarray) -> tuple[float | None, dict[str, float], dict[str, float] | None]:
        """Return success, infos and successes of the players, as an `Episode` has them.

        Args:
            figures: float64 (rows, keys + 1), as `EpisodeTally` writes them.
        """
        if not np.isfinite(figures).all():
            self._look_for_complaints(figures)
        values = zip(self.names, figures[:, :-1].reshape(-1).tolist(), strict=True)
        infos = {name: value for name, value in values if math.isfinite(value)}
        successes = zip(self._players or ("",), figures[:, -1].tolist(), strict=True)
        told = {player: value for player, value in successes if math.isfinite(value)}
        return fmean(told.values()) if told else None, infos, told if told and self._players else None

    def _look_for_complaints(self, figures: np.ndarray) -> None:
        for key, column in zip((*self._keys, None), figures.T, strict=True):
            if np.isinf(column).any():
                what = f"info['{key}'] is no finite number"
                self._complaints.setdefault("its success is no number in [0, 1]" if key is None else what, False)
            elif key is not None and np.isnan(column).all():
                self._complaints.setdefault(f"info['{key}'], which episode_infos asks for, is not there", False)

    def warn(self) -> None:
        """Log what could not be read, once."""
        for complaint, is_logged in self._complaints.items():
            if not is_logged:
                self._complaints[complaint] = True
                _log.warning("An episode in explorer '%s': %s. It is not logged.", self._mode, complaint)
