"""Behaviour cloning: before the first frame, an agent learns to do what a memory holds.

Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation", where actions are
learned from observations as in regression. The loss is minus the log-probability that the policy gives to a recorded
action; of a deterministic policy it is the squared error.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from digideep.agent.base import AgentBase
from digideep.learning.gradient_step import GradientStep, Means, kept_buffers, pack
from digideep.learning.optimizers import Adam, Optimizer
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_between, require_int
from digideep.parameters.component import Component, Description, build, describe
from digideep.policy.observations import Observations
from digideep.utility.errors import NonFiniteError, UsageError

# (what stands for the network, observations (B, ...), actions (B, ...)) -> loss, 0-dimensional
CloningLoss = Callable[[Any, Observations, Tensor], Tensor]
_BLOCK = 50  # steps from one look at the clock to the next

_log = logging.getLogger("digideep")


def evaluation_loss(policy: Any, observations: Observations, actions: Tensor) -> Tensor:
    """Return minus the mean log-probability of recorded actions, by a policy that evaluates them."""
    log_p: Tensor = policy(observations, actions).log_p
    return -log_p.mean()


class BehaviourCloning(Component):
    """Takes the first gradient steps of an agent, on recorded actions, by an optimizer of its own.

    It learns on a copy, whose parameters the agent's network then takes over. A run that is stopped meanwhile goes on
    where it was.

    Args:
        agent: who learns.
        network: the gradient step of its network that acts.
        loss: see `CloningLoss`.
        steps: gradient steps, at least 1.
        sampler: description of a sampler that draws transitions, such as `digideep.memory.replay.Replay`.
        memory: name of the memory that is drawn from.
        lr: learning rate. Usual: 3e-4 to 1e-3.
        optimizer: description of an optimizer.

    Attributes:
        n_done: gradient steps so far.
    """

    def __init__(
        self, agent: AgentBase, network: GradientStep, loss: CloningLoss, *,
        steps: int, sampler: Description, memory: str = "demo", lr: float = 1e-3, optimizer: Description | None = None,
    ):  # fmt: skip
        require_int("steps of BehaviourCloning", steps, 1)
        require_between("lr of BehaviourCloning", lr, 1e-12)
        if getattr(agent.policy, "state_size", 0):
            raise UsageError(f"{type(agent.policy).__name__} remembers, and cannot be pretrained. Leave bc_steps at 0.")
        self._agent, self._network, self._loss = agent, network, loss
        self.steps, self.lr, self.n_done, self.memory_name = steps, lr, 0, memory
        self._sampler: Any = agent.make_sampler(sampler)
        self._rule = build(optimizer or describe(Adam), Optimizer)
        self._optimizer_state: dict[str, Any] = {}

    def check(self) -> None:
        """Refuse to learn from a memory that there is not, or that begins empty."""
        memories: Any = self._agent.memories
        if self.memory_name not in memories or not memories[self.memory_name].num_workers:
            what = "is empty" if self.memory_name in memories else "there is not"
            raise UsageError(
                f"Behaviour cloning of '{self._agent.name}' learns from memory '{self.memory_name}', which {what}. "
                "Give the tree a memory of that name, with 'data' that it begins with."
            )

    @property
    def is_done(self) -> bool:
        """True if all steps have been taken."""
        return self.n_done >= self.steps

    def run(self, record: Callable[[dict[str, float]], None], should_stop: Callable[[], bool]) -> None:
        """Take the steps that are left, unless the run is to stop.

        Args:
            record: is given the mean loss of every so many steps, by name.
            should_stop: asked now and then; the same in all ranks.
        """
        if self.is_done:
            return
        agent, losses, began = self._agent, [], time.perf_counter()
        pupil = GradientStep(copy.deepcopy(self._network.module), self._judge, self._rule, lr=self.lr)
        pupil.spread(agent.ranks)
        pupil.set_share(getattr(self._sampler, "share", 1 / agent.ranks.size))
        if self._optimizer_state:
            pupil.load_state_dict(self._optimizer_state)
        left = f"{self.steps - self.n_done:,} gradient steps"
        _log.info("agent '%s': behaviour cloning from memory '%s', %s", agent.name, self.memory_name, left)
        with agent.profiler(f"pretraining/{agent.name}"), agent.ranks.waiting():
            while not self.is_done and not should_stop():
                losses.append(self._block(pupil, min(_BLOCK, self.steps - self.n_done)))
                record({"bc_loss": losses[-1]})
        self._hand_over(pupil)
        self._optimizer_state = {} if self.is_done else pupil.state_dict()
        if losses:
            took_s = time.perf_counter() - began
            _log.info("agent '%s': bc_loss %.4g, at first %.4g; %.1f s", agent.name, losses[-1], losses[0], took_s)

    def _block(self, pupil: GradientStep, number: int) -> float:
        """Take some steps. Returns: the mean loss."""
        agent, memory, means = self._agent, self._agent.memories[self.memory_name], Means()
        keys = {path: f"/observations{path}" for path in agent.learned_paths}
        actions = f"/agents/{agent.name}/actions"
        info = {
            "observations": list(keys.values()), "actions": actions, "gamma": 0.0, "generator": agent.numpy_generator
        }  # fmt: skip
        for _ in range(number):
            batch = self._sampler(memory, info)
            observations = agent.views({path: batch[key] for path, key in keys.items()})
            means.add(pack(pupil(observations, agent.to_tensor(batch[actions]))))
        self.n_done += number
        loss = means.take()["bc_loss"]
        if not math.isfinite(loss):
            raise NonFiniteError(f"bc_loss of agent '{agent.name}' is {loss} within {self.n_done} steps. Lower its lr.")
        return loss

    def _judge(self, call: Any, observations: Observations, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self._loss(call, observations, actions)
        return loss, {"bc_loss": loss}

    @torch.no_grad()
    def _hand_over(self, pupil: GradientStep) -> None:
        """Let the agent's network, and targets that follow it, have what was learned."""
        self._network.flat.copy_(pupil.flat)
        learned = kept_buffers(pupil.module)
        for name, buffer in kept_buffers(self._network.module).items():
            buffer.copy_(learned[name])
        for part in self._agent.parts.values():
            if isinstance(part, TargetNetwork):
                part.renew()

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is; in the middle, with the optimizer's state."""
        state = {"n_done": self.n_done, "optimizer": self._optimizer_state}
        has_more = not self.is_done and hasattr(self._sampler, "state_dict")
        return state | ({"sampler": self._sampler.state_dict()} if has_more else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self.n_done, self._optimizer_state = state["n_done"], state["optimizer"]
        if "sampler" in state and hasattr(self._sampler, "load_state_dict"):
            self._sampler.load_state_dict(state["sampler"])
