"""A worker group in a process of its own, and the memory that it shares with the process that trains."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.served_process import ServedProcess, start_context
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.environment.stepping.worker_group import WorkerGroup
from digideep.utility.seeding import seed_globals


class SharedMemory:
    """Allocates arrays that the processes of an Explorer share, so that no step copies one through a pipe."""

    def __init__(self) -> None:
        self.context = start_context()
        self.blocks: list[Any] = []

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Allocate a zeroed shared array; `blocks` remembers it for the other processes."""
        self.blocks.append(self.context.RawArray("b", max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)))
        return map_blocks(iter(self.blocks[-1:]))(shape, dtype)


def map_blocks(blocks: Iterator[Any]) -> Callable[[tuple[int, ...], Any], np.ndarray]:
    """Return an `allocate` that takes the next of some blocks that are there already."""
    return lambda shape, dtype: np.frombuffer(next(blocks), dtype, count=int(np.prod(shape))).reshape(shape)


class WorkerProcess(ServedProcess):
    """A `WorkerGroup` in a process of its own. A step costs one byte each way; the data lies in shared memory.

    Args:
        memory: with the buffers of all workers.
        ranks: of the group's workers.
        plan: what each of them runs.
        info: the environment's spaces.
        num_workers: of the explorer.
    """

    def __init__(self, memory: SharedMemory, ranks: range, plan: WorkerPlan, info: EnvironmentInfo, num_workers: int):
        what = f"workers {ranks.start} to {ranks.stop - 1}"
        super().__init__(memory.context, what, _make_group, ranks, plan, info, num_workers, memory.blocks)


def _make_group(
    ranks: range, plan: WorkerPlan, info: EnvironmentInfo, num_workers: int, blocks: list[Any]
) -> WorkerGroup:
    seed_globals(plan.seed, plan.purpose, ranks.start)
    return WorkerGroup(plan, ranks, StepBuffers(info, num_workers, map_blocks(iter(blocks))), info)
