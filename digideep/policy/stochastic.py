"""Policies that sample their actions, with a value function beside them."""

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from digideep.parameters.checks import require_between
from digideep.parameters.component import Description
from digideep.policy.acting import is_on_cpu, stochastic_act
from digideep.policy.base import Choice, Evaluation, FastAct, PolicyBase
from digideep.policy.distributions import make_head, orthogonal_linear
from digideep.policy.encoders import encode, make_trunk
from digideep.policy.networks import multilayer_perceptron
from digideep.policy.observations import Observations, ObservationSpace


class StochasticPolicy(PolicyBase):
    """Separate actor and critic networks over a vector, or over what a shared encoder makes of images.

    Source of sizes and initialisation: "The 37 implementation details of PPO", details 2 and 13 (separate networks,
    orthogonal weights, gain 0.01 at the policy's head and 1 at the value's), and Atari detail 6 (a shared trunk).

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: Discrete; or MultiDiscrete, MultiBinary or Box of one dimension.
        generator: draws the weights.
        hidden_sizes: of both networks; with a shared encoder it may be empty, heads then follow its features.
        activation: after each hidden layer.
        log_std_init: start of the Gaussian's log-standard-deviation, in the action unit of [-1, 1].
        encoder: description of the encoder that both networks share, see `make_encoder`; None decides by the spaces.
    """

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "tanh",
        log_std_init: float = 0.0,
        encoder: Description | None = None,
    ):
        super().__init__()
        require_between("log_std_init", log_std_init, -20, 2)
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        self.gives_value = self.encoder is not None
        may_be_empty = self.encoder is not None
        self.actor = multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
        last = [size, *hidden_sizes][-1]
        self.head = make_head(action_space, last, generator, log_std_init)
        self.critic = multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
        self.critic.append(orthogonal_linear(last, 1, 1.0, generator))

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `PolicyBase`. The value is there where it shares the encoder with the actions."""
        features = encode(self.encoder, observations)
        distribution = self.head(self.actor(features), allowed)
        actions = distribution.mode() if deterministic else distribution.sample(generator)
        value = self.critic(features).squeeze(-1) if self.gives_value else None
        return Choice(actions, distribution.log_prob(actions), value)

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`."""
        return stochastic_act(self.actor, self.head) if self.encoder is None and is_on_cpu(self) else None

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`."""
        return self.act(observations, allowed=allowed, deterministic=True)._replace(value=self.value(observations))

    def value(self, observations: Observations, *, state: Tensor | None = None, masks: Tensor | None = None) -> Tensor:
        """Args: observations: float32 (B, D), or path -> (B, ...). Returns: float32 (B,)."""
        value: Tensor = self.critic(encode(self.encoder, observations)).squeeze(-1)
        return value

    def forward(
        self, observations: Observations, actions: Tensor, *, state: Tensor | None = None,
        masks: Tensor | None = None, allowed: Tensor | None = None,
    ) -> Evaluation:  # fmt: skip
        """Evaluate actions that were taken.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            actions: int64 (B,) or (B, A), or float32 (B, A).
            state: of recurrent policies. masks: likewise.
            allowed: bool (B, choices), the action mask under which they were chosen; None allows everything.
        """
        features = encode(self.encoder, observations)
        distribution = self.head(self.actor(features), allowed)
        return Evaluation(distribution.log_prob(actions), distribution.entropy(), self.critic(features).squeeze(-1))
