"""Building blocks of policies."""

import math

import torch
from torch import nn

from digideep.policy.distributions import orthogonal_linear
from digideep.utility.errors import UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}


def multilayer_perceptron(
    in_features: int, hidden_sizes: list[int], activation: str, generator: torch.Generator
) -> nn.Sequential:
    """Linear layers with an activation after each, orthogonal weights of gain sqrt(2).

    Args:
        in_features: size of the input.
        hidden_sizes: size of each layer.
        activation: a key of `ACTIVATIONS`.
        generator: draws the weights.

    Raises:
        UsageError: for an unknown activation or a size below 1.
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}.")
    if not hidden_sizes or not all(isinstance(size, int) and size > 0 for size in hidden_sizes):
        raise UsageError(f"hidden_sizes must be a list of positive integers, got {hidden_sizes!r}.")
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [orthogonal_linear(in_features, size, math.sqrt(2), generator), ACTIVATIONS[activation]()]
        in_features = size
    return nn.Sequential(*layers)
