"""The line of an epoch and the panel, by a clock that the test sets."""

import io
import logging
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from digideep.telemetry import console
from digideep.telemetry.console import Display
from digideep.telemetry.log_handlers import ConsoleHandler
from digideep.telemetry.writers import EpochFigures


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


def figures(**means):
    """Figures of an epoch in which each value came twice: once 1 less, once 1 more, but for `epochs`."""
    data = {}
    for name, mean in means.items():
        spread = 0 if name == "epochs" else 1
        key = f"/update/agent/{name}" if "_" not in name else "/" + name.replace("_", "/")
        data[key] = {"num": 2, "sum": 2 * mean, "min": mean - spread, "max": mean + spread, "std": spread}
    return EpochFigures({"epoch": 7, "frame": 0, "episode": 0}, [{"meta": {}, "data": data}], {"/train": 1.0}, {})


def shown(width, monkeypatch, *epochs):
    """What a terminal of so many columns is sent: the epochs' lines, and the panel after them."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(console, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    output = io.StringIO()
    display = Display(Console(file=output, width=width, force_terminal=True, color_system=None))
    display.start("Counter-v0", total_frames=200_000_000, frames=0)
    for number, epoch in enumerate(epochs, 1):
        clock.now += 3600.0
        display.measure(number * 10_000_000)
        display.details(epoch, best_return=-1234.5)
        display.epoch(number, number * 10_000_000, 100_000, {"recent return": -1500.25, "test return": None})
    display.cycle(f"{number}/20", number * 10_000_000, 100_000, [-12_345.678] * 100, {})
    display.stop()
    text = re.sub(r"\x1b\[[\d?]*[A-Za-z]", "", output.getvalue())
    return [line for line in text.splitlines() if "-1,500.25" in line], text.rpartition("╭")[2]


@pytest.mark.parametrize("width", [80, 120])
def test_lines_and_panel_fit_and_break_between_figures(monkeypatch, width):
    losses = {f"loss{i}": 0.001234 * i for i in range(9)}
    told = figures(success_train=0.875, success_test=0.5, length_train=49.5, length_test=200, return_test=-1300,
                   epochs=10, **losses)  # fmt: skip
    lines, panel = shown(width, monkeypatch, told, figures(length_train=20))
    ends = ["-", "88", "%", "2,778", "19:00:00"], ["-", "-", "2,778", "18:00:00"]
    assert tuple(line.split()[4:] for line in lines) == ends
    assert max(map(len, [*lines, *panel.splitlines()])) <= width
    for words in ("2:00:00 elapsed   18:00:00 left", "mean -1,300.00 at epoch 7   best so far -1,234.50",
                  "train 88 %   test 50 %", "train 20.0   test 200.0"):  # fmt: skip
        assert words in panel
    assert "epochs 10" not in panel
    lines, panel = shown(width, monkeypatch, told)
    assert all(f"{name} {value:.3g}" in panel for name, value in losses.items())


def test_there_is_no_column_for_success_where_none_is_told(monkeypatch):
    lines, panel = shown(80, monkeypatch, figures(length_train=49.5, epochs=10, loss=1.0))
    assert "success" not in panel
    assert "loss 1" in panel
    assert len(lines[0].split()) == 7


def test_a_message_is_broken_between_words_on_a_terminal_and_commands_are_not():
    output = io.StringIO()
    handler = ConsoleHandler(Console(file=output, width=20, force_terminal=True, color_system=None), logging.INFO)
    for text in ("steps of 500, then a path/that/is/longer/than/it", "headline\n  play     python main.py --play"):
        handler.emit(logging.LogRecord("digideep", logging.INFO, "", 0, text, None, None))
    assert output.getvalue().splitlines() == [
        "steps of 500, then a", "    path/that/is/longer/than/it", "headline", "  play     python main.py --play",
    ]  # fmt: skip
