"""DrQ-v2: DDPG from pixels, with twin critics, whose encoder the actor reads, and noise that follows a schedule.

Source: Yarats et al. 2021, arXiv:2107.09645, Section 3.1. Random shifts and n-step returns are the replay's.
"""

from typing import Any

import torch
from torch import Tensor

from digideep.agent import ddpg
from digideep.agent.context import AgentContext
from digideep.agent.noises import GaussianNoise
from digideep.agent.off_policy import ActorLoss, Network, OffPolicyAgent, Rate, Transitions
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_between
from digideep.policy.observations import Features, Observations
from digideep.utility.errors import UsageError


def noisy(actions: Tensor, noise: Tensor) -> Tensor:
    """Add noise to actions, both (B, A), within [-1, 1]; the gradient passes as if nothing had been cut off."""
    return actions + ((actions + noise).clamp(-1, 1) - actions).detach()


def critic_targets(batch: Transitions, actor: Network, target_critics: Network, noise: Tensor) -> Tensor:
    """Return the reward and the discounted value of the next observation, float32 (B,); noise is clipped."""
    return ddpg.critic_targets(batch, lambda seen: noisy(actor(seen), noise), target_critics)


def critic_loss(
    critics: Network, batch: Transitions, targets: Tensor
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor, Tensor]]:
    """Return DDPG's loss, summed over the critics, which trains the encoder too.

    Returns:
        With metrics, errors, and what the encoder made of the observations, float32 (B, F), for the actor.
    """
    seen = Features(critics(batch.observations))
    loss, (metrics, errors) = ddpg.critic_loss(critics, batch._replace(observations=seen), targets)
    return loss, (metrics, errors, seen.values.detach())


def actor_loss(actor: Network, observations: Observations, critics: Network, noise: Tensor) -> ActorLoss:
    """Return the smaller value of the actor's own actions with noise, negated."""
    loss = -critics(observations, noisy(actor(observations), noise)).amin(0).mean()
    return loss, {"actor_loss": loss}


class DrQv2(OffPolicyAgent):
    """Learns a deterministic policy from images. No target of the actor, nor of the encoder, is kept.

    Further parameters are those of `OffPolicyAgent` and `AgentBase`. The policy is as `DeterministicPolicy` with
    `shared_features`.

    Args:
        context: what exists at run time.
        noise_std: of the noise that explores and that smooths values, in the unit of [-1, 1]; a number or a schedule
            over frames. Usual: from 1 to 0.1.
        noise_clip: limit of the noise that smooths values.
        polyak_factor: share of the critics in their targets' update.
        lr_actor: learning rate, a number or a schedule over gradient steps.
        lr_critic: likewise, of critics and encoder.
    """

    def __init__(
        self, context: AgentContext, *, noise_std: Rate, noise_clip: float = 0.3, polyak_factor: float = 0.01,
        lr_actor: Rate, lr_critic: Rate, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        if not self.policy.is_encoder_shared:
            raise UsageError("DrQv2's actor reads the critics' encoder. Give its policy shared_features, such as 50.")
        require_between("noise_clip", noise_clip)
        self.noise_clip = noise_clip
        self.explorer = GaussianNoise(self.noise_generator, self.plan.frames, std=noise_std)
        self.explore_by(self.explorer)
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.actor_step = self.make_step("actor", self.policy.actor, self.actor_loss, lr_actor)
        self.target_critics = self.make_target("target_critics", self.critic_step, polyak_factor)

    critic_targets, critic_loss = staticmethod(critic_targets), staticmethod(critic_loss)
    actor_loss = staticmethod(actor_loss)

    def step_arguments(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """See `OffPolicyAgent`: the noises on the actions of the targets and of the actor."""
        std, limit, shape = self.explorer.std(self.memory.n_frames), self.noise_clip, batch.actions.shape
        noises = [(self.draw_noise(shape) * std).clamp(-limit, limit) for _ in range(2)]
        return noises[0], noises[1]

    def gradient_step(self, batch: Transitions, next_noise: Tensor, noise: Tensor) -> tuple[Metrics, Tensor]:
        """Take the critics' step and the actor's, and move the targets; see `OffPolicyAgent`."""
        with torch.no_grad():
            following = batch._replace(next_observations=self.shared(batch.next_observations))
            nets = self.actor_step.frozen, self.target_critics.network
            targets = self.critic_targets(following, *nets, next_noise)
        of_critic, errors, features = self.critic_step(batch, targets)
        of_actor = self.actor_step(Features(features), self.critic_step.frozen, noise)
        self.target_critics.update()
        return pack({**of_critic, **of_actor}), errors
