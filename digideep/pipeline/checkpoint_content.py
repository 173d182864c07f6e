"""What a checkpoint must hold, apart from whether its files are as they were written."""

from typing import Any

import numpy as np
import torch

from digideep.memory.generic import MAIN
from digideep.utility.errors import CheckpointError
from digideep.utility.files import is_finite, is_number

DEEPEST = 64  # levels of a checkpoint's JSON: whoever walks through it calls itself as often
_PARTS = ("params", "cpanel", "agents", "runner", "spaces", "statistics")  # of each checkpoint's state
_PARTS_TO_RESUME = ("explorer", "memory", "monitor")


def check_state(order: tuple[int, int] | None, state: dict[str, Any], needs_memory: bool) -> None:
    """Refuse, by a CheckpointError, a state that is none of a run, whatever its hash.

    Args:
        order: epoch and cycle that the checkpoint's name says; None if it has another name.
        needs_memory: it is to be trained on, not only played.
    """
    for name in (*_PARTS, *(_PARTS_TO_RESUME if needs_memory else ())):
        _require(isinstance(state.get(name), dict), name, state.get(name), "an object")
    _require(isinstance(state.get("memories", {}), dict), "memories", state.get("memories"), "an object")
    params, runner = state["params"], state["runner"]
    for name in ("runner", "env", "explorer", "memory", "agents"):
        _require(isinstance(params.get(name), dict), f"params/{name}", params.get(name), "an object")
    for name in ("i_epoch", "i_cycle"):
        number = runner.get(name)
        _require(isinstance(number, int) and not isinstance(number, bool), name, number, "a whole number")
    if order is not None and (runner["i_epoch"], runner["i_cycle"]) != order:
        raise CheckpointError(f"it holds epoch {runner['i_epoch']}, cycle {runner['i_cycle']}, other than its name.")
    # Returns that are not finite are read, since they have been written: the Runner forgets them.
    returns = runner.get("recent_returns")
    is_list = isinstance(returns, list) and all(map(is_number, returns))
    _require(is_list, "recent_returns", returns, "a list of numbers")
    for name in ("test_return", "best_return", "test_success"):
        _require(runner.get(name) is None or is_number(runner[name]), name, runner.get(name), "a number")


def memory_state(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a checkpoint's state says of a memory, by its name."""
    found: dict[str, Any] = state["memory"] if name == MAIN else state["memories"][name]
    return found


def check_figures(figures: dict[str, Any]) -> None:
    """Refuse what cannot be said about a session's files, as `check_state`. Args: figures: what a checkpoint says."""
    elapsed_s, logs = figures.get("elapsed_s", 0.0), figures.get("logs", {})
    _require(is_finite(elapsed_s) and elapsed_s >= 0, "elapsed_s", elapsed_s, "seconds")
    are_sizes = isinstance(logs, dict) and all(is_finite(size) and size >= 0 for size in logs.values())
    _require(are_sizes, "logs", logs, "sizes by name")


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise CheckpointError(f"{name} is {value!r:.100}, expected {expected}.")


def check_kinds(state: Any, like: Any, path: str = "") -> None:
    """Refuse, by a CheckpointError, a state that has values of other kinds than one that is as it should be.

    Args:
        like: the state of a new run of the same parameters. What it lacks is not looked at, nor what is None there.
        path: of the two within the whole.
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
