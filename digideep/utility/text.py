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
        is_strict: refuse keys that are given twice, and NaN and infinity, which Python's reader takes. Hints of the
            digideep of 2019 are read: {"__tuple__": true, "items": [...]} is a tuple, and with "__numpy__" the items
            themselves, a number or a list.

    Raises:
        ValueError: if the text is no JSON, or nested too deeply.
    """
    hooks: dict[str, Any] = {"object_pairs_hook": _read_object, "parse_constant": _finite, "parse_float": _finite}
    try:
        return json.loads(text, **(hooks if is_strict else {}))
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err


def _read_object(pairs: list[tuple[str, Any]]) -> Any:
    value = _unique_keys(pairs)
    hint = next(iter({"__tuple__", "__numpy__"} & set(value)), None)
    if hint is None:
        return value
    if set(value) != {hint, "items"} or value[hint] is not True or isinstance(value["items"], dict):
        raise ValueError(f'with {hint} expected {{"{hint}": true, "items": [...]}}')
    if hint == "__numpy__":
        return value["items"]
    if not isinstance(value["items"], list):
        raise ValueError(f"items of a {hint} must be a list")
    return tuple(value["items"])


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
