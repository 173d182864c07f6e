"""Perceptrons with normalised layers, which learn from the same data many times without diverging."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, relu

from digideep.parameters.checks import require, require_between
from digideep.policy.networks import Chosen, EnsembleLayer, EnsembleLinear, EnsemblePerceptron


class EnsembleLayerNorm(EnsembleLayer):
    """Normalises each row of each network to mean 0 and variance 1, then scales and shifts it.

    Source: Ba et al. 2016, arXiv:1607.06450, Eq. 4.

    Shape: as `EnsembleLinear`. Args: num: networks; size: F.
    """

    def __init__(self, num: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num, 1, size))
        self.bias = nn.Parameter(torch.zeros(num, 1, size))

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """See `EnsembleLayer`."""
        return layer_norm(x, x.shape[-1:]) * self.chosen(self.weight, num) + self.chosen(self.bias, num)


class BatchRenorm(EnsembleLayer):
    """Normalises each feature of each network over the batch, then scales and shifts it.

    While it learns, by the batch's own moments, which after `warm_up` batches are corrected towards the running ones;
    otherwise by the running ones. Source: Ioffe 2017, arXiv:1702.03275, Algorithm 1. Numbers: sb3-contrib's and the
    authors' code of CrossQ, Bhatt et al. 2024, arXiv:1902.05605, which let the limits jump instead of growing.

    Shape: as `EnsembleLinear`. Args: num: networks; size: F.
    """

    momentum, eps, r_max, d_max, warm_up = 0.01, 1e-3, 3.0, 5.0, 100_000
    mean: Tensor  # float32 (num, 1, F), running
    variance: Tensor
    batches: Tensor  # float32 (), learned from

    def __init__(self, num: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num, 1, size))
        self.bias = nn.Parameter(torch.zeros(num, 1, size))
        self.register_buffer("mean", torch.zeros(num, 1, size))
        self.register_buffer("variance", torch.ones(num, 1, size))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """See `EnsembleLayer`."""
        weight, bias, mean, variance = (
            self.chosen(each, num) for each in (self.weight, self.bias, self.mean, self.variance)
        )
        x = x.expand(len(weight), *x.shape[-2:]).float()
        std = (variance + self.eps).sqrt()
        if not self.training:
            return (x - mean) / std * weight + bias
        batch_variance, batch_mean = torch.var_mean(x, -2, correction=0, keepdim=True)
        batch_std = (batch_variance + self.eps).sqrt()
        with torch.no_grad():
            is_warm = self.batches >= self.warm_up
            r = torch.where(is_warm, (batch_std / std).clamp(1 / self.r_max, self.r_max), 1.0)
            d = torch.where(is_warm, ((batch_mean - mean) / std).clamp(-self.d_max, self.d_max), 0.0)
            self.mean.lerp_(batch_mean, self.momentum)
            self.variance.lerp_(batch_variance, self.momentum)
            self.batches.add_(1)
        return ((x - batch_mean) / batch_std * r + d) * weight + bias


class LayerNormPerceptron(EnsemblePerceptron):
    """A layer normalisation before each activation, and dropout before that, if there is any.

    Source: Hiraoka et al. 2022, arXiv:2110.02034, Figure 2 (DroQ).

    Args:
        num: see `EnsemblePerceptron`, with all others that are not named here.
        dropout: chance of a unit to be left out while learning, in [0, 1). Usual: 0.01.
    """

    def __init__(self, num: int, *others: Any, dropout: float = 0.0, **parameters: Any):
        require_between("dropout", dropout, 0, 0.999)
        super().__init__(num, *others, **parameters)
        for place in _hidden(self):
            self.insert(place + 1, EnsembleLayerNorm(num, _width(self, place)))
            if dropout:
                self.insert(place + 1, nn.Dropout(dropout))


class BatchRenormPerceptron(EnsemblePerceptron):
    """A batch renormalisation of the input, and after each activation. Source: Bhatt et al. 2024, arXiv:1902.05605.

    A single layer, such as the last one behind others, has none. Args: as in `EnsemblePerceptron`.
    """

    def __init__(self, num: int, sizes: list[int], *others: Any, **parameters: Any):
        super().__init__(num, sizes, *others, **parameters)
        for place in _hidden(self):
            self.insert(place + 2, BatchRenorm(num, _width(self, place)))
        if len(sizes) > 2:
            self.insert(0, BatchRenorm(num, sizes[0]))


class SimbaBlock(EnsembleLayer):
    """Adds two layers of its normalised input to it, the inner one four times as wide. Shape: (num, B, F) to the same.

    Source: Lee et al. 2025, arXiv:2410.09754, Section 4.1, "Residual Feedforward Block".
    """

    def __init__(self, num: int, size: int, generator: torch.Generator):
        super().__init__()
        self.norm = EnsembleLayerNorm(num, size)
        self.first = EnsembleLinear(num, size, 4 * size, generator)
        self.second = EnsembleLinear(num, 4 * size, size, generator)

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """See `EnsembleLayer`."""
        change: Tensor = self.second(relu(self.first(self.norm(x, num), num)), num)
        return x + change


class Simba(EnsemblePerceptron):
    """A linear layer, a residual block for each hidden size, a layer normalisation and the last layer.

    Source: Lee et al. 2025, arXiv:2410.09754, Section 4.1. Differs from the paper: weights begin as in all networks of
    this file's neighbours; observations are normalised where `normalize_observations` says so.

    Args:
        num: see `EnsemblePerceptron`, with all others that are not named here.
        sizes: as there; hidden sizes are alike.

    Raises:
        UsageError: for hidden sizes that differ, or another activation than relu.
    """

    def __init__(
        self, num: int, sizes: list[int], activation: str, generator: torch.Generator, is_last_active: bool = False,
        precision: str = "fp32",
    ):  # fmt: skip
        hidden = sizes[1:] if is_last_active else sizes[1:-1]
        if not hidden:
            super().__init__(num, sizes, activation, generator, is_last_active, precision)
            return
        require(activation == "relu", "activation", activation, "relu with simba, whose blocks have no other")
        require(len(set(hidden)) == 1, "hidden_sizes", hidden, "one width for all blocks of simba")
        around = [sizes[0], hidden[0]] if is_last_active else [sizes[0], hidden[0], sizes[-1]]
        super().__init__(num, around, activation, generator, is_last_active, precision)
        blocks = [SimbaBlock(num, hidden[0], generator) for _ in hidden]
        del self[1]  # the activation
        for layer in (EnsembleLayerNorm(num, hidden[0]), *reversed(blocks)):
            self.insert(1, layer)


def _hidden(network: EnsemblePerceptron) -> list[int]:
    """Return where the layers with an activation stand, the last one first, so that insertions move none of them."""
    layers = list(network)
    return [place for place in reversed(range(len(layers) - 1)) if isinstance(layers[place], EnsembleLinear)]


def _width(network: EnsemblePerceptron, place: int) -> int:
    """Return how many units a layer has."""
    weight = network[place].weight
    assert isinstance(weight, Tensor)
    return weight.shape[-1]
