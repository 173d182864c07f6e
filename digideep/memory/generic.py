"""The Memory: all that explorers deliver, as a ring of chunks in numpy arrays."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from digideep.memory.ring import Chunk, Ring
from digideep.parameters.checks import require_int
from digideep.parameters.component import Component, Description
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

MAIN = "train"  # name of the memory that the explorer "train" fills


class Memory(Component):
    """Keeps chunks in a ring: allocated once, never rolled or copied; `store` costs the same however full it is.

    Serves on-policy methods (one chunk) and off-policy methods (many). `Ring` says which row of the arrays holds what.

    Of observations that are stacks of the newest frames, only the newest one is kept: the others stand in the rows
    before. `gather_stacked` puts them together again, for replay methods.

    Args:
        directory: where the arrays lie with `on_disk`; None for a temporary directory.
        chunk_sample_len: steps of a chunk, the `n_steps` of the explorer.
        buffer_chunk_len: chunks that the memory holds; None for as many as `data` takes.
        keys: what is kept of a chunk; None keeps all.
        on_disk: keep the arrays in memory-mapped files. They are a cache, not a record: checkpoints have their own.
        stacks: keys of observations (stack, ...) that are stacks of frames, and how many; None for none.
        data: description of a data set that the Runner begins it with, such as `environment.datasets.MinariData`; None
            for none.

    Attributes:
        num_ranks: processes that train together, each with a memory like this one.
        n_collected: chunks of the run so far: those that were stored, but for a data set, or passed by without.
        contents: what the memory began with: the data set's name, figures and sha256; empty for nothing.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        chunk_sample_len: int,
        buffer_chunk_len: int | None = 1,
        keys: list[str] | None = None,
        on_disk: bool = False,
        stacks: dict[str, int] | None = None,
        data: Description | None = None,
    ):
        require_int("chunk_sample_len", chunk_sample_len, 1)
        if data is None or buffer_chunk_len is not None:
            require_int("buffer_chunk_len", buffer_chunk_len, 1)
        for key, size in (stacks or {}).items():
            require_int(f"stacks['{key}']", size, 1)
        self.stacks = dict(stacks or {})
        self.data, self._is_sized_by_data = data, buffer_chunk_len is None
        self.ring = Ring(chunk_sample_len, buffer_chunk_len or 1, max(self.stacks.values(), default=1))
        self.keys, self.on_disk, self.num_ranks = keys, on_disk, 1
        self.n_collected = 0
        self.contents: dict[str, Any] = {}
        self.buffer: Chunk = {}
        self._directory = directory

    @property
    def num_workers(self) -> int:
        """Workers whose steps are held, the rows of `/masks`; 0 before the first chunk."""
        masks = self.buffer.get("/masks")  # others may have a row for each player
        return 0 if masks is None else len(masks)

    @property
    def n_frames(self) -> int:
        """Frames collected so far by all ranks, the forgotten ones too; those of a data set do not count."""
        return self.n_collected * self.ring.chunk_sample_len * self.num_workers * self.num_ranks

    def require_room(
        self, num_workers: int, row_bytes: int, *, size: str = "memory_size_in_chunks", others: int = 0
    ) -> int:
        """Refuse a size that does not fit, before the first step.

        Args:
            num_workers: of the explorer.
            row_bytes: what one row of one worker takes.
            size: what to call `buffer_chunk_len` in a message.
            others: bytes that other memories will take in the same place.

        Returns:
            Bytes that this one takes.

        Raises:
            UsageError: saying what would fit.
        """
        needed = num_workers * row_bytes * self.ring.num_rows
        if self.on_disk:
            existing = Path(tempfile.gettempdir()) if self._directory is None else self._directory
            while not existing.exists():
                existing = existing.parent
            free, way_out = shutil.disk_usage(existing).free, ""
        else:
            free, way_out = psutil.virtual_memory().available, ", or keep it on disk with memory_on_disk"
        free = max(free - others, 0)
        if needed > free:
            fitting = int(0.8 * free) // (num_workers * row_bytes * self.ring.chunk_sample_len)
            raise UsageError(
                f"{size}={self.ring.buffer_chunk_len} would need {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free{' on disk' if self.on_disk else ''}: lower it to {fitting}{way_out}."
            )
        return needed

    def _allocate(self, chunk: Chunk) -> None:
        """Make the arrays that chunks like this one need, filled with zeros (that take no room until written)."""
        if self.on_disk:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="digideep-memory-"))
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True)
        for index, (key, array) in enumerate(chunk.items()):
            shape = (len(array), self.ring.num_rows, *array.shape[2:])
            if self.on_disk:
                assert self._directory is not None
                file = self._directory / f"{index}.ring"
                self.buffer[key] = np.memmap(file, array.dtype, "w+", shape=shape)
            else:
                self.buffer[key] = np.zeros(shape, array.dtype)

    def close(self) -> None:
        """Delete the files of a memory on disk, and forget what they held."""
        if self.on_disk and self._directory is not None:
            self.buffer, self.ring.n_chunks = {}, 0
            shutil.rmtree(self._directory, ignore_errors=True)

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
        number, num_rows = self.ring.n_chunks, self.ring.chunk_sample_len + 1
        rows = self.ring.rows_of(number, number + 1)
        for key, array in chunk.items():
            target = self.buffer[key]
            if array.shape[:2] != (len(target), num_rows):
                raise ValueError(
                    f"{key} has {array.shape[0]} workers and {array.shape[1]} rows, expected {len(target)} and "
                    f"{num_rows}. The explorer's n_steps must be the memory's chunk_sample_len."
                )
            target[:, rows] = array
        self.ring.n_chunks += 1
        self.n_collected += 1

    def fill(self, chunk: Chunk, contents: dict[str, Any]) -> None:
        """Begin with a data set, which counts for no frame of the run.

        Args:
            chunk: path -> array (N, n * chunk_sample_len + 1, ...), see `environment.dataset_rows`.
            contents: what it is, in JSON values.

        Raises:
            UsageError: if it does not fit.
        """
        length = self.ring.chunk_sample_len
        number = (chunk["/masks"].shape[1] - 1) // length
        if self._is_sized_by_data:
            self.ring.buffer_chunk_len = number
        if number > self.ring.buffer_chunk_len:
            raise UsageError(
                f"The data set {contents['name']} takes {number} chunks of {length} steps, and the memory holds "
                f"{self.ring.buffer_chunk_len}. Raise buffer_chunk_len, or give null, which takes as many."
            )
        self._directory = None  # that of the session is made later, when nothing can be refused any more
        row_bytes = sum(array[0, 0].nbytes // self.stacks.get(key, 1) for key, array in chunk.items())
        self.require_room(len(chunk["/masks"]), row_bytes)
        for first in range(0, number * length, length):
            self.store({key: array[:, first : first + length + 1] for key, array in chunk.items()})
        self.n_collected, self.contents = 0, contents

    def last_chunk(self) -> Chunk:
        """Return views of the newest chunk: path -> (N, chunk_sample_len + 1, ...).

        Raises:
            UsageError: if stacks were taken apart, of which a chunk alone does not hold all.
        """
        if self.stacks:
            raise UsageError(
                f"Methods that learn from whole chunks need 'stacks' of the memory empty, got {self.stacks}."
            )
        rows = self.ring.rows_of(self.ring.n_chunks - 1, self.ring.n_chunks)
        return {key: array[:, rows] for key, array in self.buffer.items()}

    def copy_chunks(self, first: int, end: int) -> Chunk:
        """Copy consecutive chunks that are held.

        They must lie side by side: no multiple of `buffer_chunk_len` is between `first` and `end`. For where the ring
        goes round, two rows hold the same moment, the last one as a half-step and row 0 as a whole.

        Args:
            first: number of the first chunk, counted from 0 since the run began.
            end: number after the last one, at most `n_chunks`.

        Returns:
            The chunks as one: path -> (N, (end - first) * chunk_sample_len + 1, ...).
        """
        assert self.ring.n_chunks - len(self.ring) <= first < end <= self.ring.n_chunks
        rows = self.ring.rows_of(first, end)
        # Contiguous, which safetensors takes for granted without looking.
        return {key: np.ascontiguousarray(array[:, rows]) for key, array in self.buffer.items()}

    def restore_chunks(self, first: int, chunks: Chunk, n_chunks: int) -> None:
        """Put back what `copy_chunks` took out, as far as a memory of `n_chunks` still holds it; oldest first.

        Raises:
            ValueError: if the arrays do not fit.
        """
        if self._is_sized_by_data:
            self.ring.buffer_chunk_len = n_chunks
        length = self.ring.chunk_sample_len
        end = first + (next(iter(chunks.values())).shape[1] - 1) // length
        for number in range(max(first, n_chunks - self.ring.buffer_chunk_len), min(end, n_chunks)):
            rows = slice((number - first) * length, (number - first + 1) * length + 1)
            self.ring.n_chunks = number
            self._store({key: array[:, rows] for key, array in chunks.items()})

    @property
    def layout(self) -> dict[str, list[str | int]]:
        """What each key's array holds: [dtype, workers, shape of a row...]."""
        return {key: [str(array.dtype), len(array), *array.shape[2:]] for key, array in self.buffer.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return counter and layout. The content is saved as segments, see `digideep.pipeline.segments`."""
        return {
            "n_chunks": self.ring.n_chunks, "n_collected": self.n_collected, "layout": self.layout,
            "contents": self.contents,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check what the segments have restored. Raises: ValueError: if it is not what the state says."""
        if self.ring.n_chunks != state["n_chunks"]:
            raise ValueError(f"The memory's segments end at chunk {self.ring.n_chunks}, expected {state['n_chunks']}.")
        if self.layout != state["layout"]:
            raise ValueError(f"The memory's segments hold {self.layout}, expected {state['layout']}.")
        self.n_collected, self.contents = state["n_collected"], state["contents"]


_OF_THE_AGENT = ("/actions", "/hidden_state", "/artifacts/")


class AgentMemoryView:
    """Shows what a memory holds for one of several agents, under the keys that it would have alone.

    Chunks of several agents hold `/agents/<name>/observations/<path>`, `/rewards`, `/terminations` and `/masks`, one
    row for each player of the agent in each worker. Here they are `/observations/<path>` and so on, and those rows are
    the workers: so samplers and agents need not know that there are others. Copies nothing.

    Args:
        memory: of the run.
        agent: its name.
        num_players: that it plays.
    """

    def __init__(self, memory: Memory, agent: str, num_players: int):
        self._memory, self._prefix, self._num_players = memory, f"/agents/{agent}", num_players
        self.ring, self.stacks = memory.ring, memory.stacks

    @property
    def buffer(self) -> Chunk:
        """The agent's arrays: path -> (num_workers, num_rows, ...)."""
        return self._own(self._memory.buffer)

    @property
    def keys(self) -> list[str] | None:
        """What is kept of the agent's chunks, as its arrays are called; None keeps all."""
        kept = self._memory.keys
        return None if kept is None else list(self._own(dict.fromkeys(kept, np.zeros(0))))

    @property
    def num_workers(self) -> int:
        """Rows of the agent: its players in all workers; 0 before the first chunk."""
        array = self._memory.buffer.get(f"{self._prefix}/masks")
        return 0 if array is None else len(array)

    @property
    def n_frames(self) -> int:
        """Frames of the environment stored so far by all ranks, however many players the agent has in each."""
        workers = self.num_workers // self._num_players * self._memory.num_ranks
        return self._memory.n_collected * self.ring.chunk_sample_len * workers

    def last_chunk(self) -> Chunk:
        """Return views of the newest chunk: path -> (num_workers, chunk_sample_len + 1, ...)."""
        return self._own(self._memory.last_chunk())

    def _own(self, chunk: Chunk) -> Chunk:
        own: Chunk = {}
        for key, array in chunk.items():
            if key.startswith(self._prefix + "/"):
                rest = key[len(self._prefix) :]
                own[key if rest.startswith(_OF_THE_AGENT) else rest] = array
        return own


SampledMemory = Memory | AgentMemoryView  # what samplers draw from
