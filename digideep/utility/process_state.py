"""The state that a whole process shares: global random generators, and the settings of torch that a run changes."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from digideep.utility.errors import UsageError

# Environment variables that a run sets where they are not: they are read by libraries when they start.
_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC", "MUJOCO_GL", "SDL_VIDEODRIVER")


def find_device(name: str) -> torch.device:
    """Return the device to compute on: "cpu", "cuda", "cuda:1" and so on, "mps", or "auto" for CUDA if there is one.

    Raises:
        UsageError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: torch finds no Apple GPU here. Use --device cpu, or auto.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: torch finds no CUDA device here. Use --device cpu, or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        number = torch.cuda.device_count()
        raise UsageError(f"--device {name}: torch finds {number} here, cuda:0 to cuda:{number - 1}.")
    return device


def configure_torch(num_threads: int, *, is_deterministic: bool) -> None:
    """Set up torch for a run.

    Args:
        num_threads: at least 1. Results can depend on it.
        is_deterministic: use only algorithms that repeat their results.
    """
    torch.set_num_threads(num_threads)
    if is_deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
        # What use_deterministic_algorithms does, without importing the compiler, which reads its part of it itself.
        torch.set_deterministic_debug_mode("error")
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
        # Filling fresh memory would cost 4 %; nothing reads it. The module is unknown to its own type stubs.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def check_switches() -> None:
    """Refuse settings of torch that would change a training: gradients off, or floats that are not 32 bits wide."""
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        found = "torch's gradients switched off"
    elif torch.get_default_dtype() is not torch.float32:
        found = f"torch's default dtype at {torch.get_default_dtype()}"
    else:
        return
    raise UsageError(
        f"Code of yours, such as the environment, has left {found} for the whole program, which would change what is "
        "learned. Do it within a `with` block, or undo it."
    )


def globals_state() -> dict[str, Any]:
    """Return the state of the global generators."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    state = {
        "python": {"version": version, "words": np.array(words, np.int64), "gauss": [] if gauss is None else [gauss]},
        "numpy": {**numpy, "state": {**numpy["state"]}},
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = {str(index): each for index, each in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_globals_state(state: dict[str, Any]) -> None:
    """Restore the global generators to a state from `globals_state`."""
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), *(python["gauss"] or [None])))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    cuda = list(state.get("cuda", {}).values())
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def unchanged_globals() -> Iterator[None]:
    """Restore the global generators at the end: whatever is done within the context changes nothing that is drawn."""
    state = globals_state()
    try:
        yield
    finally:
        set_globals_state(state)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread within the context. Idle threads would spin on cores that other processes need."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Restore at the end what a run changes in its process, for a caller who goes on with other work."""
    generators, variables = globals_state(), {name: os.environ.get(name) for name in _VARIABLES}
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    deterministic: Any = torch.utils.deterministic
    fills = deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        set_globals_state(generators)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        deterministic.fill_uninitialized_memory = fills
