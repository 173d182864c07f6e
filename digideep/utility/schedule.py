"""Values that change while training: pure functions of the number of updates done."""

from digideep.utility.checks import require_between, require_int
from digideep.utility.component import Component, Description, build


class Schedule(Component):
    """A value that depends on the number of updates done; it has no state of its own, so resuming needs none."""

    def __call__(self, n_updates: int) -> float:
        """The value after `n_updates` updates."""
        raise NotImplementedError


class Linear(Schedule):
    """A straight line from `start` to `end`, flat after `duration` updates."""

    def __init__(self, *, start: float, end: float = 0.0, duration: int):
        require_between("start", start)
        require_between("end", end)
        require_int("duration", duration, 1)
        self.start, self.end, self.duration = start, end, duration

    def __call__(self, n_updates: int) -> float:
        return self.start + (self.end - self.start) * min(n_updates / self.duration, 1.0)


class Constant(Schedule):
    """The same value always."""

    def __init__(self, *, value: float):
        require_between("value", value)
        self.value = value

    def __call__(self, n_updates: int) -> float:
        return self.value


def as_schedule(value: float | Description) -> Schedule:
    """A schedule from a parameter that is either a number or the description of a schedule."""
    return build(value, Schedule) if isinstance(value, dict) else Constant(value=value)
