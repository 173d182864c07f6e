"""The Memory: all that explorers deliver, as a ring of chunks in numpy arrays."""

from typing import Any

import numpy as np

from digideep.utility.checks import require_int
from digideep.utility.component import Component

Chunk = dict[str, np.ndarray]


class Memory(Component):
    """A ring of chunks: allocated once, never rolled or copied; `store` costs the same however full it is.

    Consecutive chunks overlap by one row: the half-step at the end of one is the first row of the next. So the arrays
    hold `chunk_sample_len * buffer_chunk_len + 1` rows, and row t + 1 is the successor of row t everywhere but at the
    write head. Serves on-policy methods (one chunk) and off-policy methods (many).

    Args:
        chunk_sample_len: steps of a chunk, the `n_steps` of the explorer.
        buffer_chunk_len: chunks that the memory holds.
    """

    def __init__(self, *, chunk_sample_len: int, buffer_chunk_len: int = 1):
        require_int("chunk_sample_len", chunk_sample_len, 1)
        require_int("buffer_chunk_len", buffer_chunk_len, 1)
        self.chunk_sample_len, self.buffer_chunk_len = chunk_sample_len, buffer_chunk_len
        self.buffer: Chunk = {}
        self.n_chunks = 0  # stored so far, the forgotten ones too

    def __len__(self) -> int:
        """Chunks that are held now."""
        return min(self.n_chunks, self.buffer_chunk_len)

    @property
    def num_rows(self) -> int:
        """Rows of each array."""
        return self.chunk_sample_len * self.buffer_chunk_len + 1

    @property
    def head(self) -> int:
        """Row of the newest half-step: the transition that began there before is overwritten."""
        return self.chunk_sample_len * (((self.n_chunks - 1) % self.buffer_chunk_len) + 1) if self.n_chunks else 0

    def store(self, chunk: Chunk) -> None:
        """Keep a chunk, forgetting the oldest one if the ring is full.

        Args:
            chunk: path -> array (N, chunk_sample_len + 1, ...); the keys of the first chunk are the keys of all.

        Raises:
            ValueError: if keys, length or number of workers differ from what the memory holds.
        """
        if not self.buffer:
            self.buffer = {
                key: np.zeros((len(array), self.num_rows, *array.shape[2:]), array.dtype)
                for key, array in chunk.items()
            }
        if chunk.keys() != self.buffer.keys():
            missing, new = sorted(self.buffer.keys() - chunk.keys()), sorted(chunk.keys() - self.buffer.keys())
            raise ValueError(f"A chunk must keep the keys of the first one: missing {missing}, new {new}.")
        start = self.chunk_sample_len * (self.n_chunks % self.buffer_chunk_len)
        rows = slice(start, start + self.chunk_sample_len + 1)
        for key, array in chunk.items():
            target = self.buffer[key]
            if array.shape[:2] != (len(target), self.chunk_sample_len + 1):
                raise ValueError(
                    f"{key} has {array.shape[0]} workers and {array.shape[1]} rows, expected {len(target)} and "
                    f"{self.chunk_sample_len + 1}. The explorer's n_steps must be the memory's chunk_sample_len."
                )
            target[:, rows] = array
        self.n_chunks += 1

    def last_chunk(self) -> Chunk:
        """Views of the newest chunk: path -> (N, chunk_sample_len + 1, ...)."""
        rows = slice(self.head - self.chunk_sample_len, self.head + 1)
        return {key: array[:, rows] for key, array in self.buffer.items()}

    def state_dict(self) -> dict[str, Any]:
        """Counter and content."""
        return {"n_chunks": self.n_chunks, "buffer": dict(self.buffer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self.n_chunks = state["n_chunks"]
        self.buffer = {key: np.array(array) for key, array in state["buffer"].items()}
