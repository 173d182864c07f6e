"""Soft Actor-Critic. Source: Haarnoja et al. 2018, arXiv:1812.05905 (the version without a state-value network).

Top to bottom: the losses of critics (Eq. 5, 6), actor (Eq. 7) and entropy coefficient (Eq. 18), the agent, its step.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from digideep.agent.base import AgentContext
from digideep.agent.off_policy import CriticLoss, OffPolicyAgent, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between, require_int
from digideep.parameters.component import Description
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, actor: Any, target_critics: Any, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the critics should say: reward, and the discounted soft value of the next observation.

    Args:
        batch: B transitions.
        actor: maps observations and noise to actions and their log-probabilities.
        target_critics: map observations and actions to values (num, B).
        noise: float32 (B, A), standard normal.
        alpha: 0-dimensional, the entropy coefficient.

    Returns:
        float32 (B,).
    """
    actions, log_p = actor(batch.next_observations, noise)
    values = target_critics(batch.next_observations, actions).amin(0) - alpha * log_p
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Any, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Half the squared error of each critic, summed."""
    values = critics(batch.observations, batch.actions)  # (num, B)
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def actor_loss(
    actor: Any, observations: Observations, critics: Any, noise: Tensor, alpha: Tensor
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
    """Entropy-regularised value of the actor's own actions, negated. Returns: with metrics and the entropy."""
    actions, log_p = actor(observations, noise)
    loss = (alpha * log_p - critics(observations, actions).amin(0)).mean()
    entropy = -log_p.mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


def alpha_loss(temperature: Any, entropy: Tensor, target_entropy: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Moves log(alpha) up while the entropy is below its target, and down above it."""
    return temperature() * (entropy - target_entropy), {}


class Temperature(nn.Module):
    """The logarithm of the entropy coefficient, as a network without an input."""

    def __init__(self, alpha: float):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor([float(np.log(alpha))]))

    def forward(self) -> Tensor:
        return self.log_alpha[0]


class SAC(OffPolicyAgent):
    """Learns a stochastic policy that values its own entropy, from twin critics. The policy's spread explores.

    Further parameters are those of `OffPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        policy: description of a policy with an `actor` and `critics` as in `SquashedGaussianPolicy`.
        polyak_factor: share of the critics in their targets' update. Usual: 0.005 to 0.02.
        target_update_interval: gradient steps from one update of the targets to the next.
        lr_actor: learning rate, a number or a schedule over gradient steps. Usual: 3e-4 to 1e-3.
        lr_critic: likewise.
        lr_alpha: likewise, of log(alpha).
        alpha: the entropy coefficient; its start where it is tuned.
        automatic_entropy_tuning: tune alpha so that the entropy stays near `target_entropy`.
        target_entropy: in nats, of actions in the unit of [-1, 1]; None for minus the number of action dimensions.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        polyak_factor: float,
        target_update_interval: int = 1,
        lr_actor: float | Description,
        lr_critic: float | Description,
        lr_alpha: float | Description = 3e-4,
        alpha: float = 1.0,
        automatic_entropy_tuning: bool = True,
        target_entropy: float | None = None,
        **parameters: Any,
    ):
        super().__init__(context, **parameters)
        require_int("target_update_interval", target_update_interval, 1)
        require_between("alpha", alpha, 1e-9)
        self.target_update_interval, self.is_tuned = target_update_interval, automatic_entropy_tuning
        num_actions = self.action_space.shape[0]  # type: ignore[index]  # the policy has refused other spaces
        self.target_entropy = -float(num_actions) if target_entropy is None else float(target_entropy)
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.actor_step = self.make_step("actor", self.policy.actor, actor_loss, lr_actor)
        self.temperature = self.register("temperature", Temperature(alpha).to(self.device))
        self.alpha_step = self.make_step("alpha", self.temperature, alpha_loss, lr_alpha)
        self.target_critics = self.make_target("target_critics", self.critic_step, polyak_factor)

    # What a subclass may replace.
    critic_loss = staticmethod(critic_loss)
    critic_targets = staticmethod(critic_targets)

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, Tensor, bool]:
        """See `OffPolicyAgent`: the noises of both actions, and whether the targets' update is due."""
        shape = batch.actions.shape
        return self.draw_noise(shape), self.draw_noise(shape), self.is_due(self.target_update_interval)

    def gradient_step(
        self, batch: Transitions, next_noise: Tensor, noise: Tensor, is_target_due: bool
    ) -> tuple[Metrics, Tensor]:
        """The critics' step, the actor's, the coefficient's, and the targets'; see `OffPolicyAgent`."""
        with torch.no_grad():
            alpha = self.alpha_step.flat.exp()[0]
            targets = self.critic_targets(batch, self.actor_step.frozen, self.target_critics.network, next_noise, alpha)
        critic, errors = self.critic_step(batch, targets)
        actor, entropy = self.actor_step(batch.observations, self.critic_step.frozen, noise, alpha)
        if self.is_tuned:
            self.alpha_step(entropy, self.target_entropy)
        if is_target_due:
            self.target_critics.update()
        return pack({**critic, **actor, "alpha": alpha}), errors

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The entropy coefficient is taken over where it is tuned."""
        super().load_weights(state)
        if self.is_tuned and "temperature" in state:
            self.temperature.load_state_dict(state["temperature"])
