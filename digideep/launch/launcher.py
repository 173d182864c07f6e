"""Keep an engine busy until nothing is left to do: start, wait, retry."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from digideep.launch.engine import Ended, Engine, Job
from digideep.launch.plan import Length
from digideep.pipeline.session_directory import is_held
from digideep.pipeline.stop_signals import STOPPED
from digideep.utility.errors import UsageError
from digideep.utility.own_files import DONE
from digideep.utility.text import one_line

WAITING, RUNNING, ELSEWHERE, FINISHED, STOPPED_EARLY, FAILED = (
    "waiting", "running", "elsewhere", "done", "stopped", "failed",
)  # fmt: skip
_REFUSED, _DONE_BEFORE, _TERMINATED = 2, 3, -15
_WAIT_S = 0.5
# What a session is refused with while another process has it, or has just made it: it may be waited for.
_IS_BUSY = re.compile("is in use by a running process|is being made by another process|exists already")


@dataclass
class RunState:
    """What has become of a run.

    Attributes:
        job: its session, and how it begins.
        length: how long it is; None where that is not known.
        state: "waiting", "running", "elsewhere" (another process has its session), "done", "stopped" or "failed".
        reason: why it failed, the last time.
        failures: how often that was, since the launcher began.
    """

    job: Job
    length: Length | None = None
    state: str = WAITING
    reason: str = ""
    failures: int = 0

    def look(self) -> None:
        """Find out what its session is, unless it runs or ran here."""
        if self.state in (WAITING, ELSEWHERE):
            is_busy = is_held(self.job.session)
            self.state = ELSEWHERE if is_busy else FINISHED if (self.job.session / DONE).exists() else WAITING


class Launcher:
    """Runs jobs in their order, as many at once as the engine has places.

    A job that fails is tried again at most `retries` times, after the others; one that was refused is not. What another
    process holds is waited for. Nothing here decides a run's numbers.

    Args:
        runs: in their order.
        engine: where they run.
        retries: of each job.
        should_stop: asked twice a second; anything true stops all jobs, each with a checkpoint.
        show: called twice a second, to show how the runs are.
    """

    def __init__(
        self, runs: Sequence[RunState], engine: Engine, *, retries: int = 0,
        should_stop: Callable[[], Any] = bool, show: Callable[[], None] = lambda: None,
    ):  # fmt: skip
        self.runs, self._queue, self._engine = list(runs), list(runs), engine
        self._retries, self._should_stop, self._show = retries, should_stop, show

    def run(self) -> None:
        """Run until nothing is left to do, or a stop is asked for. No job runs any more then, whatever happens."""
        try:
            while True:
                self._fill()
                self._show()
                if self._should_stop() or not any(run.state in (WAITING, RUNNING, ELSEWHERE) for run in self.runs):
                    break
                self._settle(self._engine.wait(_WAIT_S))
        finally:
            self._settle(self._engine.stop())
            self._show()

    def _fill(self) -> None:
        """Start what may be started, in places that are free."""
        for run in list(self._queue):
            has_place = self._engine.free > 0 and not self._should_stop()
            if has_place or run.state == ELSEWHERE:
                run.look()
            if has_place and run.state == WAITING:
                run.state = RUNNING
                try:
                    self._engine.start(run.job)
                except (OSError, UsageError) as err:  # a full disk, a file in the way
                    self._settle([Ended(run.job, _REFUSED, one_line(str(err)))])
            if run.state not in (WAITING, ELSEWHERE):
                self._queue.remove(run)

    def _settle(self, ended: Sequence[Ended]) -> None:
        """Take note of jobs that have ended."""
        for job, code, reason in ended:
            run = next(run for run in self.runs if run.job == job)
            is_busy = code == _REFUSED and _IS_BUSY.search(reason) is not None and job.may_begin()
            run.failures += code not in (0, _DONE_BEFORE, STOPPED, _TERMINATED) and not is_busy
            run.reason = reason if run.failures and not is_busy else ""
            if code in (0, _DONE_BEFORE):
                run.state = FINISHED
            elif code in (STOPPED, _TERMINATED):
                run.state = STOPPED_EARLY
            elif is_busy or (code != _REFUSED and run.failures <= self._retries):
                run.state = WAITING
                self._queue.append(run)
            else:
                run.state = FAILED
