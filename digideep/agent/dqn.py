"""Deep Q-learning, with double, dueling and n-step variants. Source: Mnih et al. 2015, Nature 518, Algorithm 1.

Top to bottom: the loss of the action values, the agent: acting, the step. The dueling network is the policy's, the
n-step return the replay's.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from digideep.agent.base import AgentContext
from digideep.agent.noises import EpsilonGreedy
from digideep.agent.off_policy import OffPolicyAgent, Transitions
from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep
from digideep.learning.optimizers import Adam, Optimizer
from digideep.learning.target_network import TargetNetwork
from digideep.parameters.checks import require_int
from digideep.parameters.component import Description, build, describe
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.acting import values_act
from digideep.policy.base import PolicyBase
from digideep.utility.seeding import make_generator


def critic_targets(batch: Transitions, critic: Any, target_critic: Any, is_double: bool) -> Tensor:
    """What the critic should say: reward, and the discounted value of the next observation.

    Args:
        batch: B transitions.
        critic: maps observations to values (B, A).
        target_critic: likewise.
        is_double: the critic chooses the next action and its target judges it. Source: van Hasselt et al. 2016,
            arXiv:1509.06461, Eq. 4.

    Returns:
        float32 (B,).
    """
    values = target_critic(batch.next_observations)
    chooser = critic(batch.next_observations) if is_double else values
    if batch.next_allowed is not None:
        # The last observation of an episode may allow nothing: there is nobody to act.
        forbidden = ~batch.next_allowed & batch.next_allowed.any(-1, keepdim=True)
        chooser = chooser.masked_fill(forbidden, -math.inf)
    values = values.gather(-1, chooser.argmax(-1, keepdim=True)).squeeze(-1)
    return batch.rewards + batch.discounts * values


def critic_loss(critic: Any, batch: Transitions, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Huber's loss of the actions that were taken. Returns: the loss; metrics (2,) and absolute errors (B,)."""
    values = critic(batch.observations).gather(-1, batch.actions[:, None]).squeeze(-1)  # (B,)
    loss = (batch.weights * huber_loss(values, targets, reduction="none")).mean()
    return loss, (torch.stack([loss, values.mean()]).detach(), (values - targets).abs().detach())


class DQN(OffPolicyAgent):
    """Learns the values of numbered actions; explores by random ones.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        use_action_mask: see `AgentBase`; the maximum of the targets is over allowed actions too.
        policy: description of a policy such as `ActionValues`.
        sampler: description of a sampler of replayed transitions, such as `Replay`.
        epsilon: chance of a random action, a number or a schedule over frames.
        gamma: discount per step, in [0, 1].
        polyak_factor: share of the network in its target's update; 1 copies it.
        target_update_interval: gradient steps from one update of the target to the next.
        is_double: see `critic_targets`.
        lr: learning rate, a number or a schedule over gradient steps. Usual: 1e-4 to 2e-3.
        max_grad_norm: limit of the gradient's norm; None for no limit.
        optimizer: description of an optimizer.
        compile: "auto", "on" or "off", see `GradientStep`.
    """

    metrics = ("critic_loss", "q_value")

    def __init__(
        self,
        context: AgentContext,
        *,
        observation_path: str | list[str] | None = "/agent",
        use_action_mask: bool = False,
        policy: Description,
        sampler: Description,
        epsilon: float | Description,
        gamma: float,
        polyak_factor: float = 1.0,
        target_update_interval: int,
        is_double: bool = True,
        lr: float | Description,
        max_grad_norm: float | None = 10.0,
        optimizer: Description | None = None,
        compile: str = "auto",
    ):
        super().__init__(context, observation_path, sampler, gamma, use_action_mask)
        require_int("target_update_interval", target_update_interval, 1)
        self.target_update_interval, self.is_double = target_update_interval, is_double
        self.policy = build(
            policy,
            PolicyBase,
            observation_space=self.observation_space,
            action_space=self.action_space,
            generator=self.init_generator,
        ).to(self.device)
        self.noise = EpsilonGreedy(
            make_generator(context.seed, "agent", self.name, "noise"),
            int(self.action_space.n),  # type: ignore[attr-defined]  # the policy has refused other spaces
            epsilon=epsilon,
            planned_frames=self.plan.frames,
        )

        rule = build(optimizer or describe(Adam), Optimizer)
        self.critic_step = GradientStep(self.policy, critic_loss, rule, max_grad_norm=max_grad_norm)
        self.target_critic = TargetNetwork(self.critic_step, polyak_factor)
        self.numpy_act = values_act(self.policy) if self.sees_plainly else None
        self.lr = Course(lr, self.planned_steps)
        is_compiled = pays_to_compile(compile, self.planned_steps, self.device)
        self._learn = compiled(self.learn_once, self.device) if is_compiled else self.learn_once

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """See `AgentBase`. Random actions are the exploration."""
        allowed = self.allowed(observations)
        if self.numpy_act is not None:
            actions = self.numpy_act(observations[self.observation_paths[0]])
        else:
            mask = () if allowed is None else (self.to_tensor(allowed),)
            with torch.inference_mode():
                actions = self.policy.act(self.observe(observations), *mask).numpy(force=True)
        if deterministic:
            return {"actions": actions}
        return {"actions": self.noise(actions, masks, self.memory.n_frames, allowed)}

    def schedules(self) -> Schedules:
        """See `AgentBase`."""
        own: Schedules = {
            "lr": (self.lr, lambda: self.n_updates),
            "epsilon": (self.noise.epsilon, lambda: self.memory.n_frames),
        }
        return own | super().schedules()

    def learn(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """See `OffPolicyAgent`."""
        self.critic_step.set_lr(self.lr(self.n_updates))
        metrics, errors = self._learn(batch)
        if (self.n_updates + 1) % self.target_update_interval == 0:
            self.target_critic.update()
        return metrics, errors

    def learn_once(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """The step; compiled as one function."""
        with torch.no_grad():
            targets = critic_targets(batch, self.critic_step.frozen, self.target_critic.network, self.is_double)
        return self.critic_step.take(batch, targets)

    def state_dict(self) -> dict[str, Any]:
        """Everything of `OffPolicyAgent`, the noise, the optimizer and the target."""
        return {
            **super().state_dict(),
            "noise": self.noise.state_dict(),
            "critic_optimizer": self.critic_step.state_dict(),
            "target_critic": self.target_critic.flat,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.noise.load_state_dict(state["noise"])
        self.critic_step.load_state_dict(state["critic_optimizer"])
        self.target_critic.flat.copy_(state["target_critic"])

    def load_weights(self, state: dict[str, Any]) -> None:
        """See `AgentBase`. The target begins as a copy."""
        super().load_weights(state)
        self.target_critic.renew()
