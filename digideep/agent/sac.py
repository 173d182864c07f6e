"""Soft Actor-Critic. Source: Haarnoja et al. 2018, arXiv:1812.05905 (the version without a state-value network)."""

import math
from typing import Any

import torch
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.off_policy import Actor, CriticLoss, Network, OffPolicyAgent, Rate, Transitions, as_values
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between, require_int
from digideep.policy.networks import Scalar
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, actor: Actor, critics: Network, noise: Tensor, alpha: Tensor) -> Tensor:
    """Return reward and discounted soft value of the next observation, float32 (B,). Eq. 2 and 3; noise is (B, A)."""
    actions, log_p = actor(batch.next_observations, noise)
    values = as_values(critics(batch.next_observations, actions), batch).amin(0) - alpha * log_p
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Half the squared error of each critic, summed: Eq. 5."""
    values = as_values(critics(batch.observations, batch.actions), batch)
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def actor_loss(
    actor: Actor, observations: Observations, critics: Network, noise: Tensor, alpha: Tensor
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
    """Entropy-regularised value of the actor's own actions, negated: Eq. 7. Returns: with metrics and the entropy."""
    actions, log_p = actor(observations, noise)
    loss = (alpha * log_p - critics(observations, actions).amin(0)).mean()
    entropy = -log_p.mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


def alpha_loss(log_alpha: Network, entropy: Tensor, target_entropy: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Move log(alpha) up while the entropy is below its target, and down above it: Eq. 18."""
    return log_alpha() * (entropy - target_entropy), {}


def cloning_loss(actor: Actor, observations: Observations, actions: Tensor) -> Tensor:
    """Return minus the mean log-probability of recorded actions; see `BehaviourCloning`."""
    return -actor(observations, actions=actions)[1].mean()


class SAC(OffPolicyAgent):
    """Learns a stochastic policy that values its own entropy, from twin critics. The policy's spread explores.

    Further parameters are those of `OffPolicyAgent`. The policy has an `actor` and `critics` as in
    `SquashedGaussianPolicy`.

    Args:
        context: what exists at run time.
        polyak_factor: share of the critics in their targets' update. Usual: 0.005 to 0.02.
        target_update_interval: gradient steps from one update of the targets to the next.
        lr_actor, lr_critic, lr_alpha: learning rates of actor, critics and log(alpha), numbers or schedules over
            gradient steps. Usual: 3e-4 to 1e-3.
        alpha: the entropy coefficient; its start where it is tuned.
        automatic_entropy_tuning: tune alpha so that the entropy stays near `target_entropy`.
        target_entropy: in nats, of actions in the unit of [-1, 1]; None for minus the number of action dimensions.
    """

    def __init__(
        self, context: AgentContext, *, polyak_factor: float, target_update_interval: int = 1,
        lr_actor: Rate, lr_critic: Rate, lr_alpha: Rate = 3e-4, alpha: float = 1.0,
        automatic_entropy_tuning: bool = True, target_entropy: float | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("target_update_interval", target_update_interval, 1)
        require_between("alpha", alpha, 1e-9)
        self.target_update_interval, self.is_tuned = target_update_interval, automatic_entropy_tuning
        num_actions = self.action_space.shape[0]  # type: ignore[index]  # the policy has refused other spaces
        self.target_entropy = float(-num_actions if target_entropy is None else target_entropy)
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.actor_step = self.make_step("actor", self.policy.actor, self.actor_loss, lr_actor)
        self.log_alpha = self.register("log_alpha", Scalar(math.log(alpha)).to(self.device))
        self.alpha_step = self.make_step("alpha", self.log_alpha, self.alpha_loss, lr_alpha)
        self.target_critics = self.make_target("target_critics", self.critic_step, polyak_factor)
        self.clone_by(self.actor_step, cloning_loss)

    critic_targets, critic_loss = staticmethod(critic_targets), staticmethod(critic_loss)
    actor_loss, alpha_loss = staticmethod(actor_loss), staticmethod(alpha_loss)

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, Tensor, bool]:
        """See `OffPolicyAgent`: the noises of both actions, and whether the targets' update is due."""
        shape = batch.actions.shape
        return self.draw_noise(shape), self.draw_noise(shape), self.is_due(self.target_update_interval)

    def gradient_step(
        self, batch: Transitions, next_noise: Tensor, noise: Tensor, is_target_due: bool
    ) -> tuple[Metrics, Tensor]:
        """Take the critics' step, the actor's and the coefficient's, and move the targets; see `OffPolicyAgent`."""
        with torch.no_grad():
            alpha = self.alpha_step.flat.exp()[0]
            nets = self.actor_step.frozen, self.target_critics.network
            following = batch._replace(next_observations=self.shared(batch.next_observations))
            targets = self.critic_targets(following, *nets, next_noise, alpha)
        of_critic, errors = self.critic_step(batch, targets)
        seen = self.shared(batch.observations)
        of_actor, entropy = self.actor_step(seen, self.critic_step.frozen, noise, alpha)
        if self.is_tuned:
            self.alpha_step(entropy, self.target_entropy)
        if is_target_due:
            self.target_critics.update()
        return pack({**of_critic, **of_actor, "alpha": alpha}), errors

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The entropy coefficient is taken over where it is tuned."""
        super().load_weights(state)
        if self.is_tuned and "log_alpha" in state:
            self.log_alpha.load_state_dict(state["log_alpha"])
