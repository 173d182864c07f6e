"""Deep Deterministic Policy Gradient. Source: Lillicrap et al. 2016, arXiv:1509.02971, Algorithm 1.

Top to bottom: the losses of critics and actor, the agent: acting, the step.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from digideep.agent.base import AgentContext
from digideep.agent.noises import Noise
from digideep.agent.off_policy import OffPolicyAgent, Transitions
from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep
from digideep.learning.optimizers import Adam, Optimizer
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_between
from digideep.parameters.component import Description, build, describe
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.acting import continuous_act
from digideep.policy.base import PolicyBase
from digideep.policy.observations import Observations
from digideep.utility.seeding import make_generator


def critic_targets(batch: Transitions, target_actor: Any, target_critics: Any) -> Tensor:
    """What the critics should say: reward, and the discounted value of the next observation.

    Args:
        batch: B transitions.
        target_actor: maps observations to actions.
        target_critics: map observations and actions to values (num, B).

    Returns:
        float32 (B,).
    """
    values = target_critics(batch.next_observations, target_actor(batch.next_observations)).amin(0)
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Any, batch: Transitions, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The squared error of each critic, summed. Returns: the loss; metrics (2,) and absolute errors (B,)."""
    values = critics(batch.observations, batch.actions)  # (num, B)
    errors = values - targets
    loss = (batch.weights * errors.square()).mean(-1).sum()
    return loss, (torch.stack([loss, values.mean()]).detach(), errors.abs().mean(0).detach())


def actor_loss(actor: Any, observations: Observations, critics: Any) -> tuple[Tensor, Tensor]:
    """Value of the actor's own actions, negated. Returns: the loss; metrics (1,).

    The mean over the batch. Differs from the original digideep, whose sum let the step grow with the batch.
    """
    loss = -critics(observations, actor(observations), 1).mean()
    return loss, loss.detach()[None]


class DDPG(OffPolicyAgent):
    """Learns a deterministic policy from one critic.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        policy: description of a policy with an `actor` and one of `critics` as in `DeterministicPolicy`.
        sampler: description of a sampler of replayed transitions, such as `Replay`.
        noise: description of a `Noise`, for exploration.
        gamma: discount per step, in [0, 1].
        polyak_factor: share of a network in its target's update. Usual: 0.001 to 0.02.
        lr_actor: learning rate. Usual: 1e-4 to 1e-3.
        lr_critic: likewise.
        optimizer: description of an optimizer.
        compile: "auto", "on" or "off", see `GradientStep`.
    """

    metrics = ("critic_loss", "q_value", "actor_loss")

    def __init__(
        self,
        context: AgentContext,
        *,
        observation_path: str | list[str] | None = "/agent",
        policy: Description,
        sampler: Description,
        noise: Description,
        gamma: float,
        polyak_factor: float,
        lr_actor: float,
        lr_critic: float,
        optimizer: Description | None = None,
        compile: str = "auto",
    ):
        super().__init__(context, observation_path, sampler, gamma)
        for name, lr in (("lr_actor", lr_actor), ("lr_critic", lr_critic)):
            require_between(name, lr)
        self.policy = build(
            policy,
            PolicyBase,
            observation_space=self.observation_space,
            action_space=self.action_space,
            generator=self.init_generator,
        ).to(self.device)
        self.noise = build(noise, Noise, generator=make_generator(context.seed, "agent", self.name, "noise"))
        self.acts_in_parts = self.noise.acts_in_parts

        rule = build(optimizer or describe(Adam), Optimizer)
        self.critic_step = GradientStep(self.policy.critics, critic_loss, rule)
        self.actor_step = GradientStep(self.policy.actor, actor_loss, rule)
        self.target_critics = TargetNetwork(self.critic_step, polyak_factor)
        self.target_actor = TargetNetwork(self.actor_step, polyak_factor)
        for step, lr in ((self.critic_step, lr_critic), (self.actor_step, lr_actor)):
            step.set_lr(lr)
        self.rates = {"lr_actor": Course(lr_actor), "lr_critic": Course(lr_critic)}
        self.numpy_act = continuous_act(self.policy) if self.sees_plainly else None
        is_compiled = pays_to_compile(compile, self.planned_steps, self.device)
        self._learn = compiled(self.learn_once, self.device) if is_compiled else self.learn_once

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """See `AgentBase`. The noise is the exploration."""
        if self.numpy_act is not None:
            actions = self.numpy_act(observations[self.observation_paths[0]])
        else:
            with torch.inference_mode():
                actions = self.policy.act(self.observe(observations)).numpy(force=True)
        return {"actions": actions if deterministic else self.noise(actions, masks, self.memory.n_frames)}

    def schedules(self) -> Schedules:
        """See `AgentBase`. The learning rates stay what they are."""
        own: Schedules = {name: (rate, lambda: self.n_updates) for name, rate in self.rates.items()}
        return own | super().schedules()

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """See `OffPolicyAgent`."""
        return self._learn(batch)

    def learn_once(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """The critic's step, the actor's and the targets'; compiled as one function."""
        with torch.no_grad():
            targets = critic_targets(batch, self.target_actor.network, self.target_critics.network)
        critic, errors = self.critic_step.take(batch, targets)
        actor = self.actor_step.take(batch.observations, self.critic_step.frozen)
        self.target_critics.update()
        self.target_actor.update()
        return torch.cat([critic, actor]), errors

    def state_dict(self) -> dict[str, Any]:
        """Everything of `OffPolicyAgent`, the noise, the optimizers and the targets."""
        return {
            **super().state_dict(),
            "noise": self.noise.state_dict(),
            "critic_optimizer": self.critic_step.state_dict(),
            "actor_optimizer": self.actor_step.state_dict(),
            "target_critics": self.target_critics.flat,
            "target_actor": self.target_actor.flat,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.noise.load_state_dict(state["noise"])
        self.critic_step.load_state_dict(state["critic_optimizer"])
        self.actor_step.load_state_dict(state["actor_optimizer"])
        self.target_critics.flat.copy_(state["target_critics"])
        self.target_actor.flat.copy_(state["target_actor"])

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The targets begin as copies."""
        super().load_weights(state)
        self.target_critics.renew()
        self.target_actor.renew()
