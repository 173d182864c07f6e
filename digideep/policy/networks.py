"""Building blocks of policies."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from digideep.parameters.checks import require
from digideep.parameters.component import Component, Description, build
from digideep.policy.distributions import orthogonal_linear, require_room

# A quotient of polynomials in x^2 over x in [-7.9, 7.9]; its error is at most 3.5e-7. Source: Eigen's `ptanh`.
_TANH_LIMIT = 7.90531110763549805
_TANH_P = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
    6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # torch 2.5 does not tell


class Tanh(nn.Tanh):
    """Computes the hyperbolic tangent; within compiled functions on the CPU by a formula in a third of the time.

    There torch's own takes 2.6 ns per element, which is a quarter of a PPO step on two 64-64 networks.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() or _is_exporting() or x.device.type != "cpu":
            return torch.tanh(x)
        with torch.no_grad():
            y = self._quotient(x.detach().clamp(-_TANH_LIMIT, _TANH_LIMIT))
        return y + (1 - y * y) * (x - x.detach())  # adds zero, and has the derivative

    @staticmethod
    def _quotient(x: Tensor) -> Tensor:
        square = x * x
        p, q = torch.full_like(x, _TANH_P[0]), torch.full_like(x, _TANH_Q[0])
        for coefficient in _TANH_P[1:]:
            p = p * square + coefficient
        for coefficient in _TANH_Q[1:]:
            q = q * square + coefficient
        return x * p / q


ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}


def multilayer_perceptron(
    in_features: int,
    hidden_sizes: list[int],
    activation: str,
    generator: torch.Generator,
    *,
    may_be_empty: bool = False,
) -> nn.Sequential:
    """Build linear layers with an activation after each, orthogonal weights of gain sqrt(2).

    Args:
        in_features: size of the input.
        hidden_sizes: size of each layer.
        activation: a key of `ACTIVATIONS`.
        generator: draws the weights.
        may_be_empty: no layer at all is fine: something else has made features already.

    Raises:
        UsageError: for an unknown activation or a size below 1.
    """
    check_layers(hidden_sizes, activation, may_be_empty=may_be_empty)
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [orthogonal_linear(in_features, size, math.sqrt(2), generator), ACTIVATIONS[activation]()]
        in_features = size
    return nn.Sequential(*layers)


def check_layers(hidden_sizes: list[int], activation: str, *, may_be_empty: bool = False) -> None:
    """Refuse what makes no network.

    Raises:
        UsageError: for an unknown activation, a size below 1, or no layer at all where there must be one.
    """
    require(activation in ACTIVATIONS, "activation", activation, f"one of {', '.join(ACTIVATIONS)}")
    is_list = isinstance(hidden_sizes, (list, tuple)) and (may_be_empty or len(hidden_sizes) > 0)
    is_right = is_list and all(isinstance(size, int) and size > 0 for size in hidden_sizes)
    require(is_right, "hidden_sizes", hidden_sizes, "a list of positive integers")


