"""Encoders: from observations of any space to a vector of features.

A policy that sees one vector gets it as a tensor (B, D). One that sees images gets a dictionary path -> (B, ...) in the
dtypes of the spaces: bytes stay bytes until they are here, where they are converted and scaled once.
"""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from digideep.parameters.checks import require_int
from digideep.parameters.component import Component, Description, build
from digideep.policy.distributions import orthogonal_linear
from digideep.policy.networks import Convolution, ResidualBlock, check_layers, dtype_of, multilayer_perceptron
from digideep.policy.observations import Flatten, Observations, ObservationSpace, images_to_channels_last
from digideep.utility.errors import UsageError
from digideep.utility.images import ImageLayout, divided_by, is_image, pixel_divisor

_NATURE_MIN_PIXELS = 36  # below, its three convolutions leave nothing


class Encoder(nn.Module, Component):
    """Maps a batch of observations to features, float32 (B, out_features).

    Its run-time arguments are `observation_space` and `generator`, which draws the weights.
    """

    out_features: int


class VectorEncoder(Encoder):
    """Encodes a vector by a multilayer perceptron; passes it as it is without layers.

    Args:
        observation_space: a one-dimensional Box.
        generator: draws the weights.
        hidden_sizes: of the layers; none by default.
        activation: after each of them.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        hidden_sizes: list[int] | None = None,
        activation: str = "tanh",
    ):
        super().__init__()
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise UsageError(f"VectorEncoder needs a one-dimensional Box as observation, got {observation_space}.")
        sizes = [observation_space.shape[0], *(hidden_sizes or [])]
        self.layers = multilayer_perceptron(sizes[0], sizes[1:], activation, generator) if sizes[1:] else None
        self.out_features = sizes[-1]

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = observations if self.layers is None else self.layers(observations)
        return features


class ImageEncoder(Encoder):
    """Holds what convolutional encoders share: pixels divided by their larger bound, channels last in memory.

    A subclass makes `convolutions`, and the layer `linear` after them, or has `features` of its own.

    It is the first convolution's weights that are divided, which are few, not the pixels: by 255 for bytes from 0 to
    255, by nothing for floats from 0 to 1.

    In (C, H, W) and (H, W, C) the smaller end holds the channels, or the one that `channel_axis` names: "first" or
    "last". The frames of a stack become channels.

    With `precision="bf16"` everything up to the features is computed in bfloat16, when acting as when learning, so that
    both see the same policy; weights, features and whatever follows stay float32.

    Args:
        observation_space: of images.
        precision: fp32 or bf16.
        channel_axis: "first" or "last"; None takes the smaller end.
    """

    convolutions: nn.Module
    linear: nn.Linear

    def __init__(self, observation_space: gym.Space[Any], *, precision: str = "fp32", channel_axis: str | None = None):
        super().__init__()
        self.dtype = dtype_of(precision)
        if not is_image(observation_space):
            name = type(self).__name__
            raise UsageError(f"{name} needs images, a Box of bytes or of three dimensions, got {observation_space}.")
        assert isinstance(observation_space, gym.spaces.Box)
        self.layout = ImageLayout.of(observation_space, channel_axis)
        divisor = pixel_divisor(observation_space)
        self.scale = 1 / divisor
        self.height, self.width = self.layout.height, self.layout.width
        self.channels = self.layout.channels * self.layout.frames
        self.words = f"{self.layout}, {divided_by(divisor)}"

    def planes(self, images: Tensor) -> Tensor:
        """Bring images to one layout. Args: images: (B, ...). Returns: them, (B, C, H, W), laid out (B, H, W, C)."""
        if self.layout.is_flat:
            images = images.unsqueeze(1)
        if self.layout.is_channels_last:
            images = images.movedim(-1, -3)
        if self.layout.is_stack:
            images = images.flatten(1, 2)
        # 1,320 instead of 1,110 images/s forward and backward through NatureCNN, in fp32 on one core.
        return images_to_channels_last(images).to(self.dtype)

    def features(self, planes: Tensor) -> Tensor:
        """Compute the features. Args: planes: from `planes`. Returns: (B, out_features)."""
        return relu(self.linear(self.convolutions(planes).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images. Args: images: (B, ...) as the space has them. Returns: float32 (B, out_features)."""
        planes = self.planes(images)
        if self.dtype == torch.float32:
            return self.features(planes)
        with torch.autocast(images.device.type, self.dtype):
            return self.features(planes).float()


