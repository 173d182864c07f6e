"""Monitor, Profiler and StatLogger: the numbers and the lines that they write, and what they cost."""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import nullcontext

import psutil
import pytest

from digideep.telemetry import machine
from digideep.telemetry.machine import StatLogger
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.writers import shares

BOTH = {"monitor_cpu": True, "monitor_gpu": True}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_values_are_summed_up_until_they_are_dumped(tmp_path):
    monitor, file = Monitor(), tmp_path / "varlog.json"
    for value in (1.0, 2.0, 6.0):
        monitor("/return/train", value)
    monitor.moment = lambda: {"epoch": 1, "frame": 20, "episode": 3}
    monitor.dump(file)
    monitor("/return/train", 5.0)
    monitor.moment = lambda: {"epoch": 2, "frame": 40, "episode": 4}
    monitor.dump(file)
    first, second = lines(file)
    assert set(first) == {"meta", "data"}
    assert set(first["meta"]) == {"epoch", "frame", "episode", "clock"}
    assert first["data"]["/return/train"] == pytest.approx({"std": 7**0.5, "num": 3, "min": 1, "max": 6, "sum": 9})
    assert second["data"]["/return/train"] == {"std": 0, "num": 1, "min": 5, "max": 5, "sum": 5}
    monitor("/cost", -3.0)
    monitor("/cost", -7.0)
    (pack,) = monitor.dump(None)
    assert pack["data"]["/cost"] == pytest.approx({"std": 8**0.5, "num": 2, "min": -7, "max": -3, "sum": -10})


def test_a_window_is_packed_when_it_is_full_and_what_is_left_stays_open(tmp_path):
    monitor, file = Monitor(), tmp_path / "varlog.json"
    for value in range(5):
        monitor("/x", value, window=2)
    packs = monitor.dump(file)
    assert [pack["data"]["/x"]["sum"] for pack in packs] == [1, 5]
    monitor("/x", 10, window=2)
    assert [pack["data"]["/x"]["sum"] for pack in monitor.dump(file)] == [14]
    assert [line["data"]["/x"]["num"] for line in lines(file)] == [2, 2, 2]
    with pytest.raises(ValueError, match="window of '/x' was 2"):
        monitor("/x", 1, window=3)


def test_what_is_open_survives_a_checkpoint():
    monitor, restored = Monitor(), Monitor()
    monitor("/x", 1.0)
    monitor("/y", 1.0, window=3)
    monitor("/z", 7.0, window=1)  # full, and not yet written
    restored.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
    restored("/x", 3.0)
    full, rest = restored.dump(None)
    assert full["data"]["/z"]["sum"] == 7.0
    assert rest["data"]["/x"]["sum"] == 4.0
    restored("/y", 1.0, window=3)
    restored("/y", 1.0, window=3)
    assert restored.dump(None)[0]["data"]["/y"]["num"] == 3


def test_nested_blocks_are_a_tree_that_starts_anew_with_each_dump(tmp_path):
    profiler, file = Profiler(), tmp_path / "prolog.json"
    for _ in range(2):
        with profiler("train"):
            for _ in range(3):
                with profiler("act"):
                    time.sleep(0.001)
    profiler.dump(file, {"epoch": 1, "frame": 2, "episode": 3})
    assert profiler.dump(file, {"epoch": 2, "frame": 2, "episode": 3}) == {}
    (line,) = lines(file)
    assert line["meta"] == {"epoch": 1, "frame": 2, "episode": 3}
    assert {path: data["occurs"] for path, data in line["data"].items()} == {"/train": 2, "/train/act": 6}
    assert line["data"]["/train"]["starts"] is None
    assert line["data"]["/train"]["totals"] >= line["data"]["/train/act"]["totals"] >= 0.006


def test_the_seconds_of_a_block_are_those_since_the_last_dump(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.0])
    monkeypatch.setattr("digideep.telemetry.profiler.perf_counter", lambda: next(clock))
    profiler, seconds = Profiler(), []
    for _ in range(2):
        with profiler("train"):
            pass
        seconds.append(profiler.dump(None, {})["/train"]["totals"])
    assert seconds == [5.0, 2.0]


def test_blocks_below_the_level_are_not_timed():
    profiler = Profiler(1)
    with profiler("a"), profiler("b"), profiler("c"):
        pass
    assert list(profiler.figures()) == ["/a"]


