"""Soft Actor-Critic. Source: Haarnoja et al. 2018, arXiv:1812.05905 (the version without a state-value network)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from digideep.agent.context import AgentContext
from digideep.agent.off_policy import Actor, CriticLoss, Network, OffPolicyAgent, Rate, Transitions, as_values
from digideep.learning.gradient_step import Metrics, pack
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require, require_between, require_int
from digideep.policy.networks import Scalar
from digideep.policy.observations import Observations


def critic_targets(
    batch: Transitions, actor: Actor, critics: Network, noise: Tensor, alpha: Tensor, *chosen: Tensor
) -> Tensor:
    """Return reward and discounted soft value of the next observation, float32 (B,). Eq. 2 and 3.

    Args:
        batch: transitions.
        actor, critics: see `Actor` and `Critics`.
        noise: float32 (B, A), standard normal.
        alpha: the entropy coefficient.
        chosen: int64 (M,), the critics of which the least counts; left out for all.
    """
    actions, log_p = actor(batch.next_observations, noise)
    values = as_values(critics(batch.next_observations, actions, *chosen)).amin(0) - alpha * log_p
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Network, batch: Transitions, targets: Tensor) -> CriticLoss:
    """Half the squared error of each critic, summed: Eq. 5."""
    values = as_values(critics(batch.observations, batch.actions))
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, ({"critic_loss": loss, "q_value": values.mean()}, errors.abs().mean(0).detach())


def actor_loss(
    actor: Actor, batch: Transitions, critics: Network, noise: Tensor, alpha: Tensor, by_mean: bool = False
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
    """Entropy-regularised value of the actor's own actions, negated: Eq. 7. Returns: with metrics and the entropy.

    By the least value that a critic says; `by_mean` by the mean of all: Chen et al. 2021, Algorithm 1.
    """
    actions, log_p = actor(batch.observations, noise)
    values = critics(batch.observations, actions)
    loss = (alpha * log_p - (values.mean(0) if by_mean else values.amin(0))).mean()
    entropy = -log_p.mean().detach()
    return loss, ({"actor_loss": loss, "entropy": entropy}, entropy)


def alpha_loss(log_alpha: Network, entropy: Tensor, target_entropy: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Move log(alpha) up while the entropy is below its target, and down above it: Eq. 18."""
    return log_alpha() * (entropy - target_entropy), {}


def cloning_loss(actor: Actor, observations: Observations, actions: Tensor) -> Tensor:
    """Return minus the mean log-probability of recorded actions; see `BehaviourCloning`."""
    return -actor(observations, actions=actions)[1].mean()


