"""Limits of an Explorer's parameters, to be checked also for one that is built later."""

from typing import Any

from digideep.environment.stepping.backends import BACKENDS
from digideep.parameters.checks import require, require_between, require_int
from digideep.utility.errors import UsageError

# Beyond any machine, so that a slip of the keyboard is no attempt at starting so many.
_MAX_WORKERS, _MAX_PROCESSES = 65_536, 1_024
_MAX_TIMEOUT_S = 1e6  # of the system's own clocks


def check_explorer(
    *, num_workers: int, num_processes: int | None, backend: str, n_steps: int | None, n_episodes: int | None,
    warm_start: int, do_reset: bool, overlap: bool, render_delay: float, worker_timeout_s: float, **others: Any,
) -> None:  # fmt: skip
    """Refuse parameters that make no explorer, without making one. Raises: UsageError: naming the parameter."""
    require_int("num_workers", num_workers, 1, _MAX_WORKERS)
    if num_processes is not None:
        require_int("num_processes", num_processes, 0, _MAX_PROCESSES)
        require(num_processes <= num_workers, "num_processes", num_processes, f"at most num_workers={num_workers}")
    for name, value in (("n_steps", n_steps), ("n_episodes", n_episodes)):
        if value is not None:
            require_int(name, value, 1)
    require(n_steps is not None or n_episodes is not None, "n_steps", n_steps, "given where n_episodes is not")
    require_int("warm_start", warm_start, 0)
    require_between("render_delay", render_delay, 0, 3600)
    require_between("worker_timeout_s", worker_timeout_s, 0.1, _MAX_TIMEOUT_S)
    require(backend in BACKENDS, "backend", backend, f"one of {', '.join(BACKENDS)}")
    if overlap and (backend != "gymnasium" or n_steps is None or n_episodes is not None or do_reset or render_delay):
        raise UsageError(
            "overlap is for training by a fixed number of steps with the backend gymnasium, which can re-live them."
        )
