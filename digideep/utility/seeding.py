"""Random generators, derived from one seed: owned ones, and the global ones, from which digideep itself never draws."""

import random
import sys
import zlib
from typing import Any

import numpy as np


def make_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a generator of its own for each purpose, such as `("explorer", "train", 3)`: no two overlap."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, purpose)))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return an integer seed in [0, 2**63) for a library that wants one, such as a torch generator."""
    return int(_sequence(seed, purpose).generate_state(1, np.uint64)[0] >> 1)


def seed_globals(seed: int, *purpose: str | int) -> None:
    """Seed the global generators of Python, numpy and torch, for layers and simulators of a user's own.

    Torch is seeded where it is imported already. Worker processes do without it: what a simulator of theirs draws from
    torch repeats, whatever the seed.
    """
    random.seed(derive_seed(seed, "global", "python", *purpose))
    np.random.seed(derive_seed(seed, "global", "numpy", *purpose) % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(derive_seed(seed, "global", "torch", *purpose))


def _sequence(seed: int, purpose: tuple[str | int, ...]) -> np.random.SeedSequence:
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in purpose]
    return np.random.SeedSequence(seed, spawn_key=words)


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator as JSON values (its integers have 128 bits)."""
    return dict(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Put a generator back to where `generator_state` saw it."""
    generator.bit_generator.state = state
