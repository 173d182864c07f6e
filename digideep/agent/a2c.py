"""Synchronous advantage actor-critic: its loss. Source: Mnih et al. 2016, arXiv:1602.01783, Algorithm S3."""

from typing import Any

from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.on_policy import OnPolicyAgent
from digideep.agent.trajectories import Trajectories
from digideep.parameters.checks import require_between
from digideep.policy.base import Evaluation


def a2c_loss(
    now: Evaluation, batch: Trajectories, *, value_loss_coef: float, entropy_coef: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Policy gradient by advantages, squared error of the values and entropy bonus.

    Args:
        now: log-probabilities, entropies and values under the current policy.
        batch: the rows of the chunk.
        value_loss_coef: weight of the value loss, at least 0.
        entropy_coef: weight of the entropy bonus, at least 0.

    Returns:
        The loss, 0-dimensional, and metrics.
    """
    policy_loss = -batch.mean(now.log_p * batch.advantages)
    value_loss, entropy = batch.mean((now.value - batch.returns).square()), batch.mean(now.entropy)
    loss = policy_loss + value_loss_coef * value_loss - entropy_coef * entropy
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


class A2C(OnPolicyAgent):
    """Takes one step of the policy gradient for each chunk.

    Further parameters are those of `OnPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        value_loss_coef: weight of the value loss. Usual: 0.25 to 0.5.
        entropy_coef: weight of the entropy bonus. Usual: 0 to 0.01.
        parameters: of `OnPolicyAgent`; its `n_update` and `num_mini_batches` are 1 in the paper.
    """

    def __init__(
        self, context: AgentContext, *, value_loss_coef: float = 0.5, entropy_coef: float = 0.0, **parameters: Any
    ):
        super().__init__(context, **parameters)
        require_between("value_loss_coef", value_loss_coef)
        require_between("entropy_coef", entropy_coef)
        self.value_loss_coef, self.entropy_coef = value_loss_coef, entropy_coef

    def loss(
        self, now: Evaluation, batch: Trajectories, scheduled: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `OnPolicyAgent` and `a2c_loss`."""
        return a2c_loss(now, batch, value_loss_coef=self.value_loss_coef, entropy_coef=self.entropy_coef)
