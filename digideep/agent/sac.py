"""Soft Actor-Critic. Source: Haarnoja et al. 2018, arXiv:1812.05905 (the version without a state-value network).

Top to bottom: the losses of critics (Eq. 5, 6), actor (Eq. 7) and entropy coefficient (Eq. 18), the agent: acting, the
step.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from digideep.agent.base import AgentContext
from digideep.agent.off_policy import OffPolicyAgent, Transitions
from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep
from digideep.learning.optimizers import Adam, Optimizer
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_between, require_int
from digideep.parameters.component import Description, build, describe
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.acting import continuous_act
from digideep.policy.base import PolicyBase
from digideep.policy.observations import Observations


def critic_targets(batch: Transitions, actor: Any, target_critics: Any, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the critics should say: reward, and the discounted soft value of the next observation.

    Args:
        batch: B transitions.
        actor: maps observations and noise to actions and their log-probabilities.
        target_critics: map observations and actions to values (num, B).
        noise: float32 (B, A), standard normal.
        alpha: 0-dimensional, the entropy coefficient.

    Returns:
        float32 (B,).
    """
    actions, log_p = actor(batch.next_observations, noise)
    values = target_critics(batch.next_observations, actions).amin(0) - alpha * log_p
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Any, batch: Transitions, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Half the squared error of each critic, summed. Returns: the loss; metrics (2,) and absolute errors (B,)."""
    values = critics(batch.observations, batch.actions)  # (num, B)
    errors = values - targets
    loss = 0.5 * (batch.weights * errors.square()).mean(-1).sum()
    return loss, (torch.stack([loss, values.mean()]).detach(), errors.abs().mean(0).detach())


def actor_loss(
    actor: Any, observations: Observations, critics: Any, noise: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Entropy-regularised value of the actor's own actions, negated. Returns: the loss; metrics (2,)."""
    actions, log_p = actor(observations, noise)
    loss = (alpha * log_p - critics(observations, actions).amin(0)).mean()
    return loss, torch.stack([loss, -log_p.mean()]).detach()


def alpha_loss(temperature: Any, entropy: Tensor, target_entropy: float) -> tuple[Tensor, Tensor]:
    """Moves log(alpha) up while the entropy is below its target, and down above it. Returns: the loss, twice."""
    loss = temperature() * (entropy - target_entropy)
    return loss, loss.detach()


class Temperature(nn.Module):
    """The logarithm of the entropy coefficient, as a network without an input."""

    def __init__(self, alpha: float):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor([float(np.log(alpha))]))

    def forward(self) -> Tensor:
        return self.log_alpha[0]