@pytest.mark.parametrize(
    ("level", "timed"),
    [(0, []), (1, ["/update/agent", "/train"]), (2, ["/update/agent", "/update/agent/step", "/train", "/train/act"])],
)
def test_the_level_counts_blocks_and_not_the_slashes_of_their_names(level, timed):
    profiler = Profiler(level)
    for _ in range(2):
        with profiler("update/agent"), profiler("step"), profiler("a/b"):
            pass
        with profiler("train"), profiler("act"):
            pass
    assert list(profiler.figures()) == timed


def test_a_window_is_packed_under_the_meta_of_its_moment():
    monitor, meta = Monitor(), {"epoch": 1, "frame": 0, "episode": 0}
    monitor.moment = lambda: meta
    for frame in range(1, 5):
        meta = {"epoch": 1, "frame": frame, "episode": 0}
        monitor("/x", frame, window=2)
    assert [pack["meta"]["frame"] for pack in monitor.dump(None)] == [2, 4]


def test_an_error_within_a_block_leaves_the_tree_in_order():
    profiler = Profiler()
    with pytest.raises(KeyError), profiler("a"), profiler("b"):
        raise KeyError
    with profiler("c"):
        pass
    assert list(profiler.figures()) == ["/a", "/a/b", "/c"]


def test_a_block_costs_little_more_than_entering_it():
    def seconds_of_one(make_block):
        started = time.perf_counter()
        for _ in range(10_000):
            with make_block("a"):
                pass
        return (time.perf_counter() - started) / 10_000

    ours, least = (min(seconds_of_one(block) for _ in range(5)) for block in (Profiler(), nullcontext))
    assert ours < 40 * least  # 7 times; 0.1 us is the least on a fast processor


def test_shares_leave_out_what_is_within_and_sum_to_a_hundred():
    split = shares({"/train": 6.0, "/train/act": 2.0, "/train/simulate": 3.0, "/update/agent": 4.0})
    assert split == pytest.approx({"/update/agent": 40, "/train/simulate": 30, "/train/act": 20, "/train": 10})
    assert shares({}) == {}


def test_the_load_is_written_by_a_thread_that_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_INTERVAL_S", 0.05)
    stats = StatLogger(tmp_path / "monlog.json", **BOTH)
    deadline = time.monotonic() + 10
    while not stats.latest and time.monotonic() < deadline:
        time.sleep(0.01)
    stats.close()
    line = lines(tmp_path / "monlog.json")[0]
    assert set(line["meta"]) == {"clock"}
    assert {"/cpu/all/total", "/cpu/process", "/cpu/memory/total", "/cpu/memory/used", "/cpu/memory/mem"} <= set(
        line["data"]
    )
    assert set(line["data"]["/cpu/process"]) == {"std", "num", "min", "max", "sum"}
    used, total = (line["data"][f"/cpu/memory/{name}"]["sum"] for name in ("used", "total"))
    assert total == pytest.approx(psutil.virtual_memory().total / 2**20)
    assert 0 < used < total
    size = (tmp_path / "monlog.json").stat().st_size
    time.sleep(0.15)
    assert (tmp_path / "monlog.json").stat().st_size == size


def test_the_load_of_a_run_is_that_of_its_processes_together(monkeypatch):
    monkeypatch.setattr(machine, "_INTERVAL_S", 1000)
    stats = StatLogger(None, **BOTH)
    alone = stats.sample()["/cpu/memory/mem"]
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        both = stats.sample()["/cpu/memory/mem"]
        own = sum(psutil.Process(pid).memory_info().rss for pid in (os.getpid(), child.pid)) / 2**20
        child.stdin.close()
    stats.close()
    assert both - alone > 3  # MiB of a Python that does nothing
    assert both == pytest.approx(own, rel=0.2)


def test_a_measurement_costs_less_than_a_hundredth_of_its_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_INTERVAL_S", 1000)
    stats = StatLogger(tmp_path / "monlog.json", **BOTH)
    started = time.thread_time()
    for _ in range(20):
        stats.sample()
    assert (time.thread_time() - started) / 20 < 0.01 * 2.0
    stats.close()


def test_a_measurement_that_fails_costs_one_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    monkeypatch.setattr(machine, "_INTERVAL_S", 0.01)
    stats = StatLogger(tmp_path / "not there" / "monlog.json", **BOTH)
    stats._thread.join(10)
    # pytest may listen to the logger and to its root at once: a record counts once.
    assert [record.levelname for record in {id(record): record for record in caplog.records}.values()] == ["WARNING"]
