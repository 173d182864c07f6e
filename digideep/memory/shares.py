"""Which share of each batch comes from which memory: whole rows, whose sums over a run are exact."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from digideep.memory.generic import MAIN, SampledMemory
from digideep.memory.ring import Ring
from digideep.parameters.checks import require, require_between
from digideep.parameters.component import Description
from digideep.parameters.schedule import Course, Schedules
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

_FINEST = 1_000_000  # a number is taken for the nearest fraction with at most this denominator
_UNITS = 1_000_000_000  # values of a schedule are rounded to these parts of 1, so that sums of them stay small
_SAMPLES = 100


class Shares:
    """Splits batches among memories. The main one gives the rows that the shares of the others leave.

    What a share lacks of a whole row is carried to the next batch, in fractions: so after any number of batches a
    memory has given its shares' sum of rows, rounded down. With several shares, one that finds no room in a batch waits
    for the next. A memory in which nothing can be drawn yet gives nothing, and nothing is owed to it.

    Args:
        shares: name of a memory -> number in [0, 1], or a schedule over batches; together at most 1.
        memories: of the run, by name.
        planned_draws: batches of the whole run.

    Raises:
        UsageError: for a name that is none of the further memories, and for shares outside [0, 1].
    """

    def __init__(
        self, shares: Mapping[str, float | Description], memories: Mapping[str, SampledMemory], planned_draws: int = 0
    ):
        further = [name for name in memories if name != MAIN]
        for name, value in shares.items():
            if name == MAIN:
                raise UsageError(f"shares names '{MAIN}', which gives what the others leave. Leave it out.")
            if name not in further:
                raise UsageError(f"shares names a memory '{name}' that there is not. {did_you_mean(name, further)}")
            if not isinstance(value, dict):
                require_between(f"shares['{name}']", value, 0, 1)
        self._memories, self._n_draws = memories, 0
        self._courses = {name: Course(value, planned_draws) for name, value in shares.items()}
        self._carried = dict.fromkeys(shares, Fraction(0))
        for sample in range(_SAMPLES + 1):
            self._require_at(planned_draws * sample // _SAMPLES)

    def _require_at(self, n_draws: int) -> None:
        """Refuse shares that are none after so many batches."""
        values = {name: course(n_draws) for name, course in self._courses.items()}
        for name, value in values.items():
            require(
                0 <= value <= 1, f"shares['{name}']", value, f"in [0, 1] at all times, also after {n_draws} batches"
            )
        together = sum(values.values())
        require(
            together <= 1 + 1 / _UNITS,
            "shares",
            values,
            f"at most 1 together, and after {n_draws} batches they are not",
        )

    def split(self, batch_size: int) -> dict[str, int]:
        """Return how many rows of the next batch each memory gives, the main one first."""
        rows, room = {}, batch_size
        for name, course in self._courses.items():
            if not can_be_drawn(self._memories[name].ring):
                continue
            share = course(self._n_draws)
            require(0 <= share <= 1, f"shares['{name}']", share, "in [0, 1]")
            due = self._carried[name] + _exact(share, course.is_constant) * batch_size
            rows[name] = min(int(due), room)
            self._carried[name] = due - rows[name]
            room -= rows[name]
        self._n_draws += 1
        return {MAIN: room, **rows}

    def schedules(self) -> Schedules:
        """Return what changes along the plan: by name, its course, and what counts how far that is."""
        return {f"share_{name}": (course, lambda: self._n_draws) for name, course in self._courses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches, and what is carried of each share."""
        carried = {name: [each.numerator, each.denominator] for name, each in self._carried.items()}
        return {"n_draws": self._n_draws, "carried": carried}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off; a share that is new owes nothing."""
        self._n_draws = int(state["n_draws"])
        self._carried = {name: Fraction(*state["carried"].get(name, (0, 1))) for name in self._carried}


@lru_cache(maxsize=8)
def _exact(share: float, is_constant: bool) -> Fraction:
    return Fraction(share).limit_denominator(_FINEST) if is_constant else Fraction(round(share * _UNITS), _UNITS)


def can_be_drawn(ring: Ring) -> bool:
    """True if there are rows in which a transition may start."""
    return ring.num_starts > ring.num_incomplete
