"""Policies for replay methods that choose among numbered actions by their values."""

import math
from functools import partial

import gymnasium as gym
import torch
from torch import Tensor

from digideep.parameters.component import Description
from digideep.policy.base import Choice, PolicyBase
from digideep.policy.encoders import encode, make_trunk
from digideep.policy.networks import EnsemblePerceptron, check_layers
from digideep.policy.observations import Observations, ObservationSpace
from digideep.utility.errors import UsageError


class ActionValues(PolicyBase):
    """A value for each action; the policy takes the largest.

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: Discrete.
        generator: draws the weights.
        hidden_sizes: of the network; with an encoder it may be empty.
        activation: after each hidden layer.
        is_dueling: estimate the observation's value and the actions' advantages over each other by separate last
            layers. Source: Wang et al. 2016, arXiv:1511.06581, Eq. 9.
        encoder: description of what comes before the network, see `make_encoder`; None decides by the spaces.
        precision: fp32, or bf16 to learn in bfloat16, as in `ContinuousPolicy`.
    """

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space,
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        is_dueling: bool = False,
        encoder: Description | None = None,
        precision: str = "fp32",
    ):
        super().__init__()
        if not isinstance(action_space, gym.spaces.Discrete):
            others = "PPO" if not isinstance(action_space, gym.spaces.Box) else "DDPG, TD3, SAC or PPO"
            raise UsageError(f"ActionValues needs Discrete actions, got {action_space}. For these take {others}.")
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        check_layers(hidden_sizes, activation, may_be_empty=self.encoder is not None)
        sizes = [size, *hidden_sizes]
        network = partial(EnsemblePerceptron, 1, activation=activation, generator=generator, precision=precision)
        self.features = network(sizes, is_last_active=True)
        self.advantages = network([sizes[-1], int(action_space.n)])
        self.value = network([sizes[-1], 1]) if is_dueling else None

    def forward(self, observations: Observations) -> Tensor:
        """Args: observations: float32 (B, D), or path -> (B, ...). Returns: float32 (B, A)."""
        x = encode(self.encoder, observations)
        # The ensemble's layers take a batch of networks: (1, B, F), also where there is none of them.
        features = self.features(x) if len(self.features) else x[None]
        advantages = self.advantages(features)[0]
        if self.value is None:
            return advantages
        return self.value(features)[0] + advantages - advantages.mean(-1, keepdim=True)

    def act(self, observations: Observations, allowed: Tensor | None = None) -> Tensor:
        """Choose the best of the allowed actions.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            allowed: bool (B, A), the action mask; None allows everything.

        Returns:
            int64 (B,).
        """
        return self._allowed_values(observations, allowed).argmax(-1)

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`. The value is that of the best allowed action."""
        values = self._allowed_values(observations, allowed)
        return Choice(values.argmax(-1), values.amax(-1))

    def _allowed_values(self, observations: Observations, allowed: Tensor | None) -> Tensor:
        values = self(observations)
        return values if allowed is None else values.masked_fill(~allowed, -math.inf)
