"""Proximal Policy Optimisation: its loss. Source: Schulman et al. 2017, arXiv:1707.06347."""

from typing import Any

import torch
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.on_policy import OnPolicyAgent
from digideep.agent.trajectories import Trajectories
from digideep.parameters.checks import require, require_between
from digideep.parameters.component import Description
from digideep.policy.base import Evaluation


def ppo_loss(
    now: Evaluation,
    batch: Trajectories,
    clip_param: Tensor,
    *,
    value_loss_coef: float,
    entropy_coef: float,
    use_clipped_value_loss: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate objective, value loss and entropy bonus of one minibatch.

    Source: Schulman et al. 2017, Eq. 7 and 9; value clipping: "The 37 implementation details of PPO", detail 9.

    Args:
        now: log-probabilities, entropies and values under the current policy.
        batch: the rows of the minibatch.
        clip_param: 0-dimensional, in (0, 1).
        value_loss_coef: weight of the value loss, at least 0.
        entropy_coef: weight of the entropy bonus, at least 0.
        use_clipped_value_loss: keep new values within `clip_param` of the old ones.

    Returns:
        The loss, 0-dimensional, and metrics.
    """
    ratio = (now.log_p - batch.log_p).exp()
    clipped = torch.clamp(ratio, 1 - clip_param, 1 + clip_param)
    policy_loss = -batch.mean(torch.minimum(ratio * batch.advantages, clipped * batch.advantages))

    value_errors = (now.value - batch.returns).square()
    if use_clipped_value_loss:
        near = batch.values + torch.clamp(now.value - batch.values, -clip_param, clip_param)
        value_errors = torch.maximum(value_errors, (near - batch.returns).square())
    value_loss = 0.5 * batch.mean(value_errors)

    entropy = batch.mean(now.entropy)
    loss = policy_loss + value_loss_coef * value_loss - entropy_coef * entropy
    clip_fraction = batch.mean(((ratio - 1).abs() > clip_param).float())
    return loss, {
        "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "clip_fraction": clip_fraction,
    }  # fmt: skip


class PPO(OnPolicyAgent):
    """Learns from the newest chunk, in steps that the clipped ratio of probabilities keeps small.

    Further parameters are those of `OnPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        n_update: see `OnPolicyAgent`. num_mini_batches: likewise. Here they have to be given.
        clip_param: range of the probability ratio, a number or a schedule over updates. Usual: 0.1 to 0.3.
        value_loss_coef: weight of the value loss. Usual: 0.25 to 1.
        entropy_coef: weight of the entropy bonus. Usual: 0 to 0.02.
        use_clipped_value_loss: see `ppo_loss`.
    """

    def __init__(
        self, context: AgentContext, *, n_update: int, num_mini_batches: int, clip_param: float | Description,
        value_loss_coef: float = 0.5, entropy_coef: float = 0.0, use_clipped_value_loss: bool = False,
        **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, n_update=n_update, num_mini_batches=num_mini_batches, **parameters)
        require_between("value_loss_coef", value_loss_coef)
        require_between("entropy_coef", entropy_coef)
        self.value_loss_coef, self.entropy_coef = value_loss_coef, entropy_coef
        self.use_clipped_value_loss = use_clipped_value_loss
        self.clip_param = self.schedule("clip_param", clip_param, self.plan.n_cycles)
        require(0 < self.clip_param(0) < 1, "clip_param", self.clip_param(0), "in (0, 1) at the start")

    def check_plan(self) -> None:
        """See `AgentBase`."""
        super().check_plan()
        self.clip_param.require_positive("clip_param", self.n_updates)

    def loss(
        self, now: Evaluation, batch: Trajectories, scheduled: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `OnPolicyAgent` and `ppo_loss`."""
        return ppo_loss(
            now,
            batch,
            scheduled["clip_param"],
            value_loss_coef=self.value_loss_coef,
            entropy_coef=self.entropy_coef,
            use_clipped_value_loss=self.use_clipped_value_loss,
        )
