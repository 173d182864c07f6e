"""Servers beside a run: processes of their own that end with it, whatever way it ends.

In a process of its own a server never holds the interpreter lock of the training; in a session of its own it does not
hear the terminal's Ctrl-C; and it ends when its standard input does, so that even `kill -9` of the run ends it.
"""

import contextlib
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digideep.utility.errors import UsageError

_log = logging.getLogger("digideep")
_TITLES = {"tensorboard": "TensorBoard", "visdom": "visdom"}
_STARTING_S = 5.0  # what a server may take to say where it is, while the run waits
_FIRST_PORT = 6006  # of TensorBoard's
# What stands above all other plots when its page is opened.
_PINNED = ("return/test", "return/train", "success/test", "success/train")


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
        self._has_answered = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"digideep-{kind}", daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it has said where it is, or why it is not, for some seconds at most."""
        self._has_answered.wait(_STARTING_S)

    def _read(self) -> None:
        """Take the line that says where it is, and those that say what is wrong."""
        assert self.process.stdout is not None
        for line in map(str.strip, self.process.stdout):
            if line.startswith("http"):
                self.address = line
                if self.kind == "tensorboard":  # the window sender says when visdom has been reached
                    _log.info("TensorBoard: %s", line)
            else:
                self._warn(line)
            self._has_answered.set()
        if self.address is None and not self._has_answered.is_set():
            self._warn("no answer")
        self._has_answered.set()

    def _warn(self, reason: str) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            _log.warning("%s does not start (%s); the training goes on.", _TITLES[self.kind], reason)

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


def tensorboard(say: Callable[[str], None], directory: str, bind: str, name: str) -> None:
    """Serve event files of one run. Its address is said at once: its program takes seconds to be imported.

    Args:
        name: that the run has on its page.
    """
    listener = _listen(bind)
    port = listener.getsockname()[1]
    place = Path(tempfile.mkdtemp())
    (place / name).symlink_to(Path(directory).resolve(), target_is_directory=True)
    say(f"http://{f'[{bind}]' if ':' in bind else bind}:{port}/")

    def serve() -> None:
        try:
            from tensorboard import program
            from werkzeug.serving import make_server

            class Server:
                """Takes TensorBoard's connections on a socket that is open already."""

                def __init__(self, app: Callable[..., Iterable[bytes]], flags: Any):
                    app = _with_returns_first(app)
                    self._server = make_server(bind, port, app, threaded=True, fd=listener.fileno())
                    self.serve_forever = self._server.serve_forever

            server = program.TensorBoard(server_class=Server)
            server.configure(argv=["tensorboard", "--logdir", str(place), "--reload_interval", "5"])
            server._make_server().serve_forever()
        except (Exception, SystemExit) as err:
            say(_in_a_line(err))

    threading.Thread(target=serve, daemon=True).start()


def _listen(bind: str) -> socket.socket:
    """Return a socket on the first port that is free, from that of TensorBoard on."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for port in itertools.count(_FIRST_PORT):
        try:
            return socket.create_server((bind, port), family=family, backlog=128)
        except OSError:
            if port > _FIRST_PORT + 1000:
                raise
    raise AssertionError


def _with_returns_first(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Let a page that is opened without any wishes show returns above all else."""
    pinned = quote(json.dumps([{"plugin": "scalars", "tag": tag} for tag in _PINNED], separators=(",", ":")))

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] in ("", "/") and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", f"/?pinnedCards={pinned}&smoothing=0")])
            return [b""]
        return app(environ, start_response)

    return answer


def visdom(say: Callable[[str], None], port: str, bind: str) -> None:
    """Serve windows that are sent.

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
    say(f"http://{bind}:{port}")


def _in_a_line(err: BaseException) -> str:
    return " ".join(f"{type(err).__name__}: {err}".split())


def _main(kind: str, *arguments: str) -> None:
    """Start a server, say where it is, and wait for the end of standard input."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)

    def say(line: str) -> None:
        report.write(line + "\n")
        report.flush()

    functions: dict[str, Any] = {"tensorboard": tensorboard, "visdom": visdom}
    with tempfile.TemporaryDirectory(prefix=f"digideep-{kind}-") as tempfile.tempdir:
        try:
            functions[kind](say, *arguments)
            sys.stdin.read()
        except (Exception, SystemExit) as err:
            say(_in_a_line(err))
    os._exit(0)  # a server's threads have nothing to finish


if __name__ == "__main__":
    _main(*sys.argv[1:])
