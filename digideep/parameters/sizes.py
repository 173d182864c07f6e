"""Sizes that a control panel gives in frames and transitions: of a run, its epochs, and a replay memory."""

from typing import Any

from digideep.parameters.checks import require_int

_CANDIDATES = 1000  # sizes of an epoch that are tried
_LENGTHS = ("total_frames", "epoch_frames", "number_epochs", "epoch_size")


def plan_parameters(cpanel: dict[str, Any]) -> dict[str, Any]:
    """Return the epochs of a run, and the cycles of an epoch, that come nearest to the frames that the panel asks for.

    A run has at least "total_frames"; to waste few beyond them, an epoch may have a quarter more or less than
    "epoch_frames". "number_epochs" and "epoch_size" take their places where they are given.
    """
    for key in ("num_workers", "n_steps"):
        require_int(key, cpanel[key], 1)
    total, size, epochs, cycles = (cpanel.get(key) for key in _LENGTHS)  # type: Any, Any, Any, Any
    chunk, whole = _cycle_frames(cpanel), 0  # cycles of the run
    if epochs is None:
        require_int("total_frames", total, 1)
        whole = -(-total // chunk)
    if cycles is None:
        require_int("epoch_frames", size, 1)
        cycles = max(round(size / chunk), 1)
        if epochs is None:
            cycles = min(cycles, whole)
            low, high = max(cycles * 3 // 4, 1), cycles * 5 // 4
            sizes = [cycles, *range(low, high + 1, max((high - low) // _CANDIDATES, 1))]
            cycles = min(sizes, key=lambda each: (-(-whole // each) * each, abs(each - cycles)))
    require_int("epoch_size", cycles, 1)
    if epochs is None:
        epochs = -(-whole // cycles)
    require_int("number_epochs", epochs, 1)
    return {"n_epochs": epochs, "n_cycles": cycles}


def memory_chunks(cpanel: dict[str, Any]) -> Any:
    """Return the chunks of the memory: "memory_size" holds transitions, "memory_size_in_chunks" takes its place."""
    size, chunks = (cpanel.get(key) for key in ("memory_size", "memory_size_in_chunks"))  # type: Any, Any
    if chunks is None:
        require_int("memory_size", size, 1)
        chunks = -(-size // _cycle_frames(cpanel))
    return chunks


def num_ranks(cpanel: dict[str, Any]) -> int:
    """Return the processes that train a run together: null in a panel that is no run's yet stands for one."""
    number: Any = cpanel.get("num_ranks")
    if number is None:
        return 1
    require_int("num_ranks", number, 1)
    return int(number)


def _cycle_frames(cpanel: dict[str, Any]) -> int:
    """Return the frames of a cycle in all ranks."""
    return int(cpanel["num_workers"] * cpanel["n_steps"] * num_ranks(cpanel))