class SAC(OffPolicyAgent):
    """Learns a stochastic policy that values its own entropy, from twin critics.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        policy: description of a policy with an `actor` and `critics` as in `SquashedGaussianPolicy`.
        sampler: description of a sampler of replayed transitions, such as `Replay`.
        gamma: discount per step, in [0, 1].
        polyak_factor: share of the critics in their targets' update. Usual: 0.005 to 0.02.
        target_update_interval: gradient steps from one update of the targets to the next.
        lr_actor: learning rate. Usual: 3e-4 to 1e-3.
        lr_critic: likewise.
        alpha: the entropy coefficient; its start where it is tuned.
        automatic_entropy_tuning: tune alpha so that the entropy stays near `target_entropy`.
        lr_alpha: learning rate of log(alpha).
        target_entropy: in nats, of actions in the unit of [-1, 1]; None for minus the number of action dimensions.
        optimizer: description of an optimizer.
        compile: "auto", "on" or "off", see `GradientStep`.
    """

    metrics = ("critic_loss", "q_value", "actor_loss", "entropy", "alpha")

    def __init__(
        self,
        context: AgentContext,
        *,
        observation_path: str | list[str] | None = "/agent",
        policy: Description,
        sampler: Description,
        gamma: float,
        polyak_factor: float,
        target_update_interval: int = 1,
        lr_actor: float,
        lr_critic: float,
        alpha: float = 1.0,
        automatic_entropy_tuning: bool = True,
        lr_alpha: float = 3e-4,
        target_entropy: float | None = None,
        optimizer: Description | None = None,
        compile: str = "auto",
    ):
        super().__init__(context, observation_path, sampler, gamma)
        require_int("target_update_interval", target_update_interval, 1)
        require_between("alpha", alpha, 1e-9)
        for name, lr in (("lr_actor", lr_actor), ("lr_critic", lr_critic), ("lr_alpha", lr_alpha)):
            require_between(name, lr)
        self.target_update_interval, self.is_tuned = target_update_interval, automatic_entropy_tuning
        self.policy = build(
            policy,
            PolicyBase,
            observation_space=self.observation_space,
            action_space=self.action_space,
            generator=self.init_generator,
        ).to(self.device)
        self.num_actions = self.action_space.shape[0]  # type: ignore[index]  # the policy has refused other spaces
        self.target_entropy = -float(self.num_actions) if target_entropy is None else float(target_entropy)

        rule = build(optimizer or describe(Adam), Optimizer)
        self.critic_step = GradientStep(self.policy.critics, critic_loss, rule)
        self.actor_step = GradientStep(self.policy.actor, actor_loss, rule)
        self.alpha_step = GradientStep(Temperature(alpha).to(self.device), alpha_loss, rule)
        self.target_critics = TargetNetwork(self.critic_step, polyak_factor)
        for step, lr in ((self.critic_step, lr_critic), (self.actor_step, lr_actor), (self.alpha_step, lr_alpha)):
            step.set_lr(lr)
        self.rates = {"lr_actor": Course(lr_actor), "lr_critic": Course(lr_critic)}
        self.numpy_act = continuous_act(self.policy) if self.sees_plainly else None
        is_compiled = pays_to_compile(compile, self.planned_steps, self.device)
        self._learn = compiled(self.learn_once, self.device) if is_compiled else self.learn_once

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """See `AgentBase`. The policy's own spread is the exploration."""
        noise = None if deterministic else self.draw_noise(len(masks))
        if self.numpy_act is not None:
            x = observations[self.observation_paths[0]]
            return {"actions": self.numpy_act(x, None if noise is None else noise.numpy())}
        with torch.inference_mode():
            return {"actions": self.policy.act(self.observe(observations), noise).numpy(force=True)}

    def draw_noise(self, size: int) -> Tensor:
        """Returns: float32 (size, A), standard normal."""
        return torch.randn((size, self.num_actions), generator=self.generator, device=self.device)

    def schedules(self) -> Schedules:
        """See `AgentBase`. The learning rates stay what they are."""
        own: Schedules = {name: (rate, lambda: self.n_updates) for name, rate in self.rates.items()}
        return own | super().schedules()

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """See `OffPolicyAgent`."""
        size, is_due = len(batch.rewards), (self.n_updates + 1) % self.target_update_interval == 0
        return self._learn(batch, self.draw_noise(size), self.draw_noise(size), is_due)

    def learn_once(
        self, batch: Transitions, next_noise: Tensor, noise: Tensor, is_target_due: bool
    ) -> tuple[Tensor, Tensor]:
        """The critics' step, the actor's, the coefficient's, and the targets'; compiled as one function."""
        with torch.no_grad():
            alpha = self.alpha_step.flat.exp()[0]
            targets = critic_targets(batch, self.actor_step.frozen, self.target_critics.network, next_noise, alpha)
        critic, errors = self.critic_step.take(batch, targets)
        actor = self.actor_step.take(batch.observations, self.critic_step.frozen, noise, alpha)
        if self.is_tuned:
            self.alpha_step.take(actor[1], self.target_entropy)
        if is_target_due:
            self.target_critics.update()
        return torch.cat([critic, actor, alpha[None]]), errors

    def state_dict(self) -> dict[str, Any]:
        """Everything of `OffPolicyAgent`, the optimizers, the coefficient and the targets."""
        return {
            **super().state_dict(),
            "critic_optimizer": self.critic_step.state_dict(),
            "actor_optimizer": self.actor_step.state_dict(),
            "alpha_optimizer": self.alpha_step.state_dict(),
            "log_alpha": self.alpha_step.flat,
            "target_critics": self.target_critics.flat,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.critic_step.load_state_dict(state["critic_optimizer"])
        self.actor_step.load_state_dict(state["actor_optimizer"])
        self.alpha_step.load_state_dict(state["alpha_optimizer"])
        self.alpha_step.flat.copy_(state["log_alpha"])
        self.target_critics.flat.copy_(state["target_critics"])

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The targets begin as copies; the entropy coefficient is taken over where it is tuned."""
        super().load_weights(state)
        self.target_critics.renew()
        if self.is_tuned and "log_alpha" in state:
            self.alpha_step.flat.copy_(state["log_alpha"])
