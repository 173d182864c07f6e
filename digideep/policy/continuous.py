"""Policies for replay methods in continuous action spaces: an actor in [-1, 1] and critics that judge its actions."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from digideep.parameters.checks import require_int
from digideep.parameters.component import Description
from digideep.policy.acting import does_as, is_on_cpu, perceptron_of
from digideep.policy.action_spaces import is_bounded, refuse_actions
from digideep.policy.base import ArrayChoice, Choice, FastAct, PolicyBase
from digideep.policy.encoders import Encoder, encode, make_trunk
from digideep.policy.networks import Chosen, EnsemblePerceptron, check_layers, network_maker
from digideep.policy.observations import Features, Observations, ObservationSpace, view_of
from digideep.policy.pixel_encoders import ProjectedEncoder, share
from digideep.utility.errors import UsageError

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
LOG_STD_RANGE = (-20.0, 2.0)  # of the SAC authors' code: it keeps early training free of infinities
_LARGEST_ACTION = 1 - 1e-6  # whose logarithm of the odds is a number


class Perceptrons(nn.Module):
    """What actors and critics share: `num` perceptrons, behind one encoder if there is one.

    Args:
        num, sizes: as in `EnsemblePerceptron`.
        make: builds the perceptrons, see `network_maker`.
        encoder: what comes before them.
    """

    is_critic = False

    def __init__(
        self, num: int, sizes: list[int], make: Callable[..., EnsemblePerceptron], encoder: Encoder | None = None
    ):
        super().__init__()
        self.encoder, self.num_outputs = encoder, sizes[-1]
        self.layers = make(num=num, sizes=sizes)

    def encode(self, observations: Observations) -> Tensor:
        """Return features (B, F) of what this network sees."""
        return encode(self.encoder, view_of(observations, self.is_critic))


class Actor(Perceptrons):
    """Chooses actions. Args: sizes: as in `EnsemblePerceptron`, the last for one output an action; others likewise."""

    outputs_per_action = 1

    def __init__(self, sizes: list[int], *others: Any):
        super().__init__(1, [*sizes[:-1], self.outputs_per_action * sizes[-1]], *others)

    def act(
        self, observations: Observations, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> Tensor:
        """Choose actions. Args: as in `PolicyBase`. Returns: float32 (B, A), in (-1, 1)."""
        raise NotImplementedError

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`."""
        return None