class SAC(OffPolicyAgent):
    """Learns a stochastic policy that values its own entropy, from twin critics. The policy's spread explores.

    Further parameters are those of `OffPolicyAgent`. The policy has an `actor` and `critics` as in
    `SquashedGaussianPolicy`.

    With more gradient steps for a frame it is REDQ (10 critics, 2 of them for a target, 20 steps) or DroQ (2 critics
    with dropout and normalised layers, 20 steps). Sources: Chen et al. 2021, arXiv:2101.05982, Algorithm 1; Hiraoka et
    al. 2022, arXiv:2110.02034, Algorithm 2.

    Args:
        context: what exists at run time.
        polyak_factor: share of the critics in their targets' update. Usual: 0.005 to 0.02. None for no targets: the
            critics bootstrap from themselves, which needs normalised layers.
        num_target_critics: critics of which a target takes the least, drawn anew for each step; the actor then follows
            the mean of all. None: all, and the actor follows the least.
        policy_delay: gradient steps of the critics to one of actor and alpha. Usual: 1; as many as there are for each
            frame.
        target_update_interval: gradient steps from one update of the targets to the next.
        lr_actor, lr_critic, lr_alpha: learning rates of actor, critics and log(alpha), numbers or schedules over
            gradient steps. Usual: 3e-4 to 1e-3.
        alpha: the entropy coefficient; its start where it is tuned.
        automatic_entropy_tuning: tune alpha so that the entropy stays near `target_entropy`.
        target_entropy: in nats, of actions in the unit of [-1, 1]; None for minus the number of action dimensions.
    """

    def __init__(
        self, context: AgentContext, *, polyak_factor: float | None, target_update_interval: int = 1,
        num_target_critics: int | None = None, policy_delay: int = 1,
        lr_actor: Rate, lr_critic: Rate, lr_alpha: Rate = 3e-4, alpha: float = 1.0,
        automatic_entropy_tuning: bool = True, target_entropy: float | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_int("target_update_interval", target_update_interval, 1)
        require_int("policy_delay", policy_delay, 1)
        if polyak_factor is None:
            expected = "1 where polyak_factor is null: there are no targets"
            require(target_update_interval == 1, "target_update_interval", target_update_interval, expected)
        self.require_one_output(self.critic_loss, critic_loss)
        require_between("alpha", alpha, 1e-9)
        self.target_update_interval, self.is_tuned = target_update_interval, automatic_entropy_tuning
        self.num_target_critics, self.policy_delay = num_target_critics, policy_delay
        if num_target_critics is not None:
            require_int("num_target_critics", num_target_critics, 1, self.policy.num_critics)
        self.target_entropy = self.usual_entropy() if target_entropy is None else float(target_entropy)
        self.critic_step = self.make_step("critic", self.policy.critics, self.critic_loss, lr_critic)
        self.actor_step = self.make_step("actor", self.policy.actor, self.actor_loss, lr_actor)
        self.log_alpha = self.register("log_alpha", Scalar(math.log(alpha)).to(self.device))
        self.alpha_step = self.make_step("alpha", self.log_alpha, self.alpha_loss, lr_alpha)
        self.target_critics: TargetNetwork | None = None
        if polyak_factor is not None:
            self.target_critics = self.make_target("target_critics", self.critic_step, polyak_factor)
        self.clone_by(self.actor_step, self.cloning_loss)

    cloning_loss: Callable[..., Tensor] = staticmethod(cloning_loss)
    critic_targets: Callable[..., Tensor] = staticmethod(critic_targets)
    critic_loss: Callable[..., CriticLoss] = staticmethod(critic_loss)
    actor_loss: Callable[..., Any] = staticmethod(actor_loss)
    alpha_loss: Callable[..., Any] = staticmethod(alpha_loss)

    def usual_entropy(self) -> float:
        """Return the target entropy unless one is given, in nats: Haarnoja et al. 2018, Appendix D."""
        return -float(self.action_space.shape[0])  # type: ignore[index]  # the policy has refused other spaces

    def step_arguments(self, batch: Transitions) -> tuple[Any, ...]:
        """See `OffPolicyAgent`: the noises of both actions, what is due, and the critics of which the least counts."""
        noises = [self.draw_noise(batch.actions.shape) for _ in range(2)]
        chosen: list[Tensor] = []
        if self.num_target_critics is not None:
            order = torch.randperm(self.policy.num_critics, generator=self.generator, device=self.device)
            chosen = [order[: self.num_target_critics]]
        return *noises, self.is_due(self.policy_delay), self.is_due(self.target_update_interval), *chosen

    def gradient_step(self, batch: Transitions, *args: Any) -> tuple[Metrics, Tensor]:
        """Take the critics' step, the actor's and the coefficient's, and move the targets; see `OffPolicyAgent`."""
        next_noise, noise, is_actor_due, is_target_due, *chosen = args
        alpha = self.alpha_step.flat.exp()[0]
        with torch.no_grad():
            following = batch._replace(next_observations=self.shared(batch.next_observations))
            goal = self.critic_goal(following, next_noise, alpha, *chosen)
        of_critic, errors = self.critic_step(batch, *goal)
        metrics = {**of_critic, "alpha": alpha}
        if is_actor_due:
            by_mean = [True] if chosen else []
            seen = batch._replace(observations=self.shared(batch.observations))
            of_actor, entropy = self.actor_step(seen, self.critic_step.frozen, noise, alpha, *by_mean)
            metrics |= of_actor
            if self.is_tuned:
                self.alpha_step(entropy, self.target_entropy)
        if self.target_critics is not None and is_target_due:
            self.target_critics.update()
        return pack(metrics), errors

    def critic_goal(self, batch: Transitions, noise: Tensor, alpha: Tensor, *chosen: Tensor) -> tuple[Tensor, ...]:
        """Return what the critics' loss takes besides the batch, without gradients: the targets."""
        judges = self.critic_step.frozen if self.target_critics is None else self.target_critics.network
        return (self.critic_targets(batch, self.actor_step.frozen, judges, noise, alpha, *chosen),)

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The entropy coefficient is taken over where it is tuned."""
        super().load_weights(state)
        if self.is_tuned and "log_alpha" in state:
            self.log_alpha.load_state_dict(state["log_alpha"])