class Convolution(nn.Conv2d):
    """Convolves its input times `scale`; orthogonal weights of `gain`, zero bias.

    Shape: (B, channels, H, W) to (B, filters, H', W').
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: int,
        stride: int,
        padding: int,
        gain: float,
        generator: torch.Generator,
        scale: float = 1.0,
    ):
        require_room(channels * filters * size * size)
        super().__init__(channels, filters, size, stride, padding, device="meta")  # which draws and fills nothing
        weight = torch.empty(filters, channels, size, size)
        self.weight = nn.Parameter(nn.init.orthogonal_(weight, gain, generator=generator))
        self.bias = nn.Parameter(torch.zeros(filters))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.scale == 1 else self.weight * self.scale
        convolved: Tensor = self._conv_forward(x, weight, self.bias)
        return convolved


class ResidualBlock(nn.Module):
    """Adds two convolutions of its input to it. Shape: (B, channels, H, W) to the same."""

    def __init__(self, channels: int, generator: torch.Generator):
        super().__init__()
        self.first = Convolution(channels, channels, 3, 1, 1, math.sqrt(2), generator)
        self.second = Convolution(channels, channels, 3, 1, 1, 1 / math.sqrt(6), generator)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(relu(self.first(relu(x))))
        return x + change


Chosen = int | Tensor | None  # of the networks of an ensemble: the first so many, those of an index int64 (M,), or all


class EnsembleLayer(nn.Module):
    """A layer of several networks side by side, which can compute some of them alone."""

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """Args: x: (num, B, F), or (B, F) for the same input to all; num: which of the networks."""
        raise NotImplementedError

    @staticmethod
    def chosen(tensor: Tensor, num: Chosen) -> Tensor:
        """Return what belongs to some of the networks. Args: tensor: (num, ...)."""
        return tensor[num if isinstance(num, Tensor) else slice(num)]


class EnsembleLinear(EnsembleLayer):
    """Holds `num` linear layers side by side, as one batched matrix product.

    Weights and biases are uniform within 1 / sqrt(in_features), torch's default for a linear layer and so that of the
    published DDPG, TD3 and SAC results that are compared with. (The original digideep divided by out_features.)

    Shape: (num, B, in_features), or (B, in_features) for the same input to all, to (num, B, out_features).
    """

    def __init__(self, num: int, in_features: int, out_features: int, generator: torch.Generator):
        super().__init__()
        require_room(num * in_features * out_features)
        limit = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(num, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(num, 1, out_features))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -limit, limit, generator=generator)

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """See `EnsembleLayer`."""
        weight, bias = self.chosen(self.weight, num), self.chosen(self.bias, num)
        # Not baddbmm, which copies the bias first: a compiler adds it together with the activation.
        y = torch.bmm(x.expand(len(weight), *x.shape[-2:]), weight)
        return y + bias.to(y.dtype)


class EnsemblePerceptron(nn.Sequential, Component):
    """Holds `num` multilayer perceptrons side by side. Subclasses put layers between or in the place of these.

    Args:
        num: how many.
        sizes: of the input, of each hidden layer and of the output.
        activation: between the layers, a key of `ACTIVATIONS`.
        generator: draws the weights.
        is_last_active: an activation after the last layer too.
        precision: fp32, or bf16 to compute hidden layers in bfloat16. Weights, gradients and the last layer stay
            float32: an action value of 1,000 would be rounded to a multiple of 4.

    Shape: as `EnsembleLinear`.
    """

    def __init__(
        self,
        num: int,
        sizes: list[int],
        activation: str,
        generator: torch.Generator,
        is_last_active: bool = False,
        precision: str = "fp32",
    ):
        layers: list[nn.Module] = []
        for in_features, out_features in itertools.pairwise(sizes):
            layers += [EnsembleLinear(num, in_features, out_features, generator), ACTIVATIONS[activation]()]
        super().__init__(*(layers if is_last_active else layers[:-1]))
        self._dtype, self._num_last = dtype_of(precision), 0 if is_last_active else 1

    def act_in_float32(self) -> None:
        """Compute all layers in float32 from now on."""
        self._dtype = torch.float32

    def forward(self, x: Tensor, num: Chosen = None) -> Tensor:
        """Compute some of the perceptrons, see `EnsembleLayer`."""
        layers = list(self)
        if self._dtype != torch.float32:
            hidden = layers[: len(layers) - self._num_last]
            with torch.autocast(x.device.type, self._dtype):
                x = _through(hidden, x, num).float()
            layers = layers[len(hidden) :]
        return _through(layers, x, num)


def _through(layers: list[nn.Module], x: Tensor, num: Chosen) -> Tensor:
    for layer in layers:
        x = layer(x, num) if isinstance(layer, EnsembleLayer) else layer(x)
    return x


def network_maker(
    description: Description | None, default: type[EnsemblePerceptron] = EnsemblePerceptron, **common: Any
) -> Callable[..., EnsemblePerceptron]:
    """Return what builds networks of one kind.

    Args:
        description: of an `EnsemblePerceptron` or a subclass; None takes the default.
        default: a class without parameters of its own.
        common: arguments of all of them.
    """
    return partial(build, description or {"class": default}, EnsemblePerceptron, **common)


def dtype_of(precision: str) -> torch.dtype:
    """Return the dtype to compute in. Raises: UsageError: for another precision than fp32 or bf16."""
    require(precision in ("fp32", "bf16"), "precision", precision, "fp32 or bf16")
    return torch.bfloat16 if precision == "bf16" else torch.float32


class Scalar(nn.Module):
    """One learned number, as a network without an input. Args: value: its start."""

    def __init__(self, value: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([float(value)]))

    def forward(self) -> Tensor:
        return self.value[0]
