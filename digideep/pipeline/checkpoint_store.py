"""The checkpoints of a session: where a run begins from, and what it saves."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from digideep.memory.generic import MAIN, Memory
from digideep.pipeline.checkpoint import (
    BEST,
    checkpoint_order,
    drop_oldest,
    list_aside,
    list_checkpoints,
    load_checkpoint,
    load_newest_valid,
    read_need,
    set_aside,
    sweep_checkpoints,
    write_checkpoint,
)
from digideep.pipeline.segments import SegmentStore, memory_directory
from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.own_files import require_own
from digideep.utility.ranks import Ranks

_log = logging.getLogger("digideep")


class CheckpointSource:
    """Where a run begins from: a checkpoint that is named, or the newest valid one of a session.

    Args:
        path: a checkpoint, or a session's directory.
        needs_memory: the run goes on with the content of the memory, which is checked, too.
        may_be_best: the checkpoint may hold a policy only.
        ranks: each of which goes on with a state of its own; None for one.

    Attributes:
        session: the directory of the session.
        loaded: what `load` read.

    Raises:
        UsageError: if that is neither.
    """

    def __init__(self, path: Path, *, needs_memory: bool, may_be_best: bool, ranks: Ranks | None = None):
        if not path.is_dir():
            raise UsageError(
                f"{path} is no directory. Give a session or one of its checkpoints; `digideep sessions` lists them."
            )
        named, path = path.absolute(), path.resolve()
        is_checkpoint = path.parent.name == "checkpoints" and (checkpoint_order(path) is not None or path.name == BEST)
        if checkpoint_order(named) is not None and named.parents[1].resolve() != path.parents[1]:
            raise UsageError(f"{named} leads out of its session, to {path}. Give that one, or copy it there.")
        if path.name == BEST and not may_be_best:
            raise UsageError(f"{path} holds the best policy and nothing else: play it, or give --params as well.")
        self.session = path.parents[1] if is_checkpoint else path
        self._checkpoint = path if is_checkpoint else None  # None: the newest valid one
        self._needs_memory, self._ranks = needs_memory, ranks or Ranks()
        if not (self.session / "checkpoints").is_dir():
            raise UsageError(
                f"{self.session} is no session: it has no directory 'checkpoints'. Give a session's directory."
            )

    def load(self, *, is_written: bool) -> None:
        """Read the checkpoint. Args: is_written: the run goes on in this session, and must be able to write there.

        Raises:
            UsageError: if something lies in the place of the session's own directories.
            CheckpointError: if there is no valid checkpoint.
        """
        for name in ("checkpoints", "memory"):
            require_own(self.session / name, is_directory=True, is_written=is_written)
        if self._checkpoint is None:
            self.loaded = load_newest_valid(self.session, self._needs_memory, rank=self._ranks.rank)
        else:
            self.loaded = load_checkpoint(self._checkpoint, self._needs_memory, self._ranks.rank)
        for name in self.loaded.segments:
            place = memory_directory(self.session, self._ranks.rank, name)
            require_own(place, is_directory=True, is_written=is_written)
        self._go_back_together()

    def _go_back_together(self) -> None:
        """Take an older checkpoint where another rank's newest valid one is older."""
        while True:
            names = self._ranks.gather(self.loaded.path.name)
            oldest = min(names, key=lambda name: checkpoint_order(Path(name)) or (0, 0))
            if all(name == oldest for name in names):
                return
            if self.loaded.path.name != oldest:
                self._load_before(self.loaded.path)

    def _load_before(self, path: Path) -> None:
        self.loaded = load_newest_valid(self.session, self._needs_memory, before=path, rank=self._ranks.rank)

    def fall_back(self, error: CheckpointError, first: CheckpointError) -> None:
        """Load the checkpoint before the one that turned out not to fit.

        Args:
            error: what is wrong with it.
            first: what was wrong with the newest one. It is raised if none is left, or the user named the checkpoint.
        """
        if self._checkpoint is not None:
            raise first
        _log.warning("Skipping %s: %s", self.loaded.path.name, error)
        try:
            self._load_before(self.loaded.path)
        except CheckpointError:
            raise first from None
        self._go_back_together()

    def restore_memory(self, name: str, memory: Memory, n_chunks: int) -> None:
        """Fill a memory from the segments of the loaded checkpoint. Args: n_chunks: stored since the run began."""
        directory = memory_directory(self.session, self._ranks.rank, name)
        SegmentStore(directory, self.loaded.segments[name]).restore(memory, n_chunks)


