"""Hidden states of agents, as an Explorer keeps them: an array, or a dictionary of arrays of any numbers."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from digideep.parameters.checks import shown
from digideep.utility.errors import UsageError

HiddenState = np.ndarray | dict[str, np.ndarray]
_KINDS = "biuf"  # of dtypes that a checkpoint can hold
_LARGEST = 8  # bytes of a number


def check_hidden_state(state: Any, num_rows: int, agent: str) -> HiddenState | None:
    """Return what an agent's `reset_hidden_state` gave; refuse what an Explorer cannot keep.

    Args:
        state: an array (R, ...), a dictionary of them, or None.
        num_rows: R.
        agent: its name.
    """
    if not isinstance(state, dict):
        return state  # an array or None, by the agent's contract
    for name, array in state.items():
        what = f"The hidden state {shown(name)} of agent '{agent}'"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise UsageError(f"{what} needs a name of letters, digits, _ and -: it becomes a part of paths.")
        if not isinstance(array, np.ndarray) or array.shape[:1] != (num_rows,):
            got = f"shape {array.shape}" if isinstance(array, np.ndarray) else shown(array)
            raise UsageError(f"{what} must be an array with a row for each of {num_rows} workers, got {got}.")
        if array.dtype.kind not in _KINDS or array.dtype.itemsize > _LARGEST:
            raise UsageError(f"{what} must hold integers, floats or bools of at most 64 bits, got {array.dtype}.")
        if array.any():
            raise UsageError(f"{what} must be zero before a first observation, as it is in each further episode.")
    return state


def _arrays(state: HiddenState | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a state, and how the path of each ends."""
    if isinstance(state, dict):
        yield from ((f"/{name}", array) for name, array in state.items())
    elif state is not None:
        yield "", state


def rows_of(state: HiddenState | None, rows: slice) -> HiddenState | None:
    """Return views of some rows."""
    if isinstance(state, dict):
        return {name: array[rows] for name, array in state.items()}
    return None if state is None else state[rows]


def copy_of(state: HiddenState | None) -> HiddenState | None:
    """Return a copy."""
    return (
        {name: np.array(array) for name, array in state.items()}
        if isinstance(state, dict)
        else (None if state is None else np.array(state))
    )


def entries(key: str, state: HiddenState | None) -> dict[str, np.ndarray]:
    """Return copies of the arrays as entries of a chunk's row. Args: key: of the state, before names of arrays."""
    return {f"{key}{end}": array.copy() for end, array in _arrays(state)}


def replace(state: HiddenState, new: Any, agent: str) -> None:
    """Write what an agent returned over its state, in place.

    Raises:
        UsageError: if it is of other names, shapes or kinds of numbers.
    """
    if new is None:
        raise UsageError(f"Agent '{agent}' remembers, and returned no 'hidden_state' with its actions. Add it.")
    if not isinstance(state, dict):
        state[...] = new
        return
    if not isinstance(new, dict) or new.keys() != state.keys():
        got = f"arrays {sorted(new)}" if isinstance(new, dict) else shown(new)
        raise UsageError(f"Agent '{agent}' returned the hidden state {got}, expected arrays {sorted(state)}.")
    for name, array in state.items():
        given = np.asarray(new[name])
        if given.shape != array.shape or not np.can_cast(given.dtype, array.dtype, "same_kind"):
            raise UsageError(
                f"Agent '{agent}' returned the hidden state '{name}' as {given.dtype} {given.shape}, expected "
                f"{array.dtype} {array.shape}."
            )
        array[...] = given


def forget(state: HiddenState, rows: np.ndarray) -> None:
    """Set rows to zero, in place, whose episodes are over. Args: rows: bool (N,)."""
    for _, array in _arrays(state):
        array[rows] = 0
