"""Checks of parameter values: one line that names the parameter, the value and what was expected."""

import math
from typing import Any

from digideep.utility.errors import UsageError


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Refuse a parameter's value unless the condition holds.

    Raises:
        UsageError: if it does not.
    """
    if not condition:
        raise UsageError(f"{name} must be {expected}, got {value!r}.")


def require_int(name: str, value: Any, low: int = 0) -> None:
    """Refuse anything but an integer of at least `low`."""
    require(
        isinstance(value, int) and not isinstance(value, bool) and value >= low,
        name,
        value,
        f"an integer of at least {low}",
    )


def require_between(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse anything but a finite number in [low, high]."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    expected = f"a number in [{low:g}, {high:g}]" if math.isfinite(high) else f"a finite number of at least {low:g}"
    require(is_number and math.isfinite(value) and low <= value <= high, name, value, expected)
