"""One agent's view of a memory that several agents share."""

import numpy as np

from digideep.memory.generic import Memory
from digideep.memory.ring import Chunk

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
        """Frames of the environment stored so far, however many players the agent has in each."""
        return self.ring.n_chunks * self.ring.chunk_sample_len * self.num_workers // self._num_players

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
