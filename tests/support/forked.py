"""What a test does in a process of its own that has its imports done: they take most of a short run's time."""

import contextlib
import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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
                gc.freeze()  # else the next collection would copy all memory
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
