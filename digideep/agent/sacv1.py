"""Soft Actor-Critic with a state-value network. Source: Haarnoja et al. 2018, arXiv:1801.01290, Algorithm 1."""

from typing import Any

import torch
from torch import Tensor

from digideep.agent import sac
from digideep.agent.context import AgentContext
from digideep.agent.off_policy import Actor, ActorLoss, Network, OffPolicyAgent, Rate, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between, require_int
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, target_value: Network) -> Tensor:
    """Return reward and discounted soft value of the next observation, float32 (B,): Eq. 8."""
    return batch.rewards + batch.discounts * target_value(batch.next_observations)


def value_targets(observations: Observations, actor: Actor, critics: Network, noise: Tensor, alpha: float) -> Tensor:
    """What the value network should say: the least action value of the actor's own action, and its entropy's worth.

    The expectation in Eq. 5. Returns: float32 (B,).
    """
    actions, log_p = actor(observations, noise)
    return critics(observations, actions).amin(0) - alpha * log_p


def value_loss(value: Network, observations: Observations, targets: Tensor) -> ActorLoss:
    """Half the squared error: Eq. 5."""
    values = value(observations)
    loss = 0.5 * (values - targets).square().mean()
    return loss, {"value_loss": loss, "value": values.mean()}


class SACv1(OffPolicyAgent):
    """SAC as it was first: a network of state values, which a target follows, and an entropy coefficient that stays.

    Further parameters are those of `OffPolicyAgent`. The policy has an `actor`, `critics` and a `value` as in
    `ValuedGaussianPolicy`. Differs from the authors' code: no penalty on the mean and the spread of actions.

    Args:
        context: what exists at run time.
        polyak_factor: share of the value network in its target's update. Usual: 0.005 to 0.02; 1 copies the network.
        target_update_interval: gradient steps from one update of the target to the next. Usual with copies: 1000.
        lr_actor, lr_critic, lr_value: learning rates, numbers or schedules over gradient steps. Usual: 3e-4.
        alpha: the entropy coefficient, the inverse of the paper's scale of rewards. Usual: 0.05 to 1.
    """

    def __init__(
        self, context: AgentContext, *, polyak_factor: float, target_update_interval: int = 1,
        lr_actor: Rate, lr_critic: Rate, lr_value: Rate, alpha: float = 0.2, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("target_update_interval", target_update_interval, 1)
        require_between("alpha", alpha)
        self.require_one_output(self.critic_loss, sac.critic_loss)
        self.target_update_interval, self.alpha = target_update_interval, alpha
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.value_step = self.make_step("value", self.policy.value, self.value_loss, lr_value)
        self.actor_step = self.make_step("actor", self.policy.actor, self.actor_loss, lr_actor)
        self.target_value = self.make_target("target_value", self.value_step, polyak_factor)
        self.clone_by(self.actor_step, sac.cloning_loss)

    critic_targets, value_targets = staticmethod(critic_targets), staticmethod(value_targets)
    critic_loss, value_loss = staticmethod(sac.critic_loss), staticmethod(value_loss)
    actor_loss = staticmethod(sac.actor_loss)

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, bool]:
        """See `OffPolicyAgent`: the actions' noise, and whether the target's update is due."""
        return self.draw_noise(batch.actions.shape), self.is_due(self.target_update_interval)

    def gradient_step(self, batch: Transitions, noise: Tensor, is_target_due: bool) -> tuple[Metrics, Tensor]:
        """Take the critics' step, the value's and the actor's, and move the target; see `OffPolicyAgent`."""
        seen = batch.observations
        with torch.no_grad():
            targets = self.critic_targets(batch, self.target_value.network)
        of_critic, errors = self.critic_step(batch, targets)
        with torch.no_grad():
            values = self.value_targets(seen, self.actor_step.frozen, self.critic_step.frozen, noise, self.alpha)
        of_value = self.value_step(seen, values)
        of_actor, _ = self.actor_step(batch, self.critic_step.frozen, noise, self.alpha)
        if is_target_due:
            self.target_value.update()
        return pack({**of_critic, **of_value, **of_actor}), errors
