"""What a compiler has read of a function's arguments and globals, by the paths that it gives them."""

import ast
import enum
import hashlib
import inspect
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_IMPORTED = "__import_"  # before the names of other modules in the compiler's names of their globals
_PLAIN = (type(None), bool, int, float, complex, str, bytes, set, frozenset, slice, range, enum.Enum, torch.dtype,
          torch.memory_format, torch.layout, torch.finfo, torch.iinfo,
          torch.device)  # fmt: skip

_MADE_LATER = {"__annotations__"}  # by Python, for who asks

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
    """Return what the compiler may have looked at in the value at each path, as far as paths can be followed.

    That is what `fact` says, and which of the values are the same object, or share their memory.
    """
    facts: dict[str, str] = {}
    first: dict[Any, str] = {}  # path of each object, and of each piece of memory
    found = list(_found(filter(can_change, paths), values))  # which keeps all alive, and so their identities apart
    for path, value in found:
        is_tensor = isinstance(value, Tensor)
        key = value.untyped_storage()._cdata if is_tensor else id(value)
        same = first.setdefault((is_tensor, key), path) if not isinstance(value, _PLAIN) else path
        facts[path] = fact(value)
        if same != path or is_tensor:
            facts[path] += f" in {same}" + (f" at {value.storage_offset()}" if is_tensor else "")
    return facts


def can_change(path: str) -> bool:
    """False if a path leads into torch, which is what its version says, or to global names of the compiler's own."""
    if path.startswith(("G['torch']", f"G['{_IMPORTED}torch")):
        return False
    return not path.startswith("G['__") or path.startswith(f"G['{_IMPORTED}")


def modules_at(paths: Iterable[str], values: Values) -> set[str]:
    """Return the modules whose functions and classes are at some paths: an object's class, and all that it inherits."""
    modules: set[str] = set()
    for _, value in _found(paths, values):
        kinds = (value if isinstance(value, type) else type(value)).__mro__
        modules.update(each.__module__ for each in ([value] if isinstance(value, FunctionType) else kinds))
    # The constructors of named tuples say that they are of a module of such a name.
    return {name for name in modules if not name.startswith("namedtuple_")}


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
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{getattr(named, '__module__', None)}.{named.__qualname__}"
    if isinstance(value, Mapping):
        return f"{name} {[_key(key) for key in value]}"
    if isinstance(value, tuple):  # the compiler checks some as a whole
        return f"{name} {[fact(each) for each in value]}"
    if isinstance(value, list):
        return f"{name} {len(value)}"
    if (code := getattr(value, "__code__", None)) is not None:  # of bound methods, too; many are called <lambda>
        return f"{name} {hashlib.sha256(repr(_code(code)).encode()).hexdigest()}"
    # What an object has of its own hides what its classes have, or adds to it; torch's keep caches there.
    kinds = [each for each in (value if isinstance(value, type) else type(value)).__mro__ if not _is_torchs(each)]
    is_open = hasattr(value, "__dict__") and (isinstance(value, nn.Module) or not _is_torchs(type(value)))
    own = sorted(vars(value)) if named is type(value) and is_open else []
    inherited = [(each.__module__, each.__qualname__, sorted(vars(each).keys() - _MADE_LATER)) for each in kinds]
    return f"{name} {own} {hashlib.sha256(repr(inherited).encode()).hexdigest()}"


def _is_torchs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return str([_key(each) for each in key])
    return repr(key) if isinstance(key, _PLAIN) else type(key).__name__


def _code(code: CodeType) -> list[Any]:
    """Return what a function does, functions within it included, but for where it stands."""
    constants = [_code(each) if isinstance(each, CodeType) else fact(each) for each in code.co_consts]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants]


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
