"""`digideep group`: every run once, whatever fails, stops or is killed; and nothing is made of what is refused."""

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from digideep.launch.group import open_group
from digideep.main import main
from digideep.parameters.control_panel import load_params
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.session_directory import hold, let_go
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.comparison import make_groups
from digideep.post.loader import Loader
from digideep.post.sessions import find_sessions
from digideep.utility.own_files import DONE
from tests.damage.harness import OTHER_USER, snapshot
from tests.kills.groups import Tormented, compare
from tests.support.forked import ForkedProgram, forking_jobs, in_child
from tests.support.helpers import CLASSIC, tiny

QUIET = ("--no-monitor-cpu", "--no-monitor-gpu", "--device", "cpu")
ONE_EPOCH = tiny(number_epochs=1, epoch_size=1, test_activate=False)
ENDLESS = tiny(number_epochs=100_000, epoch_size=1, test_activate=False)
GRID = ("--seeds", "2", "--grid", '{"lr": [0.01, 0.1]}', "--jobs", "2")


def group(base, *arguments, panel=ONE_EPOCH, params=CLASSIC) -> list[str]:
    """The command line of the group `g` in a directory."""
    return ["group", params, "--session-path", str(base), "--name", "g", "--cpanel", panel, *QUIET, *arguments]


def last_checkpoint(session: Path) -> Path:
    return list_checkpoints(session / "checkpoints")[-1]


