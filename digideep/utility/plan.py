"""How much a run does from its start to its end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The size of a whole run, for what depends on it: schedules, compiling, and what cannot be learned in it.

    Attributes:
        n_cycles: turns of the loop; 0 where nobody has planned anything.
        n_steps: steps of a worker in each of them.
        num_workers: environments of a rank.
        num_players: of the agent in each environment.
        num_ranks: processes that train together.
    """

    n_cycles: int = 0
    n_steps: int = 0
    num_workers: int = 0
    num_players: int = 1
    num_ranks: int = 1

    @property
    def cycle_frames(self) -> int:
        """Frames of a cycle."""
        return self.n_steps * self.num_workers * self.num_ranks

    @property
    def frames(self) -> int:
        """Frames of the whole run."""
        return self.n_cycles * self.cycle_frames

    @property
    def num_rows(self) -> int:
        """Rows of the agent that step together in a rank."""
        return self.num_workers * self.num_players
