"""Where the episodes in a ring begin and end."""

import numpy as np

from digideep.memory.generic import SampledMemory

_OPEN = np.iinfo(np.int64).max  # the end of an episode that has none yet


class Episodes:
    """Tells the bounds of the episode that a row belongs to, at O(1) a row.

    A moment is a number of steps of a worker since the run began. All is derived from the masks that the ring holds, so
    there is no state to save. Takes 16 bytes for each step that the memory can hold.

    Attributes:
        oldest: moment of the oldest step that is held whole.
    """

    def __init__(self) -> None:
        self._first = self._last = np.zeros((0, 0), np.int64)  # (N, num_steps), of the episode that a row belongs to
        self._known = 0  # moments before this one have been taken in

    def follow(self, memory: SampledMemory) -> None:
        """Take in what was stored since the last call."""
        ring, num_steps, shape = memory.ring, memory.ring.num_steps, (memory.num_workers, memory.ring.num_steps)
        self._memory = memory
        self._newest = ring.n_chunks * ring.chunk_sample_len  # of the head, whose step is still to come
        self.oldest = self._newest - ring.num_starts
        if self._first.shape != shape:
            self._first, self._last, self._known = np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0
        begin, self._known = max(self._known, self.oldest), self._newest
        if begin == self._newest:
            return
        moments = np.arange(begin, self._newest)
        rows, before = moments % num_steps, (begin - 1) % num_steps
        masks = memory.buffer["/masks"][..., 0]
        goes_on = np.empty((len(masks), len(rows)), np.bool_)  # the episode of the moment before is not over
        # Where that moment was overwritten, it does not matter: nothing begins before the oldest one.
        goes_on[:, 0] = masks[:, before]
        goes_on[:, 1:] = masks[:, rows[:-1]]
        starts = np.where(goes_on, 0, moments)
        starts[:, 0] = np.where(goes_on[:, 0], self._first[:, before], begin)
        self._first[:, rows] = np.maximum.accumulate(starts, axis=1)
        ends = np.where(masks[:, rows], _OPEN, moments)
        self._last[:, rows] = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        for worker in np.flatnonzero(goes_on[:, 0] & (self._last[:, rows[0]] != _OPEN)).tolist():
            episode = np.arange(max(starts[worker, 0], self.oldest), begin) % num_steps
            self._last[worker, episode] = self._last[worker, rows[0]]

    def bounds(self, workers: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the moment of each row, and those of its episode's first and last observation that are held.

        An episode that goes on ends, so far, with the newest row. One whose beginning was overwritten begins with the
        oldest row that is held whole.

        Args:
            workers, rows: int64 (B,), where transitions start.

        Returns:
            Three times int64 (B,).
        """
        now = self.oldest + (rows - self._memory.ring.oldest) % self._memory.ring.num_steps
        first, last = self._first[workers, rows], self._last[workers, rows]
        return now, np.maximum(first, self.oldest), np.minimum(last, self._newest)

    def rows(self, moments: np.ndarray) -> np.ndarray:
        """Return the rows that hold these moments. Args: moments: int64 (B,), from the oldest one to the newest."""
        head = self._memory.ring.head
        return np.where(moments == self._newest, head, moments % self._memory.ring.num_steps)
