"""CrossQ: SAC without target networks. Source: Bhatt et al. 2024, arXiv:1902.05605, Algorithm 1 and Figure 3."""

from typing import Any

import torch
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.off_policy import CriticLoss, Network, Transitions, as_values
from digideep.agent.sac import SAC
from digideep.parameters.checks import require
from digideep.policy.observations import Views
from digideep.policy.recurrent import Sequences


def critic_loss(
    critics: Network, batch: Transitions, next_actions: Tensor, next_log_p: Tensor, alpha: Tensor
) -> CriticLoss:
    """SAC's loss, whose targets the critics say in the same pass, so that both halves share the batch's moments.

    Args:
        critics: map observations and actions to values (num, B).
        batch: transitions.
        next_actions: float32 (B, A), the actor's, of the next observations.
        next_log_p: float32 (B,), of these.
        alpha: the entropy coefficient.
    """
    observations = joined(batch.observations, batch.next_observations)
    values, next_values = critics(observations, torch.cat([batch.actions, next_actions])).chunk(2, 1)
    soft = as_values(next_values).amin(0) - alpha * next_log_p
    targets = (batch.rewards + batch.discounts * soft).detach()
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def joined(first: Any, second: Any) -> Any:
    """Return two batches of observations as one: (2 B, ...)."""
    if isinstance(first, Sequences):  # whose rows are moments of the same sequences
        return first._replace(rows=torch.cat([first.rows, second.rows]))
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if isinstance(first, Views):
        return Views(*map(joined, first, second))
    return {path: torch.cat([first[path], second[path]]) for path in first}


class CrossQ(SAC):
    """SAC whose critics have batch-renormalised layers instead of targets.

    Parameters are those of `SAC`, without `polyak_factor`; `num_target_critics` stays None. The actor's step comes
    every `policy_delay` steps; the authors take 3.
    """

    def __init__(self, context: AgentContext, *, policy_delay: int = 3, **parameters: Any):
        super().__init__(context, policy_delay=policy_delay, **{"polyak_factor": None, **parameters})
        self.require_one_output(self.critic_loss, critic_loss)
        for name, value in (("polyak_factor", self.target_critics), ("num_target_critics", self.num_target_critics)):
            require(value is None, name, parameters.get(name), "null: CrossQ has no targets")

    critic_loss = staticmethod(critic_loss)

    def critic_goal(self, batch: Transitions, noise: Tensor, alpha: Tensor, *chosen: Tensor) -> tuple[Tensor, ...]:
        """See `SAC`: the actor's next actions, their log-probabilities and the entropy coefficient."""
        return *self.actor_step.frozen(batch.next_observations, noise), alpha
