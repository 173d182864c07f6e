"""Policies that sample their actions, with a value function beside them: from what they see, or also remember."""

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from digideep.parameters.checks import require_between
from digideep.parameters.component import Description
from digideep.policy.acting import is_on_cpu, stochastic_act
from digideep.policy.base import Choice, Evaluation, FastAct, PolicyBase
from digideep.policy.cells import make_core
from digideep.policy.distributions import make_head, orthogonal_linear
from digideep.policy.encoders import Encoder, encode, make_trunk
from digideep.policy.networks import multilayer_perceptron
from digideep.policy.observations import Observations, ObservationSpace, view_of


class StochasticPolicy(PolicyBase):
    """Separate actor and critic networks over a vector, or over what a shared encoder makes of images.

    Source of sizes and initialisation: "The 37 implementation details of PPO", details 2 and 13 (separate networks,
    orthogonal weights, gain 0.01 at the policy's head and 1 at the value's), and Atari detail 6 (a shared trunk).

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: Discrete; or MultiDiscrete, MultiBinary or Box of one dimension; or a Dict of these by name, whose
            actions are float32 (B, A): the parts joined in its order.
        generator: draws the weights.
        critic_observation_space: what the critic sees, if that differs: then nothing is shared. It learns from `Views`.
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
        critic_observation_space: ObservationSpace | None = None,
        *,
        hidden_sizes: list[int],
        activation: str = "tanh",
        log_std_init: float = 0.0,
        encoder: Description | None = None,
    ):
        super().__init__()
        require_between("log_std_init", log_std_init, -20, 2)
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        self.is_asymmetric = critic_observation_space is not None
        self.gives_value = self.encoder is not None and not self.is_asymmetric
        may_be_empty = self.encoder is not None
        self.actor = multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
        last = [size, *hidden_sizes][-1]
        self.head = make_head(action_space, last, generator, log_std_init)
        self.critic_encoder: Encoder | None = None
        if critic_observation_space is not None:
            self.critic_encoder, size = make_trunk(critic_observation_space, generator, encoder)
            may_be_empty, last = self.critic_encoder is not None, [size, *hidden_sizes][-1]
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
        is_plain = self.encoder is None and not self.gives_value and is_on_cpu(self)
        return stochastic_act(self.actor, self.head) if is_plain else None

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`."""
        choice = self.act(observations, allowed=allowed, deterministic=True)
        return choice if self.is_asymmetric else choice._replace(value=self.value(observations))

    def value(self, observations: Observations, *, state: Tensor | None = None, masks: Tensor | None = None) -> Tensor:
        """Args: observations: float32 (B, D), or path -> (B, ...). Returns: float32 (B,)."""
        encoder = self.critic_encoder if self.is_asymmetric else self.encoder
        value: Tensor = self.critic(encode(encoder, view_of(observations, is_critic=True))).squeeze(-1)
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
        features = encode(self.encoder, view_of(observations, is_critic=False))
        distribution = self.head(self.actor(features), allowed)
        value = self.value(observations) if self.is_asymmetric else self.critic(features).squeeze(-1)
        return Evaluation(distribution.log_prob(actions), distribution.entropy(), value)


class RecurrentPolicy(PolicyBase):
    """An actor and a critic with a memory: observations -> layers -> GRU or LSTM -> head.

    Actor and critic have layers and a core of their own, as in sb3-contrib's RecurrentPPO, unless `is_shared`: then one
    core serves both heads, which costs half as much. An encoder of images is shared, as in `StochasticPolicy`.

    Its state is one vector for each worker, float32 (B, state_size): for each part (h; of an LSTM, then c) the actor's
    and the critic's side by side. Zeros are the state before a first observation.

    Args:
        cell: "gru" or "lstm".
        core_size: units of the core.
        hidden_sizes: of the layers before it; may be empty behind an encoder of images.
        is_shared: actor and critic share layers and core.
        others: as in `StochasticPolicy`.
    """

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        cell: str = "gru",
        core_size: int = 64,
        hidden_sizes: list[int],
        activation: str = "tanh",
        is_shared: bool = False,
        log_std_init: float = 0.0,
        encoder: Description | None = None,
    ):
        super().__init__()
        require_between("log_std_init", log_std_init, -20, 2)
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        num, may_be_empty = 1 if is_shared else 2, self.encoder is not None
        self.layers = nn.ModuleList(
            multilayer_perceptron(size, hidden_sizes, activation, generator, may_be_empty=may_be_empty)
            for _ in range(num)
        )
        self.core = make_core(cell, num, [size, *hidden_sizes][-1], core_size, generator)
        self.state_size = self.core.state_size
        self.head = make_head(action_space, core_size, generator, log_std_init)
        self.value_head = orthogonal_linear(core_size, 1, 1.0, generator)

    def walk(
        self, observations: Observations, state: Tensor | None, masks: Tensor | None, allowed: Tensor | None = None
    ) -> tuple[Any, Tensor, Tensor]:
        """Along S sequences of T rows each, given one after the other.

        Args:
            observations: float32 (S * T, D), or path -> (S * T, ...).
            state: float32 (S, state_size), before the first row of each sequence.
            masks: bool (S, T), False where a row is a half-step: the state is zero in the row after it.
            allowed: bool (S * T, choices), the action mask; None allows everything.

        Returns:
            Distributions over actions and values of all rows, (S * T, ...), and the states after the last rows.
        """
        assert state is not None
        assert masks is not None
        keep = torch.ones_like(masks, dtype=torch.float32)
        keep[:, 1:] = masks[:, :-1]
        encoded = encode(self.encoder, observations)
        outputs, state = self.core(torch.stack([layers(encoded) for layers in self.layers]), state, keep)
        return self.head(outputs[0], allowed), self.value_head(outputs[-1]).squeeze(-1), state

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `PolicyBase`."""
        assert state is not None
        masks = torch.ones(len(state), 1, dtype=torch.bool, device=state.device)
        distribution, _, state = self.walk(observations, state, masks, allowed)
        actions = distribution.mode() if deterministic else distribution.sample(generator)
        return Choice(actions, distribution.log_prob(actions), state=state)

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`."""
        assert state is not None
        encoded = encode(self.encoder, observations)
        outputs, state = self.core.step(torch.stack([layers(encoded) for layers in self.layers]), state)
        return Choice(
            self.head(outputs[0], allowed).mode(), value=self.value_head(outputs[-1]).squeeze(-1), state=state
        )

    def value(self, observations: Observations, *, state: Tensor | None = None, masks: Tensor | None = None) -> Tensor:
        """Arguments as in `walk`. Returns: float32 (S * T,)."""
        return self.walk(observations, state, masks)[1]

    def forward(
        self, observations: Observations, actions: Tensor, *, state: Tensor | None = None,
        masks: Tensor | None = None, allowed: Tensor | None = None,
    ) -> Evaluation:  # fmt: skip
        """Evaluate actions that were taken. What is said of half-steps means nothing.

        Args:
            observations, state, masks, allowed: as in `walk`.
            actions: int64 (S * T,) or (S * T, A), or float32 (S * T, A).
        """
        distribution, values, _ = self.walk(observations, state, masks, allowed)
        return Evaluation(distribution.log_prob(actions), distribution.entropy(), values)