class DeterministicActor(Actor):
    """One action for each observation: (B, ...) to float32 (B, A), in (-1, 1)."""

    def forward(self, observations: Observations) -> Tensor:
        return torch.tanh(self.layers(self.encode(observations))[0])

    def act(
        self, observations: Observations, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> Tensor:
        """See `Actor`: the same with and without exploration."""
        return self.forward(observations)

    def fast_act(self) -> FastAct | None:
        """Return `act` in arrays; None if it has no counterpart there."""
        if not does_as(self, DeterministicActor, "forward", "act") or (network := perceptron_of(self.layers)) is None:
            return None
        return lambda x, generator, deterministic: ArrayChoice(np.tanh(network(x)))


class SquashedGaussianActor(Actor):
    """A normal distribution for each observation, squashed into (-1, 1) by tanh. Its spread depends on the observation.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, Appendix C.
    """

    outputs_per_action = 2  # mean and log of the spread

    def _moments(self, observations: Observations) -> tuple[Tensor, Tensor]:
        mean, log_std = self.layers(self.encode(observations))[0].chunk(2, -1)
        return mean, log_std

    def act(
        self, observations: Observations, generator: torch.Generator | None = None, deterministic: bool = False
    ) -> Tensor:
        """See `Actor`: as `forward` with noise from the generator, without log-probabilities; or the squashed mean."""
        mean, log_std = self._moments(observations)
        if deterministic:
            return torch.tanh(mean)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return torch.tanh(mean + noise * log_std.clamp(*LOG_STD_RANGE).exp())

    def fast_act(self) -> FastAct | None:
        """Return `act` in arrays; None if it has no counterpart there."""
        if not does_as(self, SquashedGaussianActor, "act", "_moments"):
            return None
        if (network := perceptron_of(self.layers)) is None:
            return None

        def act(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> ArrayChoice:
            moments = network(x)
            size = moments.shape[1] // 2
            mean, log_std = moments[:, :size], moments[:, size:]
            if deterministic:
                return ArrayChoice(np.tanh(mean))
            noise = torch.randn(mean.shape, generator=generator).numpy()
            return ArrayChoice(np.tanh(mean + noise * np.exp(log_std.clip(*LOG_STD_RANGE))))

        return act

    def forward(
        self, observations: Observations, noise: Tensor | None = None, actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sample, differentiable in the parameters; or given actions, to learn how likely they are.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            noise: float32 (B, A), standard normal, of a sample.
            actions: float32 (B, A), in the place of a sample; moved into the range by 1e-6 where they are at its ends,
                which the distribution never reaches.

        Returns:
            Actions (B, A) and their log-probabilities (B,), densities in the unit of [-1, 1].
        """
        mean, log_std = self._moments(observations)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        if actions is None:
            assert noise is not None
            raw = mean + noise * log_std.exp()
        else:
            raw = torch.atanh(actions.clamp(-_LARGEST_ACTION, _LARGEST_ACTION))
            noise = (raw - mean) / log_std.exp()
        # log(1 - tanh(u)^2) in a form that neither rounds to log(0) nor needs an epsilon.
        log_slope = 2 * (math.log(2) - raw - softplus(-2 * raw))
        log_p = -0.5 * noise * noise - log_std - _HALF_LOG_TWO_PI - log_slope
        return torch.tanh(raw), log_p.sum(-1)


class Critics(Perceptrons):
    """Action values by `num` networks of their own."""

    is_critic = True

    def forward(self, observations: Observations, actions: Tensor | None = None, num: Chosen = None) -> Tensor:
        """Judge actions.

        Args:
            observations: (B, ...).
            actions: (B, A); None asks a shared encoder for its features, (B, F).
            num: critics to ask: the first so many, those of an index int64 (num,), or all.

        Returns:
            (num, B); of critics with several outputs, (num, B, K).
        """
        if actions is None:
            assert isinstance(self.encoder, ProjectedEncoder)
            return self.encoder.encode(observations)
        x = torch.cat([self.encode(observations), actions], -1)
        values: Tensor = self.layers(x, num)
        return values.squeeze(-1) if values.shape[-1] == 1 else values


class StateValue(Perceptrons):
    """The value of a state: (B, ...) to float32 (B,)."""

    is_critic = True

    def forward(self, observations: Observations) -> Tensor:
        values: Tensor = self.layers(self.encode(observations))
        return values[0, :, 0]


class ContinuousPolicy(PolicyBase):
    """An actor and critics without shared layers; subclasses say which actor.

    A subclass may set other classes: `actor_class`, `critics_class`, and `network_class` for the layers of both.

    With images, the actor has an encoder of its own and the critics another one. With `shared_features` they share that
    of the critics, whose loss alone trains it; actor and critics are then called with `Features`.

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        action_space: a one-dimensional Box, bounded in every dimension.
        generator: draws the weights.
        critic_observation_space: what critics see, if that differs; they are then called with `Views`.
        hidden_sizes: of all networks.
        activation: after each hidden layer.
        num_critics: 1, or 2 for the smaller of two estimates, or more.
        critic_hidden_sizes: of the critics; None for `hidden_sizes`.
        critic_outputs: numbers that a critic says of an action; more than 1 for quantiles, for example.
        encoder: description of what comes before the networks, see `make_encoder`; None decides by the spaces.
        precision: fp32, or bf16 to learn in bfloat16, see `EnsemblePerceptron`; an encoder has its own. Acting by numpy
            stays in float32: replayed actions are those of older policies anyway.
        network: description of the networks' layers, an `EnsemblePerceptron` such as those of
            `policy.normalized_networks`; None for `network_class`.
        critic_network: of the critics' layers; None for `network`.
        shared_features: let the actor read what the critics' encoder makes of images, both through a
            `ProjectedEncoder` of their own to so many features. None gives each its own encoder. Usual: 50.
    """

    actor_class: type[Actor]
    critics_class: type[Critics] = Critics
    network_class: type[EnsemblePerceptron] = EnsemblePerceptron

    def __init__(
        self,
        observation_space: ObservationSpace,
        action_space: gym.Space[Any],
        generator: torch.Generator,
        critic_observation_space: ObservationSpace | None = None,
        *,
        hidden_sizes: list[int],
        activation: str = "relu",
        num_critics: int = 2,
        critic_outputs: int = 1,
        critic_hidden_sizes: list[int] | None = None,
        encoder: Description | None = None,
        precision: str = "fp32",
        network: Description | None = None,
        critic_network: Description | None = None,
        shared_features: int | None = None,
    ):
        super().__init__()
        if not is_bounded(action_space):
            refuse_actions(type(self).__name__, "actions in a bounded Box", action_space)
        critic_hidden_sizes = hidden_sizes if critic_hidden_sizes is None else critic_hidden_sizes
        for layers in (hidden_sizes, critic_hidden_sizes):
            check_layers(layers, activation)
        require_int("num_critics", num_critics, 1)
        require_int("critic_outputs", critic_outputs, 1)
        self.num_critics = num_critics
        num_actions = action_space.shape[0]
        self.is_encoder_shared = shared_features is not None
        self.is_asymmetric = critic_observation_space is not None
        critic_space = observation_space if critic_observation_space is None else critic_observation_space
        common: dict[str, Any] = {"activation": activation, "generator": generator, "precision": precision}
        make = network_maker(network, self.network_class, **common)
        trunk, size = make_trunk(observation_space, generator, encoder)
        critics_trunk: Encoder | None = None
        if shared_features is not None:
            if self.is_asymmetric:
                raise UsageError(
                    "critic_observation_path contradicts shared_features, by which the actor reads what critics see. "
                    "Leave one of them out."
                )
            trunk, critics_trunk = share(trunk, size, shared_features, generator)
            size = shared_features
        self.actor = self.actor_class([size, *hidden_sizes, num_actions], make, trunk)
        make = network_maker(critic_network or network, self.network_class, **common)
        if shared_features is None:
            critics_trunk, size = make_trunk(critic_space, generator, encoder)
        sizes = [size + num_actions, *critic_hidden_sizes, critic_outputs]
        self.critics = self.critics_class(num_critics, sizes, make, critics_trunk)

    def shared(self, observations: Observations) -> Observations:
        """Return what actor and critics both read: the features of a shared encoder, else the observations."""
        return Features(self.critics(observations)) if self.is_encoder_shared else observations

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `PolicyBase`. Actions are float32 (B, A), in (-1, 1)."""
        return Choice(self.actor.act(self.shared(observations), generator, deterministic))

    def fast_act(self) -> FastAct | None:
        """See `PolicyBase`: the actor's, if it sees one vector, on the CPU."""
        return self.actor.fast_act() if self.actor.encoder is None and is_on_cpu(self) else None

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `PolicyBase`. The value is the least that a critic says of these actions, the mean of its outputs.

        There is none where critics see what is not at hand.
        """
        seen = self.shared(observations)
        actions = self.actor.act(seen, deterministic=True)
        return Choice(actions) if self.is_asymmetric else Choice(actions, value=self.least_value(seen, actions))

    def least_value(self, observations: Observations, actions: Tensor) -> Tensor:
        """Return the least that a critic says of actions (B, A), the mean of its outputs: float32 (B,)."""
        values: Tensor = self.critics(observations, actions)
        return (values.mean(-1) if values.dim() == 3 else values).amin(0)


class DeterministicPolicy(ContinuousPolicy):
    """For DDPG, TD3 and DrQ-v2. Arguments as in `ContinuousPolicy`."""

    actor_class = DeterministicActor


class SquashedGaussianPolicy(ContinuousPolicy):
    """For SAC, TQC and CrossQ. Arguments as in `ContinuousPolicy`."""

    actor_class = SquashedGaussianActor


class ValuedGaussianPolicy(SquashedGaussianPolicy):
    """For SAC with a state-value network: that is `value`, of the layers of the others, with an encoder of its own.

    Arguments as in `ContinuousPolicy`.
    """

    def __init__(
        self, observation_space: ObservationSpace, action_space: gym.Space[Any], generator: torch.Generator,
        critic_observation_space: ObservationSpace | None = None, *,
        hidden_sizes: list[int], activation: str = "relu", encoder: Description | None = None, precision: str = "fp32",
        network: Description | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(
            observation_space, action_space, generator, critic_observation_space, hidden_sizes=hidden_sizes,
            activation=activation, encoder=encoder, precision=precision, network=network, **parameters,
        )  # fmt: skip
        seen_by_critics = observation_space if critic_observation_space is None else critic_observation_space
        trunk, size = make_trunk(seen_by_critics, generator, encoder)
        common: dict[str, Any] = {"activation": activation, "generator": generator, "precision": precision}
        make = network_maker(network, self.network_class, **common)
        self.value = StateValue(1, [size, *hidden_sizes, 1], make, trunk)
