"""Nested dictionaries and lists by path."""

from collections.abc import Callable
from typing import Any


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
