"""A batch of workers in a process of its own, seen from the process that trains."""

import atexit
import logging
import multiprocessing
import os
import signal
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from digideep.environment.closing import CLOSE_S
from digideep.environment.stepping.signal_pipe import SignalPipe
from digideep.utility.errors import WorkerError

STEP, REQUEST, DONE, ANSWER, ERROR = b"s", b"r", b"d", b"a", b"e"  # signals to and from a worker process
_PATIENCE_S = 3.0  # beyond what closing may take

_log = logging.getLogger("digideep")


class WorkerProcess:
    """A `WorkerGroup` in a process of its own. A step costs one byte each way; the data lies in shared memory.

    The process leads a group of its own. So a Ctrl-C of the terminal does not reach the simulators that environments
    start, and what is left of them when the process dies, or has to be killed, is killed with it.

    Args:
        context: of `multiprocessing`.
        serve: main function of the process; gets the other end of the pipe, and `arguments`.
        ranks: of the workers.
        arguments: for `serve`.
    """

    def __init__(self, context: Any, serve: Callable[..., None], ranks: range, *arguments: Any):
        self.ranks = ranks
        connection, theirs = multiprocessing.Pipe()
        self._line = SignalPipe(connection)
        # No daemon: those may not have children, and environments do. So each must be closed before the interpreter
        # ends, which would wait for it.
        self._process = context.Process(
            target=serve, args=(theirs, ranks, *arguments), name=f"digideep-workers-{ranks.start}", daemon=False
        )
        self._process.start()
        theirs.close()
        self._request = "start"
        self._is_open, self._pid = True, os.getpid()
        atexit.register(_hang_up, weakref.ref(connection))

    def send(self, request: str, *args: Any) -> None:
        """Ask for something without waiting for it; `receive` gets the answer."""
        self._request = request
        try:
            if request == "step":
                self._line.send(STEP)
            else:
                self._line.send(REQUEST, request, args)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def receive(self, timeout_s: float) -> Any:
        """Wait for the answer.

        Raises:
            WorkerError: if a worker raised, the process died, or no answer came in time.
        """
        try:
            if not self._line.wait(timeout_s):
                self._kill()
                raise WorkerError(
                    f"workers {self._names()} gave no answer to '{self._request}' for {timeout_s:g} s and were "
                    "stopped. Raise worker_timeout_s if their environment is that slow."
                )
            kind = self._line.receive()
            (answer,) = (None,) if kind == DONE else self._line.receive_message()
        except (EOFError, ConnectionResetError):
            raise self._death() from None
        if kind == ERROR:
            message, details = answer
            raise WorkerError(message) from RuntimeError(f"in a worker process:\n{details}")
        return answer

    def _death(self) -> WorkerError:
        self._process.join(5)
        code = self._process.exitcode
        self._kill()
        return WorkerError(f"the process of workers {self._names()} died with exit code {code} in '{self._request}'.")

    def _names(self) -> str:
        return f"{self.ranks.start} to {self.ranks.stop - 1}"

    def _kill(self) -> None:
        """Kill the process, and what is left of its group."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    def begin_closing(self) -> None:
        """Ask the process to close its environments and to end; `close` waits for it."""
        if self._is_open and os.getpid() == self._pid:  # a forked child has no workers of its own
            with suppress(WorkerError, OSError):
                self.send("close")

    def close(self) -> None:
        """End the process. One that does not close its environments in time is killed."""
        if not self._is_open or os.getpid() != self._pid:
            return
        self._is_open = False
        deadline = time.monotonic() + CLOSE_S + _PATIENCE_S
        try:
            self._hear_out(deadline)
            self._line.connection.close()
            self._process.join(max(deadline - time.monotonic(), 0.1))
            if self._process.is_alive():
                _log.warning("Workers %s did not close their environments in time: they were killed.", self._names())
        finally:
            self._kill()

    def _hear_out(self, deadline: float) -> None:
        """Pass over answers that nobody waits for any more, until the process ends; log what went wrong in closing."""
        complaints: Any = []
        with suppress(Exception):  # the end of the pipe, or half an answer
            while self._line.wait(max(deadline - time.monotonic(), 0)):
                kind = self._line.receive()
                (answer,) = ([],) if kind == DONE else self._line.receive_message()
                complaints = answer if kind == ANSWER else []
        for complaint in complaints if isinstance(complaints, list) else []:
            _log.warning("%s", complaint)


def _hang_up(connection: "weakref.ref[Any]") -> None:
    """Close a pipe whose batch was not closed: the end of the pipe is the end of the process."""
    alive = connection()
    if alive is not None:
        alive.close()
