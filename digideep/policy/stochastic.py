"""Policies that sample their actions, with a value function beside them."""

import gymnasium as gym
import torch
from torch import Tensor

from digideep.parameters.checks import require_between
from digideep.parameters.component import Description
from digideep.policy.base import Choice, PolicyBase
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
        action_space: gym.Space,
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
        may_be_empty = self.encoder is not None
        self.actor = multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
        last = [size, *hidden_sizes][-1]
        self.head = make_head(action_space, last, generator, log_std_init)
        self.critic = multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
        self.critic.append(orthogonal_linear(last, 1, 1.0, generator))

    def act(
        self,
        observations: Observations,
        generator: torch.Generator,
        deterministic: bool,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Choose actions.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            generator: draws the sample; untouched if deterministic.
            deterministic: take the mode of the distribution.
            allowed: bool (B, choices), the action mask; None allows everything.

        Returns:
            Actions, int64 (B,) or (B, A) or float32 (B, A), and their log-probabilities, float32 (B,).
        """
        return self._choose(encode(self.encoder, observations), generator, deterministic, allowed)

    def act_and_value(
        self,
        observations: Observations,
        generator: torch.Generator,
        deterministic: bool,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `act`, and what `value` says, float32 (B,): almost for nothing where both share an encoder."""
        features = encode(self.encoder, observations)
        chosen = self._choose(features, generator, deterministic, allowed)
        return *chosen, self.critic(features).squeeze(-1)

    def _choose(
        self, features: Tensor, generator: torch.Generator, deterministic: bool, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        distribution = self.head(self.actor(features), allowed)
        actions = distribution.mode() if deterministic else distribution.sample(generator)
        return actions, distribution.log_prob(actions)

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`."""
        features = encode(self.encoder, observations)
        return Choice(self.head(self.actor(features), allowed).mode(), self.critic(features).squeeze(-1))

    def value(self, observations: Observations) -> Tensor:
        """Args: observations: float32 (B, D), or path -> (B, ...). Returns: float32 (B,)."""
        return self.critic(encode(self.encoder, observations)).squeeze(-1)

    def forward(
        self, observations: Observations, actions: Tensor, allowed: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What a loss needs.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            actions: int64 (B,) or (B, A), or float32 (B, A).
            allowed: bool (B, choices), the action mask under which they were chosen; None allows everything.

        Returns:
            Log-probabilities, entropies and values, each float32 (B,).
        """
        features = encode(self.encoder, observations)
        distribution = self.head(self.actor(features), allowed)
        return distribution.log_prob(actions), distribution.entropy(), self.critic(features).squeeze(-1)
