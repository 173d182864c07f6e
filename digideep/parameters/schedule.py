"""Values that change while training: functions of how much of the plan is done."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from digideep.parameters.checks import require, require_between, require_int
from digideep.parameters.component import Component, Description, build
from digideep.utility.errors import UsageError

CONTINUATIONS = ("stretch", "keep", "anew")  # what becomes of schedules when a plan changes
_SAMPLES = 100


class Schedule(Component):
    """A value that depends on the number of updates done; it has no state of its own.

    Attributes:
        planned: updates of the whole plan, in the unit in which the schedule counts; 0 where nobody has said.
    """

    planned = 0

    @abstractmethod
    def __call__(self, n_updates: int) -> float:
        """Return the value after `n_updates` updates."""
        raise NotImplementedError


class Linear(Schedule):
    """A straight line from `start` to `end`, flat afterwards.

    Args:
        start: value of the first update.
        end: value after the last one.
        duration: updates from one to the other; None for all of the plan, so that a longer plan has a longer line.
    """

    def __init__(self, *, start: float, end: float = 0.0, duration: int | None = None):
        require_between("start", start)
        require_between("end", end)
        if duration is not None:
            require_int("duration", duration, 1)
        self.start, self.end, self.duration = start, end, duration

    def __call__(self, n_updates: int) -> float:
        duration = self.duration or self.planned
        return self.start + (self.end - self.start) * min(n_updates / duration, 1.0) if duration else self.start


class Constant(Schedule):
    """The same value always."""

    def __init__(self, *, value: float):
        require_between("value", value)
        self.value = value

    def __call__(self, n_updates: int) -> float:
        return self.value


class Course:
    """A schedule on its way through a run's plan: it can begin anew, or be kept at a value, when the plan changes.

    Args:
        value: a number, or the description of a schedule.
        planned: updates of the whole plan, in the unit of the calls.
    """

    def __init__(self, value: float | Description, planned: int = 0):
        self.schedule: Schedule = build(value, Schedule) if isinstance(value, dict) else Constant(value=value)
        self.planned = planned
        self._place(0, None)

    def _place(self, begun_at: int, kept: float | None) -> None:
        self.begun_at, self.kept = begun_at, kept
        self.schedule.planned = self.planned - begun_at

    def __call__(self, n_updates: int) -> float:
        """Return the value after `n_updates` updates of the run."""
        return self.schedule(n_updates - self.begun_at) if self.kept is None else self.kept

    @property
    def is_constant(self) -> bool:
        """True if the value is a plain number."""
        return isinstance(self.schedule, Constant)

    def go_on(self, how: str, n_updates: int, planned_before: int) -> None:
        """Follow a plan that has changed.

        Args:
            how: "stretch": as if the new plan had been the plan from the start; "keep": at the value that was due next
                under the old plan; "anew": from its first value, over what is left of the new plan.
            n_updates: done so far.
            planned_before: updates of the whole old plan.
        """
        if how == "keep":
            self.schedule.planned = planned_before - self.begun_at
            self._place(self.begun_at, self(n_updates))
        else:
            self._place(n_updates if how == "anew" else 0, None)

    def describe(self, n_updates: int) -> str:
        """Say in words what the value is now, and at the end of the plan."""
        now, last = self(n_updates), self(max(self.planned, n_updates))
        return f"{now:.3g}" if now == last else f"{now:.3g} to {last:.3g}"

    def require_positive(self, name: str, n_updates: int) -> None:
        """Refuse a value that is 0 in all of what is left of the plan: nothing would be learned."""
        left = max(self.planned - n_updates, 1)
        if any(self(n_updates + left * sample // _SAMPLES) > 0 for sample in range(_SAMPLES)):
            return
        if self.is_constant or n_updates == 0:
            require(False, name, self(n_updates), "above 0, or nothing is learned")
        raise UsageError(
            f"{name} is 0 from here to the end of the plan, so that nothing would be learned. Resume with --schedules "
            "anew, or change it with --repeal."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return where it began, and what it is kept at."""
        return {"begun_at": self.begun_at, "kept": [] if self.kept is None else [self.kept]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._place(int(state["begun_at"]), float(state["kept"][0]) if state["kept"] else None)


# By name: a course, and what counts how far it is, in its own unit.
Schedules = dict[str, tuple[Course, Callable[[], int]]]
