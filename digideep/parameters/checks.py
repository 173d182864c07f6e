"""Checks of parameter values: one line that names the parameter, the value and what was expected."""

import math
from typing import Any

from digideep.utility.errors import UsageError

_SHOWN = 200  # characters of a value


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Refuse a parameter's value unless the condition holds."""
    if not condition:
        raise UsageError(f"{name} must be {expected}, got {shown(value)}.")


def require_int(name: str, value: Any, low: int = 0, high: int | None = None) -> None:
    """Refuse anything but an integer in [low, high]. Args: high: None for no limit."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    expected = f"an integer of at least {low}" if high is None else f"an integer in [{low}, {high}]"
    require(is_integer and low <= value and (high is None or value <= high), name, value, expected)


def require_counts(**values: int | None) -> None:
    """Refuse anything but integers of at least 1, and None. Args: values: by their names."""
    for name, value in values.items():
        if value is not None:
            require_int(name, value, 1)


def require_between(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse anything but a finite number in [low, high]."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    expected = f"a number in [{low:g}, {high:g}]" if math.isfinite(high) else f"a finite number of at least {low:g}"
    require(is_number and abs(value) < math.inf and low <= value <= high, name, value, expected)


def shown(value: Any) -> str:
    """Return a value as it stands in a message: on one line, and not too long."""
    try:
        text = "null" if value is None else " ".join(repr(value).split())
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        text = f"an integer of {value.bit_length()} bits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
