"""Text: made fit for a terminal, or read as JSON."""

import json
import math
from typing import Any

_LONGEST = 2_000  # characters of a message


def printable(text: str) -> str:
    """Return text on one line: what would move the cursor, or cannot be shown, is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def one_line(text: str) -> str:
    """Return a message on one line; of a very long one, head and tail."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 500]} [...] {text[-500:]}"


def parse_json(text: str, *, is_strict: bool = False) -> Any:
    """Return the value that JSON text stands for.

    Args:
        is_strict: refuse keys that are given twice, and NaN and infinity, which Python's reader takes.

    Raises:
        ValueError: if the text is no JSON, or nested too deeply.
    """
    hooks: dict[str, Any] = {"object_pairs_hook": _unique_keys, "parse_constant": _finite, "parse_float": _finite}
    try:
        return json.loads(text, **(hooks if is_strict else {}))
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value
