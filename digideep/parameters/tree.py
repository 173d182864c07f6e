"""The parameter tree on its way to and from files: classes become dotted names, paths address values.

On disk a tree consists of dictionaries, lists, strings, numbers, booleans and null. A dictionary with the key "class"
describes a component.
"""

from pathlib import Path
from typing import Any

import yaml

from digideep.parameters.control_panel import checked_value
from digideep.utility.component import check_parameters, dotted_name, resolve
from digideep.utility.errors import UsageError
from digideep.utility.suggest import did_you_mean

Tree = dict[str, Any]


def to_plain(tree: Any, path: str = "") -> Any:
    """A copy with classes as dotted names, tuples as lists.

    Raises:
        UsageError: for a value that has no place in a file, naming its path.
    """
    if isinstance(tree, dict):
        return {str(key): to_plain(value, f"{path}/{key}") for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(value, f"{path}/{index}") for index, value in enumerate(tree)]
    if isinstance(tree, type):
        return dotted_name(tree)
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise UsageError(f"{path} is {tree!r}: expected numbers, strings, lists, dictionaries or described components.")


def from_plain(plain: Any) -> Any:
    """The tree with the classes that are named under "class" keys, each checked against its parameters.

    Raises:
        UsageError: if a name is no component, or the parameters do not fit it.
    """
    if isinstance(plain, dict):
        tree = {key: from_plain(value) for key, value in plain.items() if key != "class"}
        if "class" not in plain:
            return tree
        cls = resolve(plain["class"])
        check_parameters(cls, tree)
        return {"class": cls, **tree}
    if isinstance(plain, list):
        return [from_plain(value) for value in plain]
    return plain


def override_tree(plain: Tree, overrides: dict[str, Any]) -> Tree:
    """A copy of a plain tree with the values at some paths replaced.

    Args:
        plain: from `to_plain`.
        overrides: path such as "/runner/save_int" -> value.

    Raises:
        UsageError: for a path that is not there, or a value of another type.
    """
    changed = to_plain(plain)
    for path, value in overrides.items():
        if not path.startswith("/") or path == "/":
            raise UsageError(f"--repeal '{path}' is no path. Expected one such as /runner/save_int.")
        *parents, last = path.strip("/").split("/")
        node: Any = changed
        for depth, key in enumerate([*parents, last]):
            known = (
                node
                if isinstance(node, dict)
                else {str(i): None for i in range(len(node) if isinstance(node, list) else 0)}
            )
            if key not in known:
                here = "/" + "/".join(parents[:depth])
                raise UsageError(f"--repeal '{path}': there is no '{key}' under '{here}'. {did_you_mean(key, known)}")
            if depth < len(parents):
                node = node[key] if isinstance(node, dict) else node[int(key)]
        slot: Any = last if isinstance(node, dict) else int(last)
        node[slot] = to_plain(checked_value(f"--repeal '{path}'", value, node[slot]), path)
    return changed


def dump_yaml(plain: Tree, path: Path) -> None:
    """Write a plain tree as safe YAML, in its own order."""
    path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
