"""What a compiler has read of a function's arguments and globals, by the paths that it gives them."""

import ast
import enum
import hashlib
import inspect
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_IMPORTED = "__import_"  # before the names of other modules in the compiler's names of their globals
_PLAIN = (type(None), bool, int, float, complex, str, bytes, set, frozenset, slice, range, enum.Enum, torch.dtype,
          torch.device)  # fmt: skip

_CALLS: dict[str, Callable[[Any], Any]] = {"type": type, "dict": dict}  # dict(type(self).__dict__)['rate']

Values = Mapping[str, Any]  # arguments by name, and "G", the globals


def arranger(function: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Values]:
    """Return what gives the arguments of a call by name. Args: function: with positional parameters."""
    variable = inspect.Parameter.VAR_POSITIONAL
    parameters = list(inspect.signature(function).parameters.values())
    names = [each.name for each in parameters if each.kind is not variable]
    rest = next((each.name for each in parameters if each.kind is variable), None)
    global_names = _Globals(function)

    def arrange(args: tuple[Any, ...]) -> Values:
        values = dict(zip(names, args, strict=False))
        if rest is not None:
            values[rest] = args[len(names) :]
        values["G"] = global_names
        return values

    return arrange


class _Globals:
    """Global names as the compiler writes them: of the function's module, or behind another module's name."""

    def __init__(self, function: Callable[..., Any]):
        self._own = getattr(function, "__globals__", {})

    def __getitem__(self, name: str) -> Any:
        if name.startswith(_IMPORTED):
            return sys.modules[name.removeprefix(_IMPORTED).replace("_dot_", ".")]
        return self._own[name]


def getter(path: str) -> Callable[[Values], Any]:
    """Return what gets the value at a path, such as self.critic_step.state['mean'].

    Raises:
        LookupError, SyntaxError: for a path that has more in it than names, attributes, items and those of classes.
    """
    steps: list[Callable[[Any], Any]] = []
    node = ast.parse(path, mode="eval").body
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            steps.append(operator.attrgetter(node.attr))
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            steps.append(operator.itemgetter(node.slice.value))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _CALLS and len(node.args) == 1:
            steps.append(_CALLS[ast.unparse(node.func)])
        else:
            raise LookupError(path)
        node = node.args[0] if isinstance(node, ast.Call) else node.value
    if node.id != "L":  # which is what the compiler calls all arguments in some places
        steps.append(operator.itemgetter(node.id))
    steps.reverse()

    def get(values: Values) -> Any:
        value: Any = values
        for step in steps:
            value = step(value)
        return value

    return get


def facts_at(paths: Iterable[str], values: Values) -> dict[str, str]:
    """Return what the compiler may have looked at in the value at each path, as far as paths can be followed."""
    return {path: fact(value) for path, value in _found(filter(can_change, paths), values)}


def can_change(path: str) -> bool:
    """False if a path leads into torch, which is what its version says, or to global names of the compiler's own."""
    if path.startswith(("G['torch']", f"G['{_IMPORTED}torch")):
        return False
    return not path.startswith("G['__") or path.startswith(f"G['{_IMPORTED}")


def without_source(paths: Iterable[str], values: Values) -> set[str]:
    """Return the modules without a file whose functions and classes are at some paths, base classes included.

    Of them nobody can say later whether they have changed: what is written in a notebook, or into Python itself.
    """
    modules: set[str] = set()
    for _, value in _found(paths, values):
        kinds = (value if isinstance(value, type) else type(value)).__mro__
        written = [each for each in kinds if any(isinstance(own, FunctionType) for own in vars(each).values())]
        modules.update(each.__module__ for each in ([value] if isinstance(value, FunctionType) else written))
    return {name for name in modules if not _has_source(name)}


def _has_source(name: str) -> bool:
    # The constructors of named tuples say that they are of a module "namedtuple_...".
    return getattr(sys.modules.get(name), "__file__", None) is not None or name.startswith("namedtuple_")


def _found(paths: Iterable[str], values: Values) -> Iterable[tuple[str, Any]]:
    for path in paths:
        try:
            yield path, getter(path)(values)
        except (SyntaxError, LookupError, AttributeError, TypeError):
            continue


def fact(value: Any) -> str:
    """Describe a value by all that code could depend on in it, but for what it holds: that has paths of its own."""
    if isinstance(value, Tensor):
        kind = (tuple(value.shape), value.stride(), value.dtype, value.device, value.requires_grad)
        return f"{type(value).__name__} {kind}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else value!r}"
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{getattr(named, '__module__', None)}.{named.__qualname__}"
    if isinstance(value, Mapping):
        return f"{name} {[key if isinstance(key, (str, int)) else type(key).__name__ for key in value]}"
    if isinstance(value, (list, tuple)):
        return f"{name} {len(value)}"
    own = vars(value) if named is type(value) and hasattr(value, "__dict__") else {}
    # A method that an object has of its own hides that of its class.
    return f"{name} {sorted(key for key, each in own.items() if callable(each) and not isinstance(each, nn.Module))}"


def signature(value: Any) -> Any:
    """Return what a compiled function depends on in its arguments: kinds of tensors, and values of flags."""
    if isinstance(value, (tuple, list)):
        return [signature(each) for each in value]
    if isinstance(value, dict):
        return [(key, signature(each)) for key, each in value.items()]
    return fact(value)


def holdings(paths: Iterable[str], values: Values) -> list[dict[Any, Any]]:
    """Return what the objects at some paths hold, to see by `are_same` whether a function puts anything else there."""
    held = []
    for _, value in _found(paths, values):
        if not isinstance(value, (ModuleType, FunctionType, type)):
            inside: Any = vars(value) if hasattr(value, "__dict__") else value
            if isinstance(inside, list):
                inside = dict(enumerate(inside))
            held.append(dict(inside) if isinstance(inside, dict) else {})
    return held


def are_same(before: list[dict[Any, Any]], after: list[dict[Any, Any]]) -> bool:
    """True if all objects hold the same, not only equal, things."""
    keys_are_same = [old.keys() for old in before] == [new.keys() for new in after]
    return keys_are_same and all(
        new[key] is each for old, new in zip(before, after, strict=True) for key, each in old.items()
    )
