"""Windows of one's own: statistics of the newest values by hand, and what a real visdom server shows after a resume."""

import json
import math

import pytest

from digideep.main import main
from digideep.telemetry.logbook import Logbook
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.plotting import MovingAverage, Plotter
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.server_process import ServerProcess
from digideep.telemetry.writers import WatchOptions
from digideep.utility.errors import UsageError
from tests.pipeline.test_dashboards import free_port, post, wait_for
from tests.support.helpers import tiny


def test_statistics_are_those_of_the_newest_values():
    window = MovingAverage(3)
    assert math.isnan(window.mean)
    for value in (100, 1, 2, 6):
        window.append(value)
    assert (window.newest, window.mean, window.median, window.min, window.max) == (6, 3, 2, 1, 6)
    assert window.std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))


def test_a_plotter_without_visdom_keeps_its_statistics_and_its_state():
    logbook = Logbook(Monitor(), Profiler(), WatchOptions())
    plotter, other = (Plotter(logbook, "mine", {"a": ["6sigma"], "b": ["main"]}, window_size=2) for _ in range(2))
    for value in (1.0, 3.0, 5.0):
        plotter.append(0, a=value, b=-value)
    other.load_state_dict(plotter.state_dict())
    assert dict(other._lines()) == {"a, 6sigma below": 1.0, "a, 6sigma above": 7.0, "b": -5.0}


def test_what_no_plotter_can_draw_is_refused():
    logbook = Logbook(Monitor(), Profiler(), WatchOptions())
    with pytest.raises(UsageError, match=r"series of mine must be of main, mean, .*, got 'sigma'"):
        Plotter(logbook, "mine", {"a": ["sigma"]})
    with pytest.raises(UsageError, match=r"values for mine must be \['a'\], got \['b'\]"):
        Plotter(logbook, "mine", {"a": ["main"]}).append(0, b=1.0)


def test_a_runners_own_windows_are_shown_by_the_server_and_go_on_after_a_resume(tmp_path):
    port = free_port()
    server = ServerProcess("visdom", str(port), "127.0.0.1")
    watching = ["--visdom", "--visdom-port", str(port), "--session-path", str(tmp_path), "--log-level", "3"]

    def shown(name, window):
        windows = json.loads(post(port, "win_data", {"eid": name, "win": None}))
        return windows[window]["content"]

    def run(name, epochs):
        panel = tiny(number_epochs=epochs, epoch_size=2, test_activate=False, save_interval=1)
        return main(
            ["--params", "tests/support/window_params.py", "--cpanel", panel, "--session-name", name, *watching]
        )

    try:
        wait_for(lambda: server.address)
        assert run("whole", 3) == 0
        assert run("parts", 1) == 0
        frames = ["--repeal", '{"/runner/n_epochs": 3}']
        assert main(["--resume", str(tmp_path / "parts"), *frames, *watching[:3], "--log-level", "3"]) == 0
        whole, parts = ([(line["name"], line["x"], line["y"]) for line in shown(name, "mine")["data"]]
                        for name in ("whole", "parts"))  # fmt: skip
        assert parts == whole
        names, xs, ys = zip(*whole, strict=True)
        assert names == ("reward", "reward, mean", "reward, 2sigma below", "reward, 2sigma above")
        assert len(xs[0]) == 6
        assert ys[0] == [x % 1000 for x in xs[0]]
        assert ys[1][-1] == pytest.approx(sum(ys[0][-3:]) / 3)
        assert shown("parts", "picture")["src"].startswith("data:image")
    finally:
        server.close()
