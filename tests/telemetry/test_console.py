"""The line of an epoch: speeds and the time left, by a clock that the test sets."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from digideep.telemetry import console
from digideep.telemetry.console import Display


def test_speeds_are_those_of_the_epoch_and_the_time_left_goes_by_the_average_of_this_process(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    output = io.StringIO()
    shown = Display(Console(file=output, width=120))
    clock.now = 100.0
    shown.start("Counter-v0", total_frames=7400, frames=200)  # 200 of a process before
    for clock.now, frames, speed in ((110.0, 400, 20), (120.0, 1400, 100)):
        assert shown.measure(frames) == pytest.approx(speed)
        shown.epoch(1, frames, 3, {"recent return": 1.5, "test return": None})
    _, first, second = (line.split() for line in output.getvalue().splitlines())
    assert first == ["1", "400", "3", "1.50", "-", "20", "5:50"]  # 7,000 frames at 20 a second
    assert second == ["1", "1,400", "3", "1.50", "-", "100", "1:40"]  # 6,000 at 60