def wait_until(condition, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A group of two settings and two seeds that was run to its end, and what it printed as JSON."""
    base = tmp_path_factory.mktemp("groups")
    with forking_jobs():
        assert ForkedProgram(group(base, *GRID, "--json"), base / "output").wait() == 0
    (line,) = [line for line in (base / "output").read_text().splitlines() if line.startswith("{")]
    return base / "g", json.loads(line)


def test_every_seed_of_every_setting_is_trained_as_it_would_be_alone(done, tmp_path):
    path, said = done
    names = [f"lr={lr}_seed={seed}" for lr in ("0.01", "0.1") for seed in (0, 1)]
    assert said["group"] == str(path)
    assert [(run["run"], run["state"], run["epoch"], run["frames"]) for run in said["runs"]] == [
        (name, "done", 1, 64) for name in names
    ]
    sessions = [Loader(run["session"]) for run in said["runs"]]
    assert [(each.cpanel["lr"], each.seed) for each in sessions] == [(0.01, 0), (0.01, 1), (0.1, 0), (0.1, 1)]
    alone = ["train", CLASSIC, "--cpanel", ONE_EPOCH, "--set", "lr=0.1", "seed=1", "--session-path", str(tmp_path)]
    assert main([*alone, "--session-name", "alone", "--quiet", *QUIET]) == 0
    different, total = compare_checkpoints(last_checkpoint(tmp_path / "alone"), last_checkpoint(path / names[3]))
    assert (different, total > 50) == ([], True)


def test_a_report_of_a_group_compares_its_settings_over_their_seeds(done):
    groups = make_groups([Loader(path) for path in find_sessions(done[0])])
    assert [(each.name, [loader.seed for loader in each.loaders]) for each in groups] == [
        ("lr = 0.01", [0, 1]), ("lr = 0.1", [0, 1]),
    ]  # fmt: skip


def test_a_group_that_is_done_is_left_as_it_is(done, capsys):
    path, _ = done
    before = snapshot(path)
    for command in (group(path.parent, *GRID), ["group", str(path)], ["group", str(path), "--json"]):
        assert main(command) == 3
        assert f"All 4 runs of {path} are done. Compare them: digideep report {path}" in capsys.readouterr().err
    assert snapshot(path) == before


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path, capsys):
    assert main(group(tmp_path, *GRID, "--dry-run")) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(f"lr={lr}_seed={seed} waiting, 64 frames" for lr in ("0.01", "0.1") for seed in (0, 1)),
        "4 runs, 2 at once. Dry run: nothing is written.",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "'0' is no number of seeds"),
        (["--seeds", "1,1"], "'1,1' is no number of seeds, nor a list of different ones"),
        (["--seeds", "2,-1"], "'2,-1' is no number of seeds, nor a list"),
        (["--seeds", "[1"], "'[1' is no number of seeds, nor a list"),
        (["--seeds", "1,2]"], "'1,2]' is no number of seeds, nor a list"),
        (["--seeds", "1", "--save-modules", "nope"], "--save-modules nope is no Python package"),
        (["--seeds", "2", "--jobs", "0"], "'0' is no positive integer"),
        (["--seeds", "2", "--retries", "-1"], "'-1' is no positive integer"),
        (["--seeds", "2", "--name", "a/b"], "'a/b' must be a plain directory name"),
        (["--seeds", "2", "--grid", "[1]"], "'[1]' is no JSON object"),
        (["--seeds", "2", "--grid", '{"lrr": [1]}'], "--grid has the unknown key 'lrr'. Did you mean 'lr'?"),
        (["--seeds", "2", "--grid", '{"lr": []}'], "--grid 'lr' must be a list of values, got []"),
        (["--seeds", "2", "--grid", '{"lr": ["1e-3"]}'], "lr=1e-3_seed=0: --grid 'lr' must be a number, got '1e-3'"),
        (["--seeds", "2", "--set", "seed=3"], "--seeds and 'seed' both give seeds"),
        (["--seeds", "2", "--total-frames", "64"], "--total-frames and 'number_epochs' both say how long a run is"),
        (["--seeds", "2", "--load-checkpoint", "nowhere"], "nowhere"),
        (["--seeds", "2", "--device", "cuda:77"], "--device cuda:77"),
        (["--seeds", "2", "--on", "mars"], "invalid choice: 'mars'"),
        (["--params", "params.nothing", "--seeds", "2"], "--params params.nothing cannot be imported"),
        ([], "is no group's directory. Give --seeds or --grid"),
    ],
)
def test_what_is_refused_is_said_in_one_line_and_makes_nothing(tmp_path, capsys, arguments, message):
    assert main(group(tmp_path, *arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def damaged(change):
    """Return what changes the plan of a group."""

    def damage(path):
        plan = json.loads((path / "group.json").read_text())
        change(plan)
        (path / "group.json").write_text(json.dumps(plan, indent=1))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged(lambda plan: plan.update(digideep_group=2)), "is of version 2; this digideep knows 1"),
        (damaged(lambda plan: plan.pop("digideep_group")), "is no group's: it has no 'digideep_group': 1"),
        (damaged(lambda plan: plan["runs"].update({"../out": plan["runs"]["seed=0"]})), "is damaged"),
        (damaged(lambda plan: plan["runs"].update({"x" * 300: plan["runs"]["seed=0"]})), "is damaged"),
        (damaged(lambda plan: plan["runs"]["seed=0"].pop("params")), "is damaged"),
        (damaged(lambda plan: plan.update(begin=["--session-path", "elsewhere"])), "is damaged"),
        (damaged(lambda plan: plan.update(begin=["--msg", "a", "--help"])), "is damaged"),
        (damaged(lambda plan: plan.update(runs={})), "is damaged"),
        (damaged(lambda plan: plan["files"][CLASSIC].update(lr=7)), "lr is 0.0005, was 7. Take that back"),
        (
            damaged(lambda plan: plan["runs"]["seed=0"]["cpanel"].update(lr="x")),
            "seed=0: --cpanel 'lr' must be a number",
        ),
        (damaged(lambda plan: [run.update(params="g/own.py") for run in plan["runs"].values()]), "is not imported"),
        (lambda path: (path / "group.json").write_text("{" * 50), "is no JSON"),
        (lambda path: (path / "group.json").write_text('{"a":' * 100_000), "is no JSON"),
        (lambda path: (path / "group.json").unlink(), "is no group. A group's directory has a group.json"),
        (lambda path: (path / "seed=1").write_text(""), "is a file, expected a directory of the session's own"),
        (lambda path: (path / "seed=1").mkdir(), "seed=1 is no session, and in the way of one. Move it away"),
        (lambda path: (path / "output").symlink_to("/tmp"), "output is a link, expected a directory"),
    ],
)
def test_a_group_that_is_damaged_or_not_ours_is_refused(tmp_path, monkeypatch, capsys, damage, message):
    monkeypatch.chdir(tmp_path)
    (group_path := tmp_path / "g").mkdir()
    (group_path / "group.json").write_text(PLAN)
    (group_path / "own.py").write_text("raise AssertionError('it was imported')")
    damage(group_path)
    before = snapshot(tmp_path)
    assert main(["group", "g"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "3"), "run seed=2 is only in this command, which has 3 runs"),
        (("--seeds", "1,2"), "run seed=0 is only there, which has 2 runs"),
        (("--seeds", "2", "--set", "lr=0.1"), "run seed=0 has lr not given there, 0.1 here"),
        (("--seeds", "2", "--msg", "x"), "its sessions begin with '' there, '--msg x' here"),
    ],
)
def test_another_plan_for_a_group_that_is_there_is_refused(tmp_path, capsys, arguments, message):
    (tmp_path / "g").mkdir()
    (tmp_path / "g/group.json").write_text(PLAN)
    assert main(group(tmp_path, *arguments)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert f"Go on with it by `digideep group {tmp_path}/g`, or choose another --name." in said
    assert main(["group", str(tmp_path / "g"), "--seeds", "2"]) == 2
    assert "is a group, which has its plan already: leave --seeds out." in capsys.readouterr().err


PLAN = json.dumps(
    {
        "digideep_group": 1, "begin": [], "files": {CLASSIC: load_params(CLASSIC).cpanel},
        "runs": {f"seed={n}": {"params": CLASSIC, "cpanel": json.loads(ONE_EPOCH) | {"seed": n}, "repeal": {}}
                 for n in (0, 1)},
    },
    indent=1,
)  # fmt: skip


def test_a_group_that_is_run_already_is_refused(tmp_path, capsys):
    (tmp_path / "g").mkdir()
    (tmp_path / "g/group.json").write_text(PLAN)
    lock = hold(tmp_path / "g")
    assert main(["group", str(tmp_path / "g")]) == 2
    assert f"{tmp_path}/g is in use by a running process." in capsys.readouterr().err
    let_go(lock)
    assert not (tmp_path / "g/seed=0").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_place_that_cannot_be_written_and_a_disk_that_is_full_are_refused():
    base = Path(tempfile.mkdtemp(prefix="digideep-test-"))  # pytest's own is closed to others
    try:
        base.chmod(0o755)
        (base / "g").mkdir()
        (base / "g/group.json").write_text(PLAN)
        before = snapshot(base)
        for command in (["group", str(base / "g")], group(base, "--seeds", "3", "--name", "new")):
            code, said, _ = in_child(lambda command=command: main(command), base / "log", OTHER_USER)
            assert (code, "cannot be written" in said, len(said.splitlines())) == (2, True, 1), said
        code, said, _ = in_child(lambda: on_a_full_disk(group(base, "--seeds", "3", "--name", "new")), base / "log")
        assert (code, said) == (
            2,
            f"digideep: {base}/new cannot be made: File too large. Choose another --session-path.\n",
        )
        (base / "log").unlink()
        assert snapshot(base) == before
    finally:
        shutil.rmtree(base)


def on_a_full_disk(command: list[str]) -> int:
    """Run a command that can write no file. What it prints is no longer than the message."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    return main(command)


def test_a_launcher_that_is_stopped_stops_its_sessions_and_the_directory_is_enough_to_go_on(tmp_path):
    output, path = tmp_path / "output", tmp_path / "g"
    launcher = ForkedProgram(group(tmp_path, "--seeds", "3", "--jobs", "2", panel=ENDLESS), output)
    wait_until(lambda: all((path / f"seed={seed}/varlog.json").exists() for seed in (0, 1)))
    launcher.terminate()
    assert launcher.wait() == 75
    assert "3 runs: 2 stopped, 1 waiting" in output.read_text()
    assert f"Stopped (SIGTERM). Go on: digideep group {path}" in output.read_text()
    assert not (path / "seed=2").exists()
    frames = [Loader(path / f"seed={seed}").state()["runner"]["i_epoch"] for seed in (0, 1)]
    assert min(frames) >= 1
    launcher = ForkedProgram(["group", str(path), "--jobs", "3", *QUIET], output)
    wait_until(lambda: (path / "seed=2/varlog.json").exists())
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait() == 75
    assert [Loader(path / f"seed={seed}").state()["runner"]["i_epoch"] for seed in (0, 1)] > frames


def test_a_run_that_fails_stops_no_other_is_retried_as_often_as_asked_and_its_reason_is_told(tmp_path, capsys):
    broken = {"from_module": "tests.support.environments", "model_name": "Trouble-v0"}
    panel = json.dumps(json.loads(ONE_EPOCH) | broken)
    grid = json.dumps({"env_kwargs": [{"kind": "raise", "at": 7}, {"kind": "none"}]})
    assert main(group(tmp_path, "--grid", grid, "--retries", "1", "--jobs", "1", panel=panel)) == 1
    said = capsys.readouterr().out
    failed, fine = "env_kwargs=kind=raise,at=7", "env_kwargs=kind=none"
    order = [line.split(":")[0].split(",")[0] for line in said.splitlines() if line.startswith("env")]
    assert said.count(f"{failed} running") == 2
    assert f"{failed} failed: WorkerError: " in said
    assert "the gripper is stuck" in said
    assert f"{fine} done, 64 frames" in said, order
    assert "2 runs: 1 done, 1 failed" in said
    assert (tmp_path / "g" / fine / DONE).exists()


def test_a_session_that_somebody_else_runs_is_waited_for_and_not_run_twice(tmp_path, done):
    path, _ = done
    copy, output = shutil.copytree(path, tmp_path / "copy"), tmp_path / "output"
    others = ["lr=0.01_seed=0", "lr=0.1_seed=1"]
    for name in others:
        (copy / name / DONE).unlink()
    lock = hold(copy / others[0])
    launcher = ForkedProgram(["group", str(copy), *QUIET], output)
    wait_until(lambda: f"{others[1]} done" in output.read_text())
    assert f"{others[0]} elsewhere" in output.read_text()
    before = snapshot(copy / others[0])
    assert launcher.poll() is None
    assert snapshot(copy / others[0]) == before
    let_go(lock)
    assert launcher.wait() == 0
    assert output.read_text().count(f"{others[0]} running") == 1


def test_a_group_whose_launcher_and_children_are_killed_ends_with_the_same_bits(tmp_path):
    def launch(arguments, output):
        return ForkedProgram(arguments, output)

    changes = {"number_epochs": 10, "epoch_size": 1, "n_update": 1}
    straight, killed = (
        Tormented(tmp_path / name, launch, random.Random(5), pause_s=0.3, changes=changes, seeds=2)
        for name in ("straight", "killed")
    )
    straight.run(0)
    killed.run(2)
    assert (straight.wrong, killed.wrong) == ([], [])
    assert killed.kills.total() == 2
    # A run whose launcher dies may stop amid a test, whose epoch is then timed from the resume on only.
    assert [line for line in compare(straight.path, killed.path) if "prolog.json" not in line] == []
    assert len(open_group(killed.path).runs) == 2
