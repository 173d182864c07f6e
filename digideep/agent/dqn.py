"""Deep Q-learning, with double, dueling and n-step variants. Source: Mnih et al. 2015, Nature 518, Algorithm 1.

The dueling network is the policy's, the n-step return the replay's.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from digideep.agent.context import AgentContext
from digideep.agent.noises import EpsilonGreedy
from digideep.agent.off_policy import CriticLoss, Network, OffPolicyAgent, Rate, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require, require_int
from digideep.parameters.component import Description


def critic_targets(batch: Transitions, critic: Network, target_critic: Network, is_double: bool) -> Tensor:
    """What the critic should say: reward, and the discounted value of the next observation.

    Args:
        batch: B transitions.
        critic: maps observations to values (B, A).
        target_critic: likewise.
        is_double: the critic chooses the next action and its target judges it. Source: van Hasselt et al. 2016,
            arXiv:1509.06461, Eq. 4.

    Returns:
        float32 (B,).
    """
    values = target_critic(batch.next_observations)
    chooser = critic(batch.next_observations) if is_double else values
    values = values.gather(-1, best_actions(chooser, batch.next_allowed)[:, None]).squeeze(-1)
    return batch.rewards + batch.discounts * values


def best_actions(values: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the allowed actions of the largest value. Args: values: (B, A); allowed: bool likewise. Returns: (B,)."""
    return values.masked_fill(forbidden(allowed), -math.inf).argmax(-1) if allowed is not None else values.argmax(-1)


def forbidden(allowed: Tensor) -> Tensor:
    """Return what an action mask forbids, bool (B, A); nothing where it allows nothing.

    That is so at the last observation of some episodes: there is nobody to act.
    """
    return ~allowed & allowed.any(-1, keepdim=True)


def critic_loss(critic: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Huber's loss of the actions that were taken."""
    values = critic(batch.observations).gather(-1, batch.actions[:, None]).squeeze(-1)  # (B,)
    loss = (batch.weights * huber_loss(values, targets, reduction="none")).mean()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, (values - targets).abs().detach())


class DQN(OffPolicyAgent):
    """Learns the values of numbered actions; explores by random ones.

    Further parameters are those of `OffPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        policy: description of a policy such as `ActionValues`.
        epsilon: chance of a random action, a number or a schedule over frames.
        polyak_factor: share of the network in its target's update; 1 copies it.
        target_update_interval: gradient steps from one update of the target to the next.
        is_double: see `critic_targets`. With an action mask, the maximum is over allowed actions too.
        lr: learning rate, a number or a schedule over gradient steps. Usual: 1e-4 to 2e-3.
        max_grad_norm: limit of the gradient's norm; None for no limit.
    """

    def __init__(
        self, context: AgentContext, *, epsilon: float | Description, polyak_factor: float = 1.0,
        target_update_interval: int, is_double: bool = True, lr: Rate, max_grad_norm: float | None = 10.0,
        **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("target_update_interval", target_update_interval, 1)
        outputs = getattr(self.policy, "critic_outputs", 1) if self.critic_loss is critic_loss else 1
        for name, value in (("num_critics", getattr(self.policy, "num_critics", 1)), ("critic_outputs", outputs)):
            require(value == 1, name, value, f"1 for {type(self).__name__}")
        self.target_update_interval, self.is_double = target_update_interval, is_double
        num_actions = int(self.action_space.n)  # type: ignore[attr-defined]  # the policy has refused other spaces
        noise = EpsilonGreedy(self.noise_generator, num_actions, epsilon=epsilon, planned_frames=self.plan.frames)
        self.explore_by(noise)
        self.critic_step = self.make_step(
            "critic", self.policy, self.critic_loss, lr, rate="lr", max_grad_norm=max_grad_norm
        )
        self.target_critic = self.make_target("target_critic", self.critic_step, polyak_factor)

    critic_targets: Callable[..., Tensor] = staticmethod(critic_targets)
    critic_loss: Callable[..., CriticLoss] = staticmethod(critic_loss)

    def gradient_step(self, batch: Transitions) -> tuple[Metrics, Tensor]:
        """The network's step; see `OffPolicyAgent`."""
        with torch.no_grad():
            targets = self.critic_targets(batch, self.critic_step.frozen, self.target_critic.network, self.is_double)
        metrics, errors = self.critic_step(batch, targets)
        return pack(metrics), errors

    def after_step(self) -> None:
        """Move the target where it is due."""
        if self.is_due(self.target_update_interval):
            self.target_critic.update()
