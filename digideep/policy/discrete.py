"""Policies for replay methods that choose among numbered actions by their values."""

import gymnasium as gym
import torch
from torch import Tensor

from digideep.policy.base import PolicyBase
from digideep.policy.networks import check_layers, ensemble_perceptron
from digideep.utility.checks import require
from digideep.utility.errors import UsageError


class ActionValues(PolicyBase):
    """A value for each action; the policy takes the largest.

    Args:
        observation_space: a one-dimensional Box.
        action_space: Discrete.
        generator: draws the weights.
        hidden_sizes: of the network.
        activation: after each hidden layer.
        is_dueling: estimate the observation's value and the actions' advantages over each other by separate last
            layers. Source: Wang et al. 2016, arXiv:1511.06581, Eq. 9.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        is_dueling: bool = False,
    ):
        super().__init__()
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise UsageError(f"ActionValues needs a one-dimensional Box as observation, got {observation_space}.")
        if not isinstance(action_space, gym.spaces.Discrete):
            raise UsageError(f"ActionValues needs Discrete actions, got {action_space}. For a Box take DDPG, TD3, SAC.")
        require(isinstance(is_dueling, bool), "is_dueling", is_dueling, "true or false")
        check_layers(hidden_sizes, activation)
        sizes = [observation_space.shape[0], *hidden_sizes]
        self.features = ensemble_perceptron(1, sizes, activation, generator, is_last_active=True)
        self.advantages = ensemble_perceptron(1, [sizes[-1], int(action_space.n)], activation, generator)
        self.value = ensemble_perceptron(1, [sizes[-1], 1], activation, generator) if is_dueling else None

    def forward(self, observations: Tensor) -> Tensor:
        """Args: observations: float32 (B, D). Returns: float32 (B, A)."""
        features = self.features(observations)
        advantages = self.advantages(features)[0]
        if self.value is None:
            return advantages
        return self.value(features)[0] + advantages - advantages.mean(-1, keepdim=True)

    def act(self, observations: Tensor) -> Tensor:
        """Args: observations: float32 (B, D). Returns: int64 (B,)."""
        return self(observations).argmax(-1)
