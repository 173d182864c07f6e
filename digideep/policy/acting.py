"""Acting on the CPU with numpy: on a few rows, torch takes several times longer to call its operations than to do them.

The arithmetic is that of the policy's own `act`, on the memory of its own parameters, so that learning shows at once;
noise comes from the same torch generator. What has no counterpart here acts by torch.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from digideep.policy.continuous import LOG_STD_RANGE, ContinuousPolicy, DeterministicPolicy, SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.distributions import CategoricalHead, GaussianHead
from digideep.policy.networks import EnsembleLinear
from digideep.policy.stochastic import StochasticPolicy

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# Torch is as fast on wider layers; and their products would wake numpy's threads, beside torch's.
_LARGEST_WEIGHT = 256 * 256


class Perceptron:
    """A multilayer perceptron on the memory of torch layers, which must stay where it is.

    Args:
        layers: linear ones and their activations, on the CPU.

    Raises:
        LookupError: for a layer that has no counterpart here.
    """

    def __init__(self, *layers: nn.Module):
        self._steps: list[tuple[np.ndarray, np.ndarray] | str] = []
        for layer in layers:
            if isinstance(layer, nn.Linear):
                self._steps.append((_array(layer.weight).T, _array(layer.bias)))
            elif isinstance(layer, EnsembleLinear) and len(layer.weight) == 1:
                self._steps.append((_array(layer.weight)[0], _array(layer.bias)[0]))
            elif isinstance(layer, (nn.Tanh, nn.ReLU)):
                self._steps.append(type(layer).__name__)
            else:
                raise LookupError(type(layer).__name__)
        if any(step[0].size > _LARGEST_WEIGHT for step in self._steps if not isinstance(step, str)):
            raise LookupError("wide layers")
        self._buffers: list[np.ndarray] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Args: x: float32 (B, D). Returns: float32 (B, K), overwritten by the next call."""
        if not self._buffers or len(self._buffers[0]) != len(x):
            sizes = [x.shape[1], *(step[1].size for step in self._steps if not isinstance(step, str))]
            # Torch's memory is aligned: no result depends on where an array happens to lie.
            self._buffers = [torch.empty(len(x), size).numpy() for size in sizes]
        h, *others = self._buffers
        h[...] = x
        buffers = iter(others)
        for step in self._steps:
            if step == "Tanh":
                np.tanh(h, out=h)
            elif step == "ReLU":
                np.maximum(h, 0, out=h)
            else:
                h = np.matmul(h, step[0], out=next(buffers))
                h += step[1]
        return h


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().numpy()


Act = Callable[..., Any]


def stochastic_act(policy: Any) -> Act | None:
    """`StochasticPolicy.act` in arrays: (observations, generator, deterministic) -> actions, log-probabilities."""
    if type(policy) is not StochasticPolicy or not _is_plain(policy):
        return None
    head = policy.head
    if type(head) not in (CategoricalHead, GaussianHead):
        return None
    try:
        network = Perceptron(*policy.actor, head.linear)
    except LookupError:
        return None

    def choose_number(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        logits = network(x)
        log_probs = logits - logits.max(-1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
        if deterministic:
            actions = log_probs.argmax(-1)
        else:
            noise = torch.empty(logits.shape).exponential_(generator=generator).numpy()
            actions = (log_probs - np.log(noise)).argmax(-1)
        return actions, log_probs[np.arange(len(actions)), actions]

    def choose_vector(x: np.ndarray, generator: torch.Generator, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        mean = network(x)
        if deterministic:
            actions = mean.copy()
        else:
            actions = mean + torch.randn(mean.shape, generator=generator).numpy() * np.exp(log_std)
        z = (actions - mean) * np.exp(-log_std)
        return actions, (np.float32(-0.5) * z * z - log_std - np.float32(_HALF_LOG_TWO_PI)).sum(-1)

    if type(head) is CategoricalHead:
        return choose_number
    log_std = _array(head.log_std)  # type: ignore[arg-type]  # of a GaussianHead
    return choose_vector


def values_act(policy: Any) -> Act | None:
    """`ActionValues.act` in arrays: observations (B, D) -> actions."""
    if type(policy) is not ActionValues or not _is_plain(policy) or policy.value is not None:
        return None
    try:
        network = Perceptron(*policy.features, *policy.advantages)
    except LookupError:
        return None
    return lambda x: network(x).argmax(-1)


def continuous_act(policy: Any) -> Act | None:
    """`act` of a deterministic or a squashed Gaussian policy in arrays: (observations[, noise]) -> actions."""
    if type(policy) not in (DeterministicPolicy, SquashedGaussianPolicy) or not _is_plain(policy):
        return None
    try:
        network = Perceptron(*policy.actor.layers)
    except LookupError:
        return None

    def sample(x: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        moments = network(x)
        size = moments.shape[1] // 2
        mean, log_std = moments[:, :size], moments[:, size:]
        return np.tanh(mean if noise is None else mean + noise * np.exp(log_std.clip(*LOG_STD_RANGE)))

    return sample if type(policy) is SquashedGaussianPolicy else lambda x: np.tanh(network(x))


def _is_plain(policy: Any) -> bool:
    """Whether it sees one vector, on the CPU."""
    encoder = policy.actor.encoder if isinstance(policy, ContinuousPolicy) else policy.encoder
    return encoder is None and all(parameter.device.type == "cpu" for parameter in policy.parameters())
