"""Truncated Quantile Critics. Source: Kuznetsov et al. 2020, arXiv:2005.04269, Algorithm 1."""

from typing import Any

from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.off_policy import Actor, CriticLoss, Network, Transitions
from digideep.agent.quantiles import mean_error, quantile_huber_loss
from digideep.agent.sac import SAC
from digideep.parameters.checks import require, require_int


def critic_targets(
    batch: Transitions, actor: Actor, critics: Network, noise: Tensor, alpha: Tensor, dropped: int
) -> Tensor:
    """Return reward and discounted soft quantiles of the next observation, float32 (B, M): Eq. 11 and 12.

    Args:
        batch: transitions.
        actor: as in SAC.
        critics: map observations and actions to quantiles (num, B, K).
        noise: float32 (B, A), standard normal.
        alpha: the entropy coefficient.
        dropped: quantiles that are left out, the largest of those of all critics together.
    """
    actions, log_p = actor(batch.next_observations, noise)
    pooled = critics(batch.next_observations, actions).movedim(0, 1).flatten(1).sort().values
    kept = pooled[:, : pooled.shape[1] - dropped]
    return batch.rewards[:, None] + batch.discounts[:, None] * (kept - alpha * log_p[:, None])


def critic_loss(critics: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Huber's quantile loss of each critic, the mean over critics and quantiles: Eq. 13 and 14."""
    quantiles = critics(batch.observations, batch.actions)
    losses = quantile_huber_loss(quantiles, targets).mean(0) / quantiles.shape[-1]
    loss = (batch.weights * losses).mean()
    return loss, ({"critic_loss": loss, "q_value": quantiles.mean()}, mean_error(quantiles, targets))


def actor_loss(
    actor: Actor, batch: Transitions, critics: Network, noise: Tensor, alpha: Tensor
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
    """As SAC's, by the mean of all quantiles, of which none is left out: Eq. 15."""
    actions, log_p = actor(batch.observations, noise)
    loss = (alpha * log_p - critics(batch.observations, actions).mean((0, 2))).mean()
    entropy = -log_p.mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


class TQC(SAC):
    """SAC whose critics say quantiles of the return. Targets leave out the largest, which curbs overestimation.

    Further parameters are those of `SAC`; `num_target_critics` stays None. The policy's `critic_outputs` is K.

    Args:
        context: what exists at run time.
        dropped_quantiles: that each critic's share of the pool loses, in [0, K). Usual: 2; Hopper 5, HalfCheetah 0.
    """

    def __init__(self, context: AgentContext, *, dropped_quantiles: int = 2, **parameters: Any):
        super().__init__(context, **parameters)
        outputs, chosen = self.policy.critics.num_outputs, self.num_target_critics
        require(outputs > 1, "critic_outputs", outputs, "at least 2 quantiles")
        require_int("dropped_quantiles", dropped_quantiles, 0, outputs - 1)
        require(chosen is None, "num_target_critics", chosen, "null: TQC pools the quantiles of all critics")
        self.dropped = dropped_quantiles * self.policy.num_critics

    critic_loss, actor_loss = staticmethod(critic_loss), staticmethod(actor_loss)

    def critic_targets(
        self, batch: Transitions, actor: Actor, critics: Network, noise: Tensor, alpha: Tensor
    ) -> Tensor:
        """See the function of this name."""
        return critic_targets(batch, actor, critics, noise, alpha, self.dropped)
