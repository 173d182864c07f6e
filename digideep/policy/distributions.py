"""Distributions over actions, and the network heads that make them.

torch.distributions draws from the global generator and costs several times as much per step; these draw from a
generator that is handed to them. The tests compare every number with torch.distributions.
"""

import math
from typing import Any

import gymnasium as gym
import psutil
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from digideep.utility.errors import TooLargeError, UsageError

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Categorical:
    """Chooses among A numbered actions. Args: logits: (B, A), not normalised."""

    def __init__(self, logits: Tensor):
        self.log_probs = logits.log_softmax(-1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw int64 (B,) by the Gumbel-max trick: the largest of log-probability plus Gumbel noise."""
        noise = torch.empty_like(self.log_probs).exponential_(generator=generator)
        return (self.log_probs - noise.log()).argmax(-1)

    def mode(self) -> Tensor:
        """Return the likeliest action, int64 (B,)."""
        return self.log_probs.argmax(-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-probability, (B,). Args: actions: int64 (B,)."""
        return self.log_probs.gather(-1, actions[:, None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


class IndependentCategoricals:
    """Makes several choices at once.

    Args:
        logits: (B, sum of sizes), not normalised.
        sizes: choices of each component.
    """

    def __init__(self, logits: Tensor, sizes: list[int]):
        self.parts = [Categorical(part) for part in logits.split_with_sizes(sizes, -1)]

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw int64 (B, A)."""
        return torch.stack([part.sample(generator) for part in self.parts], -1)

    def mode(self) -> Tensor:
        """Return the likeliest of each, int64 (B, A)."""
        return torch.stack([part.mode() for part in self.parts], -1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-probability, (B,), summed over the components. Args: actions: int64 (B, A)."""
        return torch.stack([part.log_prob(a) for part, a in zip(self.parts, actions.unbind(-1), strict=True)]).sum(0)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,), summed over the components."""
        return torch.stack([part.entropy() for part in self.parts]).sum(0)


class IndependentBernoullis:
    """Sets several switches at once. Args: logits: (B, A), log-odds of being on."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw int64 (B, A), 0 or 1."""
        noise = torch.empty_like(self.logits).uniform_(generator=generator)
        return (noise < self.logits.sigmoid()).long()

    def mode(self) -> Tensor:
        """Return int64 (B, A), 1 where that is likelier."""
        return (self.logits > 0).long()

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-probability, (B,), summed over the switches. Args: actions: int64 (B, A)."""
        return logsigmoid(torch.where(actions > 0, self.logits, -self.logits)).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,), summed over the switches."""
        on = self.logits.sigmoid()
        return -(on * logsigmoid(self.logits) + (1 - on) * logsigmoid(-self.logits)).sum(-1)


class DiagonalGaussian:
    """Draws from independent normal distributions. Args: mean: (B, A); log_std: (A,) or (B, A)."""

    def __init__(self, mean: Tensor, log_std: Tensor):
        self.mean, self.log_std = mean, log_std

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw float32 (B, A)."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + noise * self.log_std.exp()

    def mode(self) -> Tensor:
        """Return the mean, (B, A)."""
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-density, (B,), summed over the dimensions. Args: actions: float32 (B, A)."""
        z = (actions - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * z * z - self.log_std - _HALF_LOG_TWO_PI).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,)."""
        return (self.log_std + 0.5 + _HALF_LOG_TWO_PI).expand_as(self.mean).sum(-1)


class JointDistribution:
    """Chooses the parts of one action, each by a distribution of its own: log-probabilities and entropies add up.

    Given what is observed, the parts are independent of each other.

    Args:
        parts: distributions, one for each part, in the order in which an action joins them.
        spaces: of the parts.
    """

    def __init__(self, parts: list[Any], spaces: list[gym.Space[Any]]):
        self.choices, self._spaces = parts, spaces

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw float32 (B, A), numbered choices as numbers."""
        return self._join([choice.sample(generator) for choice in self.choices])

    def mode(self) -> Tensor:
        """Return the likeliest of each part, float32 (B, A)."""
        return self._join([choice.mode() for choice in self.choices])

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-probability, (B,), summed over the parts. Args: actions: float32 (B, A)."""
        pairs = zip(self.choices, self._split(actions), strict=True)
        return torch.stack([choice.log_prob(part) for choice, part in pairs]).sum(0)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, (B,), summed over the parts."""
        return torch.stack([choice.entropy() for choice in self.choices]).sum(0)

    @staticmethod
    def _join(parts: list[Tensor]) -> Tensor:
        return torch.cat([part.float().reshape(part.shape[0], -1) for part in parts], -1)

    def _split(self, actions: Tensor) -> list[Tensor]:
        """Return what each part has chosen, as its distribution gives it."""
        columns = actions.split_with_sizes([math.prod(space.shape or ()) for space in self._spaces], -1)
        return [
            column if isinstance(space, gym.spaces.Box) else column.long().reshape(-1, *(space.shape or ()))
            for column, space in zip(columns, self._spaces, strict=True)
        ]


def forbid(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Forbid choices by a mask.

    Args:
        logits: (B, A).
        allowed: bool (B, A); None allows everything.

    Returns:
        Logits whose forbidden entries have probability 0 and pass no gradient. They are finite, so that 0 times their
        logarithm is 0 in the entropy. Source: Huang and Ontanon 2022, arXiv:2006.14171, Section 4.
    """
    return logits if allowed is None else logits.masked_fill(~allowed, -1e8)


class Head(nn.Module):
    """Makes a distribution over actions of features, by a linear layer.

    Source of its gain 0.01: "The 37 implementation details of PPO", detail 2.
    """

    def __init__(self, in_features: int, out_features: int, generator: torch.Generator):
        super().__init__()
        self.linear = orthogonal_linear(in_features, out_features, 0.01, generator)


class CategoricalHead(Head):
    """Makes the logits of one choice."""

    def forward(self, features: Tensor, allowed: Tensor | None = None) -> Categorical:
        return Categorical(forbid(self.linear(features), allowed))


class CategoricalsHead(Head):
    """Makes the logits of several choices. Args: sizes: choices of each component."""

    def __init__(self, in_features: int, sizes: list[int], generator: torch.Generator):
        super().__init__(in_features, sum(sizes), generator)
        self.sizes = sizes

    def forward(self, features: Tensor, allowed: Tensor | None = None) -> IndependentCategoricals:
        return IndependentCategoricals(forbid(self.linear(features), allowed), self.sizes)


class BernoullisHead(Head):
    """Makes the log-odds of several switches."""

    def forward(self, features: Tensor, allowed: Tensor | None = None) -> IndependentBernoullis:
        assert allowed is None
        return IndependentBernoullis(self.linear(features))


class GaussianHead(Head):
    """Makes a mean; the log-standard-deviation does not depend on the observation."""

    def __init__(self, in_features: int, num_actions: int, generator: torch.Generator, log_std_init: float):
        super().__init__(in_features, num_actions, generator)
        self.log_std = nn.Parameter(torch.full((num_actions,), float(log_std_init)))

    def forward(self, features: Tensor, allowed: Tensor | None = None) -> DiagonalGaussian:
        assert allowed is None
        return DiagonalGaussian(self.linear(features), self.log_std)


class JointHead(nn.Module):
    """Makes a distribution over each part of an action. Args: parts: the parts' heads. spaces: of the parts."""

    def __init__(self, parts: list[nn.Module], spaces: list[gym.Space[Any]]):
        super().__init__()
        self.parts, self.spaces = nn.ModuleList(parts), spaces

    def forward(self, features: Tensor, allowed: Tensor | None = None) -> JointDistribution:
        assert allowed is None
        return JointDistribution([part(features) for part in self.parts], self.spaces)


def require_room(num_weights: int) -> None:
    """Refuse a layer that this machine's memory cannot hold, before a byte of it is taken.

    Args:
        num_weights: of the layer; each takes 24 bytes, with gradient, copies and the optimizer's means.

    Raises:
        TooLargeError: saying how large it would be.
    """
    needed, available = 24 * num_weights, psutil.virtual_memory().available
    if needed > available:
        raise TooLargeError(
            f"A layer of {num_weights:,} weights would need {needed / 1e9:,.1f} GB with what it takes to learn them, "
            f"{available / 1e9:.1f} GB are free. Lower the network's sizes (hidden_sizes, features, core_size, width)."
        )


def orthogonal_linear(in_features: int, out_features: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """Build a linear layer with orthogonal weights (Saxe et al. 2014, arXiv:1312.6120) and zero bias."""
    require_room(in_features * out_features)
    # Not by skip_init, which imports symbolic algebra for half a second; "meta" draws and fills nothing either.
    layer = nn.Linear(in_features, out_features, device="meta")
    layer.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(out_features, in_features), gain, generator=generator))
    layer.bias = nn.Parameter(torch.zeros(out_features))
    return layer


def make_head(
    space: gym.Space[Any], in_features: int, generator: torch.Generator, log_std_init: float
) -> Head | JointHead:
    """Build the head that an action space needs.

    Categorical for Discrete, independent ones for MultiDiscrete, Bernoulli for MultiBinary, diagonal Gaussian for Box;
    for a Dict of these one of each, in its order.

    Raises:
        UsageError: for any other space.
    """
    if isinstance(space, gym.spaces.Dict):
        spaces = list(space.spaces.values())
        return JointHead([make_head(part, in_features, generator, log_std_init) for part in spaces], spaces)
    if isinstance(space, gym.spaces.Discrete):
        return CategoricalHead(in_features, int(space.n), generator)
    if isinstance(space, gym.spaces.MultiDiscrete) and len(space.shape) == 1:
        return CategoricalsHead(in_features, space.nvec.tolist(), generator)
    if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
        return BernoullisHead(in_features, space.shape[0], generator)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return GaussianHead(in_features, space.shape[0], generator, log_std_init)
    raise UsageError(
        f"A stochastic policy cannot choose from {space}. Expected Discrete, or MultiDiscrete, MultiBinary or Box of "
        "one dimension, or a Dict of these."
    )
