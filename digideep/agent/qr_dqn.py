"""DQN that learns distributions of returns by their quantiles. Source: Dabney et al. 2018, arXiv:1710.10044."""

from typing import Any

from torch import Tensor

from digideep.agent import dqn
from digideep.agent.context import AgentContext
from digideep.agent.off_policy import CriticLoss, Network, Transitions
from digideep.agent.quantiles import mean_error, quantile_huber_loss
from digideep.parameters.checks import require


def critic_targets(batch: Transitions, critic: Network, target_critic: Network, is_double: bool) -> Tensor:
    """Reward, and the discounted quantiles of the next observation's best action by its mean: Algorithm 1.

    Args:
        batch: B transitions.
        critic: maps observations to quantiles (B, A, K).
        target_critic: likewise.
        is_double: the critic chooses the next action and its target judges it.

    Returns:
        float32 (B, K).
    """
    quantiles = target_critic(batch.next_observations)
    values = critic(batch.next_observations).mean(-1) if is_double else quantiles.mean(-1)
    best = of_actions(quantiles, dqn.best_actions(values, batch.next_allowed))
    return batch.rewards[:, None] + batch.discounts[:, None] * best


def critic_loss(critic: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Huber's quantile loss of the actions that were taken: Eq. 10."""
    quantiles = of_actions(critic(batch.observations), batch.actions)
    loss = (batch.weights * quantile_huber_loss(quantiles, targets)).mean()
    return loss, ({"critic_loss": loss, "q_value": quantiles.mean()}, mean_error(quantiles, targets))


def of_actions(quantiles: Tensor, actions: Tensor) -> Tensor:
    """Return those of one action a row. Args: quantiles: (B, A, K); actions: int64 (B,). Returns: (B, K)."""
    index = actions[:, None, None].expand(-1, 1, quantiles.shape[-1])
    return quantiles.gather(1, index).squeeze(1)


class QRDQN(dqn.DQN):
    """DQN whose network says `critic_outputs` quantiles of the return for each action.

    Parameters are those of `DQN`.
    """

    def __init__(self, context: AgentContext, **parameters: Any):
        super().__init__(context, **parameters)
        critic_outputs = self.policy.critic_outputs
        require(critic_outputs > 1, "critic_outputs", critic_outputs, "at least 2 quantiles")

    critic_targets, critic_loss = staticmethod(critic_targets), staticmethod(critic_loss)