class SavedRun(Protocol):
    """What a Session asks of the Runner that it opens for."""

    i_epoch: int
    keep_checkpoints: int | None

    @property
    def frames(self) -> int:
        """Frames so far."""

    def save(self) -> None:
        """Write a checkpoint."""


class CheckpointStore:
    """What a run saves: checkpoints, of which it keeps the newest, and the segments of memories that they need.

    Args:
        session: the directory that is written.
        source: where the run is resumed from; None for a new run.
        ranks: that save together; None for one. Rank 0 alone moves and deletes checkpoints.
    """

    def __init__(self, session: Path, source: CheckpointSource | None = None, ranks: Ranks | None = None):
        self._ranks = ranks or Ranks()
        self._session, self._directory = session, session / "checkpoints"
        known = {} if source is None else source.loaded.segments
        self._segments = {name: SegmentStore(self._place(name), segments) for name, segments in known.items()}
        # Checkpoints by name, oldest first: the oldest chunk that each needs of each memory.
        self._kept: dict[str, dict[str, int]] = {}

    def _place(self, memory: str) -> Path:
        return memory_directory(self._session, self._ranks.rank, memory)

    def move(self, session: Path) -> None:
        """Go on in a directory that was renamed. Args: session: its new path."""
        self._session, self._directory = session, session / "checkpoints"
        for name, store in self._segments.items():
            store.directory = self._place(name)

    def take_back(self, resumed: Path, keep: int | None) -> None:
        """Set aside what was saved after the checkpoint `resumed`; delete what nobody needs. Args: keep: see `save`."""
        if self._ranks.is_first:
            sweep_checkpoints(self._directory)
            for later in list_checkpoints(self._directory)[::-1]:
                if later == resumed:
                    break
                _log.warning("Setting %s aside as %s: %s is resumed.", later.name, set_aside(later).name, resumed.name)
        self._ranks.meet()
        rank, aside, kept = self._ranks.rank, list_aside(self._directory), list_checkpoints(self._directory)
        self._kept = {path.name: {} for path in kept}
        for name, store in self._segments.items():
            needs = {path.name: read_need(path, rank, name) for path in kept}
            for checkpoint, oldest in store.sweep(needs, [read_need(path, rank, name) for path in aside]).items():
                self._kept[checkpoint][name] = oldest
        self._ranks.meet()  # all have looked at what may be deleted now
        self._drop(keep)  # the run may have been killed before it could

    def save(
        self, name: str, content: dict[str, Any], figures: dict[str, Any], memories: Mapping[str, Memory],
        keep: int | None,
    ) -> None:  # fmt: skip
        """Write a checkpoint, having written what is new in the memories, and delete the oldest ones.

        Args:
            content: all but that of the memories.
            figures: what the checkpoint says about the session's files.
            keep: how many checkpoints to keep; None for all.
        """
        needs = {}
        for each, memory in memories.items():
            store = self._segments.setdefault(each, SegmentStore(self._place(each)))
            needs[each] = store.append(memory)
        further = {each: need for each, need in needs.items() if each != MAIN}
        first, *others = self._ranks.gather(needs[MAIN] | ({"further": further} if further else {}))
        figures |= {"memory": first} | ({"rank_memories": others} if others else {})
        write_checkpoint(self._directory, name, content, figures, self._ranks)
        _log.debug("Saved %s", name)
        self._kept[name] = {each: need["oldest"] for each, need in needs.items()}
        self._drop(keep)

    def _drop(self, keep: int | None) -> None:
        drop_oldest(self._directory if self._ranks.is_first else None, self._kept, keep)
        oldest = next(iter(self._kept.values()))
        for name, store in self._segments.items():
            store.release(oldest[name])

    def save_best(self, content: dict[str, Any], figures: dict[str, Any]) -> None:
        """Keep a policy beside the checkpoints, whatever becomes of them. Args: content: what it takes to play it."""
        write_checkpoint(self._directory, BEST, content, figures)
