"""A chunk as tensors, and minibatches of its rows."""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from digideep.policy.observations import Observations, gather


class Trajectories(NamedTuple):
    """A chunk as tensors, its rows flattened to B = N * (T + 1)."""

    observations: Observations  # float32 (B, D), or path -> (B, ...)
    actions: Tensor  # int64 (B,) or (B, A), or float32 (B, A)
    log_p: Tensor  # float32 (B,), of the action when it was chosen
    values: Tensor  # float32 (B,), before the update
    advantages: Tensor  # float32 (B,)
    returns: Tensor  # float32 (B,), targets of the value function
    allowed: Tensor | None = None  # bool (B, choices), the action mask, if it is in use
    # Of recurrent policies only:
    states: Tensor | None = None  # float32 (B, H), the hidden state before the row
    masks: Tensor | None = None  # bool (B,), True where a transition starts

    def take(self, rows: Tensor) -> "Trajectories":
        """Return some of the rows. Args: rows: int64 (M,)."""
        others: list[Any] = [None if each is None else each[rows] for each in self[1:]]
        return Trajectories(gather(self.observations, rows), *others)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` (B,) over the rows where a transition starts."""
        if self.masks is None:
            return values.mean()
        return (values * (self.masks / self.masks.sum().clamp(min=1))).sum()

    def standard_deviation(self, values: Tensor) -> Tensor:
        """Return that of a sample, over the same rows as `mean`: divided by one less than their number."""
        if self.masks is None:
            return values.std()
        deviations = (values - self.mean(values)) * self.masks
        return (deviations.square().sum() / (self.masks.sum() - 1).clamp(min=1)).sqrt()


def shuffled_minibatches(
    rows: np.ndarray, size: int, generator: np.random.Generator, number: int | None = None
) -> np.ndarray:
    """Cut a random permutation of rows or sequences into minibatches.

    Every row comes once; only the last minibatches are filled up with rows from the start of the permutation, so that
    all have one shape and one compiled function serves them.

    Args:
        rows: int64 (M,), or (M, L) for sequences; M at least 1.
        size: rows of a minibatch.
        generator: owned by the caller.
        number: of minibatches, at least ceil(M / size); None for that.

    Returns:
        int64 (number, size), or (number, size, L).
    """
    order = generator.permutation(rows)
    return np.resize(order, (number or -(-len(order) // size), size, *rows.shape[1:]))
