"""What a checkpoint must hold, apart from whether its files are as they were written."""

from typing import Any

import numpy as np
import torch

from digideep.utility.errors import CheckpointError
from digideep.utility.files import is_finite, is_number

DEEPEST = 64  # levels of a checkpoint's JSON: whoever walks through it calls itself as often
_PARTS = ("params", "cpanel", "agents", "runner", "spaces", "statistics")  # of each checkpoint's state
_PARTS_TO_RESUME = ("explorer", "memory", "monitor")


def check_state(order: tuple[int, int] | None, state: dict[str, Any], needs_memory: bool) -> None:
    """Refuse a state that is none of a run, whatever its hash.

    Args:
        order: epoch and cycle that the checkpoint's name says; None if it has another name.
        state: all that was read.
        needs_memory: it is to be trained on, not only played.

    Raises:
        CheckpointError: naming the value.
    """
    for name in (*_PARTS, *(_PARTS_TO_RESUME if needs_memory else ())):
        if not isinstance(state.get(name), dict):
            raise CheckpointError(f"{name} is {state.get(name)!r:.100}, expected an object.")
    for name in ("runner", "env", "explorer", "memory", "agents"):
        if not isinstance(state["params"].get(name), dict):
            raise CheckpointError(f"params/{name} is {state['params'].get(name)!r:.100}, expected an object.")
    runner = state["runner"]
    for name in ("i_epoch", "i_cycle"):
        if not isinstance(runner.get(name), int) or isinstance(runner[name], bool):
            raise CheckpointError(f"{name} is {runner.get(name)!r:.100}, expected a whole number.")
    if order is not None and (runner["i_epoch"], runner["i_cycle"]) != order:
        raise CheckpointError(f"it holds epoch {runner['i_epoch']}, cycle {runner['i_cycle']}, other than its name.")
    # Returns that are not finite are read, since they have been written: the Runner forgets them.
    returns = runner.get("recent_returns")
    if not isinstance(returns, list) or not all(map(is_number, returns)):
        raise CheckpointError(f"recent_returns is {returns!r:.100}, expected a list of numbers.")
    for name in ("test_return", "best_return"):
        if runner.get(name) is not None and not is_number(runner[name]):
            raise CheckpointError(f"{name} is {runner[name]!r:.100}, expected a number.")


def check_figures(figures: dict[str, Any]) -> None:
    """Refuse what cannot be said about the files of a session. Args: figures: what the checkpoint says.

    Raises:
        CheckpointError: naming the value.
    """
    elapsed_s, logs = figures.get("elapsed_s", 0.0), figures.get("logs", {})
    if not is_finite(elapsed_s) or elapsed_s < 0:
        raise CheckpointError(f"elapsed_s is {elapsed_s!r:.100}, expected seconds.")
    if not isinstance(logs, dict) or not all(is_finite(size) and size >= 0 for size in logs.values()):
        raise CheckpointError(f"logs is {logs!r:.100}, expected sizes by name.")


def check_kinds(state: Any, like: Any, path: str = "") -> None:
    """Compare the kinds of a state's values with those of a state that is as it should be.

    Args:
        state: nested dictionaries.
        like: the state of a new run of the same parameters. What it lacks is not looked at, nor what is None there.
        path: of the two within the whole.

    Raises:
        CheckpointError: for the first value of another kind.
    """
    if isinstance(like, dict) and isinstance(state, dict):
        for key in like.keys() & state.keys():
            check_kinds(state[key], like[key], f"{path}/{key}")
    elif like is not None and not _is_alike(state, like):
        raise CheckpointError(f"{path} is {state!r:.100}, expected something like {like!r:.100}.")


def _is_alike(value: Any, like: Any) -> bool:
    """True if a value is of a kind that the other could have become: numbers may become arrays, floats wider."""
    numeric = (bool, int, float, np.ndarray, torch.Tensor)
    if not isinstance(value, numeric) or not isinstance(like, numeric):
        return type(value) is type(like)
    if isinstance(value, (np.ndarray, torch.Tensor)) and isinstance(like, type(value)) and value.ndim and like.ndim:
        return value.ndim == like.ndim and _dtype_kind(value) == _dtype_kind(like)
    return True


def _dtype_kind(array: np.ndarray | torch.Tensor) -> str:
    if isinstance(array, torch.Tensor):
        return "f" if array.is_floating_point() else str(array.dtype)
    return array.dtype.kind


def is_deeper(value: Any, levels: int) -> bool:
    """True if dictionaries and lists are nested deeper than that."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True
