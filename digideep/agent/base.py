"""The contract of agents."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from digideep.agent.context import AgentContext, Stateful
from digideep.learning.gradient_step import GradientStep, average
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_int
from digideep.parameters.component import Component, Description, build
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.acting import fast_act_of
from digideep.policy.base import ArrayChoice, FastAct, PolicyBase, require_critics
from digideep.policy.encoders import Fusion
from digideep.policy.observations import Observations, Sight, Views
from digideep.utility.errors import NonFiniteError, UsageError
from digideep.utility.seeding import derive_seed, generator_state, make_generator, set_generator_state

P = TypeVar("P", bound="Stateful")

_RESERVED = ("policy", "generator", "numpy_generator", "n_updates", "schedules")  # names in an agent's state
ACTION_MASK = "/infos/action_mask"


class AgentBase(Component):
    """Owns policy, optimizer and sampler; chooses actions and learns. Writes no logs: `update` returns its metrics.

    A subclass sets `self.policy`, implements `action_generator` and `update`, and registers every part that has state
    and every schedule once: what is saved, restored and reported follows from that. docs/extending.md shows one from
    start to end. `OnPolicyAgent` and `OffPolicyAgent` leave less to do.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees; several as a list; None for all there are.
        critic_observation_path: likewise what critics see while they learn, which the actor may not; None for the same.
            Source: Pinto et al. 2017, arXiv:1710.06542.
        use_action_mask: choose only actions that `/infos/action_mask` allows; Discrete and MultiDiscrete.
        averaging_interval: of several ranks: 1 adds up gradients in each step; more lets each rank take so many alone
            before parameters are averaged. Source: Stich 2019, arXiv:1805.09767, Algorithm 1; Adam's moments stay.

    Attributes:
        memory, memories: the one that the explorer "train" fills, and all of the run by name.
        observation_space: what the policy is built for: a one-dimensional Box for a vector or for several joined to
            one; with images among them, spaces by path.
        flatten: joins them to that one vector; None where there is nothing to join.
    """

    # Whether random actions at the start of a run may take the place of the agent's own.
    takes_warm_start = False
    # Whether two parts of the workers may be given their actions by two calls, one after the other.
    acts_in_parts = True
    # Whether the values of its policy depend on the action mask, as the maximum over allowed actions does.
    value_needs_mask = True

    def __init__(
        self, context: AgentContext, *, observation_path: str | list[str] | None = "/agent",
        critic_observation_path: str | list[str] | None = None, use_action_mask: bool = False,
        averaging_interval: int = 1,
    ):  # fmt: skip
        require_int("averaging_interval", averaging_interval, 1)
        self.name, self.device, self.profiler = context.name, context.device, context.profiler
        self.memory, self.memories = context.memory, {"train": context.memory, **context.memories}
        self.plan, self.ranks, self.goals = context.plan, context.ranks, context.goals
        self.observation_path, self.averaging_interval = observation_path, averaging_interval
        spaces, own = context.observation_spaces, critic_observation_path
        self._sight = Sight(observation_path, spaces, self.device)
        self._critic_sight = None if own is None else Sight(own, spaces, self.device, "critic_observation_path")
        self.observation_paths, self.observation_space = self._sight.paths, self._sight.space
        self.flatten = self._sight.flatten
        further = [] if self._critic_sight is None else self._critic_sight.paths
        self.learned_paths = list(dict.fromkeys([*self.observation_paths, *further]))
        self.action_space = context.action_space
        self.use_action_mask = use_action_mask
        self._check_action_mask(context.infos)
        self.policy: Any = None  # a PolicyBase; which methods it needs beyond that is the agent's contract
        self.parts: dict[str, Stateful] = {}
        self._schedules: Schedules = {}
        # The weights are drawn on the CPU, so that they are the same on every device; and the same on all ranks.
        self.init_generator = torch.Generator().manual_seed(derive_seed(context.seed, "agent", self.name, "weights"))
        self.n_updates, self.n_gradient_steps, self.seed = 0, 0, self.ranks.seed(context.seed)
        self.generator = torch.Generator(self.device).manual_seed(derive_seed(self.seed, "agent", self.name, "act"))
        self.numpy_generator = make_generator(self.seed, "agent", self.name, "sample")

    # ------------------------------------------------------------------ building

    def register(self, name: str, part: P) -> P:
        """Save and restore a part with the agent, under a name that is not taken. Returns: the part."""
        what = f"'{name}' cannot be registered with {type(self).__name__}: "
        if name in {*self.parts, *_RESERVED}:
            raise UsageError(f"{what}the name is taken. Choose another one.")
        if not hasattr(part, "load_state_dict"):
            raise UsageError(f"{what}a {type(part).__name__} has no state_dict. Put tensors into a torch module.")
        if isinstance(part, GradientStep) and self.averaging_interval == 1:
            part.spread(self.ranks)
        self.parts[name] = part
        return part

    def schedule(self, name: str, value: float | Description, planned: int = 0) -> Course:
        """Let a parameter follow the plan: it is saved, restored and reported with the metrics.

        Args:
            name: of the parameter.
            value: a number, or the description of a schedule over updates.
            planned: updates of the whole plan.
        """
        return self.follow(name, Course(value, planned), lambda: self.n_updates)

    def follow(self, name: str, course: Course, clock: Callable[[], int]) -> Course:
        """As `schedule`, for a course that something else owns, or that another clock counts."""
        self._schedules[name] = (course, clock)
        return course

    def make_policy(self, description: Description) -> Any:
        """Build the policy that the parameter tree gives, on the agent's device."""
        runtime = {"action_space": self.action_space, "generator": self.init_generator}
        if self._critic_sight is not None:
            require_critics(description["class"])
            runtime["critic_observation_space"] = self._critic_sight.space
        return build(description, PolicyBase, observation_space=self.observation_space, **runtime).to(self.device)

    @property
    def _stateful(self) -> dict[str, Stateful]:
        """The policy, whoever made it, and what is registered."""
        return ({} if self.policy is None else {"policy": self.policy}) | self.parts

    # ------------------------------------------------------------------ what the Runner calls

    @abstractmethod
    def action_generator(
        self, observations: dict[str, np.ndarray], hidden_state: np.ndarray | None, masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """Choose an action for each worker.

        Args:
            observations: path -> (N, ...), and infos under `/infos/<key>`; they change with the next step, so that what
                is to be kept is copied.
            hidden_state: float32 (N, H), the state before this row; None if the policy has none.
            masks: bool (N,), False where the episode is over and the action will be ignored.
            deterministic: take the mode of the policy; draws nothing from a generator.

        Returns:
            "actions": int64 (N,) or (N, A), or float32 (N, A) in [-1, 1] where bounded (the environment's edge clips);
            "hidden_state" (N, H), if there is one, after this row; "artifacts": name -> float32 (N, ...), what `update`
            needs to know of this moment.
        """
        raise NotImplementedError

    @abstractmethod
    def update(self) -> dict[str, float]:
        """Learn from the memory. Returns: metrics by name, finite."""
        raise NotImplementedError

    def reset_hidden_state(self, num_workers: int) -> np.ndarray | None:
        """The hidden state before a first observation: zeros, float32 (N, H); None if the policy has none."""
        size = getattr(self.policy, "state_size", 0)
        return np.zeros((num_workers, size), np.float32) if size else None

    def schedules(self) -> Schedules:
        """Return what changes along the plan: by name, its course, and what counts how far that is."""
        return self._schedules

    @property
    def needed_keys(self) -> list[str]:
        """Keys of a chunk without which `update` cannot learn, as far as they are known beforehand."""
        return []

    def check_plan(self) -> None:
        """Refuse parameters under which the agent would learn nothing, however long the run.

        Raises:
            UsageError: naming the parameter.
        """
        for name, (course, clock) in self.schedules().items():
            if name.startswith("lr"):
                course.require_positive(name, clock())

    def doubt(self) -> str | None:
        """Why the agent learns nothing in this plan, with the parameter's name; None if it does."""
        return None

    def make_sampler(self, description: Description) -> Any:
        """Build the sampler that the parameter tree gives; agents themselves import nothing of the memory."""
        known = {"planned_frames": self.plan.frames, "memories": self.memories, "goals": self.goals}
        sampler = build(description, Component, ranks=self.ranks, **known)
        if not callable(sampler) or getattr(sampler, "units", None) == ():
            raise UsageError(f"{type(sampler).__name__} is no sampler. Expected one of digideep.memory.sampler.")
        return sampler

    def average(self) -> None:
        """Average over the ranks what each has learned by itself, if `averaging_interval` lets them."""
        if self.ranks.size == 1 or self.averaging_interval == 1:
            return
        parts = (part for part in self.parts.values() if isinstance(part, (GradientStep, TargetNetwork)))
        average([tensor for part in parts for tensor in part.averaged], self.ranks)

    # ------------------------------------------------------------------ acting

    @cached_property
    def fast_act(self) -> FastAct | None:
        """The policy's fast way to act, if it has one and sees one array of the environment's as it is."""
        ways = (AgentBase.observe, AgentBase.join, AgentBase.allowed, AgentBase.to_tensor)
        is_own = all(getattr(type(self), way.__name__) is way for way in ways)  # nothing of it is overridden
        is_plain = is_own and self.flatten is None and not self.use_action_mask
        return fast_act_of(self.policy) if is_plain else None

    def choose(
        self, observations: Mapping[str, np.ndarray], hidden_state: np.ndarray | None, deterministic: bool
    ) -> ArrayChoice:
        """Let the policy choose. Arguments as in `action_generator`."""
        if self.fast_act is not None:
            return self.fast_act(observations[self.observation_paths[0]], self.generator, deterministic)
        allowed = self.allowed(observations)
        with torch.inference_mode():
            choice = self.policy.act(
                self.observe(observations),
                state=None if hidden_state is None else self.to_tensor(hidden_state),
                allowed=None if allowed is None else self.to_tensor(allowed),
                generator=self.generator,
                deterministic=deterministic,
            )
        actions, *others = choice
        return ArrayChoice(
            actions.numpy(force=True), *(None if each is None else each.numpy(force=True) for each in others)
        )

    def observe(self, observations: Mapping[str, np.ndarray]) -> Tensor | dict[str, Tensor]:
        """What the policy sees.

        Args:
            observations: path -> (B, ...); more of them than the agent's own do no harm.

        Returns:
            float32 (B, D), or path -> (B, ...) in their own dtypes if there are images among them.
        """
        return self.join({path: self.to_tensor(observations[path]) for path in self.observation_paths})

    def join(self, tensors: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        """As `observe`, for tensors of the agent's own observations by path."""
        return self._sight.join(tensors)

    def views(self, observations: Mapping[str, np.ndarray]) -> Observations:
        """Return what is learned from: as `observe`, with what critics see if that differs. Args: as of `observe`."""
        seen = self.observe(observations)
        if self._critic_sight is None:
            return seen
        tensors = {path: self.to_tensor(observations[path]) for path in self._critic_sight.paths}
        return Views(seen, self._critic_sight.join(tensors))

    def sight(self) -> str:
        """What the policy sees, in words: shapes, the layout of images, and how numbers are scaled."""
        words = str(self._sight)
        if isinstance(self.observation_space, dict):
            encoders = (module for module in self.policy.modules() if isinstance(module, Fusion))
            words = str(next(encoders, words))
        return words if self._critic_sight is None else f"{words}; its critics {self._critic_sight}"

    def _check_action_mask(self, infos: Mapping[str, np.ndarray]) -> None:
        if not self.use_action_mask:
            return
        if not isinstance(self.action_space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
            raise UsageError(f"use_action_mask needs Discrete or MultiDiscrete actions, got {self.action_space}.")
        if "/action_mask" not in infos:
            raise UsageError(
                f"use_action_mask of agent '{self.name}' needs info['action_mask'] of the environment, which it does "
                "not give, or which its info_keys lack."
            )

    def allowed(self, observations: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The action mask, if it is in use. Args: observations: of `action_generator`. Returns: bool (N, choices)."""
        return observations[ACTION_MASK] != 0 if self.use_action_mask else None

    def to_tensor(self, array: np.ndarray) -> Tensor:
        """A copy on the agent's device, in memory that torch allocated: its alignment never changes a result.

        CUDA fetches it from pinned memory, and nobody waits for it.
        """
        if self.device.type != "cpu":
            return torch.tensor(array, pin_memory=True).to(self.device, non_blocking=True)
        if not array.flags.writeable:  # of which from_numpy warns
            return torch.tensor(array)
        # Half the time of torch.tensor, which looks at what it is given.
        return torch.from_numpy(array).clone(memory_format=torch.contiguous_format)

    def histograms(self) -> dict[str, np.ndarray]:
        """Weights and newest gradients of the policy by name, for the dashboards."""
        arrays = {}
        for name, parameter in self.policy.named_parameters():
            arrays[f"weights/{self.name}/{name}"] = parameter.numpy(force=True)
            if parameter.grad is not None:
                arrays[f"gradients/{self.name}/{name}"] = parameter.grad.numpy(force=True)
        return arrays

    def check_finite(self, metrics: dict[str, float]) -> dict[str, float]:
        """Pass metrics on. Raises: NonFiniteError: naming the agent, the metric and the update."""
        for key, value in metrics.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"{key} of agent '{self.name}' is {value} in update {self.n_updates}. Lower the learning rate, or "
                    "look at the rewards; the last checkpoint is unharmed."
                )
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the policy, of what is registered, generators and counters.

        Raises:
            NonFiniteError: if weights of the policy are not finite.
        """
        if isinstance(self.policy, torch.nn.Module):
            self.check_finite(
                {f"The sum of '{name}'": float(p.detach().sum()) for name, p in self.policy.named_parameters()}
            )
        return {
            **{name: dict(part.state_dict()) for name, part in self._stateful.items()},
            "generator": self.generator.get_state(),
            "numpy_generator": generator_state(self.numpy_generator),
            "n_updates": self.n_updates,
            "schedules": {name: course.state_dict() for name, (course, _) in self.schedules().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        for name, part in self._stateful.items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        set_generator_state(self.numpy_generator, state["numpy_generator"])
        self.n_updates = state["n_updates"]
        for name, (course, _) in self.schedules().items():
            if name in state["schedules"]:
                course.load_state_dict(state["schedules"][name])

    def load_weights(self, state: dict[str, Any]) -> None:
        """Begin a new run with what another one has learned: its networks, targets like them, and nothing else.

        Args:
            state: of an agent with the same networks, from `state_dict`.
        """
        self.policy.load_state_dict(state["policy"])
        for part in self.parts.values():
            if isinstance(part, TargetNetwork):
                part.renew()
