"""Policies for replay methods that choose among numbered actions by their values."""

import math
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from digideep.parameters.checks import require_int
from digideep.parameters.component import Description
from digideep.policy.acting import does_as, is_on_cpu, perceptron_of
from digideep.policy.base import ArrayChoice, Choice, FastAct, PolicyBase
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
        num_critics: networks side by side, each with values of its own.
        num_outputs: numbers for each action; more than 1 for quantiles, for example.

    A subclass may set another class for the layers: `network_class`.
    """

    network_class: type[EnsemblePerceptron] = EnsemblePerceptron

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        is_dueling: bool = False,
        encoder: Description | None = None,
        precision: str = "fp32",
        num_critics: int = 1,
        num_outputs: int = 1,
    ):
        super().__init__()
        if not isinstance(action_space, gym.spaces.Discrete):
            others = "PPO" if not isinstance(action_space, gym.spaces.Box) else "DDPG, TD3, SAC or PPO"
            raise UsageError(f"ActionValues needs Discrete actions, got {action_space}. For these take {others}.")
        require_int("num_critics", num_critics, 1)
        require_int("num_outputs", num_outputs, 1)
        self.num_critics, self.num_outputs = num_critics, num_outputs
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        check_layers(hidden_sizes, activation, may_be_empty=self.encoder is not None)
        sizes = [size, *hidden_sizes]
        network = partial(
            self.network_class, num_critics, activation=activation, generator=generator, precision=precision
        )
        self.num_actions = int(action_space.n)
        self.features = network(sizes, is_last_active=True)
        self.advantages = network([sizes[-1], self.num_actions * num_outputs])
        self.value = network([sizes[-1], num_outputs]) if is_dueling else None

    def forward(self, observations: Observations) -> Tensor:
        """Judge all actions.

        Args:
            observations: float32 (B, D), or path -> (B, ...).

        Returns:
            float32 (B, A); of several critics (num, B, A); of several outputs (B, A, K) or (num, B, A, K).
        """
        x = encode(self.encoder, observations)
        # The ensemble's layers take a batch of networks: (num, B, F), also where there is none of them.
        features = self.features(x) if len(self.features) else x[None]
        values: Tensor = self.advantages(features).unflatten(-1, (self.num_actions, -1))
        if self.value is not None:
            values = self.value(features)[..., None, :] + values - values.mean(-2, keepdim=True)
        values = values[0] if len(values) == 1 else values
        return values.squeeze(-1) if values.shape[-1] == 1 else values

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """Choose the best of the allowed actions; see `PolicyBase`. The value is that of this action.

        Several critics or outputs are judged by their mean.
        """
        values = self(observations)
        if self.num_outputs > 1:
            values = values.mean(-1)
        if self.num_critics > 1:
            values = values.mean(0)
        values = values if allowed is None else values.masked_fill(~allowed, -math.inf)
        return Choice(values.argmax(-1), value=values.amax(-1))

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`."""
        is_plain = self.encoder is None and self.value is None and self.num_outputs == 1 and is_on_cpu(self)
        if not is_plain or not does_as(self, ActionValues, "forward"):
            return None
        if (network := perceptron_of(self.features, self.advantages)) is None:
            return None
        return lambda x, generator, deterministic: ArrayChoice(network(x).argmax(-1))
