"""Policies for replay methods in continuous action spaces: an actor in [-1, 1] and critics that judge its actions."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from digideep.policy.base import PolicyBase
from digideep.policy.networks import EnsembleLinear, check_layers, ensemble_perceptron
from digideep.utility.checks import require_int
from digideep.utility.errors import UsageError

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LOG_STD_RANGE = (-20.0, 2.0)  # of the SAC authors' code: it keeps early training free of infinities


class DeterministicActor(nn.Module):
    """One action for each observation: float32 (B, D) to (B, A), in (-1, 1)."""

    def __init__(self, sizes: list[int], activation: str, generator: torch.Generator):
        super().__init__()
        self.layers = ensemble_perceptron(1, sizes, activation, generator)

    def forward(self, observations: Tensor) -> Tensor:
        return torch.tanh(self.layers(observations)[0])


class SquashedGaussianActor(nn.Module):
    """A normal distribution for each observation, squashed into (-1, 1) by tanh. Its spread depends on the observation.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, Appendix C.
    """

    def __init__(self, sizes: list[int], activation: str, generator: torch.Generator):
        super().__init__()
        self.layers = ensemble_perceptron(1, [*sizes[:-1], 2 * sizes[-1]], activation, generator)

    def mode(self, observations: Tensor) -> Tensor:
        """Args: observations: (B, D). Returns: (B, A), the squashed mean."""
        return torch.tanh(self.layers(observations)[0].chunk(2, -1)[0])

    def sample(self, observations: Tensor, noise: Tensor) -> Tensor:
        """As `forward`, without the log-probabilities: what acting needs."""
        mean, log_std = self.layers(observations)[0].chunk(2, -1)
        return torch.tanh(mean + noise * log_std.clamp(*_LOG_STD_RANGE).exp())

    def forward(self, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A sample, differentiable in the parameters.

        Args:
            observations: float32 (B, D).
            noise: float32 (B, A), standard normal.

        Returns:
            Actions (B, A) and their log-probabilities (B,), densities in the unit of [-1, 1].
        """
        mean, log_std = self.layers(observations)[0].chunk(2, -1)
        log_std = log_std.clamp(*_LOG_STD_RANGE)
        raw = mean + noise * log_std.exp()
        # log(1 - tanh(u)^2) in a form that neither rounds to log(0) nor needs an epsilon.
        log_slope = 2 * (math.log(2) - raw - softplus(-2 * raw))
        log_p = -0.5 * noise * noise - log_std - _HALF_LOG_TWO_PI - log_slope
        return torch.tanh(raw), log_p.sum(-1)


class Critics(nn.Module):
    """Action values by `num` networks of their own."""

    def __init__(self, num: int, sizes: list[int], activation: str, generator: torch.Generator):
        super().__init__()
        self.layers = ensemble_perceptron(num, [*sizes, 1], activation, generator)

    def forward(self, observations: Tensor, actions: Tensor, num: int | None = None) -> Tensor:
        """Args: observations: (B, D); actions: (B, A); num: critics to ask, None for all. Returns: (num, B)."""
        x = torch.cat([observations, actions], -1)
        for layer in self.layers:
            x = layer(x, num) if isinstance(layer, EnsembleLinear) else layer(x)
        return x.squeeze(-1)


class ContinuousPolicy(PolicyBase):
    """An actor and critics without shared layers; subclasses say which actor.

    Args:
        observation_space: a one-dimensional Box.
        action_space: a one-dimensional Box, bounded in every dimension.
        generator: draws the weights.
        hidden_sizes: of all networks.
        activation: after each hidden layer.
        num_critics: 1, or 2 for the smaller of two estimates.
    """

    actor: Any
    actor_class: type[nn.Module]

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        num_critics: int = 2,
    ):
        super().__init__()
        name = type(self).__name__
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise UsageError(f"{name} needs a one-dimensional Box as observation, got {observation_space}.")
        if not isinstance(action_space, gym.spaces.Box) or not np.isfinite(action_space.low).all():
            raise UsageError(f"{name} needs actions in a bounded Box, got {action_space}. For Discrete ones take DQN.")
        check_layers(hidden_sizes, activation)
        require_int("num_critics", num_critics, 1)
        size, num_actions = observation_space.shape[0], action_space.shape[0]
        self.actor = self.actor_class([size, *hidden_sizes, num_actions], activation, generator)
        self.critics = Critics(num_critics, [size + num_actions, *hidden_sizes], activation, generator)


class DeterministicPolicy(ContinuousPolicy):
    """For DDPG and TD3. Arguments as in `ContinuousPolicy`."""

    actor_class = DeterministicActor

    def act(self, observations: Tensor) -> Tensor:
        """Args: observations: float32 (B, D). Returns: (B, A), in (-1, 1)."""
        return self.actor(observations)


class SquashedGaussianPolicy(ContinuousPolicy):
    """For SAC. Arguments as in `ContinuousPolicy`."""

    actor_class = SquashedGaussianActor

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """Args: observations: float32 (B, D); noise: (B, A), None for the mode. Returns: (B, A), in (-1, 1)."""
        return self.actor.mode(observations) if noise is None else self.actor.sample(observations, noise)
