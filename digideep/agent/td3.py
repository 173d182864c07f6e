"""Twin Delayed DDPG. Source: Fujimoto et al. 2018, arXiv:1802.09477, Algorithm 1.

Top to bottom: the losses of critics and actor, the agent: acting, the step.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from digideep.agent.base import AgentContext
from digideep.agent.noises import Noise
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
from digideep.utility.seeding import make_generator


def critic_targets(batch: Transitions, target_actor: Any, target_critics: Any, noise: Tensor) -> Tensor:
    """What the critics should say: reward, and the discounted value of the next observation.

    Args:
        batch: B transitions.
        target_actor: maps observations to actions.
        target_critics: map observations and actions to values (num, B).
        noise: float32 (B, A), clipped already: it smooths the values over similar actions.

    Returns:
        float32 (B,).
    """
    actions = (target_actor(batch.next_observations) + noise).clamp(-1, 1)
    values = target_critics(batch.next_observations, actions).amin(0)
    return batch.rewards + batch.discounts * values


def critic_loss(critics: Any, batch: Transitions, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The squared error of each critic, summed. Returns: the loss; metrics (2,) and absolute errors (B,)."""
    values = critics(batch.observations, batch.actions)  # (num, B)
    errors = values - targets
    loss = (batch.weights * errors.square()).mean(-1).sum()
    return loss, (torch.stack([loss, values.mean()]).detach(), errors.abs().mean(0).detach())


def actor_loss(actor: Any, observations: Observations, critics: Any) -> tuple[Tensor, Tensor]:
    """Value of the actor's own actions by the first critic, negated. Returns: the loss; metrics (1,)."""
    loss = -critics(observations, actor(observations), 1).mean()
    return loss, loss.detach()[None]


class TD3(OffPolicyAgent):
    """Learns a deterministic policy from twin critics with smoothed targets.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        policy: description of a policy with an `actor` and `critics` as in `DeterministicPolicy`.
        sampler: description of a sampler of replayed transitions, such as `Replay`.
        noise: description of a `Noise`, for exploration.
        gamma: discount per step, in [0, 1].
        polyak_factor: share of a network in its target's update. Usual: 0.001 to 0.02.
        policy_delay: gradient steps of the critics to one of the actor and all targets.
        target_noise_std: of the noise on the targets' actions, in the unit of [-1, 1].
        target_noise_clip: its limit.
        lr_actor: learning rate. Usual: 1e-4 to 1e-3.
        lr_critic: likewise.
        optimizer: description of an optimizer.
        compile: "auto", "on" or "off", see `GradientStep`.
    """

    metrics = ("critic_loss", "q_value", "actor_loss")

    def __init__(
        self,
        context: AgentContext,
        *,
        observation_path: str | list[str] | None = "/agent",
        policy: Description,
        sampler: Description,
        noise: Description,
        gamma: float,
        polyak_factor: float,
        policy_delay: int = 2,
        target_noise_std: float = 0.2,
        target_noise_clip: float = 0.5,
        lr_actor: float,
        lr_critic: float,
        optimizer: Description | None = None,
        compile: str = "auto",
    ):
        super().__init__(context, observation_path, sampler, gamma)
        require_int("policy_delay", policy_delay, 1)
        require_between("target_noise_std", target_noise_std)
        require_between("target_noise_clip", target_noise_clip)
        for name, lr in (("lr_actor", lr_actor), ("lr_critic", lr_critic)):
            require_between(name, lr)
        self.policy_delay, self.noise_std, self.noise_clip = policy_delay, target_noise_std, target_noise_clip
        self.policy = build(
            policy,
            PolicyBase,
            observation_space=self.observation_space,
            action_space=self.action_space,
            generator=self.init_generator,
        ).to(self.device)
        self.noise = build(noise, Noise, generator=make_generator(context.seed, "agent", self.name, "noise"))
        self.acts_in_parts = self.noise.acts_in_parts

        rule = build(optimizer or describe(Adam), Optimizer)
        self.critic_step = GradientStep(self.policy.critics, critic_loss, rule)
        self.actor_step = GradientStep(self.policy.actor, actor_loss, rule)
        self.target_critics = TargetNetwork(self.critic_step, polyak_factor)
        self.target_actor = TargetNetwork(self.actor_step, polyak_factor)
        for step, lr in ((self.critic_step, lr_critic), (self.actor_step, lr_actor)):
            step.set_lr(lr)
        self.rates = {"lr_actor": Course(lr_actor), "lr_critic": Course(lr_critic)}
        self._actor_metrics = torch.zeros(1, device=self.device)
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
        """See `AgentBase`. The noise is the exploration."""
        if self.numpy_act is not None:
            actions = self.numpy_act(observations[self.observation_paths[0]])
        else:
            with torch.inference_mode():
                actions = self.policy.act(self.observe(observations)).numpy(force=True)
        return {"actions": actions if deterministic else self.noise(actions, masks, self.memory.n_frames)}

    def schedules(self) -> Schedules:
        """See `AgentBase`. The learning rates stay what they are."""
        own: Schedules = {name: (rate, lambda: self.n_updates) for name, rate in self.rates.items()}
        return own | super().schedules()

    def doubt(self) -> str | None:
        """See `AgentBase`: the actor waits for `policy_delay` steps of the critics."""
        steps = self.sampler.total_steps(self.plan) if hasattr(self.sampler, "total_steps") else self.policy_delay
        if not self.plan.frames or steps >= self.policy_delay:
            return super().doubt()
        return super().doubt() or f"{steps} gradient steps in the plan, of which policy_delay={self.policy_delay} waits"

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """See `OffPolicyAgent`. Between the actor's steps its metrics stay as they were."""
        noise = torch.randn(batch.actions.shape, generator=self.generator, device=self.device)
        is_due = (self.n_updates + 1) % self.policy_delay == 0
        return self._learn(batch, noise, is_due)

    def learn_once(self, batch: Transitions, noise: Tensor, is_actor_due: bool) -> tuple[Tensor, Tensor]:
        """The critics' step, and where it is due the actor's and the targets'; compiled as one function."""
        with torch.no_grad():
            noise = (noise * self.noise_std).clamp(-self.noise_clip, self.noise_clip)
            targets = critic_targets(batch, self.target_actor.network, self.target_critics.network, noise)
        critic, errors = self.critic_step.take(batch, targets)
        if is_actor_due:
            self._actor_metrics.copy_(self.actor_step.take(batch.observations, self.critic_step.frozen))
            self.target_critics.update()
            self.target_actor.update()
        return torch.cat([critic, self._actor_metrics]), errors

    def state_dict(self) -> dict[str, Any]:
        """Everything of `OffPolicyAgent`, the noise, the optimizers and the targets."""
        return {
            **super().state_dict(),
            "noise": self.noise.state_dict(),
            "critic_optimizer": self.critic_step.state_dict(),
            "actor_optimizer": self.actor_step.state_dict(),
            "target_critics": self.target_critics.flat,
            "target_actor": self.target_actor.flat,
            "actor_metrics": self._actor_metrics,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.noise.load_state_dict(state["noise"])
        self.critic_step.load_state_dict(state["critic_optimizer"])
        self.actor_step.load_state_dict(state["actor_optimizer"])
        self.target_critics.flat.copy_(state["target_critics"])
        self.target_actor.flat.copy_(state["target_actor"])
        self._actor_metrics.copy_(state["actor_metrics"])

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The targets begin as copies."""
        super().load_weights(state)
        self.target_critics.renew()
        self.target_actor.renew()
