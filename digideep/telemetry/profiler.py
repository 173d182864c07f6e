"""The Profiler: where the time goes, as a tree of nested `with profiler("name")` blocks."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

from digideep.utility.files import append_json


class Node:
    """One block of the tree; entering it starts the clock, leaving it adds up."""

    def __init__(self, profiler: "Profiler", parent: "Node | None", path: str):
        self.profiler, self.parent, self.path = profiler, parent, path
        self.depth: int = 0 if parent is None else parent.depth + 1  # a name may hold slashes
        self.children: dict[str, Node] = {}
        self.occurs, self.total_s, self._start = 0, 0.0, 0.0

    def __enter__(self) -> "Node":
        self.profiler.current = self
        self._start = perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.total_s += perf_counter() - self._start
        self.occurs += 1
        assert self.parent is not None
        self.profiler.current = self.parent


class Profiler:
    """Times nested blocks. Those within more than `level` - 1 others are not timed: 0 times none, None all."""

    def __init__(self, level: int | None = None):
        self.level = level
        self.root = self.current = Node(self, None, "")

    def __call__(self, name: str) -> AbstractContextManager[Any]:
        """Return the block of that name below the block that is being timed."""
        node = self.current.children.get(name)
        if node is None:
            if self.level is not None and self.current.depth >= self.level:
                return nullcontext()
            node = self.current.children[name] = Node(self, self.current, f"{self.current.path}/{name}")
        return node

    def _nodes(self) -> Iterator[Node]:
        """Yield all blocks, parents before children."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children.values()))

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Return `{path: {"starts": None, "occurs": count, "totals": seconds}}`, parents before children."""
        return {
            node.path: {"starts": None, "occurs": node.occurs, "totals": node.total_s}
            for node in self._nodes()
            if node.occurs
        }

    def dump(self, path: Path | None, meta: dict[str, int]) -> dict[str, dict[str, float | None]]:
        """Append the figures since the last dump to `prolog.json` as one line, and start anew."""
        figures = self.figures()
        append_json(path, [{"meta": meta, "data": figures}] if figures else [])
        for node in self._nodes():
            node.occurs, node.total_s = 0, 0.0
        return figures
