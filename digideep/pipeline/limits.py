"""How long a run goes: what finishes it before its plan is met, and what stops one process of it."""

import math
from typing import Any, Protocol

from digideep.parameters.checks import require, require_between, require_counts
from digideep.pipeline.session import Session


class Tested(Protocol):
    """What is asked of the progress of a run; see `Progress`."""

    test_return: float | None
    test_success: float | None
    tests_since_best: int


class Limits:
    """What ends a run, or a process of it, besides its number of epochs; None everywhere is no limit.

    Args:
        target_return: mean return of a test that finishes the run.
        target_success: share of a test's episodes that succeed, in (0, 1], that finishes the run.
        patience: tests in a row without a better one, at least 1, that finish the run.
        is_tested: the run has tests at all.
        max_iter: epochs after which a process stops, at least 1.
        max_time: hours after which a process stops.

    Raises:
        UsageError: if a value is out of its range, or a goal is set and nothing is tested.
    """

    def __init__(
        self, target_return: float | None, target_success: float | None, patience: int | None, *, is_tested: bool,
        max_iter: int | None, max_time: float | None,
    ):  # fmt: skip
        if target_return is not None:
            require_between("target_return", target_return, -math.inf)
        if target_success is not None:
            require_between("target_success", target_success, 0, 1)
            require(target_success > 0, "target_success", target_success, "above 0, which every test reaches")
        require_counts(patience=patience, max_iter=max_iter)
        if max_time is not None:
            require_between("max_time", max_time)
        goals: dict[str, Any] = {"target_return": target_return, "target_success": target_success, "patience": patience}
        for name, value in goals.items():
            require(is_tested or value is None, name, value, "null where nothing is tested: set test_activate to true")
        self.target_return, self.target_success, self.patience = target_return, target_success, patience
        self.max_iter, self.max_time = max_iter, max_time

    def verdict(self, progress: Tested) -> str | None:
        """Return why the last test finishes the run; None if it does not."""
        found, success = progress.test_return, progress.test_success
        if self.target_return is not None and found is not None and found >= self.target_return:
            return f"a test returned {found:,.2f}, target_return is {self.target_return:,g}"
        if self.target_success is not None and success is not None and success >= self.target_success:
            return f"{success:.0%} of a test's episodes succeeded, target_success is {self.target_success:.0%}"
        if self.patience is not None and progress.tests_since_best >= self.patience:
            return f"no better test in {progress.tests_since_best}, patience is {self.patience}"
        return None

    def why_stop(self, first: int, epoch: int, session: Session) -> str | None:
        """Return why this process should stop; None if it should not. Args: first, epoch: done before it, and now."""
        last = session.args.stop_after
        if last is not None and epoch >= last:
            return f"--stop-after {last}"
        if self.max_iter is not None and epoch - first >= self.max_iter:
            return f"max_exec_iter of {self.max_iter} epochs is over"
        if self.max_time is not None and session.process_s >= self.max_time * 3600:
            return f"max_exec_time of {self.max_time:g} h is over"
        return session.signals.reason
