"""Policies for replay methods that choose among numbered actions by their values."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from digideep.parameters.checks import require, require_int
from digideep.parameters.component import Description
from digideep.policy.acting import does_as, is_on_cpu, numbered_act, perceptron_of
from digideep.policy.action_spaces import refuse_actions
from digideep.policy.base import ArrayChoice, Choice, Evaluation, FastAct, PolicyBase
from digideep.policy.continuous import Perceptrons
from digideep.policy.encoders import encode, make_trunk
from digideep.policy.networks import Chosen, EnsemblePerceptron, check_layers, network_maker
from digideep.policy.observations import Observations, ObservationSpace

_NEVER = -1e9  # logit of an action that is not allowed; unlike an infinity it makes no NaN of 0 times itself


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
        critic_outputs: numbers for each action; more than 1 for quantiles, for example.
        network: description of the network's layers, as in `ContinuousPolicy`.

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
        critic_outputs: int = 1,
        network: Description | None = None,
    ):
        super().__init__()
        if not isinstance(action_space, gym.spaces.Discrete):
            refuse_actions("ActionValues", "Discrete actions", action_space)
        require_int("num_critics", num_critics, 1)
        require_int("critic_outputs", critic_outputs, 1)
        self.num_critics, self.critic_outputs = num_critics, critic_outputs
        self.encoder, size = make_trunk(observation_space, generator, encoder)
        check_layers(hidden_sizes, activation, may_be_empty=self.encoder is not None)
        sizes = [size, *hidden_sizes]
        common: dict[str, Any] = {"activation": activation, "generator": generator, "precision": precision}
        make = network_maker(network, self.network_class, num=num_critics, **common)
        self.num_actions = int(action_space.n)
        self.features = make(sizes=sizes, is_last_active=True)
        self.advantages = make(sizes=[sizes[-1], self.num_actions * critic_outputs])
        self.state_value = make(sizes=[sizes[-1], critic_outputs]) if is_dueling else None

    def judge(self, observations: Observations) -> Tensor:
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
        if self.state_value is not None:
            values = self.state_value(features)[..., None, :] + values - values.mean(-2, keepdim=True)
        values = values[0] if len(values) == 1 else values
        return values.squeeze(-1) if values.shape[-1] == 1 else values

    def forward(self, observations: Observations, *others: Any, **named: Any) -> Any:
        """As `judge`; further arguments are those of subclasses."""
        return self.judge(observations)

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """Choose the best of the allowed actions; see `PolicyBase`. The value is that of this action.

        Several critics or outputs are judged by their mean.
        """
        values = self.judge(observations)
        if self.critic_outputs > 1:
            values = values.mean(-1)
        if self.num_critics > 1:
            values = values.mean(0)
        values = values if allowed is None else values.masked_fill(~allowed, -math.inf)
        return Choice(values.argmax(-1), value=values.amax(-1))

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`."""
        is_plain = self.encoder is None and is_on_cpu(self)
        if not is_plain or not does_as(self, ActionValues, "forward", "judge"):
            return None
        if (network := perceptron_of(self.features, self.advantages)) is None:
            return None
        shape = (self.num_actions, self.critic_outputs)

        def act(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> ArrayChoice:
            # The best advantage is the best value: what the observation is worth is the same for all actions.
            return ArrayChoice(network(x).reshape(len(x), *shape).sum(-1).argmax(-1))

        return act


class GreedyActionValues(ActionValues):
    """Action values as an on-policy agent learns them: an observation's value is that of its best action.

    Arguments as in `ActionValues`, of one network with one output.
    """

    gives_value = True

    def __init__(
        self, observation_space: ObservationSpace, action_space: gym.Space[Any], generator: torch.Generator,
        **parameters: Any,
    ):  # fmt: skip
        super().__init__(observation_space, action_space, generator, **parameters)
        for name in ("num_critics", "critic_outputs"):
            require(getattr(self, name) == 1, name, getattr(self, name), "1 for GreedyActionValues")

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `ActionValues`; log-probabilities are 0, since the choice is certain."""
        choice = super().act(observations, allowed=allowed)
        assert choice.value is not None
        return choice._replace(log_p=torch.zeros_like(choice.value))

    def value(self, observations: Observations, *, state: Tensor | None = None, masks: Tensor | None = None) -> Tensor:
        """Return what the best action is worth, float32 (B,)."""
        return self.judge(observations).amax(-1)

    def forward(self, observations: Observations, actions: Tensor, **named: Any) -> Evaluation:
        """Evaluate actions that were taken: their value, (B,). Args: actions: int64 (B,)."""
        values = self.judge(observations).gather(-1, actions[:, None]).squeeze(-1)
        return Evaluation(torch.zeros_like(values), torch.zeros_like(values), values)


class CategoricalActor(Perceptrons):
    """A distribution over numbered actions for each observation."""

    def forward(self, observations: Observations, allowed: Tensor | None = None) -> Tensor:
        """Args: allowed: bool (B, A), the action mask; None allows everything. Returns: log-probabilities (B, A)."""
        logits = self.layers(self.encode(observations))[0]
        logits = logits if allowed is None else logits.masked_fill(~allowed, _NEVER)
        return log_softmax(logits, -1)


class NumberedCritics(Perceptrons):
    """Values of all actions by several networks: (B, ...) to float32 (num, B, A)."""

    def forward(self, observations: Observations, num: Chosen = None) -> Tensor:
        values: Tensor = self.layers(self.encode(observations), num)
        return values


class CategoricalPolicy(PolicyBase):
    """An actor over numbered actions, and critics without shared layers. For `DiscreteSAC`.

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: Discrete.
        generator: draws the weights.
        hidden_sizes, activation, num_critics, critic_hidden_sizes, encoder, precision, network, critic_network: as in
            `ContinuousPolicy`.
    """

    def __init__(
        self, observation_space: ObservationSpace, action_space: gym.Space[Any], generator: torch.Generator, *,
        hidden_sizes: list[int], activation: str = "relu", num_critics: int = 2,
        critic_hidden_sizes: list[int] | None = None, encoder: Description | None = None, precision: str = "fp32",
        network: Description | None = None, critic_network: Description | None = None,
    ):  # fmt: skip
        super().__init__()
        if not isinstance(action_space, gym.spaces.Discrete):
            refuse_actions("CategoricalPolicy", "Discrete actions", action_space)
        require_int("num_critics", num_critics, 1)
        self.num_critics, num_actions = num_critics, int(action_space.n)
        common: dict[str, Any] = {"activation": activation, "generator": generator, "precision": precision}

        def build(cls: type[Perceptrons], num: int, layers: list[int], network: Description | None) -> Any:
            trunk, size = make_trunk(observation_space, generator, encoder)
            check_layers(layers, activation, may_be_empty=trunk is not None)
            return cls(num, [size, *layers, num_actions], network_maker(network, **common), trunk)

        self.actor = build(CategoricalActor, 1, hidden_sizes, network)
        critic_hidden_sizes = hidden_sizes if critic_hidden_sizes is None else critic_hidden_sizes
        self.critics = build(NumberedCritics, num_critics, critic_hidden_sizes, critic_network or network)

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `PolicyBase`."""
        log_p = self.actor(observations, allowed)
        if not deterministic:  # the largest of log-probabilities plus Gumbel noise is a sample
            log_p = log_p - torch.empty_like(log_p).exponential_(generator=generator).log()
        return Choice(log_p.argmax(-1))

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`."""
        if self.actor.encoder is not None or not does_as(self.actor, CategoricalActor, "forward"):
            return None
        network = perceptron_of(self.actor.layers) if is_on_cpu(self) else None
        return None if network is None else numbered_act(network)

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`. The value is the least that a critic says of the action."""
        choice = self.act(observations, allowed=allowed, deterministic=True)
        values = self.critics(observations).amin(0).gather(-1, choice.actions[:, None]).squeeze(-1)
        return choice._replace(value=values)
