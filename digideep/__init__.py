"""Digideep: train deep reinforcement-learning agents from parameter files, and resume them exactly."""

import importlib
from typing import TYPE_CHECKING, Any

from digideep.utility.version import __version__

if TYPE_CHECKING:
    from digideep.api import UsageError, evaluate, load, resume, train

__all__ = ["UsageError", "__version__", "evaluate", "load", "resume", "train"]


def __getattr__(name: str) -> Any:  # torch is imported only when one of them is used
    if name not in __all__:
        raise AttributeError(f"module 'digideep' has no attribute '{name}'")
    return getattr(importlib.import_module("digideep.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
