"""Twin Delayed DDPG, whose losses are DDPG's. Source: Fujimoto et al. 2018, arXiv:1802.09477, Algorithm 1."""

from typing import Any

import torch
from torch import Tensor

from digideep.agent import ddpg
from digideep.agent.context import AgentContext
from digideep.agent.off_policy import Network, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between, require_int
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, target_actor: Network, target_critics: Network, noise: Tensor) -> Tensor:
    """Targets as DDPG's; the noise, float32 (B, A), clipped already, smooths values over similar actions."""

    def smoothed(observations: Observations) -> Tensor:
        return (target_actor(observations) + noise).clamp(-1, 1)

    return ddpg.critic_targets(batch, smoothed, target_critics)


class TD3(ddpg.DDPG):
    """Learns a deterministic policy from twin critics with smoothed targets.

    Further parameters are those of `DDPG`, `OffPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        policy_delay: gradient steps of the critics to one of the actor and all targets.
        target_noise_std: of the noise on the targets' actions, in the unit of [-1, 1].
        target_noise_clip: its limit.
    """

    def __init__(
        self, context: AgentContext, *, policy_delay: int = 2,
        target_noise_std: float = 0.2, target_noise_clip: float = 0.5, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("policy_delay", policy_delay, 1)
        require_between("target_noise_std", target_noise_std)
        require_between("target_noise_clip", target_noise_clip)
        self.policy_delay, self.noise_std, self.noise_clip = policy_delay, target_noise_std, target_noise_clip

    critic_targets = staticmethod(critic_targets)

    def doubt(self) -> str | None:
        """See `AgentBase`: the actor waits for `policy_delay` steps of the critics."""
        steps = self.sampler.total_steps(self.plan) if hasattr(self.sampler, "total_steps") else self.policy_delay
        if not self.plan.frames or steps >= self.policy_delay:
            return super().doubt()
        return super().doubt() or f"{steps} gradient steps in the plan, of which policy_delay={self.policy_delay} waits"

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, bool]:
        """See `OffPolicyAgent`: the targets' noise, and whether the actor's step is due."""
        return self.draw_noise(batch.actions.shape), self.is_due(self.policy_delay)

    def gradient_step(self, batch: Transitions, noise: Tensor, is_actor_due: bool) -> tuple[Metrics, Tensor]:
        """The critics' step, and where it is due the actor's and the targets'; see `OffPolicyAgent`."""
        with torch.no_grad():
            noise = (noise * self.noise_std).clamp(-self.noise_clip, self.noise_clip)
            targets = self.critic_targets(batch, self.target_actor.network, self.target_critics.network, noise)
        metrics, errors = self.critic_step(batch, targets)
        if is_actor_due:
            metrics = metrics | self.actor_step(batch.observations, self.critic_step.frozen)
            self.target_critics.update()
            self.target_actor.update()
        return pack(metrics), errors
