"""Which rows of a memory hold what."""

from dataclasses import dataclass

import numpy as np

Chunk = dict[str, np.ndarray]


@dataclass
class Ring:
    """Tells which row of each worker's arrays holds what; holds no arrays itself.

    Consecutive chunks overlap by one row: the half-step at the end of one is the first row of the next. So there are
    `chunk_sample_len * buffer_chunk_len + 1` rows, and row t + 1 is the successor of row t everywhere but at the write
    head. The last row is also the row before the first one: as soon as the ring goes round, row 0 is its copy, with the
    step that was taken there.
    """

    chunk_sample_len: int  # steps of a chunk
    buffer_chunk_len: int  # chunks that the ring holds
    stack: int = 1  # frames of the largest stack that is put together from rows; 1 for none
    n_chunks: int = 0  # stored so far, the forgotten ones too

    def __len__(self) -> int:
        """Return the number of chunks that are held now."""
        return min(self.n_chunks, self.buffer_chunk_len)

    @property
    def num_steps(self) -> int:
        """Steps that each worker's ring holds."""
        return self.chunk_sample_len * self.buffer_chunk_len

    @property
    def num_rows(self) -> int:
        """Rows of each array."""
        return self.num_steps + 1

    @property
    def head(self) -> int:
        """Row of the newest half-step: the transition that began there before is overwritten."""
        return self.chunk_sample_len * (((self.n_chunks - 1) % self.buffer_chunk_len) + 1) if self.n_chunks else 0

    @property
    def oldest(self) -> int:
        """Row of the oldest step that is held whole. Row `(oldest + age) % num_steps` is `age` steps younger."""
        is_overwriting = self.n_chunks > self.buffer_chunk_len and self.head < self.num_steps
        return (self.head + 1) % self.num_steps if is_overwriting else 0

    @property
    def num_starts(self) -> int:
        """Rows of each worker with a successor: the ages in [0, num_starts). Half-steps are among them."""
        if self.n_chunks <= self.buffer_chunk_len or self.head == self.num_steps:
            return self.head
        return self.num_steps - 1

    @property
    def num_incomplete(self) -> int:
        """How many of the oldest rows have stacks whose frames may have been overwritten."""
        return self.stack - 1 if self.has_forgotten else 0

    @property
    def has_forgotten(self) -> bool:
        """True if steps have been overwritten."""
        return self.n_chunks > self.buffer_chunk_len

    def rows_of(self, first: int, end: int) -> slice:
        """Return the rows of consecutive chunks, the half-step after the last one included.

        Args:
            first: number of the first chunk, counted from 0 since the run began.
            end: number after the last one; no multiple of `buffer_chunk_len` is between the two.
        """
        start = self.chunk_sample_len * (first % self.buffer_chunk_len)
        rows = slice(start, start + self.chunk_sample_len * (end - first) + 1)
        assert rows.stop <= self.num_rows
        return rows

    def successor(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows after these. None of them may be `head`, which has none. Args: rows: int64 (B,)."""
        after = rows + 1
        return after if self.head == self.num_steps else np.where(after == self.num_steps, 0, after)
