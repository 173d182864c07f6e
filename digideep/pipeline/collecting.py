"""What a run collects: explorers and memories by name, and what becomes of them at a checkpoint."""

from collections.abc import Mapping
from typing import Any

from digideep.environment.explorer import Explorer
from digideep.memory.generic import MAIN, Memory
from digideep.memory.ring import Chunk
from digideep.parameters.component import Component
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.announcements import log_divergence
from digideep.pipeline.checkpoint_content import memory_state
from digideep.pipeline.progress import Progress
from digideep.pipeline.session import Session
from digideep.utility.errors import UsageError


class Collector(Component):
    """Has explorers and memories by name: the part of a Runner that does not depend on how the loop goes.

    Attributes:
        explorer: by name. "train" feeds the loop, "test" tests; a subclass's `train_cycle` runs further ones.
        memories: by name; memory: the one that "train" fills.
    """

    session: Session
    progress: Progress
    explorer: dict[str, Explorer]
    memories: dict[str, Memory]
    memory: Memory

    @property
    def continuing(self) -> dict[str, Explorer]:
        """The explorers whose episodes go on after a resume: all but "test", whose begin anew."""
        return {name: explorer for name, explorer in self.explorer.items() if name != "test"}

    def collect(self, name: str) -> None:
        """Run a further explorer once: log its episodes, and store its chunk in its memory, if it has one.

        For a subclass's `train_cycle`. All ranks call it at the same moment. The explorer normalises as "train" does.

        Raises:
            UsageError: if the tree has no further explorer of that name.
        """
        further = self.continuing.keys() - {"train"}
        if name not in further:
            raise UsageError(f"collect('{name}'): no further explorer has that name. {did_you_mean(name, further)}")
        explorer = self.explorer[name]
        explorer.follow(self.explorer["train"])
        chunk = explorer.update()
        self.progress.take_in(name, explorer)
        if explorer.memory is not None:
            self.keep(name, chunk)

    def keep(self, name: str, chunk: Chunk) -> None:
        """Store the chunk of a further explorer; a subclass may change it before. Args: name: of the explorer."""
        self.memories[str(self.explorer[name].memory)].store(chunk)

    def collected_state(self) -> dict[str, Any]:
        """Return the state of explorers, and of memories without their content."""
        further = {name: memory.state_dict() for name, memory in self.memories.items() if name != MAIN}
        return {
            "explorer": {name: explorer.state_dict() for name, explorer in self.continuing.items()},
            "statistics": self.explorer["train"].statistics(),
            "memory": self.memory.state_dict(),
            **({"memories": further} if further else {}),
        }

    def restore_memories(self, state: Mapping[str, Any]) -> None:
        """Fill the memories as they were. Args: state: of a checkpoint."""
        for name, memory in self.memories.items():
            held = memory_state(dict(state), name)
            self.session.restore_memory(name, memory, held["n_chunks"])
            memory.load_state_dict(held)

    def restore_explorers(self, state: Mapping[str, Any], environment: str) -> None:
        """Let the explorers go on where they were. Args: state: of a checkpoint; environment: its name."""
        for name, explorer in self.continuing.items():
            if diverged := explorer.load_state_dict(state["explorer"][name]):
                log_divergence(environment, diverged)

    def close_collected(self) -> None:
        """Close all environments and memories."""
        for explorer in self.explorer.values():
            explorer.close()
        for memory in self.memories.values():
            memory.close()
