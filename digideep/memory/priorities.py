"""Prioritised replay: surprising transitions are drawn more often, at O(log n) a draw."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from digideep.memory.generic import SampledMemory
from digideep.memory.transitions import TransitionIndices, nothing_to_draw
from digideep.parameters.checks import require_between
from digideep.parameters.component import Component, Description
from digideep.parameters.schedule import Course, Schedules


class SumTree:
    """Sums a row of numbers by a binary tree in one array: changing one and finding a share cost O(log n).

    A parent is always the sum of its two children, never changed by a difference: so a tree depends on its leaves
    alone, and one that is built anew has the same bits.
    """

    def __init__(self, size: int):
        self.size = size
        self.num_leaves = 1 << max(size - 1, 1).bit_length()
        self.nodes = np.zeros(2 * self.num_leaves)  # node 1 is the root, the children of i are 2i and 2i + 1

    @property
    def leaves(self) -> np.ndarray:
        """A view of the numbers: float64 (size,). After changing it, call `build`."""
        return self.nodes[self.num_leaves : self.num_leaves + self.size]

    @property
    def total(self) -> float:
        """The sum of all numbers."""
        return float(self.nodes[1])

    def build(self) -> None:
        """Sum everything anew."""
        level = self.num_leaves
        while level > 1:
            children = self.nodes[level : 2 * level]
            self.nodes[level // 2 : level] = children[::2] + children[1::2]
            level //= 2

    def set(self, indices: np.ndarray, values: np.ndarray | float) -> None:
        """Change some numbers; of several values for one index, the last counts.

        Args:
            indices: int64, of any shape.
            values: float64, of the same shape; or one for all.
        """
        nodes = indices + self.num_leaves
        self.nodes[nodes] = values
        while nodes.item(0) > 1:
            nodes = np.unique(nodes // 2)
            self.nodes[nodes] = self.nodes[2 * nodes] + self.nodes[2 * nodes + 1]

    def find(self, shares: np.ndarray) -> np.ndarray:
        """Find where the running sum of the numbers passes each share.

        Args:
            shares: float64 (B,), in [0, total).

        Returns:
            int64 (B,), indices of numbers.
        """
        nodes = np.ones(len(shares), np.int64)
        rest = shares.copy()
        while nodes[0] < self.num_leaves:
            left = 2 * nodes
            # Never into an empty half: rounding may leave a rest as large as the sum.
            goes_right = (rest >= self.nodes[left]) & (self.nodes[left + 1] > 0)
            rest -= np.where(goes_right, self.nodes[left], 0)
            nodes = left + goes_right
        return nodes - self.num_leaves


class Priorities(Component):
    """Draws transitions in proportion to their last error, and weighs them so that the bias fades.

    New transitions get the largest priority so far, so that each is likely to be seen. Half-steps, and rows without a
    successor, have priority 0. Source: Schaul et al. 2016, arXiv:1511.05952, Section 3.3, proportional variant; Eq. 1
    and the weights of Section 3.4. Differs from the paper: weights are divided by the largest in the batch.

    Args:
        planned_draws: of the whole run.
        alpha: exponent of the errors, in [0, 1]; 0 draws uniformly. Usual: 0.5 to 0.7.
        beta: exponent of the weights, in [0, 1], a number or a schedule over draws. Usual: 0.4 rising to 1.
        eps: added to the errors, so that nothing is forgotten.
    """

    def __init__(
        self, planned_draws: int = 0, *, alpha: float = 0.6, beta: float | Description = 0.4, eps: float = 1e-6
    ):
        require_between("alpha", alpha, 0, 1)
        require_between("eps", eps, 1e-12)
        self.alpha, self.beta, self.eps = alpha, Course(beta, planned_draws), eps
        require_between("beta", self.beta(0), 0, 1)
        self._tree = SumTree(1)
        self._largest = 1.0
        self._n_chunks = self._n_draws = 0

    def _follow(self, memory: SampledMemory) -> None:
        """Take in what was stored since the last call."""
        ring, num_workers = memory.ring, memory.num_workers
        if self._tree.size != num_workers * ring.num_steps:
            self._tree = SumTree(num_workers * ring.num_steps)
        new = min(ring.n_chunks - self._n_chunks, len(ring)) * ring.chunk_sample_len
        self._n_chunks = ring.n_chunks
        if not new:
            return
        firsts = np.arange(num_workers)[:, None] * ring.num_steps  # of each worker's leaves
        rows = (ring.head - 1 - np.arange(new)) % ring.num_steps
        self._tree.set(firsts + rows, memory.buffer["/masks"][:, rows, 0] * self._largest)
        if ring.head < ring.num_steps:
            self._tree.set(firsts + ring.head, 0.0)
        if ring.num_incomplete:
            self._tree.set(firsts + (ring.oldest + np.arange(ring.num_incomplete)) % ring.num_steps, 0.0)

    def schedules(self) -> Schedules:
        """Return what changes along the plan: its course, and what counts how far that is."""
        return {"beta": (self.beta, lambda: self._n_draws)}

    def draw(self, memory: SampledMemory, info: Mapping[str, Any]) -> TransitionIndices:
        """Draw a transition from each of `info["batch_size"]` strata of equal priority: a unit like `draw_uniform`.

        Raises:
            RuntimeError: if no transition can be found.
        """
        self._follow(memory)
        size, tree, ring = info["batch_size"], self._tree, memory.ring
        if not tree.total:
            raise nothing_to_draw(ring)
        shares = (np.arange(size) + info["generator"].random(size)) * (tree.total / size)
        leaves = tree.find(shares)
        chances = tree.leaves[leaves] / tree.total * memory.num_workers * ring.num_starts
        weights = chances ** -self.beta(self._n_draws)
        self._n_draws += 1
        workers, rows = np.divmod(leaves, ring.num_steps)
        return TransitionIndices(memory, workers, rows, (weights / weights.max()).astype(np.float32))

    def update(self, indices: TransitionIndices, errors: np.ndarray) -> None:
        """Learn the errors of transitions that were drawn. Args: errors: float32 (B,), absolute."""
        priorities = (errors.astype(np.float64) + self.eps) ** self.alpha
        self._largest = max(self._largest, float(priorities.max()))
        self._tree.set(indices.workers * indices.memory.ring.num_steps + indices.rows, priorities)

    def state_dict(self) -> dict[str, Any]:
        """Return all priorities: 8 bytes for each step that the memory can hold, in every checkpoint."""
        return {
            "leaves": self._tree.leaves, "size": self._tree.size, "largest": self._largest,
            "n_chunks": self._n_chunks, "n_draws": self._n_draws,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._tree = SumTree(state["size"])
        self._tree.leaves[:] = state["leaves"]
        self._tree.build()
        self._largest, self._n_chunks, self._n_draws = state["largest"], state["n_chunks"], state["n_draws"]
