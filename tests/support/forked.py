"""What a test does in a process of its own that has its imports done: they take most of a short run's time."""

import contextlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from digideep.launch.child import run_job
from digideep.launch.local import LaunchedProcess

LIMIT_S = 30
_RUN_S = 300  # for a run, which may share its processor


def in_child(action: Callable[[], int], log: Path, user: int | None = None) -> tuple[int, str, float]:
    """Do something in a forked process.

    Returns:
        Its exit code, negative for a signal; what it printed, the report.log of failures not included; its seconds.
    """
    started = time.monotonic()
    log.unlink(missing_ok=True)
    _, status = os.waitpid(start_child(action, log, user), 0)
    code = os.waitstatus_to_exitcode(status)
    return code, log.read_text(errors="replace"), time.monotonic() - started


def start_child(action: Callable[[], int], log: Path, user: int | None = None, limit_s: int = LIMIT_S) -> int:
    """Do something in a forked process, which appends what it prints to `log`. Returns: its id."""
    with log.open("ab") as output:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(limit_s)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
                if user is not None:
                    os.setgroups([])
                    os.setgid(user)
                    os.setuid(user)
                code = action()
            except SystemExit as err:
                code = err.code if isinstance(err.code, int) else 98
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(BaseException):
                    logging.shutdown()
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
    return child


class ForkedProgram:
    """A run of the program, with as much of `subprocess.Popen` as is needed to stop, kill and wait for it.

    Args:
        arguments: of the command line.
        output: a file, to which it appends what it prints.
        environment: variables to set.
    """

    def __init__(self, arguments: Sequence[str], output: Path, environment: Mapping[str, str] | None = None):
        def run() -> int:
            from digideep.main import main

            os.environ.update(environment or {})
            return main(list(arguments))

        self.returncode: int | None = None
        self.pid = start_child(run, output, limit_s=_RUN_S)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedJob:
    """What `subprocess.Popen` is to a launched process: `digideep.launch.child`, in a fork that has its imports done.

    Args:
        output: takes what it prints.
        environment: its variables.
    """

    def __init__(self, output, environment: Mapping[str, str]):
        read, write = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                os.setsid()
                os.dup2(read, 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.closerange(3, 256)  # the other ends of all pipes among them, as by exec
                sys.stdin = os.fdopen(0, closefd=False)
                sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
                os.environ.update(environment)
                code = run_job()
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(BaseException):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        os.close(read)
        self.stdin = os.fdopen(write, "wb")

    poll, wait = ForkedProgram.poll, ForkedProgram.wait
    _wait, send_signal, kill = ForkedProgram._wait, ForkedProgram.send_signal, ForkedProgram.kill


@contextlib.contextmanager
def forking_jobs():
    """Let what a local engine starts be forked from this process, or from its fork, within the context."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LaunchedProcess, "_start", lambda self, output, environment: ForkedJob(output, environment))
        yield
