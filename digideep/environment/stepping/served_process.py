"""An object in a process of its own: whoever owns the process talks to it here; and the process's main function."""

import atexit
import logging
import multiprocessing
import os
import select
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from digideep.environment.closing import CLOSE_S
from digideep.utility.errors import NonFiniteError, StoppedError, UsageError, WorkerError
from digideep.utility.user_code import in_words

START_S = 60.0  # beyond the timeout of a step: a process has to start and to import
_STEP, _REQUEST, _DONE, _ANSWER, _ERROR = b"s", b"r", b"d", b"a", b"e"  # signals to and from the process
# Waking a process that sleeps takes 0.1 ms: with 8 Humanoid-v5 in 2 processes, 10 % of all frames.
_LINGER_S = 0.002
_PATIENCE_S = 3.0  # beyond what closing may take

_log = logging.getLogger("digideep")


def start_context() -> Any:
    """Return how processes are started."""
    methods = multiprocessing.get_all_start_methods()
    # Never fork: a child of this process would inherit the locks of its threads and its open files.
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


class SignalPipe:
    """One end of the pipe to a process: signals of one byte, and messages with more to say.

    `Connection` frames each message and makes a selector for each wait, which costs as much again as the pipe does.
    Only on Windows, where a pipe is no file, signals are messages of one byte.

    Args:
        connection: this end of a `multiprocessing.Pipe`; closing it is the owner's.
    """

    def __init__(self, connection: "Connection[Any, Any]"):
        self.connection = connection
        self._is_file = os.name != "nt"
        if self._is_file:
            self._poll = select.poll()
            self._poll.register(connection.fileno(), select.POLLIN)

    def send(self, signal: bytes, *message: Any) -> None:
        """Send one byte, and what belongs to it. Raises: OSError: if the other end is closed."""
        if self._is_file:
            os.write(self.connection.fileno(), signal)
        else:
            self.connection.send_bytes(signal)
        if message:
            self.connection.send(message)

    def wait(self, timeout_s: float) -> bool:
        """True if there is something to receive, or the other end is closed, within that time."""
        return bool(self._poll.poll(timeout_s * 1000)) if self._is_file else self.connection.poll(timeout_s)

    def linger(self, time_s: float) -> None:
        """Wait for a signal without going to sleep, yielding to other processes."""
        if self._is_file:
            end = time.perf_counter() + time_s
            while not self._poll.poll(0) and time.perf_counter() < end:
                os.sched_yield()

    def receive(self) -> bytes:
        """Wait for one byte; `receive_message` gets what belongs to it.

        Raises:
            EOFError: if the other end is closed.
            OSError: likewise, while something was under way.
        """
        signal = os.read(self.connection.fileno(), 1) if self._is_file else self.connection.recv_bytes()
        if not signal:
            raise EOFError
        return signal

    def receive_message(self) -> tuple[Any, ...]:
        """Return what was sent with the signal."""
        return self.connection.recv()


