"""What replay methods share: acting, drawing, targets, and one turn of learning as often as the sampler says."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from digideep.agent.base import ACTION_MASK, AgentBase
from digideep.agent.behaviour_cloning import BehaviourCloning, CloningLoss
from digideep.agent.context import AgentContext
from digideep.agent.noises import Noise
from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep, Loss, Means, Metrics
from digideep.learning.optimizers import Adam, Optimizer
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_between
from digideep.parameters.component import Description, build, describe
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.observations import Features, Observations
from digideep.policy.recurrent import Sequences
from digideep.utility.errors import UsageError
from digideep.utility.seeding import make_generator


class Transitions(NamedTuple):
    """A batch: where B transitions started, and what to bootstrap from.

    For a policy that remembers, `Sequences` stand in the place of observations.
    """

    observations: Observations  # float32 (B, D), or path -> (B, ...)
    actions: Tensor  # int64 (B,) or float32 (B, A), in [-1, 1]
    rewards: Tensor  # float32 (B,), discounted sum over the steps before the bootstrap
    discounts: Tensor  # float32 (B,), of the bootstrap; 0 at a termination
    next_observations: Observations  # likewise
    weights: Tensor  # float32 (B,), 1 unless priorities are in use
    next_allowed: Tensor | None = None  # bool (B, A), the action mask of next_observations, if it is in use
    allowed: Tensor | None = None  # likewise, of observations


Network = Callable[..., Tensor]
Actor = Callable[..., tuple[Tensor, Tensor]]  # observations and noise (B, A) to actions and log-probabilities
Rate = float | Description  # a number, or a schedule over gradient steps
# What losses return: the loss and metrics by name, 0-dimensional; of critics absolute errors (B,) too, for priorities.
ActorLoss = tuple[Tensor, dict[str, Tensor]]
CriticLoss = tuple[Tensor, tuple[dict[str, Tensor], Tensor]]


def _check_outputs(num: int) -> None:
    """Refuse critics of several outputs, which need a loss of their own. Args: num: how many there are."""
    if num > 1:
        raise UsageError(
            f"Each critic says {num} values of a transition, where this loss takes one. Leave critic_outputs at its "
            "default, or override critic_targets, critic_loss and actor_loss."
        )


def as_values(values: Tensor) -> Tensor:
    """Pass on what critics say of B transitions, (num, B). Raises: UsageError: for several values each."""
    _check_outputs(values.shape[2:].numel())
    return values


class OffPolicyAgent(AgentBase):
    """Learns from replayed transitions. A subclass makes its steps and targets, and says its `gradient_step`.

    Args:
        context: what exists at run time.
        policy: description of a policy; what it must have is the subclass's contract.
        sampler: description of a sampler that says how often to draw, such as `digideep.memory.replay.Replay`; for a
            policy that remembers `digideep.memory.sequences.SequenceReplay`.
        gamma: discount per step, in [0, 1].
        optimizer: description of an optimizer; each network has one of its own.
        pretraining: description of a `BehaviourCloning` before the first frame; None for none.
        compile: "auto", "on" or "off": compile the gradient step; "auto" where the plan repays it.

    Attributes:
        noise: how actions are changed to explore; None leaves them as the policy draws them.
    """

    takes_warm_start = True

    def __init__(
        self, context: AgentContext, *, policy: Description, sampler: Description, gamma: float,
        optimizer: Description | None = None, compile: str = "auto", pretraining: Description | None = None,
        **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        self._pretraining = pretraining
        require_between("gamma", gamma, 0, 1)
        self.sampler: Any = self.make_sampler(sampler)
        if not hasattr(self.sampler, "steps_due"):
            name = type(self.sampler).__name__
            raise UsageError(
                f"{name} cannot say how often to draw. Expected one such as digideep.memory.replay.Replay."
            )
        self.register("sampler", self.sampler)
        self.keys = {path: f"/observations{path}" for path in self.learned_paths}
        self.actions_key = f"/agents/{self.name}/actions"
        mask = [ACTION_MASK] if self.use_action_mask else []
        self.sampler_info: dict[str, Any] = {
            "observations": [*self.keys.values(), *mask], "actions": self.actions_key, "gamma": gamma,
            "generator": self.numpy_generator,
            "spaces": {key: context.observation_spaces[path] for path, key in self.keys.items()},
        }  # fmt: skip
        self.policy = self.make_policy(policy)
        self._has_dropout = any(isinstance(module, nn.Dropout) for module in self.policy.modules())
        self.is_recurrent = self.policy.state_size > 0
        self._check_sequences()
        self.noise: Noise | None = None
        self.critic_step: GradientStep
        self._rule = build(optimizer or describe(Adam), Optimizer)
        self._rates: list[tuple[GradientStep, Course]] = []
        is_compiled = pays_to_compile(compile, self._rule, self.planned_steps, self.device)
        self._step = compiled(self.gradient_step, self.device) if is_compiled else self.gradient_step

    # ------------------------------------------------------------------ building

    def _check_sequences(self) -> None:
        """Ask for hidden states where the policy remembers; refuse a sampler that does not fit it."""
        delivers = "sequence_length" in getattr(self.sampler, "info", {})
        policy, sampler = type(self.policy).__name__, type(self.sampler).__name__
        if self.is_recurrent and not delivers:
            raise UsageError(
                f"{policy} learns from sequences, which {sampler} does not deliver. Give it the sampler "
                "digideep.memory.sequences.SequenceReplay."
            )
        if delivers and not self.is_recurrent:
            raise UsageError(
                f"{sampler} delivers sequences, and {policy} does not remember. Give it the sampler "
                "digideep.memory.replay.Replay."
            )
        if self.is_recurrent:
            self.sampler_info["states"] = f"/agents/{self.name}/hidden_state"

    def make_step(
        self, name: str, module: nn.Module, loss: Loss, lr: Rate, *,
        rate: str | None = None, max_grad_norm: float | None = None,
    ) -> GradientStep:  # fmt: skip
        """Make the gradient step of a network; its optimizer and its learning rate are registered.

        Args:
            name: of the network, under which the optimizer's state is saved.
            module: the network.
            loss: see `GradientStep`.
            lr: learning rate, a number or a schedule over gradient steps.
            rate: name of the learning rate; `lr_<name>` by default.
            max_grad_norm: see `GradientStep`.
        """
        rate = rate or f"lr_{name}"
        if not isinstance(lr, dict):
            require_between(rate, lr)
        course = self.schedule(rate, lr, self.planned_steps)
        step = GradientStep(module, loss, self._rule, max_grad_norm=max_grad_norm)
        self._rates.append((step, course))
        self.register(f"{name}_optimizer", step)
        if hasattr(self.sampler, "share"):
            step.set_share(self.sampler.share)
        return step

    def require_one_output(self, own_loss: object, loss: object) -> None:
        """Refuse critics of several outputs where `own_loss`, the agent's, is `loss`, which takes one."""
        if own_loss is loss:
            _check_outputs(getattr(self.policy.critics, "num_outputs", 1))

    def make_target(self, name: str, step: GradientStep, polyak_factor: float) -> TargetNetwork:
        """Make a network that follows a step's, registered under its name."""
        return self.register(name, TargetNetwork(step, polyak_factor))

    def clone_by(self, step: GradientStep, loss: CloningLoss) -> None:
        """Let behaviour cloning, if there is any, teach the network of a step; it is registered."""
        if self._pretraining is not None:
            runtime = {"agent": self, "network": step, "loss": loss}
            self.register("pretraining", build(self._pretraining, BehaviourCloning, **runtime))

    def explore_by(self, noise: Noise) -> None:
        """Let a noise change the actions while training; it is registered, and what it schedules over frames."""
        self.noise, self.acts_in_parts = self.register("noise", noise), noise.acts_in_parts
        for name, course in noise.schedules().items():
            self.follow(name, course, lambda: self.memory.n_frames)

    def shared(self, observations: Observations) -> Observations:
        """Return what actor and critics both read: where they share an encoder its features, else the observations.

        It asks the critics of `self.critic_step` as they are now; no gradient reaches them.
        """
        return Features(self.critic_step.frozen(observations)) if self.policy.is_encoder_shared else observations

    @property
    def noise_generator(self) -> np.random.Generator:
        """A new generator for a noise."""
        return make_generator(self.seed, "agent", self.name, "noise")

    # ------------------------------------------------------------------ acting

    def action_generator(
        self, observations: dict[str, np.ndarray], hidden_state: np.ndarray | None, masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """See `AgentBase`."""
        actions, *_, state = self.choose(observations, hidden_state, deterministic)
        if self.noise is not None and not deterministic:
            actions = self.noise(actions, masks, self.memory.n_frames, self.allowed(observations))
        return {"actions": actions} if state is None else {"actions": actions, "hidden_state": state}

    # ------------------------------------------------------------------ learning

    def draw(self) -> Transitions:
        """A batch from the memory, in memory that torch allocated."""
        chunk, to_tensor = self.sampler(self.memory, self.sampler_info), self.to_tensor
        now, after = self._sequences(chunk) if self.is_recurrent else (self._seen(chunk), self._seen(chunk, "_2"))
        return Transitions(
            now,
            to_tensor(chunk[self.actions_key]),
            to_tensor(chunk["/rewards"]),
            to_tensor(chunk["/discounts"]),
            after,
            to_tensor(chunk["/weights"]),
            *self._masks(chunk),
        )

    def _seen(self, chunk: dict[str, np.ndarray], end: str = "") -> Observations:
        """Return the observations of a batch under the keys that end so."""
        return self.views({path: chunk[key + end] for path, key in self.keys.items()})

    def _sequences(self, chunk: dict[str, np.ndarray]) -> tuple[Any, Any]:
        """Return what stands for the observations of a batch of sequences, and for those to bootstrap from."""
        before = self._seen(chunk, "_before") if len(chunk[self.sampler_info["observations"][0] + "_before"]) else None
        states, keep, rows, rows_2 = (self.to_tensor(chunk[key]) for key in ("/states", "/keep", "/rows", "/rows_2"))
        now = Sequences(before, self._seen(chunk), states, keep, rows)
        return now, now._replace(rows=rows_2)

    def _masks(self, chunk: dict[str, np.ndarray]) -> list[Tensor]:
        """Return the action masks of the observations to bootstrap from, and of those before; none if not in use."""
        if not self.use_action_mask:
            return []
        if self.is_recurrent:
            masks = [chunk[ACTION_MASK][chunk[rows]] for rows in ("/rows_2", "/rows")]
        else:
            masks = [chunk[ACTION_MASK + end] for end in ("_2", "")]
        return [self.to_tensor(mask != 0) for mask in masks]

    @abstractmethod
    def gradient_step(self, batch: Transitions, *args: Any) -> tuple[Metrics, Tensor]:
        """Take a step of each network that is due, and move the targets; compiled as one function.

        What it reads of the agent, besides tensors, must stay as it is at the first call.

        Args:
            batch: transitions.
            args: of `step_arguments`.

        Returns:
            Metrics, and absolute errors of the action values, (B,).
        """
        raise NotImplementedError

    def step_arguments(self, batch: Transitions) -> tuple[Any, ...]:
        """Return what a step needs besides the batch: noise that is drawn, flags of what is due."""
        return ()

    def after_step(self) -> None:
        """Do what is due after a step, outside of what is compiled."""

    def is_due(self, interval: int) -> bool:
        """True if the step to come is one of those that come every `interval` steps."""
        return (self.n_updates + 1) % interval == 0

    def draw_noise(self, shape: Any) -> Tensor:
        """Returns: float32 of this shape, standard normal."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _seed_dropout(self) -> None:
        """Let the next step's masks follow from the agent's own generator: torch draws them from its global one."""
        torch.manual_seed(int(self.numpy_generator.integers(2**62)))

    def update(self) -> dict[str, float]:
        """Take the gradient steps that are due.

        Returns:
            The means of the metrics over them, and what is scheduled, such as learning rates; nothing if none was due.
        """
        with self.profiler(f"update/{self.name}"):
            steps = self.sampler.steps_due(self.memory)
            if not steps:
                return {}
            values = {name: course(clock()) for name, (course, clock) in self.schedules().items()}
            means = Means()
            for _ in range(steps):
                with self.profiler("sample"):
                    batch = self.draw()
                with self.profiler("step"), self.ranks.waiting():
                    for step, course in self._rates:
                        step.set_lr(course(self.n_updates))
                    if self._has_dropout:
                        self._seed_dropout()
                    metrics, errors = self._step(batch, *self.step_arguments(batch))
                    self.after_step()
                    means.add(metrics)
                    self.sampler.note_errors(errors)
                self.n_gradient_steps += 1
                self.n_updates += 1
                if self.n_updates % self.averaging_interval == 0:
                    self.average()
            return self.check_finite({**means.take(), **values})

    @property
    def planned_steps(self) -> int:
        """Gradient steps of the whole plan, had they begun with its first frame."""
        return int(self.plan.frames * self.sampler.ratio)

    def schedules(self) -> Schedules:
        """See `AgentBase`; with those of the sampler."""
        return self._schedules | getattr(self.sampler, "schedules", dict)()

    @property
    def needed_keys(self) -> list[str]:
        """See `AgentBase`."""
        own = ["/masks", "/rewards", "/terminations", *self.sampler_info["observations"], self.actions_key]
        own += [self.sampler_info["states"]] if self.is_recurrent else []
        return own + getattr(self.sampler, "needed_keys", [])

    def check_plan(self) -> None:
        """See `AgentBase`: what the sampler says, and the learning rates."""
        if self._pretraining is not None and "pretraining" not in self.parts:
            raise UsageError(
                f"{type(self).__name__} cannot be pretrained: it has no network that chooses actions by itself. Leave "
                "pretraining out, or take PPO, A2C, SAC, TQC, CrossQ, TD3 or DDPG."
            )
        if self._pretraining is not None and self.policy.is_encoder_shared:
            raise UsageError(
                "An actor that reads the critics' encoder (shared_features) cannot be pretrained: nothing would teach "
                "that encoder. Leave pretraining out, or shared_features."
            )
        if hasattr(self.sampler, "check_plan"):
            self.sampler.check_plan(self.memory, self.plan)
        if hasattr(self.sampler, "check_observations"):
            info = self.sampler_info
            self.sampler.check_observations(self.memory, info["observations"], info["spaces"])
        super().check_plan()

    def doubt(self) -> str | None:
        """See `AgentBase`: what the sampler says."""
        return self.sampler.doubt(self.plan) if hasattr(self.sampler, "doubt") else None
