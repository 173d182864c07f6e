"""visdom: windows of plots on a server of this machine.

What is shown is first written to `visdom.log` in the session; a thread sends that file's lines to the server. So the
training never waits for the server; a server that was away gets the whole file when it is back; and a resumed run,
whose log was cut at the checkpoint, shows its plots without a fold.
"""

import contextlib
import http.client
import importlib.util
import json
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from digideep.telemetry.server_process import ServerProcess
from digideep.telemetry.writers import LOCALHOST, EpochFigures, Writer, shares
from digideep.utility.errors import UsageError

_log = logging.getLogger("digideep")

_RETRY_S, _TIMEOUT_S = 10.0, 5.0
_LEAVING_S = 5.0  # what the server of a killed run takes to end
# Points are collected, and sent once in so many seconds, or in so much of the run's age if that is more: the cost per
# second falls with the length of the run, as does the worth of a single point.
_LEAST_S, _SHARE_OF_AGE = 3.0, 0.002
# The window's bar has the title; within the plot it would hide behind the plot's buttons.
_LAYOUT = {"xlabel": "frames", "margintop": 30, "layoutopts": {"plotly": {"title": ""}}}
_BAND = {"mean": {}, "min": {"line": {"width": 0}}, "max": {"line": {"width": 0}, "fill": "tonexty"}}
_BEST = {"best": {"line": {"dash": "dot", "shape": "hv"}}}
_FIRST = ("/return/", "/success/", "/length/")  # of the windows
# Without these its page is blue and empty. They are not in the package.
_SCRIPTS = ("jquery.min.js", "react-react.min.js", "react-dom.min.js", "plotly-plotly.min.js")


