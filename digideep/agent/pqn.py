"""Parallelised Q-learning: no replay, no target network. Source: Gallici et al. 2025, arXiv:2407.04811, Algorithm 1."""

from typing import Any

import numpy as np
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.noises import EpsilonGreedy
from digideep.agent.on_policy import OnPolicyAgent
from digideep.agent.trajectories import Trajectories
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require
from digideep.parameters.component import Description
from digideep.policy.base import Evaluation
from digideep.utility.errors import UsageError
from digideep.utility.seeding import make_generator


class PQN(OnPolicyAgent):
    """Learns the values of numbered actions from the newest chunk; explores by random ones.

    The lambda returns of the paper's Eq. 6 are `OnPolicyAgent`'s: advantages plus values, where an observation's value
    is that of its best action. Further parameters are those of `OnPolicyAgent`; its `gae_lambda` is the paper's lambda.

    Args:
        context: what exists at run time.
        policy: description of a policy such as `GreedyActionValues`, with normalised layers.
        epsilon: chance of a random action, a number or a schedule over frames.
        parameters: of `OnPolicyAgent`.
    """

    def __init__(self, context: AgentContext, *, epsilon: float | Description, **parameters: Any):
        if parameters.get("pretraining") is not None:
            raise UsageError("PQN cannot be pretrained: it has no probabilities of actions. Leave bc_steps at 0.")
        super().__init__(context, **{"normalize_advantages": False, "recompute_advantages": False, **parameters})
        for name, value in (("target_kl", self.target_kl), ("normalize_advantages", self.normalize_advantages)):
            expected = "null" if name == "target_kl" else "false"
            require(value in (None, False), name, value, f"{expected}: PQN has no probabilities and no advantages")
        require(not self.use_action_mask, "use_action_mask", True, "false: PQN takes values over all actions. Take DQN")
        generator = make_generator(self.seed, "agent", self.name, "noise")
        num_actions, frames = int(self.action_space.n), self.plan.frames  # type: ignore[attr-defined]
        self.noise = EpsilonGreedy(generator, num_actions, epsilon=epsilon, planned_frames=frames)
        self.register("noise", self.noise)
        self.follow("epsilon", self.noise.epsilon, lambda: self.memory.n_frames)

    def action_generator(
        self, observations: dict[str, np.ndarray], hidden_state: np.ndarray | None, masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """See `AgentBase`."""
        row = super().action_generator(observations, hidden_state, masks, deterministic)
        if not deterministic:
            row["actions"] = self.noise(row["actions"], masks, self.memory.n_frames, self.allowed(observations))
        return row

    def gradient_step(self, data: Trajectories, rows: Tensor, scheduled: dict[str, Tensor]) -> tuple[Metrics, Tensor]:
        """See `OnPolicyAgent`; there are no probabilities to diverge."""
        metrics, divergence = self.step(data, rows, scheduled)
        return pack(metrics), divergence

    def loss(
        self, now: Evaluation, batch: Trajectories, scheduled: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Half the squared error of the actions that were taken; see `OnPolicyAgent`."""
        loss = 0.5 * batch.mean((now.value - batch.returns).square())
        return loss, {"critic_loss": loss, "q_value": batch.mean(now.value)}