class NatureCNN(ImageEncoder):
    """Encodes images by three convolutions and a linear layer.

    Source: Mnih et al. 2015, Nature 518, Methods, "Model architecture".

    Orthogonal weights of gain sqrt(2), after "The 37 implementation details of PPO", Atari detail 5.

    Args:
        observation_space: images of at least 36 x 36 pixels.
        generator: draws the weights.
        features: of the linear layer.
        parameters: of `ImageEncoder`.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        features: int = 512,
        **parameters: Any,
    ):
        super().__init__(observation_space, **parameters)
        require_int("features", features, 1)
        if min(self.height, self.width) < _NATURE_MIN_PIXELS:
            raise UsageError(
                f"NatureCNN needs images of at least {_NATURE_MIN_PIXELS} x {_NATURE_MIN_PIXELS} pixels, got "
                f"{self.height} x {self.width}. Take ImpalaResNet for smaller ones."
            )
        gain = math.sqrt(2)
        self.convolutions = nn.Sequential(
            Convolution(self.channels, 32, 8, 4, 0, gain, generator, self.scale), nn.ReLU(),
            Convolution(32, 64, 4, 2, 0, gain, generator), nn.ReLU(),
            Convolution(64, 64, 3, 1, 0, gain, generator), nn.ReLU(),
        )  # fmt: skip
        pixels = math.prod((((side - 8) // 4 + 1 - 4) // 2 + 1) - 2 for side in (self.height, self.width))
        self.linear = orthogonal_linear(64 * pixels, features, gain, generator)
        self.out_features = features


class ImpalaResNet(ImageEncoder):
    """Builds IMPALA's large network: 15 convolutions in three groups. Source: Espeholt et al. 2018, arXiv:1802.01561,
    Figure 3 right, without its LSTM.

    Differs from the paper: orthogonal weights, those at the end of a residual block scaled by the root of their number,
    so that the features of a fresh network are as large as a single convolution's.

    Args:
        observation_space: images of any size.
        generator: draws the weights.
        width: factor of the channels, which are 16, 32 and 32.
        features: of the linear layer at the end.
        parameters: of `ImageEncoder`.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        generator: torch.Generator,
        *,
        width: int = 1,
        features: int = 256,
        **parameters: Any,
    ):
        super().__init__(observation_space, **parameters)
        require_int("width", width, 1)
        require_int("features", features, 1)
        groups: list[nn.Module] = []
        channels, height, breadth, scale = self.channels, self.height, self.width, self.scale
        for depth in (16 * width, 32 * width, 32 * width):
            groups += [
                Convolution(channels, depth, 3, 1, 1, 1.0, generator, scale),
                nn.MaxPool2d(3, 2, 1),
                ResidualBlock(depth, generator),
                ResidualBlock(depth, generator),
            ]
            channels, height, breadth, scale = depth, (height + 1) // 2, (breadth + 1) // 2, 1.0
        self.convolutions = nn.Sequential(*groups, nn.ReLU())
        self.linear = orthogonal_linear(channels * height * breadth, features, math.sqrt(2), generator)
        self.out_features = features


