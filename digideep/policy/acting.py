"""Acting on the CPU with numpy: on a few rows, torch takes several times longer to call its operations than to do them.

The arithmetic is that of the policy's own `act`, on the memory of its own parameters, so that learning shows at once;
noise comes from the same torch generator. What has no counterpart here acts by torch.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from digideep.policy.base import ArrayChoice, FastAct, PolicyBase
from digideep.policy.distributions import CategoricalHead, GaussianHead
from digideep.policy.networks import EnsembleLayer, EnsembleLinear, EnsemblePerceptron, Tanh
from digideep.policy.normalized_networks import BatchRenorm, EnsembleLayerNorm

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# Torch is as fast on wider layers; and their products would wake numpy's threads, beside torch's.
_LARGEST_WEIGHT = 256 * 256
_Step = Callable[[np.ndarray], np.ndarray]


def fast_act_of(policy: PolicyBase) -> FastAct | None:
    """Return a policy's fast way to act; None if a subclass has another `act` than the one that it stands for."""
    classes = type(policy).__mro__
    place = {name: next(i for i, cls in enumerate(classes) if name in vars(cls)) for name in ("act", "fast_act")}
    return policy.fast_act() if place["fast_act"] <= place["act"] else None


def does_as(module: nn.Module, cls: type, *methods: str) -> bool:
    """True if a module is of a class and computes what that class does: no method of these is overridden or hooked."""
    return (
        isinstance(module, cls)
        and all(getattr(type(module), name) is getattr(cls, name) for name in methods)
        and "forward" not in vars(module)
        and type(module).__call__ is nn.Module.__call__
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def is_on_cpu(module: nn.Module) -> bool:
    """True if numpy can read all parameters of a module."""
    return all(parameter.device.type == "cpu" for parameter in module.parameters())


class Perceptron:
    """A multilayer perceptron on the memory of torch layers, which must stay where it is.

    Args:
        networks: linear layers, normalisations and activations, or sequences of them, on the CPU.

    Raises:
        LookupError: for a layer that has no counterpart here.
    """

    def __init__(self, *networks: nn.Module):
        self._steps = [_step_of(layer) for layer in _layers_of(networks)]
        self._x = np.empty((0, 0), np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Args: x: float32 (B, D). Returns: float32 (B, K), overwritten by the next call."""
        if self._x.shape != x.shape:
            self._x = _aligned(*x.shape)
        h = self._x
        h[...] = x
        for step in self._steps:
            h = step(h)
        return h


class _Linear:
    """Args: weight: (D, K); bias: (K,)."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray):
        if weight.size > _LARGEST_WEIGHT:
            raise LookupError("wide layers")
        self.weight, self.bias = weight, bias
        self._y = _aligned(0, bias.size)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if len(self._y) != len(x):
            self._y = _aligned(len(x), self.bias.size)
        y = np.matmul(x, self.weight, out=self._y)
        y += self.bias
        return y


def _aligned(*shape: int) -> np.ndarray:
    """Return an array in torch's memory, which is aligned: no result depends on where it happens to lie."""
    return torch.empty(shape).numpy()


def _step_of(layer: nn.Module) -> _Step:
    """Return a layer in arrays, which may change its input. Raises: LookupError: if it has no counterpart."""
    if does_as(layer, nn.Linear, "forward") and layer.bias is not None:
        return _Linear(_array(layer, "weight").T, _array(layer, "bias"))
    if does_as(layer, Tanh, "forward") or does_as(layer, nn.Tanh, "forward"):
        return lambda x: np.tanh(x, out=x)
    if does_as(layer, nn.ReLU, "forward"):
        return lambda x: np.maximum(x, 0, out=x)
    if isinstance(layer, EnsembleLayer) and len(weight := _array(layer, "weight")) == 1:
        weight, bias = weight[0], _array(layer, "bias")[0, 0]
        if does_as(layer, EnsembleLinear, "forward", "chosen"):
            return _Linear(weight, bias)
        if does_as(layer, EnsembleLayerNorm, "forward", "chosen"):
            return functools.partial(_layer_norm, weight[0], bias)
        if isinstance(layer, BatchRenorm) and not layer.training and does_as(layer, BatchRenorm, "forward", "chosen"):
            moments = layer.mean.numpy()[0, 0], layer.variance.numpy()[0, 0]
            return functools.partial(_batch_renorm, weight[0], bias, *moments, np.float32(layer.eps))
    raise LookupError(type(layer).__name__)


def _layer_norm(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """See `EnsembleLayerNorm`; the small number is torch's default."""
    size = np.float32(x.shape[1])
    x -= x.sum(-1, keepdims=True) / size
    x /= np.sqrt((x * x).sum(-1, keepdims=True) / size + np.float32(1e-5))
    x *= weight
    x += bias
    return x


def _batch_renorm(
    weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: np.float32, x: np.ndarray
) -> np.ndarray:
    """See `BatchRenorm`."""
    x -= mean
    x *= weight / np.sqrt(variance + eps)
    x += bias
    return x


def _layers_of(networks: tuple[nn.Module, ...]) -> list[nn.Module]:
    """Return the layers of networks that do nothing but pass on what comes from one layer to the next."""
    layers: list[nn.Module] = []
    for network in networks:
        is_sequence = does_as(network, EnsemblePerceptron, "forward") or does_as(network, nn.Sequential, "forward")
        layers += list(network) if is_sequence else [network]  # type: ignore[call-overload]
    return layers


def _array(module: nn.Module, name: str) -> np.ndarray:
    """Return the memory of a parameter. Raises: LookupError: if something else computes it at each call."""
    parameter = module._parameters.get(name)
    if parameter is None or hasattr(type(module), name):
        raise LookupError(f"{name} is computed")
    return parameter.detach().numpy()


def stochastic_act(network: nn.Module, head: nn.Module) -> FastAct | None:
    """Sample from a head after a network in arrays; None if one of them has no counterpart here."""
    try:
        if does_as(head, CategoricalHead, "forward"):
            return numbered_act(Perceptron(network, head.linear))  # type: ignore[arg-type]
        if does_as(head, GaussianHead, "forward"):
            return _gaussian_act(Perceptron(network, head.linear), _array(head, "log_std"))  # type: ignore[arg-type]
    except LookupError:
        pass
    return None


def numbered_act(network: Perceptron) -> FastAct:
    """See `distributions.Categorical`."""

    def act(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> ArrayChoice:
        logits = network(x)
        log_probs = logits - logits.max(-1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
        if deterministic:
            actions = log_probs.argmax(-1)
        else:
            noise = torch.empty(logits.shape).exponential_(generator=generator).numpy()
            actions = (log_probs - np.log(noise)).argmax(-1)
        return ArrayChoice(actions, log_probs[np.arange(len(actions)), actions])

    return act


def _gaussian_act(network: Perceptron, log_std: np.ndarray) -> FastAct:
    """See `distributions.DiagonalGaussian`."""

    def act(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> ArrayChoice:
        mean = network(x)
        if deterministic:
            actions = mean.copy()
        else:
            actions = mean + torch.randn(mean.shape, generator=generator).numpy() * np.exp(log_std)
        z = (actions - mean) * np.exp(-log_std)
        return ArrayChoice(actions, (np.float32(-0.5) * z * z - log_std - np.float32(_HALF_LOG_TWO_PI)).sum(-1))

    return act


def perceptron_of(*networks: nn.Module) -> Perceptron | None:
    """Return networks, one after the other, in arrays; None if a layer has no counterpart here."""
    try:
        return Perceptron(*networks)
    except LookupError:
        return None
