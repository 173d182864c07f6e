"""The memory's content on disk: segments that are written once and never changed; docs/replay.md says why.

A segment holds chunks `first` to `end - 1`, counted since the run began, and names the one before it with size and
sha256, in its own header. The hash in its own name keeps segments apart that hold the same chunks of different pasts:
of a run that was resumed from an older checkpoint.
"""

import hashlib
import json
import math
import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from digideep.memory.generic import MAIN, Memory
from digideep.utility.errors import CheckpointError, UnreadableError
from digideep.utility.own_files import read_file, remove

_LARGEST_BYTES = 2**26  # of a segment: a copy of it is held in RAM while it is written or read
_LONGEST_HEADER = 2**20
_BEFORE = "before"  # the key in a segment's header of the segment before it


class Segment(NamedTuple):
    """One file."""

    first: int
    end: int
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"segment-{self.first}-{self.end}-{self.sha256[:12]}.safetensors"


class Need(NamedTuple):
    """What a checkpoint says about the memory's content."""

    oldest: int  # chunk that it needs
    newest: Segment | None


def memory_directory(session: Path, rank: int = 0, name: str = MAIN) -> Path:
    """Return where a rank's memory of that name is kept on disk: the main one above the others."""
    own = session / "memory" / f"rank-{rank}" if rank else session / "memory"
    return own if name == MAIN else own / name


def is_memory_name(name: Any) -> bool:
    """True if a memory may have this name: a plain word that is none of the files and directories beside its own."""
    is_word = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name) is not None
    return is_word and name != "ring" and not name.startswith("rank-") and "segment-" not in name


def memory_names(figures: dict[str, Any]) -> list[str]:
    """Return the names of the memories that a checkpoint knows. Raises: CheckpointError: if they may not be any."""
    need = figures.get("memory", {})
    further = need.get("further", {}) if isinstance(need, dict) else {}
    if not isinstance(further, dict) or not all(map(is_memory_name, further)):
        raise CheckpointError(f"'memory/further' is {further!r:.100}, expected memories by name.")
    return [MAIN, *further]


def need_of(figures: dict[str, Any], rank: int = 0, name: str = MAIN) -> Need:
    """Read it from a checkpoint's figures. Raises: CheckpointError: if they say something else."""
    need = figures.get("memory", {"oldest": 0, "newest": None})
    if rank:
        others = figures.get("rank_memories")
        need = others[rank - 1] if isinstance(others, list) and rank <= len(others) else others
    if name != MAIN:
        further = need.get("further") if isinstance(need, dict) else None
        need = further.get(name) if isinstance(further, dict) else further
    if not isinstance(need, dict) or not _is_count(need.get("oldest")):
        raise CheckpointError(f"'memory' is {need!r:.100}, expected the oldest chunk and the newest segment.")
    return Need(need["oldest"], _as_segment(need.get("newest")))


