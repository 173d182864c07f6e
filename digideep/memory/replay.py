"""The sampler of replay methods: how often to learn, and from what."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from digideep.memory.augmentation import Spaces, images_of
from digideep.memory.augmentation import random_shift as shift
from digideep.memory.generic import MAIN, SampledMemory
from digideep.memory.hindsight import Goals, Hindsight
from digideep.memory.priorities import Priorities
from digideep.memory.ring import Chunk, Ring
from digideep.memory.sampler import Sampler
from digideep.memory.shares import Shares
from digideep.memory.transitions import TransitionIndices, draw_uniform, gather_transitions
from digideep.parameters.checks import require, require_between, require_int
from digideep.parameters.component import Description, build
from digideep.parameters.schedule import Schedules
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.values import is_described
from digideep.utility.errors import UsageError
from digideep.utility.plan import Plan
from digideep.utility.ranks import Ranks

_MOST_PIXELS = 1_000  # of a shift: a slip of the keyboard would take all memory


class Replay(Sampler):
    """Draws batches at a fixed ratio to the frames that were collected, however many workers and ranks do so.

    A batch is what `gather_transitions` returns. Of several ranks each draws its share of a batch from its own memory.
    With `shares`, other memories give a part of the rows; priorities and weights are those within each memory.

    Args:
        planned_frames: of the whole run.
        ranks: that train together; None for one.
        memories: of the run by name, from which `shares` chooses; None for the one it is called with.
        goals: what the environment says of goals, for `hindsight`; None for nothing.
        batch_size: transitions of a batch, of all ranks together.
        learning_starts: frames to collect before the first gradient step. No step is made up for later.
        gradient_steps_per_frame: the replay ratio; a fraction of a step is carried to the next cycle.
        n_step_return: rewards summed up before the bootstrap; more than 1 ignores that later actions are off-policy.
        priorities: description of `Priorities`, for the main memory, "train"; or one for each memory by name. None, and
            what is not named, draws uniformly.
        shares: of a batch that come from other memories: name -> number in [0, 1], or a schedule over gradient steps;
            see `Shares`. None draws from the main memory alone.
        hindsight: description of `Hindsight`, which relabels a part of what is drawn; None leaves it as it was stored.
        random_shift: pixels by which images are shifted at most, see `augmentation`; 0 for none. Usual: 4.
        channel_axis: of images, "first" or "last"; None takes the smaller end.
    """

    def __init__(
        self,
        planned_frames: int = 0,
        ranks: Ranks | None = None,
        memories: Mapping[str, SampledMemory] | None = None,
        goals: Goals | None = None,
        *,
        batch_size: int,
        learning_starts: int = 0,
        gradient_steps_per_frame: float = 1.0,
        n_step_return: int = 1,
        priorities: Description | dict[str, Description] | None = None,
        shares: dict[str, float | Description] | None = None,
        hindsight: Description | None = None,
        random_shift: int = 0,
        channel_axis: str | None = None,
    ):
        ranks = ranks or Ranks()
        require_int("batch_size", batch_size, ranks.size)
        require_int("learning_starts", learning_starts, 0)
        require_between("gradient_steps_per_frame", gradient_steps_per_frame, 0, 10_000)
        require_int("n_step_return", n_step_return, 1, 1_000)
        require_int("random_shift", random_shift, 0, _MOST_PIXELS)
        self.learning_starts = learning_starts
        # A fraction and whole numbers: ten times 0.1 is one step, not 0.999.
        self.ratio = Fraction(gradient_steps_per_frame).limit_denominator(1_000_000)
        planned_draws = int(planned_frames * self.ratio)
        self._memories: Mapping[str, SampledMemory] = memories or {}
        self.shares = Shares(shares, self._memories, planned_draws) if shares else None
        self.memory_names = [MAIN, *(shares or ())]  # that it draws from
        by_name = {MAIN: priorities} if priorities is not None and is_described(priorities) else priorities or {}
        for name in by_name:
            if name not in self.memory_names:
                known = did_you_mean(name, self.memory_names)
                raise UsageError(f"priorities names a memory '{name}' that has no share. {known}")
        self.priorities = {name: build(each, Priorities, planned_draws=planned_draws) for name, each in by_name.items()}
        self._drawn: list[tuple[Priorities | None, TransitionIndices]] = []  # of the last batch, by memory
        self.hindsight = None if hindsight is None else build(hindsight, Hindsight, goals=goals)
        self.units = (self._draw, gather_transitions if self.hindsight is None else self.hindsight.gather)
        self.units += (shift,) if random_shift else ()
        own_size = ranks.share(batch_size)
        self.share = own_size / batch_size  # of this rank
        images = {"random_shift": random_shift, "channel_axis": channel_axis}
        self.batch_size, self.info = batch_size, {"batch_size": own_size, "n_step_return": n_step_return, **images}
        self._frames_seen, self._carried = 0, 0

    def __call__(self, memory: SampledMemory, info: Mapping[str, Any]) -> Chunk:
        """See `Sampler`. Args: memory: the main one."""
        self._drawn = []
        if self.shares is None:
            return super().__call__(memory, info)
        parts = [
            super(Replay, self).__call__(
                memory if name == MAIN else self._memories[name], {**info, "batch_size": rows, "memory": name}
            )
            for name, rows in self.shares.split(self.info["batch_size"]).items()
            if rows
        ]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _draw(self, memory: SampledMemory, info: Mapping[str, Any]) -> TransitionIndices:
        """Draw from a memory as is its way, and remember what: a unit."""
        priorities = self.priorities.get(info.get("memory", MAIN))
        indices = draw_uniform(memory, info) if priorities is None else priorities.draw(memory, info)
        self._drawn.append((priorities, indices))
        return indices

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
        self._check_ring(ring, "The memory", "memory_size_in_chunks or n_steps")
        for name in self.memory_names[1:]:
            ring = self._memories[name].ring
            self._check_ring(ring, f"The memory '{name}'", f"buffer_chunk_len of /memory/{name}")

    def _check_ring(self, ring: Ring, what: str, remedy: str) -> None:
        """Refuse a memory in which there may be moments at which nothing can be drawn. Args: what: it is called."""
        # Of two rows in turn, one may be the end of an episode, where no transition starts. A ring that goes round has
        # a row without a successor, and rows whose stacks are not whole.
        needed = max(2, self.info["n_step_return"]) + (ring.buffer_chunk_len > 1) + ring.stack - 1
        if ring.num_steps < needed:
            why = "one that can be drawn at every moment"
            if ring.stack > 1:
                why += f", in a stack of {ring.stack} frames"
            if self.info["n_step_return"] > 2:
                why += f", with a return of n_step_return={self.info['n_step_return']} steps"
            raise UsageError(
                f"{what} holds {ring.num_steps} steps of each worker, and must hold at least {needed}: {why}. Raise "
                f"{remedy}."
            )

    @property
    def needed_keys(self) -> list[str]:
        """Keys of a chunk that it reads, beyond those that an agent asks for."""
        return [] if self.hindsight is None else self.hindsight.needed_keys

    def check_observations(self, memory: SampledMemory, observations: Sequence[str], spaces: Spaces) -> None:
        """Refuse an environment, a memory or an agent that hindsight cannot work with, and shifts without images.

        Args:
            memory: the main one.
            observations: keys that the agent sees.
            spaces: of its observations, by key.
        """
        if self.info["random_shift"] and not any(images_of(spaces, self.info["channel_axis"])):
            seen = ", ".join(f"{key.removeprefix('/observations')} {space}" for key, space in spaces.items())
            raise UsageError(
                f"random_shift={self.info['random_shift']} shifts images, but the agent sees only {seen}. Set it to 0, "
                "or let the agent see an image."
            )
        if self.hindsight is not None:
            others = [self._memories[name] for name in self.memory_names[1:]]
            self.hindsight.check([memory, *others], observations)

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
        found: Schedules = {} if self.shares is None else self.shares.schedules()
        for name, priorities in self.priorities.items():
            end = "" if name == MAIN else f"_{name}"
            found |= {f"{key}{end}": course for key, course in priorities.schedules().items()}
        return found

    def note_errors(self, errors: Tensor) -> None:
        """Learn how surprising the last batch was. Args: errors: float32 (B,), absolute."""
        if not self.priorities:
            return
        values, first = errors.numpy(force=True), 0
        for priorities, indices in self._drawn:
            last = first + len(indices.rows)
            if priorities is not None:
                priorities.update(indices, values[first:last])
            first = last

    def state_dict(self) -> dict[str, Any]:
        """Return counters, priorities and what is carried of shares."""
        state: dict[str, Any] = {"frames_seen": self._frames_seen, "carried": self._carried}
        if self.shares is not None:
            state["shares"] = self.shares.state_dict()
        return state | {_key(name): priorities.state_dict() for name, priorities in self.priorities.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._frames_seen, self._carried = state["frames_seen"], state["carried"]
        if self.shares is not None and "shares" in state:
            self.shares.load_state_dict(state["shares"])
        for name, priorities in self.priorities.items():
            priorities.load_state_dict(state[_key(name)])


def _key(memory: str) -> str:
    """Return where the state of a memory's priorities lies."""
    return "priorities" if memory == MAIN else f"priorities of {memory}"
