"""The memory's content on disk: segments that are written once and never changed.

Each checkpoint adds what was stored since the one before it, as `memory/segment-<first>-<end>-<hash>.safetensors`
(chunks `first` to `end - 1`, counted since the run began; several files if it is much, or goes round the ring), and
lists all segments that it needs with size and sha256. So saving costs what is new, whatever the memory holds. The hash
in the name keeps segments apart that hold the same chunks of different pasts: of a run that was resumed from an older
checkpoint.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from digideep.memory.generic import Memory
from digideep.utility.errors import CheckpointError

_LARGEST_BYTES = 2**26  # of a segment: a copy of it is held in RAM while it is written or read


class Segment(NamedTuple):
    """One file."""

    first: int
    end: int
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Of the file."""
        return f"segment-{self.first}-{self.end}-{self.sha256[:12]}.safetensors"


def segments_of(figures: dict[str, Any]) -> list[Segment]:
    """The memory's segments that a checkpoint needs. Args: figures: what it says about the session's files."""
    return [Segment(*segment) for segment in figures.get("segments", [])]


def check_segments(directory: Path, segments: Iterable[Segment]) -> None:
    """Compare the files with what the checkpoint says of them.

    Raises:
        CheckpointError: for the first one that is not as it was written.
    """
    for segment in segments:
        path = directory / segment.name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
                if digest is None:  # Python 3.10
                    digest = hashlib.sha256()
                    while block := file.read(2**20):
                        digest.update(block)
        except OSError as err:
            raise CheckpointError(f"{path} is missing or cannot be read.") from err
        if digest.hexdigest() != segment.sha256:
            raise CheckpointError(f"{path} is not what was written: its hash differs from the checkpoint's.")


class SegmentStore:
    """The segments of one line of checkpoints, each of which continues the one before.

    Args:
        directory: the session's `memory/`.
        figures: what the checkpoint that is continued says about the session's files; empty for none.
    """

    def __init__(self, directory: Path, figures: dict[str, Any]):
        self.directory, self.segments = directory, segments_of(figures)
        self._is_swept = False

    def append(self, memory: Memory) -> list[list[Any]]:
        """Write what the memory has stored since the last segment.

        Returns:
            The segments that the memory's content now consists of, oldest first, as JSON values.
        """
        oldest = memory.n_chunks - len(memory)
        first = max([oldest, *(segment.end for segment in self.segments)])
        self.segments = [segment for segment in self.segments if segment.end > oldest]
        if first < memory.n_chunks:
            self.directory.mkdir(exist_ok=True)
            chunk_bytes = sum(array.nbytes for array in memory.buffer.values()) // memory.buffer_chunk_len
            step = max(_LARGEST_BYTES // chunk_bytes, 1)
            while first < memory.n_chunks:
                round_end = (first // memory.buffer_chunk_len + 1) * memory.buffer_chunk_len
                end = min(first + step, round_end, memory.n_chunks)
                self._write(memory, first, end)
                first = end
            sync_directory(self.directory)
        return [list(segment) for segment in self.segments]

    def _write(self, memory: Memory, first: int, end: int) -> None:
        data = save_arrays(memory.copy_chunks(first, end))
        segment = Segment(first, end, len(data), hashlib.sha256(data).hexdigest())
        aside = self.directory / f".{segment.name}.writing"
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.directory / segment.name)
        self.segments.append(segment)

    def restore(self, memory: Memory, n_chunks: int) -> None:
        """Fill an empty memory.

        Args:
            memory: to be filled.
            n_chunks: stored since the run began.

        Raises:
            CheckpointError: if a file does not hold arrays.
        """
        for segment in self.segments:
            path = self.directory / segment.name
            try:
                arrays = load_arrays(path.read_bytes())
            except (OSError, safetensors.SafetensorError) as err:
                raise CheckpointError(f"{path} cannot be read: {err}.") from err
            memory.restore_chunks(segment.first, arrays, n_chunks)

    def sweep(self, checkpoints: Iterable[Path], is_due: bool) -> None:
        """Delete the segments that no checkpoint needs, and what a killed process left behind.

        Args:
            checkpoints: that are kept.
            is_due: since a checkpoint has gone; the first call always sweeps.
        """
        if self._is_swept and not is_due:
            return
        self._is_swept = True
        kept = (json.loads((path / "session.json").read_bytes()) for path in checkpoints)
        needed = {segment.name for figures in kept for segment in segments_of(figures)}
        for path in self.directory.glob("*segment-*"):
            if path.name not in needed:
                path.unlink()


def sync_directory(path: Path) -> None:
    """Let the names in a directory reach the disk."""
    if os.name == "nt":
        return  # directories cannot be opened there; the rename itself is atomic
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
