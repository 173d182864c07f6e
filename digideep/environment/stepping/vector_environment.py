"""All the workers of one Explorer, in this process or spread over several."""

import itertools
import logging
from typing import Any

import numpy as np

from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.served_process import START_S
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.environment.stepping.worker_group import WorkerGroup
from digideep.environment.stepping.worker_process import SharedMemory, WorkerProcess

_log = logging.getLogger("digideep")


class VectorEnvironment:
    """All the workers of one Explorer, in this process (`num_processes=0`) or spread over several.

    Workers in several processes come in two parts, so that one simulates while the other's actions are chosen. The
    order of events is fixed; no result depends on which process is faster.

    Args:
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_processes: processes to spread them over, at most `num_workers`.
        timeout_s: how long an answer of a worker process may take.
        in_parts: whether two parts may be stepped one after the other.

    Attributes:
        buffers: of all workers.
        parts: views of them, for the workers that are stepped together.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        info: EnvironmentInfo,
        num_workers: int,
        num_processes: int,
        timeout_s: float,
        *,
        in_parts: bool = True,
    ):
        self.timeout_s = timeout_s
        self._group: WorkerGroup | None = None
        self._processes: list[WorkerProcess] = []
        self._processes_of: dict[int, list[WorkerProcess]] = {}  # first worker of a part -> those that step it
        if num_processes == 0:
            self.buffers = StepBuffers(info, num_workers, np.zeros)
            self.parts = [self.buffers]
            self._group = WorkerGroup(plan, range(num_workers), self.buffers, info)
            return
        memory = SharedMemory()
        self.buffers = StepBuffers(info, num_workers, memory.allocate)
        bounds = np.linspace(0, num_workers, num_processes + 1).astype(int).tolist()
        middle = bounds[num_processes // 2] if in_parts else 0
        self.parts = self.buffers.halves(middle)
        try:
            for first, last in itertools.pairwise(bounds):
                process = WorkerProcess(memory, range(first, last), plan, info, num_workers)
                self._processes.append(process)
                self._processes_of.setdefault(middle if first >= middle else 0, []).append(process)
            for process in self._processes:
                process.receive(timeout_s + START_S)
        except BaseException:
            self.close()
            raise

    def _ask(self, request: str, *args: Any) -> list[Any]:
        if self._group is not None:
            return [getattr(self._group, request)(*args)]
        for process in self._processes:
            process.send(request, *args)
        return [process.receive(self.timeout_s) for process in self._processes]

    def reset(self) -> None:
        """Begin a new episode everywhere; `buffers` hold the first observations."""
        self._ask("reset")

    def send(self, part: StepBuffers) -> None:
        """Let a part of the workers take a step. Args: part: one of `parts`, with its `actions`."""
        if self._group is None:
            for process in self._processes_of[part.workers.start]:
                process.send("step")

    def receive(self, part: StepBuffers) -> None:
        """Wait for the step of a part of the workers; its buffers hold the outcome."""
        if self._group is not None:
            self._group.step()
        else:
            for process in self._processes_of[part.workers.start]:
                process.receive(self.timeout_s)

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let all episodes to come depend on `seed` and `purpose` alone."""
        self._ask("reseed", seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """Return, by rank, all it takes to re-live the episodes."""
        return {rank: worker for part in self._ask("state_dict") for rank, worker in part.items()}

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Re-live the episodes. Returns: ranks whose environment did not come back to the same observation."""
        return [rank for part in self._ask("load_state_dict", state) for rank in part]

    def close(self) -> None:
        """Close every environment and end every process. What goes wrong is logged."""
        if self._group is not None:
            for complaint in self._group.close():
                _log.warning("%s", complaint)
        for process in self._processes:
            process.begin_closing()
        for process in self._processes:
            process.close()
