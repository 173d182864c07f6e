"""What learning from pixels adds to the encoders: DrQ's convolutions, and an encoder that actor and critics share."""

import math
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from digideep.parameters.checks import require_int
from digideep.policy.distributions import orthogonal_linear
from digideep.policy.encoders import Encoder, ImageEncoder
from digideep.policy.networks import Convolution
from digideep.policy.observations import Features, Observations
from digideep.utility.errors import UsageError

_MIN_PIXELS = 15  # below, four convolutions leave nothing


class DrQCNN(ImageEncoder):
    """Encodes images by four convolutions of 32 channels, the first of stride 2; pixels lie in [-0.5, 0.5].

    Its features are all that the last one gives, 39,200 of an image of 84 x 84 pixels: a projection follows.
    Source: Yarats et al. 2021, arXiv:2107.09645, Section 3.1.

    Args:
        observation_space: images of at least 15 x 15 pixels.
        generator: draws the weights.
        parameters: of `ImageEncoder`.
    """

    def __init__(self, observation_space: gym.Space[Any], generator: torch.Generator, **parameters: Any):
        super().__init__(observation_space, **parameters)
        if min(self.height, self.width) < _MIN_PIXELS:
            raise UsageError(
                f"DrQCNN needs images of at least {_MIN_PIXELS} x {_MIN_PIXELS} pixels, got {self.height} x "
                f"{self.width}. Take ImpalaResNet for smaller ones."
            )
        layers: list[nn.Module] = []
        for channels, stride, scale in ((self.channels, 2, self.scale), (32, 1, 1.0), (32, 1, 1.0), (32, 1, 1.0)):
            layers += [Convolution(channels, 32, 3, stride, 0, math.sqrt(2), generator, scale), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.out_features = 32 * math.prod((side - 3) // 2 - 5 for side in (self.height, self.width))

    def features(self, planes: Tensor) -> Tensor:
        """See `ImageEncoder`."""
        features: Tensor = self.convolutions(planes - 0.5 / self.scale).flatten(1)
        return features


class ProjectedEncoder(Encoder):
    """Projects features of an encoder that several networks read: a linear layer of its own, LayerNorm and tanh.

    Source: Yarats et al. 2021, arXiv:2107.09645, Section 3.1, whose code calls it the trunk.

    Args:
        encoder: None where somebody else's features are read.
        in_features: of the encoder. out_features: of the projection.
        generator: draws the weights.
    """

    def __init__(self, encoder: Encoder | None, in_features: int, out_features: int, generator: torch.Generator):
        super().__init__()
        require_int("shared_features", out_features, 1)
        self.encoder, self.out_features = encoder, out_features
        self.projection = nn.Sequential(
            orthogonal_linear(in_features, out_features, 1.0, generator), nn.LayerNorm(out_features), nn.Tanh()
        )

    def encode(self, observations: Observations) -> Tensor:
        """Return what the encoder makes of observations, (B, in_features), unless it was made already."""
        if isinstance(observations, Features):
            return observations.values
        if self.encoder is None:
            raise UsageError(
                "This actor reads what the critics' encoder makes of images (shared_features), which the agent does "
                "not hand on. Take SAC, TD3, DDPG or DrQv2, or leave shared_features out."
            )
        features: Tensor = self.encoder(observations)
        return features

    def forward(self, observations: Observations) -> Tensor:
        features: Tensor = self.projection(self.encode(observations))
        return features


def share(
    encoder: Encoder | None, in_features: int, out_features: int, generator: torch.Generator
) -> tuple[ProjectedEncoder, ProjectedEncoder]:
    """Return the encoders of an actor and of critics, who own what both read.

    Args:
        encoder: what both read; None if there is nothing to learn.
        in_features: of the encoder. out_features: of the projections.
        generator: draws the weights.

    Raises:
        UsageError: if there is no encoder.
    """
    if encoder is None:
        raise UsageError(
            f"shared_features={out_features} shares an encoder, and what this policy sees needs none. Leave it out, or "
            "let the agent see an image."
        )
    actors, critics = (ProjectedEncoder(each, in_features, out_features, generator) for each in (None, encoder))
    return actors, critics
