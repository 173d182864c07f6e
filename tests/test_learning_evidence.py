"""`python -m benchmarks.learning`: what is killed goes on, figures are those of the logs, failures stop no others."""

import json
import os
import re
import shutil
import signal
import statistics
import time
from xml.etree import ElementTree

import pytest

from benchmarks import learning, learning_curves
from benchmarks.learning_plan import ROWS, Published, Row
from benchmarks.measuring import ROOT, update_table
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.utility.own_files import DONE
from tests.support.forked import forking_jobs, start_child

SMALL = {"num_workers": 2, "n_steps": 32, "epoch_frames": 64, "n_update": 1, "compile": "off", "save_interval": 1}
TROUBLE = SMALL | {"from_module": "tests.support.environments", "env_kwargs": {"kind": "raise"}}
GOOD = Row("PPO", "params.ppo_classic", "CartPole-v1", 1_024, 2, Published(1e6, None, "nobody"), SMALL)
PLAN = (
    Row("PPO", "params.ppo_classic", "Trouble-v0", 1_024, 1, None, TROUBLE),
    Row("PPO", "params.ppo_classic", "Nowhere-v0", 1_024, 1, None, SMALL),
    GOOD,
    Row("DQN", "params.dqn_classic", "CartPole-v1", 1_024, 1),
)
_RUN_S = 200  # of a run that shares its processor
MARKS = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("learning", "curves"))


@pytest.fixture(autouse=True)
def tiny_plan(monkeypatch):
    monkeypatch.setattr(learning, "ROWS", PLAN)


def words(base, *more):
    """The command line, with all that it writes in one directory."""
    results = base / "LEARNING.md"
    if not results.exists():
        results.write_text(MARKS)
    places = ["--directory", str(base / "runs"), "--images", str(base / "images"), "--results", str(results)]
    return [*places, "--jobs", "2", *more]


