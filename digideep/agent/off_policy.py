"""What replay methods share: one turn of drawing and learning, as often as the sampler says.

The mathematics of a method stands in its own file; here is none.
"""

from typing import Any, NamedTuple

from torch import Tensor

from digideep.agent.base import ACTION_MASK, AgentBase, AgentContext
from digideep.parameters.checks import require_between
from digideep.parameters.component import Description
from digideep.parameters.schedule import Schedules
from digideep.policy.observations import Observations
from digideep.utility.errors import UsageError


class Transitions(NamedTuple):
    """A batch: where B transitions started, and what to bootstrap from."""

    observations: Observations  # float32 (B, D), or path -> (B, ...)
    actions: Tensor  # int64 (B,) or float32 (B, A), in [-1, 1]
    rewards: Tensor  # float32 (B,), discounted sum over the steps before the bootstrap
    discounts: Tensor  # float32 (B,), of the bootstrap; 0 at a termination
    next_observations: Observations  # likewise
    weights: Tensor  # float32 (B,), 1 unless priorities are in use
    next_allowed: Tensor | None = None  # bool (B, A), the action mask of next_observations, if it is in use


class OffPolicyAgent(AgentBase):
    """Learns from replayed transitions. A subclass implements `action_generator` and `learn`, and names `metrics`.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        sampler: description of a sampler that says how often to draw, such as `digideep.memory.replay.Replay`.
        gamma: discount per step, in [0, 1].
        use_action_mask: see `AgentBase`.
    """

    is_off_policy = True
    metrics: tuple[str, ...]

    def __init__(
        self,
        context: AgentContext,
        observation_path: str | list[str] | None,
        sampler: Description,
        gamma: float,
        use_action_mask: bool = False,
    ):
        super().__init__(context, observation_path, use_action_mask)
        require_between("gamma", gamma, 0, 1)
        self.sampler: Any = self.make_sampler(sampler)
        if not hasattr(self.sampler, "steps_due"):
            name = type(self.sampler).__name__
            raise UsageError(
                f"{name} cannot say how often to draw. Expected one such as digideep.memory.replay.Replay."
            )
        self.keys = {path: f"/observations{path}" for path in self.observation_paths}
        self.actions_key = f"/agents/{self.name}/actions"
        mask = [ACTION_MASK] if use_action_mask else []
        self.sampler_info: dict[str, Any] = {
            "observations": [*self.keys.values(), *mask], "actions": self.actions_key, "gamma": gamma,
            "generator": self.numpy_generator,
        }  # fmt: skip

    def draw(self) -> Transitions:
        """A batch from the memory, in memory that torch allocated."""
        chunk, to_tensor = self.sampler(self.memory, self.sampler_info), self.to_tensor
        return Transitions(
            self.observe({path: chunk[key] for path, key in self.keys.items()}),
            to_tensor(chunk[self.actions_key]),
            to_tensor(chunk["/rewards"]),
            to_tensor(chunk["/discounts"]),
            self.observe({path: chunk[key + "_2"] for path, key in self.keys.items()}),
            to_tensor(chunk["/weights"]),
            to_tensor(chunk[ACTION_MASK + "_2"] != 0) if self.use_action_mask else None,
        )

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """One gradient step. Returns: what `metrics` names, (K,), and absolute errors of the action values, (B,)."""
        raise NotImplementedError

    def update(self) -> dict[str, float]:
        """Take the gradient steps that are due.

        Returns:
            The means of `metrics` over them, and what is scheduled, such as the learning rate; nothing if none was due.
        """
        with self.profiler(f"update/{self.name}"):
            steps = self.sampler.steps_due(self.memory)
            if not steps:
                return {}
            rates = {name: course(clock()) for name, (course, clock) in self.schedules().items()}
            totals: Tensor | None = None
            for _ in range(steps):
                with self.profiler("sample"):
                    batch = self.draw()
                with self.profiler("step"):
                    values, errors = self.learn(batch)
                    totals = values if totals is None else totals + values
                    self.sampler.note_errors(errors)
                self.n_updates += 1
            assert totals is not None
            means = [total / steps for total in totals.tolist()]
            return self.check_finite({**dict(zip(self.metrics, means, strict=True)), **rates})

    @property
    def planned_steps(self) -> int:
        """Gradient steps of the whole plan, had they begun with its first frame."""
        return int(self.plan.frames * self.sampler.ratio)

    def schedules(self) -> Schedules:
        """See `AgentBase`: those of the sampler."""
        return getattr(self.sampler, "schedules", dict)()

    @property
    def needed_keys(self) -> list[str]:
        """See `AgentBase`."""
        return ["/masks", "/rewards", "/terminations", *self.sampler_info["observations"], self.actions_key]

    def check_plan(self) -> None:
        """See `AgentBase`: what the sampler says, and the learning rates."""
        if hasattr(self.sampler, "check_plan"):
            self.sampler.check_plan(self.memory, self.plan)
        rates = {name: each for name, each in self.schedules().items() if name.startswith("lr")}
        for name, (course, clock) in rates.items():
            course.require_positive(name, clock())

    def doubt(self) -> str | None:
        """See `AgentBase`: what the sampler says."""
        return self.sampler.doubt(self.plan) if hasattr(self.sampler, "doubt") else None

    def state_dict(self) -> dict[str, Any]:
        """Everything of `AgentBase`, and the sampler's counters."""
        return {**super().state_dict(), "sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.sampler.load_state_dict(state["sampler"])
