"""The sampler of replay methods: how often to learn, and from what."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor

from digideep.memory.generic import SampledMemory
from digideep.memory.hindsight import Goals, Hindsight
from digideep.memory.priorities import Priorities
from digideep.memory.sampler import Sampler
from digideep.memory.transitions import TransitionIndices, draw_uniform, gather_transitions
from digideep.parameters.checks import require, require_between, require_int
from digideep.parameters.component import Description, build
from digideep.parameters.schedule import Schedules
from digideep.utility.errors import UsageError
from digideep.utility.plan import Plan
from digideep.utility.ranks import Ranks


class Replay(Sampler):
    """Draws batches at a fixed ratio to the frames that were collected, however many workers and ranks do so.

    A batch is what `gather_transitions` returns. Of several ranks each draws its share of a batch from its own memory.

    Args:
        planned_frames: of the whole run.
        ranks: that train together; None for one.
        goals: what the environment says of goals, for `hindsight`; None for nothing.
        batch_size: transitions of a batch, of all ranks together.
        learning_starts: frames to collect before the first gradient step. No step is made up for later.
        gradient_steps_per_frame: the replay ratio; a fraction of a step is carried to the next cycle.
        n_step_return: rewards summed up before the bootstrap; more than 1 ignores that later actions are off-policy.
        priorities: description of `Priorities`; None draws uniformly.
        hindsight: description of `Hindsight`, which relabels a part of what is drawn; None leaves it as it was stored.
    """

    def __init__(
        self,
        planned_frames: int = 0,
        ranks: Ranks | None = None,
        goals: Goals | None = None,
        *,
        batch_size: int,
        learning_starts: int = 0,
        gradient_steps_per_frame: float = 1.0,
        n_step_return: int = 1,
        priorities: Description | None = None,
        hindsight: Description | None = None,
    ):
        ranks = ranks or Ranks()
        require_int("batch_size", batch_size, ranks.size)
        require_int("learning_starts", learning_starts, 0)
        require_between("gradient_steps_per_frame", gradient_steps_per_frame, 0, 10_000)
        require_int("n_step_return", n_step_return, 1, 1_000)
        self.learning_starts = learning_starts
        # A fraction and whole numbers: ten times 0.1 is one step, not 0.999.
        self.ratio = Fraction(gradient_steps_per_frame).limit_denominator(1_000_000)
        planned_draws = int(planned_frames * self.ratio)
        self.priorities = None if priorities is None else build(priorities, Priorities, planned_draws=planned_draws)
        draw = draw_uniform if self.priorities is None else self.priorities.draw
        self.hindsight = None if hindsight is None else build(hindsight, Hindsight, goals=goals)
        gather = gather_transitions if self.hindsight is None else self.hindsight.gather
        self.units = (draw, self._remember, gather)
        own_size = ranks.share(batch_size)
        self.share = own_size / batch_size  # of this rank
        self.batch_size, self.info = batch_size, {"batch_size": own_size, "n_step_return": n_step_return}
        self._frames_seen, self._carried = 0, 0

    def steps_due(self, memory: SampledMemory) -> int:
        """Return the gradient steps for the frames that have come since the last call."""
        before, self._frames_seen = self._frames_seen, memory.n_frames
        if self._frames_seen < self.learning_starts:
            return 0
        due = (self._frames_seen - before) * self.ratio.numerator + self._carried
        steps, self._carried = divmod(due, self.ratio.denominator)
        return steps

    def total_steps(self, plan: Plan) -> int:
        """Return the gradient steps of a whole run."""
        waiting = max(-(-self.learning_starts // plan.cycle_frames) - 1, 0)  # cycles
        return int(max(plan.n_cycles - waiting, 0) * plan.cycle_frames * self.ratio)

    def check_plan(self, memory: SampledMemory, plan: Plan) -> None:
        """Refuse a memory that forgets what it has not shown, and a ratio of no steps.

        Args:
            memory: where it will be drawn from.
            plan: of the whole run.

        Raises:
            UsageError: naming the parameter.
        """
        ring, starts = memory.ring, self.learning_starts
        room = ring.num_steps * plan.num_workers * plan.num_ranks
        require(self.ratio > 0, "gradient_steps_per_frame", float(self.ratio), "above 0, or nothing is learned")
        if self.batch_size > room * plan.num_players:
            raise UsageError(
                f"batch_size must be at most the {room * plan.num_players:,} transitions that the memory holds, got "
                f"{self.batch_size:,}. Lower it, or raise memory_size_in_chunks."
            )
        if starts > room:
            raise UsageError(
                f"warm_start must fit into the memory: learning_starts, at least warm_start and batch_size, is "
                f"{starts:,} frames, of which the memory holds {room:,}. Lower it, or raise memory_size_in_chunks."
            )
        # Of two rows in turn, one may be the end of an episode, where no transition starts. A ring that goes round has
        # a row without a successor, and rows whose stacks are not whole.
        needed = max(2, self.info["n_step_return"]) + (ring.buffer_chunk_len > 1) + ring.stack - 1
        if ring.num_steps < needed:
            why = "one that can be drawn at every moment"
            if memory.stacks:
                why += f", in a stack of {ring.stack} frames"
            if self.info["n_step_return"] > 2:
                why += f", with a return of n_step_return={self.info['n_step_return']} steps"
            raise UsageError(
                f"The memory holds {ring.num_steps} steps of each worker, and must hold at least {needed}: {why}. "
                "Raise memory_size_in_chunks or n_steps."
            )

    @property
    def needed_keys(self) -> list[str]:
        """Keys of a chunk that it reads, beyond those that an agent asks for."""
        return [] if self.hindsight is None else self.hindsight.needed_keys

    def check_observations(self, memory: SampledMemory, observations: Sequence[str]) -> None:
        """Refuse an environment, a memory or an agent that hindsight cannot work with.

        Args:
            memory: where it will be drawn from.
            observations: keys that the agent sees.
        """
        if self.hindsight is not None:
            self.hindsight.check(memory, observations)

    def doubt(self, plan: Plan) -> str | None:
        """Say why nothing is drawn in a whole run; None if something is."""
        if not plan.frames or self.total_steps(plan):
            return None
        return (
            f"no gradient step in the {plan.frames:,} frames of the plan: learning starts after "
            f"{self.learning_starts:,} (warm_start, batch_size), with gradient_steps_per_frame={float(self.ratio):g}"
        )

    def schedules(self) -> Schedules:
        """Return what changes along the plan: by name, its course, and what counts how far that is."""
        return {} if self.priorities is None else self.priorities.schedules()

    def _remember(self, indices: TransitionIndices, info: Mapping[str, Any]) -> TransitionIndices:
        self._last = indices
        return indices

    def note_errors(self, errors: Tensor) -> None:
        """Learn how surprising the last batch was. Args: errors: float32 (B,), absolute."""
        if self.priorities is not None:
            self.priorities.update(self._last, errors.numpy(force=True))

    def state_dict(self) -> dict[str, Any]:
        """Return counters and priorities."""
        state = {"frames_seen": self._frames_seen, "carried": self._carried}
        return state if self.priorities is None else {**state, "priorities": self.priorities.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._frames_seen, self._carried = state["frames_seen"], state["carried"]
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])