class VisdomWriter(Writer):
    """Draws windows: returns with a band, losses, speed, phases, load, parameters, the latest recorded episode.

    Args:
        log: `visdom.log` of the session; what it holds already is shown first.
        port: of the server; one is started there if none answers.
        bind: address that a server started here listens on.
        environment: name of the windows' group on the server.

    Attributes:
        client: a `visdom.Visdom` that is offline: what it is told goes to the log, and from there to the server.
    """

    def __init__(self, log: Path, port: int, bind: str, environment: str):
        import visdom

        logging.getLogger("visdom").setLevel(logging.ERROR)
        self._log_file, self._environment = log, environment
        log.touch()
        # Its type stub, of an older version, does not know `offline`.
        self.client = visdom.Visdom(env=environment, offline=True, log_to_filename=str(log))  # type: ignore[call-arg]
        drawn = [json.loads(line)[1] for line in log.read_text(encoding="utf-8").splitlines()]
        self._windows = {message.get("win") for message in drawn}
        traces = (trace for message in drawn for trace in message.get("data") or () if trace.get("name") == "best")
        self._best = max((value for trace in traces for value in trace["y"]), default=-math.inf)
        self._points: dict[str, tuple[list[str], list[float], list[list[float]], dict[str, Any]]] = {}
        self._phases: dict[str, float] = {}
        self._started = time.monotonic()
        self._last = -1e9
        self._sender = _Sender(log, reachable(bind), port, environment, None if is_answering(port, bind) else bind)

    def parameters(self, cpanel: dict[str, Any], tree: dict[str, Any]) -> None:
        text = yaml.safe_dump(tree, sort_keys=False).replace("&", "&amp;").replace("<", "&lt;")
        options = {"title": "parameters", "width": 380, "height": 300}
        self.client.text(f"<pre>{text}</pre>", win="parameters", opts=options)

    def epoch(self, figures: EpochFigures) -> None:
        for pack in figures.packs:
            frame = pack["meta"].get("frame", figures.meta["frame"])
            for key, data in pack["data"].items():
                mean = data["sum"] / data["num"]
                if key == "/return/test":
                    self._best = max(self._best, mean)
                    options = {"traceopts": {"plotly": _BAND | _BEST}}
                    self._add(key, [*_BAND, *_BEST], frame, [mean, data["min"], data["max"], self._best], options)
                elif key.startswith("/return/"):
                    options = {"traceopts": {"plotly": _BAND}}
                    self._add(key, list(_BAND), frame, [mean, data["min"], data["max"]], options)
                else:
                    self._add(key, [key.rpartition("/")[2]], frame, [mean])
        loads = {key: value for key, value in figures.machine.items() if "memory" not in key}
        if loads:
            self._add("load in percent", list(loads), figures.meta["frame"], list(loads.values()))
        for path, seconds in figures.seconds.items():
            self._phases[path] = self._phases.get(path, 0.0) + seconds
        now = time.monotonic()
        if now - self._last >= max(_LEAST_S, _SHARE_OF_AGE * (now - self._started)):
            self._last = now
            self._draw()

    def _add(
        self, window: str, names: list[str], frame: int, values: list[float], options: dict[str, Any] | None = None
    ) -> None:
        """Collect a point of each line of a window."""
        entry = self._points.setdefault(window, (names, [], [], options or {}))
        entry[1].append(frame)
        entry[2].append(values)

    def draw_lines(
        self, window: str, names: list[str], xs: Sequence[float], values: Sequence[Sequence[float]],
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Add points to the lines of a window, which is opened with the first of them.

        Args:
            window: its name and title.
            names: of the lines.
            xs: of the points.
            values: of each point, one of each line.
            options: visdom's `opts`, beside those of all windows.
        """
        opts = {"title": window, "legend": names, "showlegend": len(names) > 1, **_LAYOUT, **options}
        update = "append" if window in self._windows else None
        lines = np.array(values) if len(names) > 1 else np.array(values)[:, 0]
        self.client.line(lines, np.array(xs), win=window, update=update, opts=opts)
        self._windows.add(window)

    def _draw(self) -> None:
        """Write what was collected to the log."""
        for window, points in sorted(self._points.items(), key=lambda item: _rank(item[0])):
            self.draw_lines(window, *points)
        self._points = {}
        split = {path: share for path, share in shares(self._phases).items() if share > 0.05}
        if len(split) > 1:
            options = {"title": "time per phase", "legend": list(split)}
            self.client.pie(np.array(list(split.values())), win="time per phase", opts=options)
        self._phases = {}

    def video(self, path: Path, frame: int) -> None:
        options = {"title": f"episode at frame {frame:,}", "autoplay": True, "loop": True}
        self.client.video(videofile=str(path), win="episode", opts=options)

    def flush(self) -> None:
        self._draw()

    def close(self) -> None:
        """Send no more; what is still to be sent gets a moment."""
        self._draw()
        self._sender.close()


class _Sender:
    """A thread that sends the lines of a log to a server, from the first one again whenever the server was away.

    Args:
        bind: address that a server of our own listens on; None where there is one already.
    """

    def __init__(self, log: Path, host: str, port: int, environment: str, bind: str | None):
        self._log_file, self._host, self._port, self._environment, self._bind = log, host, port, environment, bind
        self._server: ServerProcess | None = None
        self._closing, self._offset = threading.Event(), 0
        self._has_warned, self._was_connected = False, False
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="digideep-visdom-sender", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        patience = 0.0
        while True:
            is_last = self._closing.is_set()
            if self._bind is not None and (self._server is None or not self._server.is_alive) and not is_last:
                if self._server is not None:
                    self._warn("its server has died")
                    self._server.close()
                self._server, patience = ServerProcess("visdom", str(self._port), self._bind), time.monotonic() + 30
            try:
                self._send_news()
                pause = 0.5
            except (OSError, http.client.HTTPException) as err:
                is_starting = self._server is not None and self._server.is_alive and time.monotonic() < patience
                if not is_starting and not is_last:
                    self._warn(str(err))
                self._disconnect()
                pause = 0.5 if is_starting else _RETRY_S
            if is_last:
                return
            self._closing.wait(pause)

    def _warn(self, reason: str) -> None:
        """Say once that it is away, until it is back."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning("visdom does not answer (%s): the training goes on without, trying again.", reason)

    def _send_news(self) -> None:
        """Send the lines that the server has not got yet. Raises: OSError: if it does not take them."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
            self._post("close", {"win": None, "eid": self._environment})  # windows of an earlier part of this session
            self._offset = 0
            if self._has_warned or not self._was_connected:
                _log.info("visdom: http://%s:%d/env/%s", self._host, self._port, self._environment)
            self._has_warned, self._was_connected = False, True
        with self._log_file.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                endpoint, message = json.loads(line)
                self._post(endpoint, message)
                self._offset += len(line)

    def _post(self, endpoint: str, message: dict[str, Any]) -> None:
        assert self._connection is not None
        self._connection.request("POST", f"/{endpoint}", json.dumps(message))
        response = self._connection.getresponse()
        body = response.read()
        if endpoint == "update" and body == b"win does not exist":  # a new server answered on the old connection
            raise ConnectionResetError("its windows are gone")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Send what is left, within a few seconds, and end."""
        self._closing.set()
        self._thread.join(2 * _TIMEOUT_S)
        self._disconnect()
        if self._server is not None:
            self._server.close()


def _rank(window: str) -> int:
    """Return where a window stands among the others."""
    return next((rank for rank, prefix in enumerate(_FIRST) if window.startswith(prefix)), len(_FIRST))


def reachable(bind: str) -> str:
    """Return the address where this machine reaches a server that listens on one."""
    return LOCALHOST if bind in ("0.0.0.0", "::", "localhost") else bind


def is_answering(port: int, bind: str) -> bool:
    """True if a visdom server listens on a port of this machine.

    Raises:
        UsageError: if something else does, for some seconds: the server of a run that was killed needs a moment to end.
    """
    end = time.monotonic() + _LEAVING_S
    while (answer := _ask(port, bind)) not in (b"", b"true", b"false"):
        if time.monotonic() > end:
            raise UsageError(f"--visdom-port {port} is taken by something that is not visdom. Choose another port.")
        time.sleep(0.2)
    return answer != b""


def _ask(port: int, bind: str) -> bytes:
    """Return the answer to a question of yes or no for a visdom server; nothing if nobody listens."""
    connection = http.client.HTTPConnection(reachable(bind), port, timeout=_TIMEOUT_S)
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/win_exists", json.dumps({"eid": "main", "win": "-"}))
            return connection.getresponse().read() or b"nothing"
        except ConnectionRefusedError:
            return b""
        except (OSError, http.client.HTTPException):
            return b"no HTTP"


def require_visdom(port: int, bind: str) -> None:
    """Refuse `--visdom` where it is not installed, its port is taken, or a server started here could show nothing."""
    spec = importlib.util.find_spec("visdom")
    if spec is None or spec.origin is None:
        raise UsageError(
            "--visdom needs a package that is missing: run 'make visdom' in a clone of Digideep, or pip install "
            "'setuptools<82' wheel and then pip install --no-build-isolation 'digideep[visdom]'."
        )
    if not is_answering(port, bind):
        require_scripts(Path(spec.origin).parent)


def require_scripts(package: Path | str) -> None:
    """Refuse a package of visdom whose page can show nothing. Args: package: its directory."""
    missing = [name for name in _SCRIPTS if not Path(package, "static/js", name).is_file()]
    if missing:
        raise UsageError(
            f"visdom's page would stay empty: its package lacks {', '.join(missing)}. Fetch them once, with a network: "
            "'make visdom', or python -c 'from visdom.server.build import download_scripts; download_scripts()'."
        )
