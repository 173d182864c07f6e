"""Policies that sample their actions, with a value function beside them."""

import gymnasium as gym
import torch
from torch import Tensor

from digideep.policy.base import PolicyBase
from digideep.policy.distributions import make_head, orthogonal_linear
from digideep.policy.networks import multilayer_perceptron
from digideep.utility.checks import require_between
from digideep.utility.errors import UsageError


class StochasticPolicy(PolicyBase):
    """Separate actor and critic networks over a vector of features.

    Source of sizes and initialisation: "The 37 implementation details of PPO", details 2 and 13 (separate networks,
    orthogonal weights, gain 0.01 at the policy's head and 1 at the value's).

    Args:
        observation_space: a one-dimensional Box.
        action_space: Discrete or a one-dimensional Box.
        generator: draws the weights.
        hidden_sizes: of both networks.
        activation: after each hidden layer.
        log_std_init: start of the Gaussian's log-standard-deviation, in the action unit of [-1, 1].
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "tanh",
        log_std_init: float = 0.0,
    ):
        super().__init__()
        require_between("log_std_init", log_std_init, -20, 2)
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise UsageError(f"StochasticPolicy needs a one-dimensional Box as observation, got {observation_space}.")
        size = observation_space.shape[0]
        self.actor = multilayer_perceptron(size, hidden_sizes, activation, generator)
        self.head = make_head(action_space, hidden_sizes[-1], generator, log_std_init)
        self.critic = multilayer_perceptron(size, hidden_sizes, activation, generator)
        self.critic.append(orthogonal_linear(hidden_sizes[-1], 1, 1.0, generator))

    def act(self, observations: Tensor, generator: torch.Generator, deterministic: bool) -> tuple[Tensor, Tensor]:
        """Choose actions.

        Args:
            observations: float32 (B, D).
            generator: draws the sample; untouched if deterministic.
            deterministic: take the mode of the distribution.

        Returns:
            Actions, int64 (B,) or float32 (B, A), and their log-probabilities, float32 (B,).
        """
        distribution = self.head(self.actor(observations))
        actions = distribution.mode() if deterministic else distribution.sample(generator)
        return actions, distribution.log_prob(actions)

    def value(self, observations: Tensor) -> Tensor:
        """Args: observations: float32 (B, D). Returns: float32 (B,)."""
        return self.critic(observations).squeeze(-1)

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a loss needs.

        Args:
            observations: float32 (B, D).
            actions: int64 (B,) or float32 (B, A).

        Returns:
            Log-probabilities, entropies and values, each float32 (B,).
        """
        distribution = self.head(self.actor(observations))
        return distribution.log_prob(actions), distribution.entropy(), self.value(observations)