class Fusion(Encoder):
    """Encodes several observations as one: vectors are joined first, each image goes through a network of its own.

    All features stand side by side, those of the vectors first.

    Args:
        observation_space: by path; or one vector.
        generator: draws the weights.
        image: description of an `ImageEncoder`; None takes NatureCNN, or ImpalaResNet below 36 x 36 pixels.
        vector: description of a `VectorEncoder`; None passes vectors as they are.
        features: of a linear layer over all; None for no such layer.
        activation: after that layer.
        channel_axis: of all images, "first" or "last"; None takes the smaller end.
    """

    def __init__(
        self,
        observation_space: ObservationSpace,
        generator: torch.Generator,
        *,
        image: Description | None = None,
        vector: Description | None = None,
        features: int | None = None,
        activation: str = "relu",
        channel_axis: str | None = None,
    ):
        super().__init__()
        spaces = observation_space if isinstance(observation_space, dict) else {"": observation_space}
        images = {path: space for path, space in spaces.items() if is_image(space)}
        vectors = {path: space for path, space in spaces.items() if path not in images}
        if channel_axis is not None and not images:
            raise UsageError(f"channel_axis is of images, but the policy sees only {_list(spaces)}. Leave it out.")
        for what, encoder, seen in (("images", image, images), ("vectors", vector, vectors)):
            if encoder is not None and not seen:
                raise UsageError(f"{encoder['class'].__name__} needs {what}, but the policy sees only {_list(spaces)}.")
        self.flatten = Flatten(vectors) if vectors else None
        self.vector: nn.Module | None = None
        self.out_features = 0
        if self.flatten is not None:
            joined = gym.spaces.Box(-np.inf, np.inf, (self.flatten.out_features,), np.float32)
            vector = {"class": VectorEncoder} if vector is None else vector
            layers = build(vector, VectorEncoder, observation_space=joined, generator=generator)
            self.vector, self.out_features = layers, layers.out_features
        self.image_paths = list(images)
        self.images = nn.ModuleList()
        for space in images.values():
            description = image or _image_default(space, channel_axis)
            if channel_axis is not None:
                description = description | {"channel_axis": channel_axis}
            network = build(description, ImageEncoder, observation_space=space, generator=generator)
            self.images.append(network)
            self.out_features += network.out_features
        self.last: nn.Module | None = None
        if features is not None:
            check_layers([features], activation)
            self.last = multilayer_perceptron(self.out_features, [features], activation, generator)
            self.out_features = features

    def __str__(self) -> str:
        images = [f"{path} {network.words}" for path, network in zip(self.image_paths, self.images, strict=True)]
        return ", ".join([*([] if self.flatten is None else [str(self.flatten)]), *images])

    def forward(self, observations: Observations) -> Tensor:
        by_path = observations if isinstance(observations, dict) else {"": observations}
        features = []
        if self.flatten is not None:
            assert self.vector is not None
            features.append(self.vector(self.flatten(by_path)))
        features += [network(by_path[path]) for path, network in zip(self.image_paths, self.images, strict=True)]
        joined = features[0] if len(features) == 1 else torch.cat(features, -1)
        return joined if self.last is None else self.last(joined)


def _list(spaces: dict[str, gym.Space[Any]]) -> str:
    return ", ".join(f"{path} {space}".strip() for path, space in spaces.items())


def _image_default(space: gym.Space[Any], channel_axis: str | None) -> Description:
    encoder = ImageEncoder(space, channel_axis=channel_axis)
    is_small = min(encoder.height, encoder.width) < _NATURE_MIN_PIXELS
    return {"class": ImpalaResNet if is_small else NatureCNN}


def make_encoder(
    observation_space: ObservationSpace, generator: torch.Generator, description: Description | None = None
) -> Encoder:
    """Build the encoder that observations need.

    Args:
        observation_space: a one-dimensional Box for a policy that gets a tensor (B, D); spaces by path for one that
            gets a dictionary.
        generator: draws the weights.
        description: of an `Encoder`; that of an `ImageEncoder` or a `VectorEncoder` alone says how a `Fusion` treats
            images or vectors. None decides by the spaces: a vector passes as it is, everything else through `Fusion`.

    Returns:
        A module with `out_features`, called with what the policy gets.

    Raises:
        UsageError: if the description does not fit the spaces.
    """
    runtime: dict[str, Any] = {"observation_space": observation_space, "generator": generator}
    if description is None:
        return VectorEncoder(**runtime) if isinstance(observation_space, gym.Space) else Fusion(**runtime)
    cls = description["class"]
    for key, base in (("image", ImageEncoder), ("vector", VectorEncoder)):
        if isinstance(cls, type) and issubclass(cls, base):
            description = {"class": Fusion, key: description}
    return build(description, Encoder, **runtime)


def make_trunk(
    observation_space: ObservationSpace, generator: torch.Generator, description: Description | None = None
) -> tuple[Encoder | None, int]:
    """Do as `make_encoder`, for networks behind it. Returns: the encoder, None if nothing is learned; its features."""
    encoder = make_encoder(observation_space, generator, description)
    is_learned = next(encoder.parameters(), None) is not None
    return encoder if is_learned else None, encoder.out_features


def encode(encoder: Encoder | None, observations: Observations) -> Tensor:
    """Encode observations, if there is an encoder. Args: observations: (B, D), or path -> (B, ...). Returns: (B, F)."""
    features: Any = observations if encoder is None else encoder(observations)
    assert isinstance(features, Tensor)
    return features
