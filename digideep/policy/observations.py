"""What policies see: one vector as a tensor, or images and vectors by path; and how other spaces become vectors."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.images import divided_by, divisors, is_image


class Features(NamedTuple):
    """What an encoder has made of observations, for networks that share it."""

    values: Tensor  # float32 (B, F)


class Views(NamedTuple):
    """What an actor and its critics see of the same moments, where that is not the same."""

    actor: Tensor | dict[str, Tensor]
    critics: Tensor | dict[str, Tensor]


Observations = Tensor | dict[str, Tensor] | Features | Views
ObservationSpace = gym.Space[Any] | dict[str, gym.Space[Any]]  # one vector, or what is seen by path
_MOST_CHOICES = 100_000  # one-hot: 25 MB of weights for 64 features, and 0.4 MB a row


def view_of(observations: Any, is_critic: bool) -> Any:
    """Return what an actor or a critic sees of observations."""
    if isinstance(observations, Views):
        return observations.critics if is_critic else observations.actor
    return observations


def gather(observations: Any, rows: Tensor) -> Any:
    """Gather rows, (M, ...). Args: observations: `Observations`, (B, ...); rows: int64 (M,). Returns: likewise."""
    if isinstance(observations, Views):
        return Views(*(gather(view, rows) for view in observations))
    if isinstance(observations, Tensor):
        return observations[rows]
    return {path: each[rows] for path, each in observations.items()}


def images_to_channels_last(images: Tensor) -> Tensor:
    """Lay images out as convolutions read them.

    Args:
        images: (B, C, H, W), of any dtype.

    Returns:
        The same values and shape, in memory (B, H, W, C).
    """
    if images.is_contiguous(memory_format=torch.channels_last):
        return images
    # A third of the time that `contiguous` takes with bytes.
    return torch.stack(images.unbind(1), -1).movedim(-1, 1)


def to_channels_last(observations: Any) -> Any:
    """Lay out the images of many rows at once, from which minibatches are taken later. Returns: the same values."""
    if isinstance(observations, Views):
        return Views(*map(to_channels_last, observations))
    if not isinstance(observations, dict):
        return observations
    # Images (B, C, H, W) are those of a space with three dimensions, whose smaller end is the first.
    return {
        path: images_to_channels_last(each) if each.dim() == 4 and each.shape[1] < each.shape[3] else each
        for path, each in observations.items()
    }


class Flatten(nn.Module):
    """Joins observations to one vector, in the order of `spaces`: what needs no learning.

    Box: its numbers, bytes divided by their bounds. Discrete, MultiDiscrete: one-hot, counted from the space's start.
    MultiBinary: 0.0 and 1.0. Shape: path -> (B, ...) to float32 (B, out_features).

    Args:
        spaces: by path; no images.

    Raises:
        UsageError: for a space of another kind, or of more choices than 100,000.
    """

    def __init__(self, spaces: dict[str, gym.Space[Any]]):
        super().__init__()
        self.paths = list(spaces)
        self.parts = nn.ModuleList(_flat_part(path, space) for path, space in spaces.items())
        self.out_features: int = sum(part.out_features for part in self.parts)  # type: ignore[misc]

    def __str__(self) -> str:
        return ", ".join(f"{path} {part.words}" for path, part in zip(self.paths, self.parts, strict=True))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return torch.cat([part(observations[path]) for path, part in zip(self.paths, self.parts, strict=True)], -1)


class _Numbers(nn.Module):
    """Passes the numbers of an array on; bytes divided by their bounds, unless a normaliser has made floats of them."""

    def __init__(self, space: gym.Space[Any]):
        super().__init__()
        self.out_features = math.prod(space.shape or ())
        divisor = np.ones(self.out_features)
        if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8:
            divisor = divisors(space).reshape(-1)
        self.words = f"{self.out_features} number{'s' if self.out_features != 1 else ''} {divided_by(divisor)}"
        self.is_scaled = bool((divisor != 1).any())
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(1 / divisor, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(x.shape[0], -1).float()
        return flat * self.scale if self.is_scaled and not x.is_floating_point() else flat


class _OneHot(nn.Module):
    """Returns a one for each choice that was made, zeros for the others."""

    def __init__(self, sizes: np.ndarray, starts: np.ndarray):
        super().__init__()
        self.out_features = int(sizes.sum())
        self.words = f"{len(sizes)} of {self.out_features} choices, one-hot"
        self.columns: Tensor
        self.choices: Tensor
        choices = np.concatenate([np.arange(size) + start for size, start in zip(sizes, starts, strict=True)])
        self.register_buffer("columns", torch.tensor(np.repeat(np.arange(len(sizes)), sizes)), persistent=False)
        self.register_buffer("choices", torch.tensor(choices), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x.reshape(x.shape[0], -1)[:, self.columns] == self.choices).float()


def _flat_part(path: str, space: gym.Space[Any]) -> nn.Module:
    sizes = [space.n] if isinstance(space, gym.spaces.Discrete) else getattr(space, "nvec", np.zeros(0)).reshape(-1)
    if (choices := sum(map(int, sizes))) > _MOST_CHOICES:
        raise UsageError(
            f"The observation {path} has {choices:,} choices, one-hot: expected {_MOST_CHOICES:,} at most. Encode it "
            "by a wrapper under norm_wrappers, or declare a Box."
        )
    if isinstance(space, gym.spaces.Discrete):
        return _OneHot(np.array([space.n]), np.array([space.start]))
    if isinstance(space, gym.spaces.MultiDiscrete):
        return _OneHot(space.nvec.reshape(-1), space.start.reshape(-1))
    if isinstance(space, (gym.spaces.Box, gym.spaces.MultiBinary)):
        return _Numbers(space)
    raise UsageError(
        f"A policy cannot see {space}. Expected Box, Discrete, MultiDiscrete, MultiBinary, or Dict and Tuple of them."
    )


class Sight:
    """Which observations somebody sees, and as what they reach a policy.

    Args:
        path: of an observation; several as a list; None for all there are.
        spaces: of all observations, by path.
        device: where the policy is.
        name: of the parameter that says the path.

    Attributes:
        paths: of what is seen.
        space: a one-dimensional Box for a vector or for several joined to one; with images among them, spaces by path.
        flatten: joins them to that one vector; None where there is nothing to join.

    Raises:
        UsageError: see `check_paths`.
    """

    def __init__(
        self, path: str | list[str] | None, spaces: Mapping[str, gym.Space[Any]], device: torch.device,
        name: str = "observation_path",
    ):  # fmt: skip
        self.paths = check_paths(path, spaces, name)
        seen = {each: spaces[each] for each in self.paths}
        self.space: ObservationSpace = seen
        self.flatten: Flatten | None = None
        first, *others = seen.values()
        if not others and isinstance(first, gym.spaces.Box) and len(first.shape) == 1 and first.dtype == np.float32:
            self.space = first
        elif not any(is_image(space) for space in seen.values()):
            self.flatten = Flatten(seen).to(device)
            self.space = gym.spaces.Box(-np.inf, np.inf, (self.flatten.out_features,), np.float32)

    def join(self, tensors: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        """Return what the policy sees. Args: tensors: of the observations by path, (B, ...)."""
        if self.flatten is not None:
            return self.flatten.forward(tensors)
        return tensors[self.paths[0]] if isinstance(self.space, gym.Space) else tensors

    def __str__(self) -> str:
        if self.flatten is not None:
            return str(self.flatten)
        if isinstance(self.space, gym.Space):
            return f"{self.paths[0]} {math.prod(self.space.shape or ())} numbers as given"
        return ", ".join(f"{path} {space}" for path, space in self.space.items())


def check_paths(
    observation_path: str | list[str] | None, spaces: Mapping[str, gym.Space[Any]], name: str = "observation_path"
) -> list[str]:
    """Return the paths that are meant. Raises: UsageError: if one of them is no observation, or there is none."""
    paths = [observation_path] if isinstance(observation_path, str) else observation_path
    paths = list(spaces) if paths is None else paths
    if not isinstance(paths, (list, tuple)) or not paths or len(set(map(str, paths))) != len(paths):
        raise UsageError(f"{name} must be a path, a list of different paths, or null, got {paths!r}.")
    for path in paths:
        if path not in spaces:
            raise UsageError(f"{name} '{path}' is no observation. {did_you_mean(str(path), spaces)}")
    return list(paths)
