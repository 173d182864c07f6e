"""Policies for replay methods in continuous action spaces: an actor in [-1, 1] and critics that judge its actions."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from digideep.parameters.checks import require_int
from digideep.parameters.component import Description
from digideep.policy.base import Choice, PolicyBase
from digideep.policy.encoders import Encoder, encode, make_trunk
from digideep.policy.networks import EnsemblePerceptron, check_layers
from digideep.policy.observations import Observations, ObservationSpace
from digideep.utility.errors import UsageError

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
LOG_STD_RANGE = (-20.0, 2.0)  # of the SAC authors' code: it keeps early training free of infinities


class Actor(nn.Module):
    """What actors share: a perceptron, behind an encoder if there is one."""

    outputs_per_action = 1

    def __init__(
        self,
        sizes: list[int],
        activation: str,
        generator: torch.Generator,
        encoder: Encoder | None = None,
        precision: str = "fp32",
    ):
        super().__init__()
        self.encoder = encoder
        sizes = [*sizes[:-1], self.outputs_per_action * sizes[-1]]
        self.layers = EnsemblePerceptron(1, sizes, activation, generator, precision=precision)


class DeterministicActor(Actor):
    """One action for each observation: (B, ...) to float32 (B, A), in (-1, 1)."""

    def forward(self, observations: Observations) -> Tensor:
        return torch.tanh(self.layers(encode(self.encoder, observations))[0])

    mode = forward


class SquashedGaussianActor(Actor):
    """A normal distribution for each observation, squashed into (-1, 1) by tanh. Its spread depends on the observation.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, Appendix C.
    """

    outputs_per_action = 2  # mean and log of the spread

    def _moments(self, observations: Observations) -> tuple[Tensor, Tensor]:
        mean, log_std = self.layers(encode(self.encoder, observations))[0].chunk(2, -1)
        return mean, log_std

    def mode(self, observations: Observations) -> Tensor:
        """Args: observations: (B, ...). Returns: (B, A), the squashed mean."""
        return torch.tanh(self._moments(observations)[0])

    def sample(self, observations: Observations, noise: Tensor) -> Tensor:
        """As `forward`, without the log-probabilities: what acting needs."""
        mean, log_std = self._moments(observations)
        return torch.tanh(mean + noise * log_std.clamp(*LOG_STD_RANGE).exp())

    def forward(self, observations: Observations, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A sample, differentiable in the parameters.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            noise: float32 (B, A), standard normal.

        Returns:
            Actions (B, A) and their log-probabilities (B,), densities in the unit of [-1, 1].
        """
        mean, log_std = self._moments(observations)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        raw = mean + noise * log_std.exp()
        # log(1 - tanh(u)^2) in a form that neither rounds to log(0) nor needs an epsilon.
        log_slope = 2 * (math.log(2) - raw - softplus(-2 * raw))
        log_p = -0.5 * noise * noise - log_std - _HALF_LOG_TWO_PI - log_slope
        return torch.tanh(raw), log_p.sum(-1)


class Critics(nn.Module):
    """Action values by `num` networks of their own, behind one encoder if there is one."""

    def __init__(
        self,
        num: int,
        sizes: list[int],
        activation: str,
        generator: torch.Generator,
        encoder: Encoder | None = None,
        precision: str = "fp32",
    ):
        super().__init__()
        self.encoder = encoder
        self.layers = EnsemblePerceptron(num, [*sizes, 1], activation, generator, precision=precision)

    def forward(self, observations: Observations, actions: Tensor, num: int | None = None) -> Tensor:
        """Args: observations: (B, ...); actions: (B, A); num: critics to ask, None for all. Returns: (num, B)."""
        x = torch.cat([encode(self.encoder, observations), actions], -1)
        return self.layers(x, num).squeeze(-1)


class ContinuousPolicy(PolicyBase):
    """An actor and critics without shared layers; subclasses say which actor.

    With images, the actor has an encoder of its own and the critics another one.

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: a one-dimensional Box, bounded in every dimension.
        generator: draws the weights.
        hidden_sizes: of all networks.
        activation: after each hidden layer.
        num_critics: 1, or 2 for the smaller of two estimates.
        encoder: description of what comes before the networks, see `make_encoder`; None decides by the spaces.
        precision: fp32, or bf16 to learn in bfloat16, see `EnsemblePerceptron`; an encoder has its own. Acting by numpy
            stays in float32: replayed actions are those of older policies anyway.
    """

    actor: Any
    actor_class: type[Actor]

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space,
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        num_critics: int = 2,
        encoder: Description | None = None,
        precision: str = "fp32",
    ):
        super().__init__()
        name = type(self).__name__
        if not isinstance(action_space, gym.spaces.Box) or not np.isfinite(action_space.low).all():
            others = "DQN or PPO" if isinstance(action_space, gym.spaces.Discrete) else "PPO"
            raise UsageError(f"{name} needs actions in a bounded Box, got {action_space}. For these take {others}.")
        check_layers(hidden_sizes, activation)
        require_int("num_critics", num_critics, 1)
        num_actions = action_space.shape[0]
        trunk, size = make_trunk(observation_space, generator, encoder)
        self.actor = self.actor_class([size, *hidden_sizes, num_actions], activation, generator, trunk, precision)
        trunk, size = make_trunk(observation_space, generator, encoder)
        self.critics = Critics(
            num_critics, [size + num_actions, *hidden_sizes], activation, generator, trunk, precision
        )

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`. The value is the least that a critic says of these actions."""
        actions = self.actor.mode(observations)
        return Choice(actions, self.critics(observations, actions).amin(0))


class DeterministicPolicy(ContinuousPolicy):
    """For DDPG and TD3. Arguments as in `ContinuousPolicy`."""

    actor_class = DeterministicActor

    def act(self, observations: Observations) -> Tensor:
        """Args: observations: float32 (B, D), or path -> (B, ...). Returns: (B, A), in (-1, 1)."""
        return self.actor(observations)


class SquashedGaussianPolicy(ContinuousPolicy):
    """For SAC. Arguments as in `ContinuousPolicy`."""

    actor_class = SquashedGaussianActor

    def act(self, observations: Observations, noise: Tensor | None) -> Tensor:
        """Args: observations: (B, D), or path -> (B, ...); noise: (B, A), None for the mode. Returns: (B, A)."""
        return self.actor.mode(observations) if noise is None else self.actor.sample(observations, noise)
