"""What replay methods share: how often to learn, what to draw, and one turn of drawing and learning.

The mathematics of a method stands in its own file; here is none.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from digideep.agent.base import AgentBase, AgentContext
from digideep.memory.priorities import Priorities
from digideep.memory.replay import draw_uniform, gather_transitions
from digideep.memory.sampler import Compose
from digideep.utility.checks import require_between, require_int
from digideep.utility.component import Component, Description, build


class Transitions(NamedTuple):
    """A batch: where B transitions started, and what to bootstrap from."""

    observations: Tensor  # (B, ...)
    actions: Tensor  # int64 (B,) or float32 (B, A), in [-1, 1]
    rewards: Tensor  # float32 (B,), discounted sum over the steps before the bootstrap
    discounts: Tensor  # float32 (B,), of the bootstrap; 0 at a termination
    next_observations: Tensor  # (B, ...)
    weights: Tensor  # float32 (B,), 1 unless priorities are in use


class Replay(Component):
    """Draws batches from the memory at a fixed ratio to the frames that were collected, however many workers do so.

    Args:
        memory: with the explorer's chunks.
        generator: the agent's.
        observations: key of the observations.
        actions: key of the actions.
        gamma: discount per step.
        device: of the tensors.
        batch_size: transitions of a batch.
        learning_starts: frames to collect before the first gradient step. No step is made up for later.
        gradient_steps_per_frame: the replay ratio; a fraction of a step is carried to the next cycle.
        n_step_return: rewards summed up before the bootstrap; more than 1 ignores that later actions are off-policy.
        priorities: description of `Priorities`; None draws uniformly.
    """

    def __init__(
        self,
        memory: Any,
        generator: np.random.Generator,
        observations: str,
        actions: str,
        gamma: float,
        device: torch.device,
        *,
        batch_size: int,
        learning_starts: int = 0,
        gradient_steps_per_frame: float = 1.0,
        n_step_return: int = 1,
        priorities: Description | None = None,
    ):
        require_int("batch_size", batch_size, 1)
        require_int("learning_starts", learning_starts, 0)
        require_between("gradient_steps_per_frame", gradient_steps_per_frame)
        require_int("n_step_return", n_step_return, 1)
        self.memory, self.device, self.learning_starts = memory, device, learning_starts
        # A fraction and whole numbers: ten times 0.1 is one step, not 0.999.
        self.ratio = Fraction(gradient_steps_per_frame).limit_denominator(1_000_000)
        self.priorities = None if priorities is None else build(priorities, Priorities)
        self.info: dict[str, Any] = {
            "observations": observations, "actions": actions, "gamma": gamma, "generator": generator,
            "batch_size": batch_size, "n_step_return": n_step_return, "priorities": self.priorities,
        }  # fmt: skip
        draw = draw_uniform if self.priorities is None else self.priorities.draw
        self.sampler = Compose([draw, self._remember, gather_transitions])
        self._frames_seen, self._carried = 0, 0

    def steps_due(self) -> int:
        """Gradient steps for the frames that have come since the last call."""
        before, self._frames_seen = self._frames_seen, self.memory.n_frames
        if self._frames_seen < self.learning_starts:
            return 0
        due = (self._frames_seen - before) * self.ratio.numerator + self._carried
        steps, self._carried = divmod(due, self.ratio.denominator)
        return steps

    def draw(self) -> Transitions:
        """A batch, in memory that torch allocated."""
        chunk, info = self.sampler(self.memory, self.info), self.info
        keys = (
            info["observations"],
            info["actions"],
            "/rewards",
            "/discounts",
            info["observations"] + "_2",
            "/weights",
        )
        return Transitions(*(torch.tensor(chunk[key], device=self.device) for key in keys))

    def _remember(self, draw: Any, info: dict[str, Any]) -> Any:
        self._last = draw
        return draw

    def note_errors(self, errors: Tensor) -> None:
        """Learn how surprising the last batch was. Args: errors: float32 (B,), absolute."""
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


class OffPolicyAgent(AgentBase):
    """Learns from replayed transitions. A subclass implements `action_generator` and `learn`, and names `metrics`.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees.
        replay: description of a `Replay`.
        gamma: discount per step, in [0, 1].
    """

    is_off_policy = True
    metrics: tuple[str, ...]

    def __init__(self, context: AgentContext, observation_path: str, replay: Description, gamma: float):
        super().__init__(context, observation_path)
        require_between("gamma", gamma, 0, 1)
        self.replay = build(
            replay, Replay, memory=self.memory, generator=self.numpy_generator, device=self.device, gamma=gamma,
            observations=f"/observations{observation_path}", actions=f"/agents/{self.name}/actions",
        )  # fmt: skip

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """One gradient step. Returns: what `metrics` names, (K,), and absolute errors of the action values, (B,)."""
        raise NotImplementedError

    def update(self) -> dict[str, float]:
        """Take the gradient steps that are due. Returns: the means of `metrics` over them; nothing if none was due."""
        with self.profiler(f"update/{self.name}"):
            steps = self.replay.steps_due()
            if not steps:
                return {}
            totals = torch.zeros(len(self.metrics), device=self.device)
            for _ in range(steps):
                with self.profiler("sample"):
                    batch = self.replay.draw()
                with self.profiler("step"):
                    values, errors = self.learn(batch)
                    totals += values
                    self.replay.note_errors(errors)
                self.n_updates += 1
            means = (totals / steps).tolist()
            return self.check_finite(dict(zip(self.metrics, means, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Everything of `AgentBase`, and the replay's counters."""
        return {**super().state_dict(), "replay": self.replay.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.replay.load_state_dict(state["replay"])
