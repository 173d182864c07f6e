"""Servers beside a run: processes of their own that end with it, whatever way it ends.

In a process of its own a server never holds the interpreter lock of the training; in a session of its own it does not
hear the terminal's Ctrl-C; and it ends when its standard input does, so that even `kill -9` of the run ends it.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from digideep.utility.errors import UsageError

_log = logging.getLogger("digideep")
_TITLES = {"tensorboard": "TensorBoard", "visdom": "visdom"}


def require_address(bind: str) -> None:
    """Refuse an address that no server of this machine can listen on."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.bind((bind, 0))
    except OSError as err:
        raise UsageError(
            f"--bind {bind} is no address of this machine ({err.strerror}). Give one that is, or leave it out."
        ) from err


class ServerProcess:
    """A server in a child process.

    Args:
        kind: "tensorboard" or "visdom".
        arguments: of its function below.

    Attributes:
        address: its URL; None until it answers.
    """

    def __init__(self, kind: str, *arguments: str):
        self.kind = kind
        self.address: str | None = None
        package = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "digideep.telemetry.server_process", kind, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            encoding="utf-8", errors="replace", start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, name=f"digideep-{kind}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Wait for the line that says where it is, or why it is not."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line.startswith("http"):
            self.address = line
            if self.kind == "tensorboard":  # the window sender says when visdom has been reached
                _log.info("TensorBoard: %s", line)
        elif self.process.stdin is not None and not self.process.stdin.closed:
            _log.warning("%s does not start (%s); the training goes on.", _TITLES[self.kind], line or "no answer")

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def tensorboard(directory: str, bind: str) -> str:
    """Serve event files. Returns: the address."""
    from tensorboard import program

    server = program.TensorBoard()
    server.configure(argv=["tensorboard", "--logdir", directory, "--host", bind, "--reload_interval", "5"])
    return server.launch()


def visdom(port: str, bind: str) -> str:
    """Serve windows that are sent. Returns: the address.

    Not through `visdom.server`: that one listens on all interfaces or on 127.0.0.1, nothing between, keeps what it was
    sent in the home directory, and restarts itself when one of its files changes.
    """
    from tornado import ioloop
    from visdom.server import app

    app.tornado_settings["autoreload"] = False
    server = app.Application(port=int(port), base_url="", env_path=tempfile.mkdtemp())

    def serve() -> None:
        import asyncio

        asyncio.set_event_loop(asyncio.new_event_loop())
        server.listen(int(port), address=bind, max_buffer_size=2**30)
        ready.set()
        ioloop.IOLoop.current().start()

    ready = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    if not ready.wait(10):
        raise OSError(f"port {port} cannot be used")
    return f"http://{bind}:{port}"


def _main(kind: str, *arguments: str) -> None:
    """Start a server, say where it is, and wait for the end of standard input."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    functions: dict[str, Any] = {"tensorboard": tensorboard, "visdom": visdom}
    with tempfile.TemporaryDirectory(prefix=f"digideep-{kind}-") as tempfile.tempdir:
        try:
            answer = functions[kind](*arguments)
        except (Exception, SystemExit) as err:
            answer = " ".join(f"{type(err).__name__}: {err}".split())
        report.write(answer + "\n")
        report.flush()
        if answer.startswith("http"):
            sys.stdin.read()
    os._exit(0)  # a server's threads have nothing to finish


if __name__ == "__main__":
    _main(*sys.argv[1:])
