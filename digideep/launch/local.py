"""Jobs as processes of this machine."""

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

import torch

from digideep.launch.child import STOP_S, Order
from digideep.launch.engine import Ended, Job
from digideep.utility.errors import UsageError
from digideep.utility.files import open_regular
from digideep.utility.own_files import require_own
from digideep.utility.text import one_line

_POLL_S = 0.05
_SPARE_S = 5.0  # beyond STOP_S: a process ends itself, if it still can
_TAIL_BYTES = 65_536
# What libraries read to choose their number of threads, where a person has not set it.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Modules are found where this process finds them. Nothing of the main module is imported again by worker processes.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); import digideep.launch.child as child; "
_START += "raise SystemExit(child.main())"


class LaunchedProcess:
    """A process of this machine that runs a job, and ends when this process does.

    Args:
        job: what it runs.
        cores: numbers of those that it may use, where the system can tell it; none leave them to the system.
        environment: variables besides those of this process.
        path: where modules are found, if not where this process finds them.
        program: what the session's notes call the program; None takes the name of this one.
    """

    def __init__(
        self, job: Job, cores: Sequence[int] = (), environment: Mapping[str, str] | None = None, *,
        path: Sequence[str] | None = None, program: str | None = None,
    ):  # fmt: skip
        self.job, self._path = job, list(sys.path if path is None else path)
        require_own(job.log.parent, is_directory=True)
        require_own(job.log)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        variables = {**dict.fromkeys(_THREADS, str(job.threads)), **os.environ, **(environment or {})}
        with job.log.open("ab") as output:
            self._begin = output.tell()
            self._process = self._start(output, variables)
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        self._kill_at = float("inf")
        order = Order(job.to_json(), tuple(cores), program or sys.argv[0])
        with contextlib.suppress(OSError):  # it has ended already
            self._pipe.write(f"{json.dumps(order)}\n".encode())
            self._pipe.flush()

    def _start(self, output: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen:
        """Start the process, which waits for its order. In a session of its own: a Ctrl-C of the terminal is for us."""
        command = [sys.executable, "-c", _START, json.dumps(self._path), str(self.job.session)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def ask_to_stop(self) -> None:
        """Let it stop with a checkpoint. Safe to call again."""
        if self._kill_at == float("inf"):
            self._kill_at = time.monotonic() + STOP_S + _SPARE_S
            with contextlib.suppress(OSError):  # what it did not read cannot be flushed
                self._pipe.close()

    def poll(self) -> Ended | None:
        """Return how it ended; None if it has not. One that was asked to stop long ago is killed."""
        if time.monotonic() > self._kill_at:
            self.kill()
        code = self._process.poll()
        if code is None:
            return None
        was_asked = self._kill_at < float("inf")
        self.ask_to_stop()  # closes the pipe
        return Ended(self.job, code, self._reason(code, was_asked))

    def kill(self) -> None:
        """Kill it, and what it has started."""
        if self._process.poll() is None and hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads its group
        self._process.kill()
        self._process.wait()

    def _reason(self, code: int, was_asked: bool) -> str:
        """Return why it failed, in a line: the last one that it printed, if the program did so."""
        if code in (0, 3, 75) or (was_asked and code == -signal.SIGTERM):
            return ""
        if was_asked and code < 0:
            return f"killed, since it did not stop within {STOP_S + _SPARE_S:.0f} s"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"killed by {name}{': memory may have run out' if name == 'SIGKILL' else ''}"
        lines: list[str] = []
        with contextlib.suppress(UsageError), open_regular(self.job.log) as file:
            file.seek(max(self._begin, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
        said = [line.removeprefix("digideep: ") for line in lines if line.startswith("digideep: ")]
        return one_line(said[-1] if said else lines[-1] if lines else f"exit code {code}")


class LocalEngine:
    """Runs some jobs at once on this machine, each on cores of its own.

    Args:
        jobs: how many at once, at least 1.
        gpus: of CUDA, as CUDA_VISIBLE_DEVICES names them, shared out to the jobs; none leave that to the jobs.
    """

    def __init__(self, jobs: int, gpus: Sequence[str] = ()):
        self._slots: list[LaunchedProcess | None] = [None] * jobs
        self._cores = share_cores(jobs)
        self._gpus = [{"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {} for slot in range(jobs)]

    @property
    def free(self) -> int:
        """Jobs that may be started now."""
        return self._slots.count(None)

    def start(self, job: Job) -> None:
        """Begin to run a job. There must be a place that is free."""
        slot = self._slots.index(None)
        self._slots[slot] = LaunchedProcess(job, self._cores[slot], self._gpus[slot])

    def wait(self, timeout_s: float) -> list[Ended]:
        """Wait until a job has ended, or the time is over. Returns: those that have ended since the last call."""
        deadline = time.monotonic() + timeout_s
        while not (ended := self._ended()) and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL_S, left_s))
        return ended

    def _ended(self) -> list[Ended]:
        found = []
        for slot, process in enumerate(self._slots):
            if process is not None and (ended := process.poll()) is not None:
                self._slots[slot] = None
                found.append(ended)
        return found

    def stop(self) -> list[Ended]:
        """Let all jobs stop, each with a checkpoint; kill those that do not. Returns: all that have ended."""
        ended = self._ended()
        try:
            for process in filter(None, self._slots):
                process.ask_to_stop()
            while any(self._slots):
                ended += self.wait(1.0)
        except BaseException:  # a second Ctrl-C: nobody waits for checkpoints any more
            for process in filter(None, self._slots):
                process.kill()
            raise
        return ended


def make_engine(args: argparse.Namespace, jobs: int) -> LocalEngine:
    """Return the engine. Args: args: of `digideep group`; jobs: at once."""
    gpus = (os.environ.get("CUDA_VISIBLE_DEVICES") or "").split(",") if "CUDA_VISIBLE_DEVICES" in os.environ else []
    if not gpus and torch.cuda.is_available():
        gpus = [str(number) for number in range(torch.cuda.device_count())]
    return LocalEngine(jobs, gpus if len(gpus) > 1 and args.device in (None, "auto", "cuda") else [])


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(_cores()) or os.cpu_count() or 1


def _cores() -> list[int]:
    """Return the numbers of the cores that this process may use; none where the system has no way to say so."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def share_cores(jobs: int) -> list[tuple[int, ...]]:
    """Return the cores of each of some jobs at once: about as many to each, neighbours together.

    None are given to any where there are fewer cores than jobs, or the system has no way to say so.
    """
    cores = _cores()
    bounds = [len(cores) * slot // jobs for slot in range(jobs + 1)] if len(cores) >= jobs else [0] * (jobs + 1)
    return [tuple(cores[first:last]) for first, last in itertools.pairwise(bounds)]
