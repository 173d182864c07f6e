"""Jobs as tasks of Ray: it finds a machine with free cores for each, and gives a job of a lost machine to another."""

import argparse
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from digideep.launch.child import STOP_S
from digideep.launch.engine import Ended, Job
from digideep.launch.local import LaunchedProcess
from digideep.pipeline.session_directory import is_held
from digideep.pipeline.stop_signals import STOPPED
from digideep.telemetry.requirements import has_package
from digideep.utility.errors import UsageError
from digideep.utility.text import one_line

_LOST_NODES = 10  # from which Ray takes a job away to another one
_POLL_S = 0.2
_CONNECT_S, _ANSWER_S = 5, 20
_SPARE_S = 15.0  # beyond STOP_S: a node that was lost says nothing more
_STORE_BYTES = 80_000_000  # of a cluster of our own; all that goes through it are exit codes


class RayEngine:
    """Runs jobs as tasks of a Ray cluster. Ray alone decides where; the session's files are all that a job leaves.

    Each task is a process of Ray's that starts a job's process, as this machine's engine does, and waits for it. It
    ends with its task, and Ray ends the tasks of a program that is gone.

    Args:
        jobs: how many at once, at most; None for as many as the cluster has room for.
        address: of a cluster, as HOST:PORT or "auto"; None starts one of its own on this machine, and ends it.
        cpus, gpus: that Ray reserves for each job; a part of a GPU may be asked for.

    Raises:
        UsageError: without Ray, if no cluster answers at the address, or if no node of it has room for a job.
    """

    def __init__(self, jobs: int | None = None, *, address: str | None = None, cpus: float = 1, gpus: float = 0):
        self._jobs, self._cpus, self._gpus = jobs, cpus, gpus
        self._tasks: dict[Any, Job] = {}
        self._ray = _connect(address)
        try:
            self._require_room()
            task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_LOST_NODES)
            self._remote = task(run_on_node)
        except BaseException:
            self._ray.shutdown()
            raise

    def _require_room(self) -> None:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(self._room(node) for node in nodes):
            most = max(((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes), default=(0, 0))
            raise UsageError(
                f"--cpus-per-run {self._cpus:g} and --gpus-per-run {self._gpus:g}: no node of the Ray cluster has as "
                f"many; the largest has {most[0]:g} CPUs and {most[1]:g} GPUs. Ask for less."
            )

    def _room(self, resources: dict[str, float]) -> int:
        """Return how many jobs there is room for."""
        shares = [(resources.get("CPU", 0.0), self._cpus), (resources.get("GPU", 0.0), self._gpus)]
        return min((math.floor(there / wanted) for there, wanted in shares if wanted), default=sys.maxsize)

    @property
    def free(self) -> int:
        """Jobs that may be started now."""
        room = self._jobs
        if room is None:
            room = sum(self._room(node["Resources"]) for node in self._ray.nodes() if node["Alive"])
        return max(room - len(self._tasks), 0)

    def start(self, job: Job) -> None:
        """Begin to run a job. There must be a place that is free."""
        # Ray would set the number of threads by the cores that are reserved, and results can depend on it.
        environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(job.threads))}
        if not self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # others may have reserved them
        order = {"cwd": os.getcwd(), "path": sys.path, "program": sys.argv[0], "environment": environment}
        self._tasks[self._remote.options(name=job.name).remote(job.to_json(), json.dumps(order))] = job

    def wait(self, timeout_s: float) -> list[Ended]:
        """Wait until a job has ended, or the time is over. Returns: those that have ended since the last call."""
        if not self._tasks:
            time.sleep(timeout_s)
            return []
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
        if done:  # others may have ended with it
            done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [self._end(task) for task in done]

    def _end(self, task: Any) -> Ended:
        job = self._tasks.pop(task)
        try:
            code, reason = self._ray.get(task)
        except self._ray.exceptions.TaskCancelledError:  # it had not begun
            return Ended(job, STOPPED)
        except self._ray.exceptions.RayError as err:
            return Ended(job, 1, one_line(f"Ray gave it up: {str(err).strip() or type(err).__name__}"))
        return Ended(job, code, reason)

    def stop(self) -> list[Ended]:
        """Let all jobs stop, each with a checkpoint; kill those that do not. Then leave the cluster.

        Returns:
            All that have ended since the last call: nothing runs any more.
        """
        ended: list[Ended] = []
        deadline = time.monotonic() + STOP_S + _SPARE_S
        try:
            for task in self._tasks:
                self._ray.cancel(task, recursive=False)
            while self._tasks and time.monotonic() < deadline:
                ended += self.wait(1.0)
        finally:
            self._ray.shutdown()  # which ends what is left
        ended += [Ended(job, 1, "it did not stop when it was asked to") for job in self._tasks.values()]
        self._tasks = {}
        return ended


def make_engine(args: argparse.Namespace, jobs: int) -> RayEngine:
    """Return the engine. Args: args: of `digideep group`; jobs: at once on this machine, which says nothing here."""
    cpus, gpus = args.cpus_per_run or 1, args.gpus_per_run or 0
    return RayEngine(args.jobs, address=args.ray_address, cpus=cpus, gpus=gpus)


def run_on_node(text: str, order_text: str) -> tuple[int, str]:
    """Run a job on a node of the cluster: the one function that Ray calls.

    A session that a process of a lost node still holds is waited for. When the task is cancelled, the job stops with a
    checkpoint.

    Args:
        text: the job, from `Job.to_json`.
        order_text: what it needs of the launcher's, as JSON: its working directory, the path of its modules, the name
            of its program, and variables of its environment.

    Returns:
        Exit code and reason, as `Ended` has them.
    """
    process = None
    try:
        job, order = Job.from_json(text), json.loads(order_text)
        for place in (job.session.parent, order["cwd"]):
            if not os.path.isdir(place):
                return 1, f"{place} is not there on {socket.gethostname()}: all nodes of the Ray cluster must share it"
        os.chdir(order["cwd"])
        give_up_at = time.monotonic() + 2 * STOP_S
        while is_held(job.session) and time.monotonic() < give_up_at:
            time.sleep(_POLL_S)
        process = LaunchedProcess(job, (), order["environment"], path=order["path"], program=order["program"])
        while (ended := process.poll()) is None:
            time.sleep(_POLL_S)
    except KeyboardInterrupt:  # so Ray cancels a task
        if process is None:
            return STOPPED, ""
        process.ask_to_stop()
        while (ended := process.poll()) is None:
            time.sleep(_POLL_S)
    return ended.code, ended.reason


def _connect(address: str | None) -> Any:
    """Return Ray, connected to a cluster. Raises: UsageError: within half a minute, if it cannot be."""
    if not has_package("ray"):
        raise UsageError("--on ray needs a package that is missing: pip install 'digideep[ray]'.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    if address is not None:
        _require_cluster(address)
    import ray

    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES,
                   "_node_ip_address": "127.0.0.1"}  # fmt: skip
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except (Exception, SystemExit) as err:
        where = f"--ray-address {address}" if address is not None else "--on ray"
        raise UsageError(f"{where}: Ray does not start: {one_line(str(err)) or type(err).__name__}.") from err
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Ray puts its own in their place
    return ray


def _require_cluster(address: str) -> None:
    """Refuse an address where no cluster answers. Ray itself would try for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except OSError as err:
            raise UsageError(f"--ray-address {address}: nothing answers there ({err.strerror or err}).") from err
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        raise UsageError(f"--ray-address {address}: no Ray cluster answers there within {_ANSWER_S} s.") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UsageError(f"--ray-address {address}: no Ray cluster answers there: {one_line(said)}")
