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
from digideep.utility.files import is_finite
from digideep.utility.process_state import left_as_it_was

_RECENT_EPISODES = 100


class Progress:
    """Measures a run, and hands what it measures to console, log files and dashboards.

    Args:
        session: of the run.
        histogram_int: epochs from one histogram of weights and gradients to the next; None for none.

    Attributes:
        recent_returns: of the last 100 training episodes, oldest first.
        test_return: mean of the last test; None before the first one.
        best_return: mean of the best test; None before the first one.
        test_success: share of the last test's episodes that succeeded; None where the environment does not tell.
        tests_since_best: tests after the best one.
    """

    def __init__(self, session: Session, histogram_int: int | None):
        self._session, self._histogram_int, self._monitor = session, histogram_int, session.monitor
        self._ranks = session.ranks
        self._display = Display(session.console, is_quiet=session.args.quiet)
        self.recent_returns: deque[float] = deque(maxlen=_RECENT_EPISODES)
        self.test_return: float | None = None
        self.best_return: float | None = None
        self.test_success: float | None = None
        self.tests_since_best = 0
        self._is_tested = False  # since the last line of the console

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
        self.recent_returns.extend(episode.episode_return for episode in episodes)
        self._record("train", explorer, episodes)
        for path, value in explorer.metrics().items():
            self._monitor(path, value)
        recent, machine = list(self.recent_returns), self._session.logbook.machine
        self._display.cycle(epoch, explorer.frames, explorer.n_episode, recent, machine)

    def take_in(self, name: str, explorer: Explorer) -> None:
        """Take in the episodes that ended in a further explorer."""
        self._record(name, explorer, explorer.take_episodes())

    def test(self, explorer: Explorer) -> bool:
        """Take in the episodes of a test. Returns: True if it is the best one so far."""
        episodes = explorer.take_episodes()
        self._record("test", explorer, episodes)
        self.test_return, self._is_tested = fmean(episode.episode_return for episode in episodes), True
        successes = [episode.success for episode in episodes if episode.success is not None]
        self.test_success = fmean(successes) if successes else None
        is_best = self.best_return is None or self.test_return > self.best_return
        self.tests_since_best += 1
        if is_best:
            self.best_return, self.tests_since_best = self.test_return, 0
        return is_best

    def _record(self, mode: str, explorer: Explorer, episodes: Sequence[Episode]) -> None:
        if not self._ranks.is_first:
            return
        for episode in episodes:
            self._monitor(f"/return/{mode}", episode.episode_return)
            self._monitor(f"/length/{mode}", episode.length)
            for player, player_return in (episode.player_returns or {}).items():
                self._monitor(f"/return/{mode}/{player}", player_return)
            self._monitor.record(f"/info/{mode}", episode.infos)
            if episode.success is not None:
                self._monitor(f"/success/{mode}", episode.success)
            self._monitor.record(f"/success/{mode}", episode.player_successes or {})
        self._session.write_episodes(mode, episodes, explorer.info_names)

    def epoch(self, moment: Mapping[str, int], agents: Mapping[str, AgentBase]) -> None:
        """Show and write the figures of an epoch. Args: moment: from `Runner.moment`; agents: by name."""
        logbook, frames = self._session.logbook, moment["frame"]
        if self._ranks.size > 1:
            given = self._ranks.gather(None if self._ranks.is_first else self._monitor.give())
            if not self._ranks.is_first:
                return
            for each in given[1:]:
                self._monitor.take(each)
        self._monitor("/speed/frames_per_s", self._display.measure(frames))
        for recent_return in self.recent_returns:
            self._monitor("/return/recent", recent_return)
        figures = logbook.log_epoch()
        self._display.details(figures, self.best_return)
        recent = fmean(self.recent_returns) if self.recent_returns else None
        returns = {"recent return": recent, "test return": self.test_return if self._is_tested else None}
        self._is_tested = False
        self._display.epoch(moment["epoch"], frames, moment["episode"], returns)
        is_due = self._histogram_int is not None and moment["epoch"] % self._histogram_int == 0
        if is_due and logbook.has_dashboards:
            for agent in agents.values():
                logbook.show_histograms(agent.histograms(), frames)
        for listener in self._session.listeners:
            with left_as_it_was():  # what draws random numbers to look at a run would change it
                if listener(figures) is False:  # whoever asked for the figures wants no more
                    self._session.signals.ask("on_epoch")

    def hear_of_test(self, *, is_cut: bool) -> bool:
        """Learn from rank 0 what the test said. Args: is_cut: that was cut off. Returns: the same, of rank 0."""
        if self._ranks.size == 1:
            return is_cut
        names = ("test_return", "best_return", "test_success", "tests_since_best")
        is_cut, *figures = self._ranks.told_by_first([is_cut, *(getattr(self, name) for name in names)])
        for name, value in zip(names, figures, strict=True):
            setattr(self, name, value)
        return bool(is_cut)

    def forget(self) -> None:
        """Forget the returns so far, which say nothing of another environment: none of its tests was the best yet."""
        self.recent_returns.clear()
        self.test_return = self.best_return = self.test_success = None
        self.tests_since_best = 0

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs, as JSON values."""
        return {
            "recent_returns": list(self.recent_returns),
            "test_return": self.test_return,
            "best_return": self.best_return,
            "test_success": self.test_success,
            "tests_since_best": self.tests_since_best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off, without returns that are infinite or NaN.

        Nothing is ever better than those, and neither has a mean.
        """
        self.test_return, self.test_success = state["test_return"], state["test_success"]
        self.tests_since_best = int(state["tests_since_best"])
        self.best_return = state["best_return"] if is_finite(state["best_return"]) else None
        self.recent_returns.extend(filter(math.isfinite, state["recent_returns"]))
