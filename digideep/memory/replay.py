"""The sampler of replay methods: how often to learn, and from what."""

from fractions import Fraction
from typing import Any

from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.memory.sampler import Sampler
from digideep.memory.transitions import Draw, draw_uniform, gather_transitions
from digideep.utility.checks import require_between, require_int
from digideep.utility.component import Description, build


class Replay(Sampler):
    """Draws batches at a fixed ratio to the frames that were collected, however many workers do so.

    A batch is what `gather_transitions` returns.

    Args:
        batch_size: transitions of a batch.
        learning_starts: frames to collect before the first gradient step. No step is made up for later.
        gradient_steps_per_frame: the replay ratio; a fraction of a step is carried to the next cycle.
        n_step_return: rewards summed up before the bootstrap; more than 1 ignores that later actions are off-policy.
        priorities: description of `Priorities`; None draws uniformly.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        learning_starts: int = 0,
        gradient_steps_per_frame: float = 1.0,
        n_step_return: int = 1,
        priorities: Description | None = None,
    ):
        require_int("batch_size", batch_size, 1)
        require_int("learning_starts", learning_starts, 0)
        require_between("gradient_steps_per_frame", gradient_steps_per_frame, 0, 10_000)
        require_int("n_step_return", n_step_return, 1, 1_000)
        self.learning_starts = learning_starts
        # A fraction and whole numbers: ten times 0.1 is one step, not 0.999.
        self.ratio = Fraction(gradient_steps_per_frame).limit_denominator(1_000_000)
        self.priorities = None if priorities is None else build(priorities, Priorities)
        draw = draw_uniform if self.priorities is None else self.priorities.draw
        self.units = (draw, self._remember, gather_transitions)
        self.info = {"batch_size": batch_size, "n_step_return": n_step_return}
        self._frames_seen, self._carried = 0, 0

    def steps_due(self, memory: Memory) -> int:
        """Gradient steps for the frames that have come since the last call."""
        before, self._frames_seen = self._frames_seen, memory.n_frames
        if self._frames_seen < self.learning_starts:
            return 0
        due = (self._frames_seen - before) * self.ratio.numerator + self._carried
        steps, self._carried = divmod(due, self.ratio.denominator)
        return steps

    def _remember(self, draw: Draw, info: dict[str, Any]) -> Draw:
        self._last = draw
        return draw

    def note_errors(self, errors: Any) -> None:
        """Learn how surprising the last batch was. Args: errors: a float32 tensor (B,), absolute."""
        if self.priorities is not None:
            self.priorities.update(self._last, errors.numpy(force=True))

    def state_dict(self) -> dict[str, Any]:
        """Counters and priorities."""
        state = {"frames_seen": self._frames_seen, "carried": self._carried}
        return state if self.priorities is None else {**state, "priorities": self.priorities.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._frames_seen, self._carried = state["frames_seen"], state["carried"]
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])
