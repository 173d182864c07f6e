"""Figures are what their labels say: on the terminal, in the files, on the dashboards and in the tools."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch.utils.tensorboard  # noqa: F401  its import warns, which is not of interest here

from digideep.main import main
from digideep.pipeline.checkpoint import read_checkpoint
from digideep.pipeline.runner import Runner
from digideep.pipeline.verify import compare_checkpoints
from digideep.post import report, sessions
from digideep.post.comparison import changes_of, differences, make_groups, score
from digideep.post.loader import Loader
from tests.pipeline.test_dashboards import events_of, windows_of
from tests.support.helpers import CLASSIC, ROOT, command, tiny


class Windowed(Runner):
    """Monitors a key of its own by windows that end within epochs."""

    def train_cycle(self):
        super().train_cycle()
        for value in (self.frames, -self.frames):
            self.monitor("/mine", value, window=3)


def train(base, name, *more, params=CLASSIC, **changes):
    argv = ["--params", params, "--cpanel", tiny(**changes), "--session-path", str(base), "--session-name", name]
    assert main([*argv, "--quiet", *more]) == 0
    return base / name


def resume(session, **repeal):
    more = ["--repeal", json.dumps(repeal)] if repeal else []
    return main(["--resume", str(session), "--quiet", *more])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="module")
def straight(base):
    """Five epochs with a test after the first, the second and the fourth, and after the last."""
    return train(base, "straight", number_epochs=5)


@pytest.fixture(scope="module")
def windowed(base):
    """A run with windows and dashboards, of odd cycles so that windows end within epochs."""
    (base / "windowed_params.py").write_text(
        "from params import ppo_classic\n"
        "from tests.pipeline.test_figures import Windowed\n"
        "cpanel = ppo_classic.cpanel\n"
        "def gen_params(cpanel):\n"
        "    tree = ppo_classic.gen_params(cpanel)\n"
        "    return {**tree, 'runner': {**tree['runner'], 'class': Windowed}}\n"
    )
    params = str(base / "windowed_params.py")
    return train(base, "windowed", "--tensorboard", params=params, epoch_size=4, number_epochs=4)


def light(session, target):
    """A copy whose pictures are drawn quickly: of returns only."""
    shutil.copytree(session, target, ignore=shutil.ignore_patterns("modules", "prolog.json", "monlog.json"))
    lines = [json.loads(text) for text in (session / "varlog.json").read_text().splitlines()]
    for entry in lines:
        entry["data"] = {key: data for key, data in entry["data"].items() if key.startswith("/return/")}
    (target / "varlog.json").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return target


def returns_of(session, mode):
    """Each episode's return by the csv files, which have a row per episode."""
    rows = []
    for file in session.glob(f"monitor/{mode}.*.monitor.csv"):
        rows += [float(line.split(",")[0]) for line in file.read_text().splitlines()[2:]]
    return rows


def test_the_first_and_the_last_epoch_are_tested_and_so_there_is_a_best_policy(base, straight):
    assert Loader(straight).varlog["/return/test"]["epoch"].tolist() == [1, 2, 4, 5]
    short = train(base, "short", number_epochs=1, test_interval=10)
    assert Loader(short).varlog["/return/test"]["epoch"].tolist() == [1]
    assert (short / "checkpoints/best/manifest.json").exists()
    untested = train(base, "untested", number_epochs=1, test_activate=False)
    assert "/return/test" not in Loader(untested).varlog


def test_a_run_that_stops_early_is_not_tested_for_that_and_ends_as_if_it_had_not_stopped(base, straight):
    argv = ["--params", CLASSIC, "--cpanel", tiny(number_epochs=5, max_exec_iter=3), "--session-path", str(base)]
    assert main([*argv, "--session-name", "stopped", "--quiet"]) == 75
    stopped = base / "stopped"
    assert Loader(stopped).varlog["/return/test"]["epoch"].tolist() == [1, 2]
    assert resume(stopped, **{"/runner/max_iter": None}) == 0
    different, total = compare_checkpoints(straight / "checkpoints/checkpoint-5", stopped / "checkpoints/checkpoint-5")
    assert total > 50
    assert {path for path in different if not path.startswith("/cpanel")} == set()
    logs = [Loader(session).varlog["/return/test"] for session in (straight, stopped)]
    assert logs[0]["sum"].tolist() == logs[1]["sum"].tolist()


