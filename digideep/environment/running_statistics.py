"""Mean and variance of streams, which ranks merge."""

from typing import Any

import numpy as np

from digideep.utility.ranks import Ranks


class RunningMeanStd:
    """Mean and variance of a stream of rows, merged batch by batch.

    Source: Chan, Golub, LeVeque 1979, the pairwise update of mean and sum of squares. Kept in float64; starts as if
    `1e-4` rows of mean 0 and variance 1 had been seen, so that the first division is defined.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.mean, self.var, self.count = np.zeros(shape), np.ones(shape), 1e-4
        self._common = self.mean, self.var, self.count  # what all ranks knew when they last merged

    def update(self, batch: np.ndarray) -> None:
        """Take in rows. Args: batch: (B, *shape), B at least 1."""
        n = len(batch)
        # Plain sums: np.mean and np.var cost several times as much on arrays of this size.
        batch_mean = np.add.reduce(batch, 0, dtype=np.float64) / n
        centred = batch - batch_mean
        self._merge(n, batch_mean, np.add.reduce(centred * centred, 0))

    def _merge(self, n: float, mean: Any, m2: Any) -> None:
        """Take in n rows of that mean and sum of squared deviations."""
        total = self.count + n
        delta = mean - self.mean
        self.var = (self.var * self.count + m2 + delta * delta * (self.count * n / total)) / total
        self.mean = self.mean + delta * (n / total)
        self.count = total

    def learned(self) -> np.ndarray:
        """Return what was learned since the ranks last merged: count, mean and sum of squares, float64 (1 + 2 D,)."""
        mean, var, count = self._common
        n = self.count - count
        own_mean = mean + (self.mean - mean) * (self.count / n if n else 0.0)
        m2 = self.var * self.count - var * count - (own_mean - mean) ** 2 * (count * n / self.count)
        return np.concatenate([[n], np.ravel(own_mean), np.ravel(m2)])

    def merge(self, ranks: np.ndarray) -> None:
        """Take in what each rank has learned since they last merged. Args: ranks: float64 (R, 1 + 2 D), by rank."""
        shape = self.mean.shape
        self.mean, self.var, self.count = self._common
        for n, *figures in ranks:
            if n:
                mean, m2 = np.split(np.array(figures), 2)
                self._merge(n, mean.reshape(shape), np.maximum(m2, 0).reshape(shape))
        self._common = self.mean, self.var, self.count

    def state_dict(self) -> dict[str, Any]:
        """Return mean, variance and count: without the count, a restored normaliser would forget at once."""
        return {"mean": self.mean, "var": self.var, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self.mean, self.var, self.count = np.array(state["mean"]), np.array(state["var"]), float(state["count"])
        self._common = self.mean, self.var, self.count


def merge(running: list[RunningMeanStd], ranks: Ranks) -> None:
    """Let statistics take in what they have learned in other ranks, by one message."""
    parts = [each.learned() for each in running]
    gathered = ranks.gather_arrays(np.concatenate(parts)) if parts else np.empty((ranks.size, 0))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    for each, figures in zip(running, np.split(gathered, ends, axis=1), strict=bool(parts)):
        each.merge(figures)