def table(base):
    """The rows of the table by task and method: column -> cell."""
    lines = [line for line in (base / "LEARNING.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {(row[0], row[1]): dict(zip(learning.HEADER, row, strict=True)) for row in cells}


def wait_until(condition, limit_s=120.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def logged(session, key):
    """The lines of a key in a session's log, without any code of ours: epoch, number and sum."""
    lines = [json.loads(line) for line in (session / "varlog.json").read_text().splitlines()]
    return [(line["meta"]["epoch"], line["data"][key]) for line in lines if key in line["data"]]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A plan with a row that fails, one that is refused and a good one; the command is killed in its middle once."""
    base = tmp_path_factory.mktemp("learning")
    with pytest.MonkeyPatch.context() as patch, forking_jobs():
        patch.setattr(learning, "ROWS", PLAN)
        arguments = words(base, "--only", "PPO")
        sessions = base / "runs" / GOOD.name
        child = start_child(lambda: learning.main(arguments), base / "first.log", limit_s=_RUN_S)
        wait_until(lambda: list(sessions.glob("seed=*/checkpoints/checkpoint-*")))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        was_cut = not all((sessions / f"seed={seed}" / DONE).exists() for seed in range(2))
        again = start_child(lambda: learning.main(arguments), base / "second.log", limit_s=_RUN_S)
        _, status = os.waitpid(again, 0)
    return base, was_cut, os.waitstatus_to_exitcode(status)


def test_a_plan_that_was_killed_goes_on_and_ends(done):
    base, was_cut, code = done
    assert was_cut
    assert code == 1  # a row failed
    for seed in range(2):
        session = base / "runs" / GOOD.name / f"seed={seed}"
        assert (session / DONE).exists()
        epochs = [epoch for epoch, _ in logged(session, "/speed/frames_per_s")]
        assert epochs == list(range(1, 17))  # 1,024 frames in epochs of 64: none twice


def test_the_figures_are_those_of_the_logs(done):
    base, _, _ = done
    row = table(base)["CartPole-v1", "PPO"]
    last = []
    for seed in range(2):
        epoch, test = logged(base / "runs" / GOOD.name / f"seed={seed}", "/return/test")[-1]
        assert (epoch, test["num"]) == (16, 10)
        last.append(test["sum"] / 10)
    recent = [logged(base / "runs" / GOOD.name / f"seed={seed}", "/return/recent")[-1][1] for seed in range(2)]
    assert row["mean"] == f"{statistics.fmean(last):.1f}"
    assert row["std"] == f"{statistics.stdev(last):.1f}"
    assert row["IQM (95 % interval)"] == f"{statistics.fmean(last):.1f} ({min(last):.1f} to {max(last):.1f})"
    assert row["training episodes"] == f"{statistics.fmean(each['sum'] / each['num'] for each in recent):.1f}"
    assert (row["frames"], row["seeds"]) == ("1,024", "0 to 1")
    assert row["published"] == "1,000,000 (nobody)"
    assert row["reached"] == f"short by {900_000 - statistics.fmean(last):,.0f}"


def test_a_row_that_fails_says_why_and_stops_no_other(done, capsys):
    base, _, _ = done
    rows = table(base)
    assert list(rows) == [(row.task, row.method) for row in PLAN]
    assert "0 of 1 seeds done; seed=0 failed: " in rows["Trouble-v0", "PPO"]["reached"]
    assert "the gripper is stuck" in rows["Trouble-v0", "PPO"]["reached"]
    assert "Nowhere" in rows["Nowhere-v0", "PPO"]["reached"]
    assert rows["CartPole-v1", "DQN"]["reached"] == "not run"
    before = (base / "LEARNING.md").read_text()
    assert learning.main(words(base, "--table")) == 0
    assert (base / "LEARNING.md").read_text() == before
    assert learning.main(words(base, "--list")) == 0
    out = capsys.readouterr().out
    assert "CartPole-v1, PPO, 1,024 frames: done" in out
    assert re.search(r"CartPole-v1, DQN, 1,024 frames: not run, 0:\d\d left", out)


@pytest.mark.parametrize("damage", ["[]", "null", json.dumps({GOOD.name: 5}), "{"])
def test_reasons_that_are_damaged_are_forgotten(done, damage, capsys):
    base, _, _ = done
    path = base / "runs" / "failures.json"
    before = path.read_text()
    try:
        path.write_text(damage)
        assert learning.main(words(base, "--list")) == 0
    finally:
        path.write_text(before)
    assert "CartPole-v1, PPO, 1,024 frames: done" in capsys.readouterr().out


def test_what_is_finished_is_not_trained_again(done, capsys):
    base, _, _ = done
    logs = [base / "runs" / GOOD.name / f"seed={seed}" / "varlog.json" for seed in range(2)]
    before = [log.stat().st_mtime_ns for log in logs]
    assert learning.main(words(base, "--only", "1 PPO", "CartPole-v1, PPO")) == 0
    assert [log.stat().st_mtime_ns for log in logs] == before
    assert "seed=0" not in capsys.readouterr().out


def test_curves_are_valid_pictures_that_the_page_shows(done):
    base, _, _ = done
    files = {path.name: path for path in (base / "images").iterdir()}
    assert set(files) == {"cartpole-v1.svg", "overview.svg"}
    for path in files.values():
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert path.stat().st_size < 60_000
        assert len(root.findall(".//*[@id='axes_1']")) == 1
        assert root.findall(".//*[@id='FillBetweenPolyCollection_1']")  # the interval
    assert "![Returns on CartPole-v1](images/cartpole-v1.svg)\n" in (base / "LEARNING.md").read_text()
    before = files["cartpole-v1.svg"].read_bytes()
    assert learning.main(words(base, "--table", "--only", "CartPole-v1, PPO")) == 0
    assert files["cartpole-v1.svg"].read_bytes() == before


def test_what_a_row_reached_is_kept_without_its_sessions(done, tmp_path, monkeypatch):
    base, _, _ = done
    shutil.copytree(base / "learning_results", tmp_path / "learning_results")
    assert learning.main(words(tmp_path, "--table")) == 0
    name = "CartPole-v1", "PPO"
    assert table(tmp_path)[name] == table(base)[name]
    for file in ("cartpole-v1.svg", "overview.svg"):
        assert (tmp_path / "images" / file).read_bytes() == (base / "images" / file).read_bytes()
    assert table(tmp_path)["CartPole-v1", "DQN"]["reached"] == "not run"

    (kept,) = (tmp_path / "learning_results").iterdir()
    text = kept.read_text()
    assert json.loads(text)["panel"]["n_steps"] == 32
    kept.write_text(text.replace('"n_steps": 32', '"n_steps": 16'))
    assert learning.main(words(tmp_path, "--table")) == 0
    assert table(tmp_path)[name]["reached"] == "made by other parameters: n_steps is 32, was 16"
    kept.write_text(text[:-20])
    assert learning.main(words(tmp_path, "--table")) == 0
    assert "is damaged" in table(tmp_path)[name]["reached"]


def test_a_first_look_at_fewer_seeds_is_shown_and_not_kept(tmp_path):
    assert learning.main(words(tmp_path, "--only", "CartPole-v1, PPO", "--seeds", "1")) == 0
    assert table(tmp_path)["CartPole-v1", "PPO"]["seeds"] == "0"
    assert (tmp_path / "images" / "cartpole-v1.svg").exists()
    assert not (tmp_path / "learning_results").exists()


def test_another_plan_in_the_same_directory_is_told_and_nothing_of_it_is_shown(done, monkeypatch):
    base, _, _ = done
    text = (base / "LEARNING.md").read_text()
    other = GOOD._replace(panel={**SMALL, "lr": 0.1})
    monkeypatch.setattr(learning, "ROWS", (other,))
    assert learning.main(words(base, "--table")) == 0
    row = table(base)["CartPole-v1", "PPO"]
    assert "another plan: run seed=0 has lr not given there, 0.1 here" in row["reached"]
    assert row["mean"] == ""
    (base / "LEARNING.md").write_text(text)


@pytest.mark.parametrize(
    ("mean", "other", "said"),
    [
        (90.0, Published(100, 10, ""), "yes"),  # 100 - 10
        (89.5, Published(100, 10, ""), "short by 0.5"),
        (90.0, Published(100, None, ""), "yes"),  # 100 less a tenth
        (-110.0, Published(-100, None, ""), "yes"),
        (-112.0, Published(-100, None, ""), "short by 2.0"),
        (-5000.0, Published(-100, 50, ""), "short by 4,850"),
        (3.0, None, ""),
    ],
)
def test_verdicts_by_hand(mean, other, said):
    assert learning.verdict(mean, other) == said


def test_rows_have_the_order_of_the_plan_whatever_is_run_first():
    text = update_table(MARKS, "learning", ("a", "b"), [["y", "1"]], order=[("x",), ("y",)])
    text = update_table(text, "learning", ("a", "b"), [["x", "2"], ["z", "3"]], order=[("x",), ("y",)])
    assert "| x | 2 |\n| y | 1 |\n" in text
    assert "| z |" not in text


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--only", "CartPoll"], "--only CartPoll fits no row"),
        (["--jobs", "0"], "'0' is no positive integer"),
        (["--seeds", "many"], "'many' is no positive integer"),
        (["--list", "--table"], "not allowed with"),
        (["--results", "/nowhere/L.md"], "/nowhere/L.md is not there"),
        (["--results", str(ROOT / "LICENSE"), "--table"], "no place for 'learning'"),
        (["--directory", str(ROOT / "LICENSE")], "LICENSE is a file: give a directory"),
        (["--images", str(ROOT / "LICENSE")], "LICENSE is a file: give a directory"),
    ],
)
def test_wrong_arguments_are_refused_with_one_line(more, reason, tmp_path, capsys):
    try:
        code = learning.main(words(tmp_path, *more))
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert [path.name for path in tmp_path.iterdir()] == ["LEARNING.md"]


# ------------------------------------------------------------------ the real plan


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_accepted_by_its_recipe_and_tested_at_its_end(row):
    module = load_params(row.recipe)
    tree = generate(module, override_panel(module.cpanel, {**row.cpanel, "total_frames": row.frames}))
    assert tree["runner"]["test_act"] is True
    assert tree["explorer"]["test"]["n_episodes"] == 10


def test_rows_of_the_plan_are_told_apart():
    assert len({row.name for row in ROWS}) == len({row.key for row in ROWS}) == len(ROWS)


def test_the_page_has_a_place_for_table_and_curves():
    text = (ROOT / "benchmarks/LEARNING.md").read_text()
    assert update_table(text, "learning", learning.HEADER, [])
    assert "<!-- curves -->" in text
    assert learning_curves.file_name("dm_control/cheetah-run-v0") == "dm-control-cheetah-run-v0.svg"
