"""Values of parameters beside the annotations of constructors: what a file can say, and where null may stand."""

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np

from digideep.parameters.checks import shown
from digideep.utility.errors import UsageError

_DESCRIBED = "described component"
Description = Annotated[dict[str, Any], _DESCRIBED]

_LARGEST = 3.4028234e38  # of float32, which everything is computed in
_NAMES: dict[Any, tuple[str, str]] = {  # one, several
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    list: ("a list", "lists"),
    dict: ("an object", "objects"),
    type(None): ("null", "null"),
    type: ("a class", "classes"),
    _DESCRIBED: ('a described component such as {"class": ...}', "described components"),
}


def kind_name(kind: type) -> str:
    """Return what a person calls a type of values, with its article."""
    return _NAMES[kind][0] if kind in _NAMES else f"of type {kind.__name__}"


def is_described(value: Any) -> bool:
    """True if a value is the description of a component: it names its class."""
    return isinstance(value, Mapping) and "class" in value


def fit_value(name: str, value: Any, annotation: Any) -> Any:
    """Check a parameter's value against the annotation of its argument.

    None fits only where the annotation says so. Integers fit numbers, and tuples lists. What is annotated by anything
    but booleans, numbers, strings, lists, dictionaries, `Literal`, descriptions and None may be anything.

    Args:
        name: what to call the parameter.
        value: numpy's scalars count as Python's.
        annotation: such as `float | None`, `list[int]`, `float | Description`.

    Returns:
        The value; an integer where a number is expected as a float.

    Raises:
        UsageError: if it does not fit.
    """
    if isinstance(value, np.generic):
        value = value.item()
    options = _options(annotation)
    for option in options:
        if _is_one(value, option):
            return _fit_parts(name, value, option, options)
    raise UsageError(f"{name} must be {' or '.join(_name(each) for each in options)}, got {shown(value)}.")


def _options(annotation: Any) -> list[Any]:
    """Return the types that a value may have: those of a union, integers before numbers, null last."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return sorted(
        get_args(annotation) if is_union else [annotation], key=lambda each: (each is type(None), each is float)
    )


def _kind(option: Any) -> Any:
    """Return the key of `_NAMES` that an annotation stands for; None if there is none."""
    origin = get_origin(option) or option
    if origin is Annotated:
        return _DESCRIBED if _DESCRIBED in get_args(option) else _kind(get_args(option)[0])
    if origin in (list, tuple, Sequence):
        return list
    if origin in (dict, Mapping):
        return dict
    return origin if origin in (bool, int, float, str, type, type(None), Literal) else None


def _is_one(value: Any, option: Any) -> bool:
    """True if a value is of a type, its parts aside."""
    kind = _kind(option)
    if kind is Literal:
        return value in get_args(option)
    if kind is _DESCRIBED:
        return is_described(value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind is list:
        return isinstance(value, (list, tuple))
    return kind is None or isinstance(value, kind)


def _fit_parts(name: str, value: Any, option: Any, options: list[Any]) -> Any:
    """Check what a value of the right type consists of."""
    kind, parts = _kind(option), get_args(option)
    if kind is int and not -(2**63) <= value < 2**63:
        raise UsageError(f"{name} must be an integer of 64 bits, got {shown(value)}.")
    if kind is float:
        if not abs(value) <= _LARGEST:
            raise UsageError(f"{name} must be a finite number, at most {_LARGEST:.1e}, got {shown(value)}.")
        return float(value)
    if kind is list and parts:
        is_fixed = get_origin(option) is tuple and parts[-1] is not Ellipsis
        if is_fixed and len(parts) != len(value):
            raise UsageError(f"{name} must have {len(parts)} items, got {shown(value)}.")
        for index, item in enumerate(value):
            fit_value(f"{name}[{index}]", item, parts[index] if is_fixed else parts[0])
    if kind is dict and parts:
        for key, item in value.items():
            fit_value(f"{name}, each key", key, parts[0])
            fit_value(f"{name}['{key}']", item, parts[1])
    return value


def _name(option: Any, number: int = 0) -> str:
    """Return what a person calls a type. Args: number: 0 for one such value, 1 for several."""
    kind, parts = _kind(option), get_args(option)
    if kind is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if kind is None:
        return getattr(option, "__name__", str(option))
    inner = parts[-1] if kind in (list, dict) and parts and parts[-1] not in (Any, Ellipsis) else None
    if inner is None or len(_options(inner)) > 1:
        return _NAMES[kind][number]
    return f"{_NAMES[kind][number]} of {_name(inner, 1)}"
