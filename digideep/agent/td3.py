"""Twin Delayed DDPG, whose losses are DDPG's. Source: Fujimoto et al. 2018, arXiv:1802.09477, Algorithm 1."""

from typing import Any

import torch
from torch import Tensor

from digideep.agent import ddpg
from digideep.agent.context import AgentContext
from digideep.agent.off_policy import ActorLoss, Network, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between, require_int
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, target_actor: Network, target_critics: Network, noise: Tensor) -> Tensor:
    """Targets as DDPG's; the noise, float32 (B, A), clipped already, smooths values over similar actions."""

    def smoothed(observations: Observations) -> Tensor:
        return (target_actor(observations) + noise).clamp(-1, 1)

    return ddpg.critic_targets(batch, smoothed, target_critics)


def actor_loss(
    actor: Network, observations: Observations, critics: Network, actions: Tensor | None = None, bc_alpha: float = 0.0
) -> ActorLoss:
    """DDPG's loss; with recorded actions, float32 (B, A), that of TD3+BC, which stays near them.

    Source: Fujimoto and Gu 2021, arXiv:2106.06860, Eq. 3 and 5, over the mean of the squared errors as in their code.
    """
    if actions is None:
        return ddpg.actor_loss(actor, observations, critics)
    chosen = actor(observations)
    values, error = critics(observations, chosen, 1), (chosen - actions).square().mean()
    loss = error - bc_alpha / values.abs().mean().detach().clamp(min=1e-6) * values.mean()
    return loss, {"actor_loss": loss, "bc_loss": error.detach()}


class TD3(ddpg.DDPG):
    """Learns a deterministic policy from twin critics with smoothed targets.

    Further parameters are those of `DDPG`, `OffPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        policy_delay: gradient steps of the critics to one of the actor and, unless they have an interval of their own,
            of all targets.
        target_noise_std: of the noise on the targets' actions, in the unit of [-1, 1].
        target_noise_clip: its limit.
        bc_alpha: TD3+BC, to learn from recorded actions without trying others: weight of the values beside the squared
            error of the actions. Usual: 2.5; 0 is behaviour cloning; None is TD3.
    """

    def __init__(
        self, context: AgentContext, *, policy_delay: int = 2,
        target_noise_std: float = 0.2, target_noise_clip: float = 0.5, bc_alpha: float | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("policy_delay", policy_delay, 1)
        require_between("target_noise_std", target_noise_std)
        require_between("target_noise_clip", target_noise_clip)
        if bc_alpha is not None:
            require_between("bc_alpha", bc_alpha)
        self.bc_alpha = bc_alpha
        self.policy_delay, self.noise_std, self.noise_clip = policy_delay, target_noise_std, target_noise_clip

    critic_targets, actor_loss = staticmethod(critic_targets), staticmethod(actor_loss)

    def doubt(self) -> str | None:
        """See `AgentBase`: the actor waits for `policy_delay` steps of the critics."""
        steps = self.sampler.total_steps(self.plan) if hasattr(self.sampler, "total_steps") else self.policy_delay
        if not self.plan.frames or steps >= self.policy_delay:
            return super().doubt()
        return super().doubt() or f"{steps} gradient steps in the plan, of which policy_delay={self.policy_delay} waits"

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, bool, bool]:
        """See `OffPolicyAgent`: the targets' noise, and whether the actor's step and the targets' update are due."""
        is_target_due = self.is_due(self.target_update_interval or self.policy_delay)
        return self.draw_noise(batch.actions.shape), self.is_due(self.policy_delay), is_target_due

    def gradient_step(
        self, batch: Transitions, noise: Tensor, is_actor_due: bool, is_target_due: bool
    ) -> tuple[Metrics, Tensor]:
        """The critics' step, and where it is due the actor's and the targets'; see `OffPolicyAgent`."""
        with torch.no_grad():
            noise = (noise * self.noise_std).clamp(-self.noise_clip, self.noise_clip)
            following = batch._replace(next_observations=self.shared(batch.next_observations))
            targets = self.critic_targets(following, self.target_actor.network, self.target_critics.network, noise)
        metrics, errors = self.critic_step(batch, targets)
        if is_actor_due:
            cloned = () if self.bc_alpha is None else (batch.actions, self.bc_alpha)
            seen = self.shared(batch.observations)
            metrics = metrics | self.actor_step(seen, self.critic_step.frozen, *cloned)
        if is_target_due:
            self.move_targets()
        return pack(metrics), errors