def test_a_test_more_changes_no_number_of_the_training(base, straight):
    extended = train(base, "extended", number_epochs=3)
    assert resume(extended, **{"/runner/n_epochs": 5}) == 0
    assert Loader(extended).varlog["/return/test"]["epoch"].tolist() == [1, 2, 3, 4, 5]
    for key in ("/return/train", "/return/recent"):
        assert Loader(extended).varlog[key]["frame"].tolist() == Loader(straight).varlog[key]["frame"].tolist()
    states = [read_checkpoint(session / "checkpoints/checkpoint-3")[0] for session in (straight, extended)]
    for name, array in states[0]["explorer"]["train"].items():
        if isinstance(array, np.ndarray):
            assert array.tobytes() == states[1]["explorer"]["train"][name].tobytes()


def test_recent_returns_are_those_of_the_last_hundred_episodes(straight):
    log = Loader(straight).varlog
    assert log["/return/recent"]["num"].tolist() == np.minimum(np.cumsum(log["/return/train"]["num"]), 100).tolist()
    assert log["/return/recent"]["sum"][-1] == pytest.approx(sum(returns_of(straight, "train")[-100:]))
    assert log["/return/recent"]["max"][-1] == max(returns_of(straight, "train"))
    assert log["/return/train"]["num"].sum() == len(returns_of(straight, "train"))