class ServedProcess:
    """An object in a process of its own, whose methods are called by name, one at a time.

    The process leads a process group of its own. A Ctrl-C of the terminal does not reach the simulators that
    environments start. Those that are left when the process dies, or has to be killed, are killed with it.

    Args:
        context: from `start_context`.
        what: runs there, in messages: several, such as "workers 0 to 3".
        make: returns the object, which has a `close`; a function or class of a module, called there.
        args: of `make`.
        kept: errors that keep their class on the way here; any other becomes a WorkerError.
    """

    def __init__(
        self, context: Any, what: str, make: Callable[..., Any], *args: Any, kept: tuple[type[Exception], ...] = ()
    ):
        self._what, self._kept = what, {error.__name__: error for error in kept}
        connection, theirs = multiprocessing.Pipe()
        self._pipe = SignalPipe(connection)
        # No daemon: those may not have children, and environments do. So each must be closed before the interpreter
        # ends, which would wait for it.
        self._process = context.Process(
            target=_serve, args=(theirs, make, args), name=f"digideep-{what.replace(' ', '-')}", daemon=False
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
                self._pipe.send(_STEP)
            else:
                self._pipe.send(_REQUEST, request, args)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def receive(self, timeout_s: float, pulse: Callable[[], int] = lambda: 0) -> Any:
        """Wait for the answer.

        Args:
            timeout_s: how long nothing may happen.
            pulse: returns a number that changes where something does.

        Raises:
            WorkerError: if the process raised or died, or no answer came in time.
        """
        try:
            beat = pulse()
            while not self._pipe.wait(timeout_s):
                before, beat = beat, pulse()
                if beat == before:
                    self._kill()
                    raise WorkerError(
                        f"{self._what} gave no answer to '{self._request}' for {timeout_s:g} s and were "
                        "stopped. Raise worker_timeout_s if their environment is that slow."
                    )
            kind = self._pipe.receive()
            (answer,) = (None,) if kind == _DONE else self._pipe.receive_message()
        except (EOFError, ConnectionResetError):
            raise self._death() from None
        if kind == _ERROR:
            name, message, details = answer
            raise self._kept.get(name, WorkerError)(message) from RuntimeError(f"in a worker process:\n{details}")
        return answer

    def _death(self) -> WorkerError:
        self._process.join(5)
        code = self._process.exitcode
        self._kill()
        return WorkerError(f"the process of {self._what} died with exit code {code} in '{self._request}'.")

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
            self._log_complaints(deadline)
            self._pipe.connection.close()
            self._process.join(max(deadline - time.monotonic(), 0.1))
            if self._process.is_alive():
                what = self._what[:1].upper() + self._what[1:]
                _log.warning("%s did not close their environments in time: they were killed.", what)
        finally:
            self._kill()

    def _log_complaints(self, deadline: float) -> None:
        """Skip answers that nobody waits for any more, until the process ends; log what went wrong in closing."""
        complaints: Any = []
        with suppress(Exception):  # the end of the pipe, or half an answer
            while self._pipe.wait(max(deadline - time.monotonic(), 0)):
                kind = self._pipe.receive()
                (answer,) = ([],) if kind == _DONE else self._pipe.receive_message()
                complaints = answer if kind == _ANSWER else []
        for complaint in complaints if isinstance(complaints, list) else []:
            _log.warning("%s", complaint)


def _hang_up(connection: "weakref.ref[Any]") -> None:
    """Close a pipe whose process was not closed: the end of the pipe is the end of the process."""
    alive = connection()
    if alive is not None:
        alive.close()


def _serve(connection: Any, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Make the object and do what it is asked for, until that is to close, or until the pipe ends: main function."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):  # the parent decides when a run ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe, served = SignalPipe(connection), None
    try:
        served = make(*args)
        pipe.send(_DONE)
        while True:
            pipe.linger(_LINGER_S)
            if pipe.receive() == _STEP:
                served.step()
                pipe.send(_DONE)
                continue
            request, args = pipe.receive_message()
            pipe.send(_ANSWER, getattr(served, request)(*args))
            if request == "close":
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except StoppedError:  # somebody is about to close it, and does not wait for what was under way
        with suppress(OSError):
            pipe.send(_ANSWER, served.close() if served is not None else [])
        return
    except BaseException as err:
        message = str(err) if isinstance(err, (WorkerError, UsageError, NonFiniteError)) else in_words(err)
        with suppress(OSError):
            pipe.send(_ERROR, (type(err).__name__, message, traceback.format_exc()))
    if served is not None:
        served.close()


def _end_with_parent() -> None:
    """Wait until the parent is gone; some time later, kill what is left: a step that hangs, and its children."""
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(os, "killpg"):
        parent.join()
        time.sleep(2 * CLOSE_S)
        os.killpg(0, signal.SIGKILL)
