"""The parameter tree on its way to and from files: classes become dotted names, paths address values.

On disk a tree consists of dictionaries, lists, strings, numbers, booleans and null. A dictionary with the key "class"
describes a component.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from digideep.parameters.checks import shown
from digideep.parameters.component import ENABLED, check_parameters, dotted_name, parameters_of, resolve
from digideep.parameters.schedule import Schedule
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.values import is_described, kind_name
from digideep.utility.errors import UsageError

_MAX_DEPTH = 40  # of a tree: more is a mistake, or goes round in circles

Tree = dict[str, Any]


def to_plain(tree: Any, path: str = "", depth: int = 0) -> Any:
    """Return a copy with classes as dotted names, tuples as lists, numpy's numbers as Python's.

    Raises:
        UsageError: for a value that has no place in a file, naming its path.
    """
    if depth > _MAX_DEPTH:
        raise UsageError(f"{path[:40]}... is nested more than {_MAX_DEPTH} levels deep. Make it flatter.")
    if isinstance(tree, dict):
        return {_plain_key(key, path): to_plain(value, f"{path}/{key}", depth + 1) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(value, f"{path}/{index}", depth + 1) for index, value in enumerate(tree)]
    if isinstance(tree, type):
        return dotted_name(tree)
    value = tree.item() if isinstance(tree, np.generic) else tree
    if type(value) is str:
        return _plain_string(value, path)
    if value is None or type(value) in (bool, int, float):
        return value
    raise UsageError(
        f"{path} is {shown(tree)}: expected numbers, strings, lists, dictionaries or described components, not "
        f"{type(tree).__module__}.{type(tree).__qualname__}."
    )


def _plain_key(key: Any, path: str) -> str:
    if type(key) is not str:
        raise UsageError(f"{path} has the key {shown(key)}: keys must be strings.")
    return _plain_string(key, path)


def _plain_string(text: str, path: str) -> str:
    """Return a string if it can be written to a file, which half of a pair of surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path} holds {shown(text)}, which is no text: it cannot be encoded.") from None
    return text


def from_plain(plain: Any) -> Any:
    """Return the tree with the classes that its "class" keys name, each checked against its parameters.

    Raises:
        UsageError: if a name is no component, or the parameters do not fit it.
    """
    if isinstance(plain, dict):
        tree = {key: from_plain(value) for key, value in plain.items() if key != "class"}
        if "class" not in plain:
            return tree
        cls = resolve(plain["class"])
        is_stacked = ENABLED in tree and ENABLED not in parameters_of(cls)
        check_parameters(cls, {key: value for key, value in tree.items() if key != ENABLED} if is_stacked else tree)
        return {"class": cls, **tree}
    if isinstance(plain, list):
        return [from_plain(value) for value in plain]
    return plain


def override_tree(plain: Tree, overrides: dict[str, Any]) -> Tree:
    """Return a copy of a plain tree with the values at some paths replaced.

    A path leads to any parameter of a described component, also to one that the tree leaves at its default.

    Args:
        plain: from `to_plain`.
        overrides: path such as "/runner/save_int" -> value.

    Raises:
        UsageError: for a path that is not there, or a value of another type.
    """
    changed: Tree = to_plain(plain)
    for path, value in overrides.items():
        if not path.startswith("/") or not path.strip("/"):
            raise UsageError(f"--repeal '{path}' is no path. Expected one such as /runner/save_int.")
        *parents, last = path.strip("/").split("/")
        node, here = changed, ""
        for key in parents:
            node = node[_slot(path, here, node, key, must_exist=True)]
            here += f"/{key}"
        slot = _slot(path, here, node, last)
        node[slot] = to_plain(_checked(f"--repeal '{path}'", node, slot, value), path)
    return changed


def _slot(path: str, here: str, node: Any, key: str, *, must_exist: bool = False) -> Any:
    """Return the key or index of a part of a node. Args: here: the node's path. must_exist: it stands in the tree."""
    known: dict[str, Any]
    if isinstance(node, list):
        known = {str(index): index for index in range(len(node))}
    else:
        known = {name: name for name in node} if isinstance(node, dict) else {}
    if key in known:
        return known[key]
    settable = parameters_of(resolve(node["class"])) if is_described(node) else {}
    if must_exist and key in settable:
        raise UsageError(f"--repeal '{path}': '{key}' under '{here}' is at its default. Replace it as a whole.")
    if key not in settable:
        known |= {name: name for name in settable}
        raise UsageError(f"--repeal '{path}': there is no '{key}' under '{here or '/'}'. {did_you_mean(key, known)}")
    return key


def _checked(name: str, node: Any, slot: Any, value: Any) -> Any:
    """Check a value for a part of a node: by the component's constructor, or else by the value that is there."""
    # The class itself may be one that cannot be found any more: then there are no parameters to ask for.
    if is_described(node) and slot != "class" and slot in (settable := parameters_of(resolve(node["class"]))):
        return settable[slot].fit(name, value)
    return like(name, value, node[slot])


def like(name: str, value: Any, current: Any) -> Any:
    """Check a value that takes the place of another one of the same type, and return it.

    An integer may stand for a float, anything for None, None for a number: the component that gets it decides.

    Raises:
        UsageError: if the types differ.
    """
    is_number = type(current) in (int, float)
    if current is None or (value is None and is_number):
        return value
    if is_described(current) and not is_described(value):
        cls = resolve(current["class"]) if isinstance(current["class"], str) else current["class"]
        if type(value) in (int, float) and issubclass(cls, Schedule):
            return value
        raise UsageError(f'{name} must be a described component such as {{"class": ...}}, got {shown(value)}.')
    if type(current) is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    expected = list if isinstance(current, (list, tuple)) else str if isinstance(current, type) else type(current)
    if type(value) is not expected and not (expected is list and type(value) is tuple):
        raise UsageError(f"{name} must be {kind_name(expected)}, got {shown(value)}.")
    return tuple(value) if type(current) is tuple else value


def leaves(
    tree: Any, path: str = "", *, opens: Callable[[Any], bool] = lambda node: isinstance(node, dict)
) -> dict[str, Any]:
    """Return the values of a nested tree by path, such as "/runner/seed".

    Args:
        path: of the tree itself.
        opens: True for the dictionaries and lists that are looked into. Empty ones are values.
    """
    if not isinstance(tree, (dict, list)) or not tree or not opens(tree):
        return {path: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {p: leaf for key, value in items for p, leaf in leaves(value, f"{path}/{key}", opens=opens).items()}


def dump_yaml(plain: Tree, path: Path) -> None:
    """Write a plain tree as safe YAML, in its own order."""
    path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
