"""What a launched process runs: one session, as long as whoever launched it lives.

Its standard input is a pipe, whose other end only the launcher holds. The first line of it is an `Order`. When the pipe
closes, because the launcher asks for a stop or is gone, the process stops as by SIGTERM: with a checkpoint and exit
code 75. It imports little before it watches.
"""

import json
import os
import signal
import sys
import threading
import time
from typing import NamedTuple

from digideep.launch.engine import Job
from digideep.pipeline.ending import watch_the_end

STOP_S = 60.0  # for a checkpoint, after which a process that has been asked to stop is killed
_STOPPED = 75


class Order(NamedTuple):
    """What a process is told.

    Attributes:
        job: from `Job.to_json`.
        cores: numbers of those that it may use; empty leaves them to the system.
        program: what the session's notes call the program.
    """

    job: str
    cores: tuple[int, ...] = ()
    program: str = "digideep"


def main() -> int:
    """Run the job that standard input names. Returns: the exit code, with which the process ends soon."""
    code = run_job()
    watch_the_end(code)
    return code


def run_job() -> int:
    """Run the job that standard input names. Returns: the exit code of the program."""
    pipe, line = os.dup(0), b""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # code of the user's may read from there
    while not line.endswith(b"\n"):
        if not (more := os.read(pipe, 65_536)):  # the launcher was killed in this very moment
            return _STOPPED
        line += more
    order = Order(*json.loads(line))
    if order.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, order.cores)
    threading.Thread(target=_watch, args=(pipe,), daemon=True, name="digideep-launcher").start()

    from digideep.main import main as program

    sys.argv = [order.program, *Job.from_json(order.job).words()]
    return program()


def _watch(pipe: int) -> None:
    """Stop this process once the other end of the pipe is closed; kill it, and what it started, if it does not."""
    while os.read(pipe, 65_536):
        pass
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # it may be waiting for something
    else:
        signal.raise_signal(signal.SIGTERM)
    time.sleep(STOP_S)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
