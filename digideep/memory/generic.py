"""The Memory: all that explorers deliver, as a ring of chunks in numpy arrays."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from digideep.parameters.checks import require_int
from digideep.parameters.component import Component
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

Chunk = dict[str, np.ndarray]


class Memory(Component):
    """A ring of chunks: allocated once, never rolled or copied; `store` costs the same however full it is.

    Consecutive chunks overlap by one row: the half-step at the end of one is the first row of the next. So the arrays
    hold `chunk_sample_len * buffer_chunk_len + 1` rows, and row t + 1 is the successor of row t everywhere but at the
    write head. Serves on-policy methods (one chunk) and off-policy methods (many). The last row is also the row before
    the first one: as soon as the ring goes round, row 0 is its copy, with the step that was taken there.

    Of observations that are stacks of the newest frames, only the newest one is kept: the others stand in the rows
    before. `gather_stacked` puts them together again, for replay methods.

    Args:
        directory: where the arrays lie with `on_disk`; None for a temporary directory.
        chunk_sample_len: steps of a chunk, the `n_steps` of the explorer.
        buffer_chunk_len: chunks that the memory holds.
        keys: what is kept of a chunk; None keeps all.
        on_disk: keep the arrays in memory-mapped files. They are a cache, not a record: checkpoints have their own.
        stacks: keys of observations (stack, ...) that are stacks of frames, and how many; None for none.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        chunk_sample_len: int,
        buffer_chunk_len: int = 1,
        keys: list[str] | None = None,
        on_disk: bool = False,
        stacks: dict[str, int] | None = None,
    ):
        require_int("chunk_sample_len", chunk_sample_len, 1)
        require_int("buffer_chunk_len", buffer_chunk_len, 1)
        for key, size in (stacks or {}).items():
            require_int(f"stacks['{key}']", size, 1)
        self.chunk_sample_len, self.buffer_chunk_len = chunk_sample_len, buffer_chunk_len
        self.stacks = dict(stacks or {})
        self.keys, self.on_disk = keys, on_disk
        self.buffer: Chunk = {}
        self.n_chunks = 0  # stored so far, the forgotten ones too
        self._directory = directory

    def __len__(self) -> int:
        """Chunks that are held now."""
        return min(self.n_chunks, self.buffer_chunk_len)

    # ------------------------------------------------------------------ rows

    @property
    def num_steps(self) -> int:
        """Steps that each worker's ring holds."""
        return self.chunk_sample_len * self.buffer_chunk_len

    @property
    def num_rows(self) -> int:
        """Rows of each array."""
        return self.num_steps + 1

    @property
    def num_workers(self) -> int:
        """Workers whose steps are held; 0 before the first chunk."""
        return len(next(iter(self.buffer.values()))) if self.buffer else 0

    @property
    def n_frames(self) -> int:
        """Frames stored so far, the forgotten ones too."""
        return self.n_chunks * self.chunk_sample_len * self.num_workers

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
        """Rows with a successor, each worker's: the ages in [0, num_starts). Half-steps are among them."""
        if self.n_chunks <= self.buffer_chunk_len or self.head == self.num_steps:
            return self.head
        return self.num_steps - 1

    @property
    def num_incomplete(self) -> int:
        """How many of the oldest rows have stacks whose frames may have been overwritten."""
        return max(self.stacks.values(), default=1) - 1 if self.n_chunks > self.buffer_chunk_len else 0

    @property
    def num_certain(self) -> int:
        """Rows with a successor and whole stacks that each worker has at the least, once the ring goes round."""
        starts = self.num_steps - (self.buffer_chunk_len > 1)
        return starts - max(self.stacks.values(), default=1) + 1

    def successor(self, rows: np.ndarray) -> np.ndarray:
        """The rows after these. None of them may be `head`, which has none."""
        after = rows + 1
        return after if self.head == self.num_steps else np.where(after == self.num_steps, 0, after)

    def predecessor(self, rows: np.ndarray) -> np.ndarray:
        """The rows before these. None of them may be `oldest`, which has none."""
        return (rows - 1) % self.num_steps

    # ------------------------------------------------------------------ room

    def require_room(self, num_workers: int, row_bytes: int) -> None:
        """Refuse a size that does not fit, before the first step.

        Args:
            num_workers: of the explorer.
            row_bytes: what one row of one worker takes.

        Raises:
            UsageError: saying what would fit.
        """
        needed = num_workers * row_bytes * self.num_rows
        if self.on_disk:
            existing = Path(tempfile.gettempdir()) if self._directory is None else self._directory
            while not existing.exists():
                existing = existing.parent
            free, way_out = shutil.disk_usage(existing).free, ""
        else:
            free, way_out = psutil.virtual_memory().available, ", or keep it on disk with memory_on_disk"
        if needed > free:
            fitting = int(0.8 * free) // (num_workers * row_bytes * self.chunk_sample_len)
            raise UsageError(
                f"memory_size_in_chunks={self.buffer_chunk_len} would need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB "
                f"are free{' on disk' if self.on_disk else ''}: lower it to {fitting}{way_out}."
            )

    def _allocate(self, chunk: Chunk) -> None:
        """Make the arrays that chunks like this one need, filled with zeros (that take no room until written)."""
        if self.on_disk:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="digideep-memory-"))
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True)
        for index, (key, array) in enumerate(chunk.items()):
            shape = (len(array), self.num_rows, *array.shape[2:])
            if self.on_disk:
                assert self._directory is not None
                file = self._directory / f"{index}.ring"
                self.buffer[key] = np.memmap(file, array.dtype, "w+", shape=shape)
            else:
                self.buffer[key] = np.zeros(shape, array.dtype)

    def close(self) -> None:
        """Delete the files of a memory on disk, and forget what they held."""
        if self.on_disk and self._directory is not None:
            self.buffer, self.n_chunks = {}, 0
            shutil.rmtree(self._directory, ignore_errors=True)

    # ------------------------------------------------------------------ in and out

    def store(self, chunk: Chunk) -> None:
        """Keep a chunk, forgetting the oldest one if the ring is full.

        Args:
            chunk: path -> array (N, chunk_sample_len + 1, ...); the keys of the first chunk are the keys of all.

        Raises:
            ValueError: if keys, length or number of workers differ from what the memory holds.
            UsageError: if it lacks a key that should be kept, or what should be a stack is none.
        """
        if self.keys is not None:
            for key in self.keys:
                if key not in chunk:
                    raise UsageError(f"The memory should keep '{key}', which no chunk has. {did_you_mean(key, chunk)}")
            chunk = {key: chunk[key] for key in self.keys}
        for key, size in self.stacks.items():
            if key not in chunk:
                raise UsageError(f"The memory should unstack '{key}', which no chunk has. {did_you_mean(key, chunk)}")
            if chunk[key].shape[2:3] != (size,):
                raise UsageError(
                    f"The memory should unstack {size} frames of '{key}', whose shape is {chunk[key].shape[2:]}."
                )
        self._store({key: array[:, :, -1] if key in self.stacks else array for key, array in chunk.items()})

    def _store(self, chunk: Chunk) -> None:
        """Keep a chunk whose stacks have been taken apart."""
        if not self.buffer:
            self._allocate(chunk)
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
        """Views of the newest chunk: path -> (N, chunk_sample_len + 1, ...).

        Raises:
            UsageError: if stacks were taken apart, of which a chunk alone does not hold all.
        """
        if self.stacks:
            raise UsageError(
                f"Methods that learn from whole chunks need 'stacks' of the memory empty, got {self.stacks}."
            )
        rows = slice(self.head - self.chunk_sample_len, self.head + 1)
        return {key: array[:, rows] for key, array in self.buffer.items()}

    def copy_chunks(self, first: int, end: int) -> Chunk:
        """Copies of consecutive chunks that are held, joined: path -> (N, (end - first) * chunk_sample_len + 1, ...).

        They must lie side by side: no multiple of `buffer_chunk_len` is between `first` and `end`. For where the ring
        goes round, two rows hold the same moment, the last one as a half-step and row 0 as a whole.

        Args:
            first: number of the first chunk, counted from 0 since the run began.
            end: number after the last one, at most `n_chunks`.
        """
        assert self.n_chunks - len(self) <= first < end <= self.n_chunks
        start = self.chunk_sample_len * (first % self.buffer_chunk_len)
        rows = slice(start, start + (end - first) * self.chunk_sample_len + 1)
        assert rows.stop <= self.num_rows
        # Contiguous, which safetensors takes for granted without looking.
        return {key: np.ascontiguousarray(array[:, rows]) for key, array in self.buffer.items()}

    def restore_chunks(self, first: int, chunks: Chunk, n_chunks: int) -> None:
        """Put back what `copy_chunks` took out, as far as a memory of `n_chunks` still holds it; oldest first.

        Raises:
            ValueError: if the arrays do not fit.
        """
        length = self.chunk_sample_len
        end = first + (next(iter(chunks.values())).shape[1] - 1) // length
        for number in range(max(first, n_chunks - self.buffer_chunk_len), min(end, n_chunks)):
            rows = slice((number - first) * length, (number - first + 1) * length + 1)
            self.n_chunks = number
            self._store({key: array[:, rows] for key, array in chunks.items()})

    @property
    def layout(self) -> dict[str, list[Any]]:
        """What each key's array holds: [dtype, workers, shape of a row...]."""
        return {key: [str(array.dtype), len(array), *array.shape[2:]] for key, array in self.buffer.items()}

    def state_dict(self) -> dict[str, Any]:
        """Counter and layout. The content is saved as segments, see `digideep.pipeline.segments`."""
        return {"n_chunks": self.n_chunks, "layout": self.layout}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check what the segments have restored.

        Raises:
            ValueError: if it is not what the state says.
        """
        if self.n_chunks != state["n_chunks"]:
            raise ValueError(f"The memory's segments end at chunk {self.n_chunks}, expected {state['n_chunks']}.")
        if self.layout != state["layout"]:
            raise ValueError(f"The memory's segments hold {self.layout}, expected {state['layout']}.")