def test_the_terminal_says_what_the_log_says_in_eighty_columns(tmp_path):
    argv = ["--params", CLASSIC, "--cpanel", tiny(number_epochs=5), "--session-path", str(tmp_path)]
    done = subprocess.run(command(*argv, "--session-name", "s"), capture_output=True, text=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    start = next(index for index, text in enumerate(lines) if text.split()[:1] == ["epoch"])
    header, rows = lines[start], [text.split() for text in lines[start + 1 : start + 6]]
    assert "recent return" in header
    assert "test return" in header
    assert max(map(len, lines[start : start + 6])) <= 80
    log = Loader(tmp_path / "s").varlog
    assert [row[3] for row in rows] == [f"{mean:,.2f}" for mean in log.mean("/return/recent")]
    tests = dict(zip(log["/return/test"]["epoch"].tolist(), log.mean("/return/test"), strict=True))
    assert [row[4] for row in rows] == [f"{tests[n]:,.2f}" if n in tests else "-" for n in range(1, 6)]


def test_a_window_has_the_epoch_and_the_frame_in_which_it_ended(windowed):
    entry = Loader(windowed).varlog["/mine"]
    frames_per_cycle = 2 * 32
    ended = [3 * (i + 1) for i in range(len(entry["num"]))]  # values by then, two a cycle
    cycles = [-(-count // 2) for count in ended]
    assert entry["frame"].tolist() == [cycle * frames_per_cycle for cycle in cycles]
    assert entry["epoch"].tolist() == [-(-cycle // 4) for cycle in cycles]
    assert len(ended) == 4 * 4 * 2 // 3


def test_a_resumed_log_is_the_straight_one(base, windowed):
    params = str(base / "windowed_params.py")
    argv = ["--params", params, "--cpanel", tiny(epoch_size=4, number_epochs=4, max_exec_iter=1), "--quiet"]
    assert main([*argv, "--session-path", str(base), "--session-name", "halted"]) == 75
    assert resume(base / "halted", **{"/runner/max_iter": None}) == 0

    def lines(session):
        found = []
        for text in (session / "varlog.json").read_text().splitlines():
            entry = json.loads(text)
            del entry["meta"]["clock"]
            entry["data"].pop("/speed/frames_per_s", None)
            found.append(entry)
        return found

    assert lines(base / "halted") == lines(windowed)


def test_dashboards_lists_and_reports_take_windows(base, windowed, tmp_path, capsys):
    scalars, _ = events_of(windowed)
    entry = Loader(windowed).varlog["/mine"]
    assert [step for step, _ in scalars["mine"]] == entry["frame"].tolist()
    assert [step for step, _ in scalars["return/recent"]] == [256, 512, 768, 1024]
    old = shutil.copytree(windowed, tmp_path / "old", ignore=shutil.ignore_patterns("modules"))
    lines = [json.loads(text) for text in (old / "varlog.json").read_text().splitlines()]
    lines[0]["meta"] = {"clock": 1.0}  # as older runs wrote it
    (old / "varlog.json").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    assert sessions.main([str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["frames"] == 1024
    assert np.isnan(Loader(old).varlog["/mine"]["frame"][0])
    assert report.main([str(old)]) == 0
    assert capsys.readouterr().err == ""


def test_visdom_takes_packs_without_a_frame(tmp_path):
    from digideep.telemetry.visdom import VisdomWriter
    from digideep.telemetry.writers import EpochFigures
    from tests.pipeline.test_dashboards import free_port

    writer = VisdomWriter(tmp_path / "visdom.log", free_port(), "127.0.0.1", "x")
    try:
        data = {"/mine": {"std": 0.0, "num": 2, "min": 1.0, "max": 3.0, "sum": 4.0}}
        writer.epoch(
            EpochFigures({"epoch": 1, "frame": 7, "episode": 1}, [{"meta": {"clock": 0.0}, "data": data}], {}, {})
        )
    finally:
        writer.close()
    assert windows_of(tmp_path / "visdom.log")["/mine", "mine"] == [(7, 2.0)]


def test_parameters_are_those_in_force_and_other_ones_are_another_group(base, straight, tmp_path, capsys):
    paths = [straight]
    for name, repeal in (
        ("slow", {"/agents/agent/lr/start": 1e-5}),
        ("far", {}),
        ("gravity", {"/env/kwargs": {"a": 1}}),
    ):
        path = shutil.copytree(straight, tmp_path / name, ignore=shutil.ignore_patterns("modules"))
        if name == "gravity":  # noted by the session, without an environment that takes it
            (path / "repeal.json").write_text(json.dumps([{"epoch": 5, "repeal": repeal}]))
        else:
            assert resume(path, **{"/runner/n_epochs": 6, **repeal}) == 0
        paths.append(path)
    loaders = [Loader(path) for path in paths]
    assert [loader.params["runner"]["n_epochs"] for loader in loaders] == [5, 6, 6, 5]
    assert loaders[1].params["agents"]["agent"]["lr"]["start"] == 1e-5
    assert loaders[3].params["env"]["kwargs"] == {"a": 1}
    groups = make_groups(loaders)
    assert [len(group.loaders) for group in groups] == [1, 1, 1, 1]
    found = differences([group.loaders[0] for group in groups])
    assert found["/runner/n_epochs"] == [5, 6, 6, 5]
    assert found["/agents/agent/lr/start from epoch 6"] == [None, 1e-5, None, None]
    page = report.make_report([Loader(light(paths[i], tmp_path / name)) for i, name in ((0, "a"), (3, "b"))])
    assert "/env/kwargs from epoch 6" in page
    assert score(groups[1]).runs == 1


def test_changes_that_a_resume_takes_back_are_not_in_force(straight, tmp_path):
    path = shutil.copytree(straight, tmp_path / "back", ignore=shutil.ignore_patterns("modules"))
    assert resume(path, **{"/runner/n_epochs": 7, "/runner/save_int": 2}) == 0
    assert resume(path / "checkpoints/checkpoint-5", **{"/runner/n_epochs": 6}) == 0
    loader = Loader(path)
    assert (loader.params["runner"]["n_epochs"], loader.params["runner"]["save_int"]) == (6, 1)
    assert list(changes_of(loader)) == ["/runner/n_epochs from epoch 6"]
    state, _, _ = read_checkpoint(path / "checkpoints/checkpoint-6")
    own = ("session_name", "session_msg", "session_cmd", "versions")
    assert {key: value for key, value in loader.params.items() if key not in own} == state["params"]


def test_a_broken_note_of_repeals_is_set_aside_when_a_run_goes_on(straight, tmp_path):
    path = shutil.copytree(straight, tmp_path / "broken", ignore=shutil.ignore_patterns("modules"))
    (path / "repeal.json").write_text("[{")
    assert resume(path, **{"/runner/n_epochs": 6}) == 0
    assert (path / "repeal.json.broken").read_text() == "[{"
    assert Loader(path).params["runner"]["n_epochs"] == 6


def test_a_seed_that_comes_twice_counts_once(base, straight, tmp_path):
    straight, again = light(straight, tmp_path / "straight"), light(straight, tmp_path / "again")
    other = light(train(base, "other_seed", number_epochs=5, seed=1), tmp_path / "other_seed")
    (group,) = make_groups([Loader(path) for path in (straight, again, other)])
    assert [loader.name for loader in group.loaders] == ["straight", "other_seed"]
    assert [loader.name for loader in group.repeated] == ["again"]
    found = score(group)
    assert (found.runs, found.measure, found.frames) == (2, "test", (640, 640))
    page = report.make_report([Loader(path) for path in (straight, again, other)])
    assert "Counted and drawn once: again (seed 0)" in page


def test_a_score_says_where_it_was_measured(base, straight, tmp_path):
    stopped = light(straight, tmp_path / "stopped")
    lines = (stopped / "varlog.json").read_text().splitlines(keepends=True)
    (stopped / "varlog.json").write_text("".join(lines[:3]))  # tested after two of its three epochs
    (group,) = make_groups([Loader(stopped)])
    assert score(group).frames == (2 * 128, 2 * 128)
    page = report.make_report([Loader(stopped)])
    assert "<th>last test return</th><th>at frame</th>" in page
    assert '<td class="n">384</td>' in page
    assert '<td class="n">256</td>' in page
