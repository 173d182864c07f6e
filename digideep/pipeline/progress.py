"""How a run goes: returns of its episodes, figures of its epochs, and what the console shows of them."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from digideep.agent.base import AgentBase
from digideep.environment.explorer import Episode, Explorer
from digideep.pipeline.session import Session
from digideep.telemetry.console import Display
from digideep.telemetry.monitor import Monitor
from digideep.utility.files import is_finite

_RECENT_EPISODES = 100


class Returns:
    """Collects the returns of finished episodes, and hands them to the Monitor.

    Args:
        monitor: statistics of named values.

    Attributes:
        recent: returns of the last 100 training episodes, oldest first.
        test: mean return of the last test; None before the first one.
        best: mean return of the best test; None before the first one.
    """

    def __init__(self, monitor: Monitor):
        self._monitor = monitor
        self.recent: deque[float] = deque(maxlen=_RECENT_EPISODES)
        self.test: float | None = None
        self.best: float | None = None
        self._is_tested = False  # since the last line of the console

    def note_training(self, episodes: Sequence[Episode]) -> None:
        """Take in episodes of the training."""
        self.recent.extend(episode.episode_return for episode in episodes)
        self._record("train", episodes)

    def note_test(self, episodes: Sequence[Episode]) -> bool:
        """Take in the episodes of a test. Returns: True if it is the best one so far."""
        self._record("test", episodes)
        self.test, self._is_tested = fmean(episode.episode_return for episode in episodes), True
        is_best = self.best is None or self.test > self.best
        if is_best:
            self.best = self.test
        return is_best

    def _record(self, mode: str, episodes: Sequence[Episode]) -> None:
        for episode in episodes:
            self._monitor(f"/return/{mode}", episode.episode_return)
            self._monitor(f"/length/{mode}", episode.length)
            for player, player_return in (episode.player_returns or {}).items():
                self._monitor(f"/return/{mode}/{player}", player_return)

    def columns(self) -> dict[str, float | None]:
        """Return the figures of an epoch's line; a test that an earlier line has shown is not repeated."""
        recent = fmean(self.recent) if self.recent else None
        test, self._is_tested = self.test if self._is_tested else None, False
        return {"recent return": recent, "test return": test}

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs, as JSON values."""
        return {"recent_returns": list(self.recent), "test_return": self.test, "best_return": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off, without returns that are infinite or NaN.

        Nothing is ever better than those, and neither has a mean.
        """
        self.test = state["test_return"]
        self.best = state["best_return"] if is_finite(state["best_return"]) else None
        self.recent.extend(filter(math.isfinite, state["recent_returns"]))


class Progress:
    """Measures a run, and hands what it measures to console, log files and dashboards.

    Args:
        session: of the run.
        histogram_int: epochs from one histogram of weights and gradients to the next; None for none.

    Attributes:
        returns: of the episodes.
    """

    def __init__(self, session: Session, histogram_int: int | None):
        self._session, self._histogram_int = session, histogram_int
        self.returns = Returns(session.monitor)
        self._display = Display(session.console, is_quiet=session.args.quiet)

    def start(self, name: str, total_frames: int, frames: int) -> None:
        """Begin to show. Args: name: of the environment; total_frames: of the whole run; frames: done before."""
        path = self._session.path
        self._display.start(f"{name}   {path.name if path else 'dry run'}", total_frames, frames)

    def stop(self) -> None:
        """End what is shown live. Safe to call again."""
        self._display.stop()

    def cycle(self, explorer: Explorer, epoch: str) -> None:
        """Take in the episodes that ended in a cycle. Args: epoch: such as "3/24"."""
        episodes = explorer.take_episodes()
        self.returns.note_training(episodes)
        self._session.write_episodes("train", episodes)
        recent, machine = list(self.returns.recent), self._session.logbook.machine
        self._display.cycle(epoch, explorer.frames, explorer.n_episode, recent, machine)

    def test(self, explorer: Explorer) -> bool:
        """Take in the episodes of a test. Returns: True if it is the best one so far."""
        episodes = explorer.take_episodes()
        self._session.write_episodes("test", episodes)
        return self.returns.note_test(episodes)

    def epoch(self, moment: Mapping[str, int], agents: Mapping[str, AgentBase]) -> None:
        """Show and write the figures of an epoch. Args: moment: from `Runner.moment`; agents: by name."""
        logbook, monitor, frames = self._session.logbook, self._session.monitor, moment["frame"]
        monitor("/speed/frames_per_s", self._display.measure(frames))
        for recent_return in self.returns.recent:
            monitor("/return/recent", recent_return)
        self._display.details(logbook.log_epoch())
        self._display.epoch(moment["epoch"], frames, moment["episode"], self.returns.columns())
        is_due = self._histogram_int is not None and moment["epoch"] % self._histogram_int == 0
        if is_due and logbook.has_dashboards:
            for agent in agents.values():
                logbook.show_histograms(agent.histograms(), frames)
