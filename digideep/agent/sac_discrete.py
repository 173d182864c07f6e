"""Soft Actor-Critic for numbered actions. Source: Christodoulou 2019, arXiv:1910.07207, Algorithm 1."""

import math
from typing import Any

from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.off_policy import CriticLoss, Network, Transitions
from digideep.agent.sac import SAC
from digideep.parameters.checks import require_between


def soft_values(values: Tensor, log_p: Tensor, alpha: Tensor) -> Tensor:
    """Return expected values with their entropy's worth: Eq. 10. Args: (..., B, A), (B, A). Returns: (..., B)."""
    return (log_p.exp() * (values - alpha * log_p)).sum(-1)


def critic_targets(
    batch: Transitions, actor: Network, critics: Network, noise: Tensor, alpha: Tensor, *chosen: Tensor
) -> Tensor:
    """Return reward and discounted soft value of the next observation, float32 (B,).

    Args:
        batch: transitions.
        actor: maps observations and an action mask to log-probabilities (B, A).
        critics: map observations to values (num, B, A).
        noise: unused: the expectation over actions is exact.
        alpha: the entropy coefficient.
        chosen: as in SAC.
    """
    log_p = actor(batch.next_observations, batch.next_allowed)
    values = critics(batch.next_observations, *chosen).amin(0)
    return batch.rewards + batch.discounts * soft_values(values, log_p, alpha)


def critic_loss(critics: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Half the squared error of each critic on the actions that were taken, summed: Eq. 3."""
    values = critics(batch.observations)
    values = values.gather(-1, batch.actions[:, None].expand(len(values), -1, 1)).squeeze(-1)  # (num, B)
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def actor_loss(
    actor: Network, batch: Transitions, critics: Network, noise: Tensor, alpha: Tensor, by_mean: bool = False
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
    """Soft value of the actor's distribution, negated: Eq. 12. Returns: with metrics and the entropy."""
    log_p, values = actor(batch.observations, batch.allowed), critics(batch.observations)
    values = values.mean(0) if by_mean else values.amin(0)
    loss = -soft_values(values, log_p, alpha).mean()
    entropy = -(log_p.exp() * log_p).sum(-1).mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


def cloning_loss(actor: Network, observations: Any, actions: Tensor) -> Tensor:
    """Return minus the mean log-probability of recorded actions; see `BehaviourCloning`."""
    return -actor(observations).gather(-1, actions[:, None]).mean()


class DiscreteSAC(SAC):
    """SAC over numbered actions, whose expectations over actions are sums.

    Further parameters are those of `SAC`. The policy is one such as `CategoricalPolicy`.

    Args:
        context: what exists at run time.
        target_entropy_ratio: of the target entropy to the largest one, in [0, 1], where `target_entropy` is None.
            Paper: 0.98.
    """

    def __init__(self, context: AgentContext, *, target_entropy_ratio: float = 0.98, **parameters: Any):
        require_between("target_entropy_ratio", target_entropy_ratio, 0, 1)
        self.target_entropy_ratio = target_entropy_ratio
        super().__init__(context, **parameters)

    critic_targets, critic_loss = staticmethod(critic_targets), staticmethod(critic_loss)
    actor_loss, cloning_loss = staticmethod(actor_loss), staticmethod(cloning_loss)

    def usual_entropy(self) -> float:
        """See `SAC`: a share of the largest entropy, in nats."""
        return self.target_entropy_ratio * math.log(self.action_space.n)  # type: ignore[attr-defined]