def _as_segment(value: Any) -> Segment | None:
    if value is None:
        return None
    is_one = isinstance(value, list) and len(value) == 4 and all(map(_is_count, value[:3])) and value[0] < value[1]
    if not is_one or not isinstance(value[3], str) or not re.fullmatch("[0-9a-f]{64}", value[3]):
        raise CheckpointError(f"{value!r:.100} is no segment. Expected [first, end, size, sha256].")
    return Segment(*value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def find_segments(
    directory: Path, need: Need, *, is_checked: bool = True, covered: dict[str, int] | None = None
) -> list[Segment]:
    """Return the segments that a checkpoint needs, oldest first: each names the one before it.

    Args:
        directory: the session's `memory/`.
        is_checked: compare each file with the hash that is known of it.
        covered: names of segments that were found for older checkpoints, and from which chunk on: not found again.

    Raises:
        CheckpointError: for one that is not as it was written.
        UnreadableError: for one that the system does not let us read.
    """
    covered = {} if covered is None else covered
    found: list[Segment] = []
    segment = need.newest
    while segment is not None and segment.end > need.oldest and covered.get(segment.name, math.inf) > need.oldest:
        covered[segment.name] = need.oldest
        found.append(segment)
        path = directory / segment.name
        if is_checked:
            _read_segment(path, segment)
        if segment.first <= need.oldest:
            break
        before = _read_before(path)
        if before is None or before.end != segment.first:
            raise CheckpointError(f"{path} does not name the segment that ends at chunk {segment.first}.")
        segment = before
    return found[::-1]


def find_all_segments(session: Path, figures: dict[str, Any], rank: int = 0) -> dict[str, list[Segment]]:
    """Return the segments of each memory that a checkpoint needs, see `find_segments`. Args: figures: of it."""
    return {
        name: find_segments(memory_directory(session, rank, name), need_of(figures, rank, name))
        for name in memory_names(figures)
    }


def _read_segment(path: Path, segment: Segment) -> bytes:
    data = read_file(path, segment.size)
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        raise CheckpointError(f"{path} is not what was written: its hash differs from the checkpoint's.")
    return data


def _read_before(path: Path) -> Segment | None:
    """Return the segment before the one in this file."""
    length = int.from_bytes(read_file(path, count=8), "little")
    header = read_file(path, count=8 + min(length, _LONGEST_HEADER))[8:]
    try:
        return _as_segment(json.loads(json.loads(header)["__metadata__"][_BEFORE]))
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        if isinstance(err, CheckpointError):
            raise
        raise CheckpointError(f"{path} does not name the segment before it.") from err


class SegmentStore:
    """The segments of one line of checkpoints, each of which continues the one before.

    Args:
        directory: the session's `memory/`.
        segments: of the checkpoint that is continued, oldest first; none for a new run.
    """

    def __init__(self, directory: Path, segments: Iterable[Segment] = ()):
        self.directory, self.segments = directory, deque(segments)
        self._newest = self.segments[-1] if self.segments else None
        self._pinned: set[str] = set()  # needed by checkpoints that were set aside

    def append(self, memory: Memory) -> dict[str, Any]:
        """Write what the memory has stored since the last segment. Returns: what a checkpoint says of it, as JSON."""
        ring = memory.ring
        oldest = ring.n_chunks - len(ring)
        first = max(oldest, self._newest.end if self._newest is not None else 0)
        if first < ring.n_chunks:
            self.directory.mkdir(parents=True, exist_ok=True)
            chunk_bytes = sum(array.nbytes for array in memory.buffer.values()) // ring.buffer_chunk_len
            step = max(_LARGEST_BYTES // max(chunk_bytes, 1), 1)
            while first < ring.n_chunks:
                round_end = (first // ring.buffer_chunk_len + 1) * ring.buffer_chunk_len
                end = min(first + step, round_end, ring.n_chunks)
                self._write(memory, first, end)
                first = end
            sync_directory(self.directory)
        return {"oldest": oldest, "newest": None if self._newest is None else list(self._newest)}

    def _write(self, memory: Memory, first: int, end: int) -> None:
        data = save_arrays(memory.copy_chunks(first, end), {_BEFORE: json.dumps(self._newest)})
        segment = Segment(first, end, len(data), hashlib.sha256(data).hexdigest())
        aside = self.directory / f".{segment.name}.writing"
        remove(aside)
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.directory / segment.name)
        self.segments.append(segment)
        self._newest = segment

    def restore(self, memory: Memory, n_chunks: int) -> None:
        """Fill an empty memory. Args: n_chunks: stored since the run began.

        Raises:
            CheckpointError: if a file does not hold what this memory held.
        """
        for segment in self.segments:
            path = self.directory / segment.name
            data = _read_segment(path, segment)
            try:
                memory.restore_chunks(segment.first, load_arrays(data), n_chunks)
            except (ValueError, KeyError, TypeError, IndexError, StopIteration, safetensors.SafetensorError) as err:
                raise CheckpointError(f"{path} does not hold chunks of this memory: {err}.") from err

    # ------------------------------------------------------------------ deleting

    def sweep(self, kept: dict[str, Need | None], aside: Iterable[Need | None]) -> dict[str, int]:
        """Delete, once per process, what no checkpoint needs, such as what a killed process left behind.

        While it is not known what one of them needs, nothing is deleted but unfinished files.

        Args:
            kept: what each checkpoint needs, by its name, oldest first; None where that cannot be read.
            aside: what checkpoints need that were set aside.

        Returns:
            The oldest chunk that each checkpoint needs, by its name; 0 where that is not known.
        """
        needed = {segment.name: segment for segment in self.segments}
        pinned = [self._find(need, {}) for need in aside]
        self._pinned = {segment.name for found in pinned for segment in found or ()}
        covered: dict[str, int] = {}
        is_known, oldest = None not in pinned, {}
        for name, need in kept.items():
            found = self._find(need, covered)
            needed |= {segment.name: segment for segment in found or ()}
            is_known &= found is not None
            oldest[name] = need.oldest if need is not None and found is not None else 0
        for path in self.directory.glob("*segment-*"):
            is_needed = not is_known or path.name in needed or path.name in self._pinned
            if path.name.startswith(".") or not is_needed:
                remove(path)
        self.segments = deque(sorted(needed.values(), key=lambda segment: segment.end))
        return oldest

    def _find(self, need: Need | None, covered: dict[str, int]) -> list[Segment] | None:
        """Find the segments that a checkpoint needs, without reading them; None if that is not possible."""
        try:
            return None if need is None else find_segments(self.directory, need, is_checked=False, covered=covered)
        except (CheckpointError, UnreadableError):
            return None

    def release(self, oldest: int) -> None:
        """Delete the segments that hold nothing but what came before a chunk. Args: oldest: that is still needed."""
        while self.segments and self.segments[0].end <= oldest:
            segment = self.segments.popleft()
            if segment.name not in self._pinned:
                remove(self.directory / segment.name)


def sync_directory(path: Path) -> None:
    """Let the names in a directory reach the disk."""
    if os.name == "nt":
        return  # directories cannot be opened there; the rename itself is atomic
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
