"""What is shown of a group while it runs."""

import io
import json

from rich.console import Console

from digideep.launch.engine import Job
from digideep.launch.launcher import FAILED, FINISHED, RUNNING, WAITING, RunState
from digideep.launch.plan import Length
from digideep.launch.progress import Progress, read_progress
from digideep.launch.table import RunTable

LINE = {
    "meta": {"epoch": 12, "frame": 1_234_567},
    "data": {
        "/return/train": {"sum": 10.0, "num": 2}, "/return/recent": {"sum": 987_654.0, "num": 100},
        "/speed/frames_per_s": {"sum": 1_000.0, "num": 1},
    },
}  # fmt: skip


def session(base, name, *lines):
    (base / name).mkdir()
    (base / name / "varlog.json").write_text("".join(lines))
    return base / name


def states(base, number, *known):
    """Runs, of which the first are in states that are given."""
    runs = [
        RunState(Job(base / f"learning_rate=0.0003_seed={n}", "p"), Length(24, 2_469_134, 1)) for n in range(number)
    ]
    for run, state in zip(runs, known, strict=False):
        run.state = state
    return runs


def picture(runs, width=80, height=12):
    """What stands on a terminal of that size at last."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=height, color_system=None)
    table = RunTable(runs, console)
    table.update()
    text = output.getvalue()
    table.close()
    return text, output.getvalue()


def test_progress_is_that_of_the_last_whole_line(tmp_path):
    line = json.dumps(LINE)
    assert read_progress(tmp_path / "none") == Progress(0, 0, None, None)
    assert read_progress(session(tmp_path, "a", f"{line}\n")) == Progress(12, 1_234_567, 9_876.54, 1_000.0)
    assert read_progress(session(tmp_path, "b", f"{line}\n", '{"meta": {"epoch": 13')).epoch == 12
    assert read_progress(session(tmp_path, "c", "[]\nnull\n{}\n", "x" * 100_000)) == Progress()
    assert read_progress(session(tmp_path, "d", "x" * 100_000, f"\n{line}\n")).frames == 1_234_567
    nan = {"meta": LINE["meta"], "data": {"/return/recent": {"sum": float("nan"), "num": 1}}}
    assert read_progress(session(tmp_path, "e", f"{json.dumps(nan)}\n")) == Progress(12, 1_234_567, None, None)


def test_the_table_fits_80_columns_and_shows_state_epoch_frames_return_and_time_left(tmp_path):
    runs = states(tmp_path, 2, RUNNING)
    session(tmp_path, runs[0].job.name, f"{json.dumps(LINE)}\n")
    text, _ = picture(runs)
    assert "learning_rat…0.0003_seed=0 running" in text
    assert "running 12/24 1,234,567 9,876.54 20:34" in text
    assert "waiting  0/24         0        -" in text
    assert "2 runs: 1 running, 1 waiting" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_low_terminal_shows_what_runs_and_what_failed_and_the_end_shows_all(tmp_path):
    runs = states(tmp_path, 30, *[FINISHED] * 20, RUNNING, RUNNING, *[WAITING] * 7, FAILED)
    runs[29].reason = "killed by SIGKILL"
    text, whole = picture(runs)
    shown = [line.split("seed=")[1].split()[0] for line in text.splitlines() if "seed=" in line and "/24" in line]
    assert shown == ["20", "21", "22", "23", "24", "25", "26", "29"]
    assert len(text.splitlines()) <= 14
    assert "learning_rate=0.0003_seed=29: killed by SIGKILL" in text
    assert all(f"seed={number}" in whole for number in range(30))


def test_without_a_terminal_each_change_is_a_line_and_quietly_only_a_failure(tmp_path):
    for is_quiet in (False, True):
        output = io.StringIO()
        runs = states(tmp_path, 2)
        table = RunTable(runs, Console(file=output, width=80), is_quiet=is_quiet)
        runs[0].state = RUNNING
        table.update()
        table.update()
        runs[0].state, runs[0].reason = FAILED, "[red]no room[/red] left"
        table.update()
        table.close()
        name = runs[0].job.name
        started = [] if is_quiet else [f"{name} running"]
        assert output.getvalue().splitlines() == [*started, f"{name} failed: [red]no room[/red] left"]
        assert table.rows()[0] == {
            "run": name, "session": str(tmp_path / name), "state": "failed", "epoch": 0, "frames": 0, "return": None,
            "reason": "[red]no room[/red] left",
        }  # fmt: skip
