"""Deep Deterministic Policy Gradient. Source: Lillicrap et al. 2016, arXiv:1509.02971, Algorithm 1."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.noises import Noise
from digideep.agent.off_policy import ActorLoss, CriticLoss, Network, OffPolicyAgent, Rate, Transitions, as_values
from digideep.learning.gradient_step import Metrics, pack
from digideep.parameters.checks import require_int
from digideep.parameters.component import Description, build
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, target_actor: Network, target_critics: Network) -> Tensor:
    """What the critics should say: reward, and the discounted value of the next observation.

    Args:
        batch: B transitions.
        target_actor: maps observations to actions.
        target_critics: map observations and actions to values (num, B).

    Returns:
        float32 (B,).
    """
    values = target_critics(batch.next_observations, target_actor(batch.next_observations))
    return batch.rewards + batch.discounts * as_values(values).amin(0)


def critic_loss(critics: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """The squared error of each critic, summed."""
    values = as_values(critics(batch.observations, batch.actions))
    errors = values - targets
    loss = (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def actor_loss(actor: Network, observations: Observations, critics: Network) -> ActorLoss:
    """Value of the actor's own actions by the first critic, negated.

    The mean over the batch. Differs from the original digideep, whose sum let the step grow with the batch.
    """
    loss = -critics(observations, actor(observations), 1).mean()
    return loss, {"actor_loss": loss}


def cloning_loss(actor: Network, observations: Observations, actions: Tensor) -> Tensor:
    """Return the mean squared error of the actions, over batch and dimensions; see `BehaviourCloning`."""
    return (actor(observations) - actions).square().mean()


class DDPG(OffPolicyAgent):
    """Learns a deterministic policy from one critic.

    Further parameters are those of `OffPolicyAgent` and `AgentBase`.

    Args:
        context: what exists at run time.
        policy: description of a policy with an `actor` and one of `critics` as in `DeterministicPolicy`.
        noise: description of a `Noise`, for exploration.
        polyak_factor: share of a network in its target's update. Usual: 0.001 to 0.02; 1 copies the network.
        target_update_interval: gradient steps of the critics from one update of the targets to the next; None for an
            update with each step of the actor. Usual with copies: 100 to 1000.
        lr_actor: learning rate, a number or a schedule over gradient steps. Usual: 1e-4 to 1e-3.
        lr_critic: likewise.
    """

    def __init__(
        self, context: AgentContext, *, noise: Description, polyak_factor: float,
        lr_actor: Rate, lr_critic: Rate, target_update_interval: int | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        if target_update_interval is not None:
            require_int("target_update_interval", target_update_interval, 1)
        self.target_update_interval = target_update_interval
        self.require_one_output(self.critic_loss, critic_loss)
        self.explore_by(build(noise, Noise, generator=self.noise_generator, planned_frames=self.plan.frames))
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.actor_step = self.make_step("actor", self.policy.actor, self.actor_loss, lr_actor)
        self.target_critics = self.make_target("target_critics", self.critic_step, polyak_factor)
        self.target_actor = self.make_target("target_actor", self.actor_step, polyak_factor)
        self.clone_by(self.actor_step, cloning_loss)

    critic_targets: Callable[..., Tensor] = staticmethod(critic_targets)  # of subclasses some take noise
    critic_loss, actor_loss = staticmethod(critic_loss), staticmethod(actor_loss)

    def step_arguments(self, batch: Transitions) -> tuple[Any, ...]:
        """See `OffPolicyAgent`: whether the targets' update is due."""
        return (self.is_due(self.target_update_interval or 1),)

    def move_targets(self) -> None:
        """Let the targets follow by one step."""
        self.target_critics.update()
        self.target_actor.update()

    def gradient_step(self, batch: Transitions, *args: Any) -> tuple[Metrics, Tensor]:
        """The critic's step, the actor's and, where it is due, the targets'; see `OffPolicyAgent`."""
        (is_target_due,) = args
        with torch.no_grad():
            following = batch._replace(next_observations=self.shared(batch.next_observations))
            targets = self.critic_targets(following, self.target_actor.network, self.target_critics.network)
        critic, errors = self.critic_step(batch, targets)
        actor = self.actor_step(self.shared(batch.observations), self.critic_step.frozen)
        if is_target_due:
            self.move_targets()
        return pack(critic | actor), errors
