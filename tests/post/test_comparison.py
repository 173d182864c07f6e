"""Scores, groups, curves, lists and reports of sessions whose logs are written by the test: numbers by hand."""

import itertools
import json
import os
import re
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import yaml

from digideep.post import comparison, plots, plotter, report, sessions
from digideep.post.comparison import changes_of, differences, make_groups, measured_return, score
from digideep.post.drawing import band_of, join, series_of
from digideep.post.loader import Loader
from digideep.post.plots import _split
from digideep.telemetry.writers import parent_of
from digideep.utility.errors import UsageError
from tests.support.pages import data_of


def session(base, name, *, seed=0, repeals=(), monlog=(), runner=None, gamma=0.9, **series):
    """A session's files. Args: series: of "test" and "train", (frame, number of episodes, sum of returns) each."""
    path = base / name
    (path / "checkpoints").mkdir(parents=True)
    tree = {
        "env": {"name": "Counter-v0"}, "runner": {"seed": seed, "n_epochs": 10, **(runner or {})},
        "agents": {"agent": {"class": "digideep.agent.ppo.PPO", "gamma": gamma}},
    }  # fmt: skip
    (path / "params.yaml").write_text(yaml.safe_dump(tree))
    (path / "repeal.json").write_text(json.dumps(list(repeals)))
    for log, groups in (("varlog.json", series), ("monlog.json", {"load": monlog})):
        lines = []
        for key, rows in groups.items():
            for place, num, total in rows:
                figures = {"num": num, "sum": total, "min": total / num, "max": total / num, "std": 0.0}
                meta = {"frame": place, "epoch": place // 100} if log == "varlog.json" else {"clock": place}
                lines.append({"meta": meta, "data": {f"/return/{key}" if key != "load" else "/load": figures}})
        (path / log).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Loader(path)


def group_of(*loaders):
    (group,) = make_groups(list(loaders))
    return group


# ---------------------------------------------------------------------- scores and groups


def test_a_score_is_the_mean_of_the_middle_half_of_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_REPETITIONS", 200)
    returns = [9.0, 1000.0, 0.0, 2.0, 10.0, 3.0, 5.0, 1.0]
    found = score(group_of(*(session(tmp_path, str(i), seed=i, test=[(100, 1, r)]) for i, r in enumerate(returns))))
    assert found.runs == 8
    assert found.iqm[0] == pytest.approx((2 + 3 + 5 + 9) / 4)
    assert found.mean[0] == pytest.approx(1030 / 8)
    assert found.median[0] == pytest.approx(4.0)
    for point, low, high in (found.iqm, found.mean, found.median):  # of runs that were drawn again and again
        assert low < point < high


def test_a_run_without_tests_is_judged_by_the_episodes_of_the_last_tenth_of_its_frames(tmp_path):
    rows = [(100 * i, 1, 1000.0) for i in range(1, 9)] + [(900, 1, 10.0), (1000, 3, 6.0)]
    assert measured_return(session(tmp_path, "a", train=rows)) == (4.0, 1000)


def test_where_one_run_was_never_tested_all_are_judged_by_training_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_REPETITIONS", 10)
    tested = session(tmp_path, "a", test=[(100, 1, 50.0)], train=[(100, 2, 8.0)])
    other = session(tmp_path, "b", seed=1, train=[(100, 1, 6.0)])
    found = score(group_of(tested, other))
    assert (found.measure, found.values) == ("train", [4.0, 6.0])
    assert score(group_of(tested)).values == [50.0]


def test_of_two_runs_of_one_seed_the_one_that_got_further_counts(tmp_path):
    short = session(tmp_path, "short", test=[(100, 1, 1.0)])
    long = session(tmp_path, "long", test=[(100, 1, 1.0), (300, 1, 2.0)])
    for loaders in ((short, long), (long, short)):
        group = group_of(*loaders)
        assert [loader.name for loader in (*group.loaders, *group.repeated)] == ["long", "short"]


def test_what_changes_no_number_makes_no_other_group_and_all_else_does(tmp_path):
    base = session(tmp_path, "base")
    idle = {"save_int": 7, "keep_checkpoints": 1, "max_time": 2.0, "max_iter": 3, "histogram_int": 1, "video_int": 2}
    same = [session(tmp_path, name, seed=i + 1, runner={name: value}) for i, (name, value) in enumerate(idle.items())]
    assert len(group_of(base, *same).loaders) == 7
    later = [{"epoch": 0, "repeal": {"/runner/n_epochs": 10}}, {"epoch": 4, "repeal": {"/agents/agent/gamma": 0.9}}]
    others = [session(tmp_path, "gamma", gamma=0.8), session(tmp_path, "epochs", runner={"n_epochs": 9}),
              session(tmp_path, "later", repeals=later)]  # fmt: skip
    groups = make_groups([base, *others])
    assert len(groups) == 4
    assert changes_of(others[2]) == {"/agents/agent/gamma from epoch 5": 0.9}
    assert differences([group.loaders[0] for group in groups]) == {
        "/agents/agent/gamma": [0.9, 0.8, 0.9, 0.9], "/runner/n_epochs": [10, 10, 9, 10],
        "/agents/agent/gamma from epoch 5": [None, None, None, 0.9],
    }  # fmt: skip


def test_groups_are_named_after_what_differs(tmp_path):
    def names(*loaders):
        return [group.name for group in make_groups(list(loaders))]

    one, two = session(tmp_path, "one", gamma=0.5), session(tmp_path, "two", gamma=0.25)
    assert names(one, two) == ["gamma = 0.5", "gamma = 0.25"]
    assert names(one, session(tmp_path, "seed", gamma=0.5, seed=1)) == ["one and 1 more"]
    later = session(tmp_path, "later", gamma=0.5, repeals=[{"epoch": 4, "repeal": {"/agents/agent/gamma": 0.5}}])
    assert names(one, later) == ["one", "gamma from epoch 5 = 0.5"]
    for loader, panel in ((one, {"lr": 5e-4, "seed": 0, "old": 1}), (two, {"lr": 5e-5, "seed": 3, "save_interval": 2})):
        (loader.path / "cpanel.json").write_text(json.dumps(panel))
    one, two = Loader(one.path), Loader(two.path)
    assert names(one, two) == ["lr = 0.0005", "lr = 5e-05"]  # the words of whoever started them
    text = (two.path / "params.yaml").read_text()
    (two.path / "params.yaml").write_text(text.replace("Counter-v0", "Other-v0").replace("ppo.PPO", "sac.SAC"))
    assert names(one, Loader(two.path)) == ["PPO, Counter-v0", "SAC, Other-v0"]


def test_the_last_of_several_changes_is_in_force(tmp_path):
    repeals = [{"epoch": epoch, "repeal": {"/agents/agent/gamma": gamma}} for epoch, gamma in ((0, 0.5), (2, 0.6))]
    assert session(tmp_path, "a", repeals=repeals).params["agents"]["agent"]["gamma"] == 0.6


def test_a_change_that_a_resume_took_back_is_not_in_force(tmp_path):
    changes = ((0, {"/runner/n_epochs": 20}), (8, {"/agents/agent/gamma": 0.7}), (4, {"/runner/n_epochs": 30}))
    loader = session(tmp_path, "a", repeals=[{"epoch": epoch, "repeal": repeal} for epoch, repeal in changes])
    assert loader.params["agents"]["agent"]["gamma"] == 0.9
    assert loader.params["runner"]["n_epochs"] == 30
    assert changes_of(loader) == {"/runner/n_epochs from epoch 5": 30}


def test_a_log_that_has_grown_is_read_anew(tmp_path):
    loader = session(tmp_path, "a", test=[(100, 2, 6.0)])
    assert loader.varlog.mean("/return/test").tolist() == [3.0]
    line = (loader.path / "varlog.json").read_text()
    (loader.path / "varlog.json").write_text(line + line.replace('"num": 2', '"num": 4'))
    assert loader.varlog.mean("/return/test").tolist() == [3.0, 1.5]


# ---------------------------------------------------------------------- curves


def test_each_run_is_smoothed_over_its_own_points():
    first = np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0])
    second = np.array([0.0, 5.0, 10.0, 15.0, 20.0]), np.zeros(5)
    curve = join([first, second], window=2)
    assert (2 * curve.mean).tolist() == [0, 2.5, 5, 10, 15]  # 0, 5, 15 at 0, 10, 20


def test_a_band_reaches_from_the_least_to_the_greatest_run():
    x = np.array([0.0, 1.0])
    curve = join([(x, np.full(2, y)) for y in (1.0, 2.0, 9.0)])
    assert (curve.low[0], curve.mean[0], curve.high[0]) == (1, 4, 9)


def test_bands_are_what_they_are_called():
    rows = np.array([[1.0], [2.0], [9.0], [4.0]])
    assert [edge.tolist() for edge in band_of(rows, "range")] == [[1], [9]]
    assert [edge[0] for edge in band_of(rows, "std")] == pytest.approx([4 - 3.559026, 4 + 3.559026])
    means = np.sort([np.mean(drawn) for drawn in itertools.product([1, 2, 9, 4], repeat=4)])  # all 256 samples
    low, high = band_of(rows, "ci")
    assert np.quantile(means, 0.01) <= low[0] <= np.quantile(means, 0.05)
    assert np.quantile(means, 0.95) <= high[0] <= np.quantile(means, 0.99)
    assert [edge.tolist() for edge in band_of(rows[:3], "ci")] == [
        [1],
        [9],
    ]  # one sample in 27 is three times the least
    assert [edge.tolist() for edge in band_of(rows[:1], "std")] == [[1], [1]]


def test_the_time_of_a_training_goes_by_its_speed_and_leaves_pauses_out(tmp_path):
    loader = session(tmp_path, "a", train=[(600, 1, 1.0), (1200, 1, 2.0)])
    lines = [{"meta": {"frame": frame, "clock": clock}, "data": {"/speed/frames_per_s": {
        "num": 1, "sum": speed, "min": speed, "max": speed, "std": 0}}}
        for frame, clock, speed in ((600, 10.0, 10.0), (1200, 99_999.0, 20.0))]  # fmt: skip
    with (loader.path / "varlog.json").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    x, y = series_of(loader, "varlog", "/return/train", "time")
    assert (x.tolist(), y.tolist()) == ([1.0, 1.5], [1.0, 2.0])
    with pytest.raises(UsageError, match="no finite value with a finite 'time'"):
        series_of(session(tmp_path, "b", train=[(600, 1, 1.0)]), "varlog", "/return/train", "time")


def test_an_epoch_that_was_resumed_at_its_end_goes_by_the_speed_of_the_others(tmp_path):
    loader = session(tmp_path, "a", train=[(600, 1, 1.0), (1200, 1, 2.0), (1800, 1, 3.0)])
    lines = [{"meta": {"frame": frame}, "data": {"/speed/frames_per_s": {
        "num": 1, "sum": speed, "min": speed, "max": speed, "std": 0}}}
        for frame, speed in ((600, 10.0), (1200, 0.0), (1800, 10.0))]  # fmt: skip
    with (loader.path / "varlog.json").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    x, _ = series_of(loader, "varlog", "/return/train", "time")
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_a_clock_is_drawn_in_minutes_since_its_first_line(tmp_path):
    loader = session(tmp_path, "a", monlog=[(1000.0, 1, 5.0), (1090.0, 2, 8.0)])
    x, y = series_of(loader, "monlog", "/load", "clock")
    assert (x.tolist(), y.tolist()) == ([0.0, 1.5], [5.0, 4.0])


def test_returns_of_tests_are_not_smoothed_and_those_of_training_are(tmp_path, monkeypatch):
    rows = [(100, 1, 0.0), (200, 1, 6.0), (300, 1, 0.0)]
    loader, drawn = session(tmp_path, "a", test=rows, train=rows), []
    monkeypatch.setattr(plots, "draw_line", lambda axes, curve, **style: drawn.append(curve.mean.tolist()))
    smoothed, plain = [0.0, 3.0, 2.0], [0.0, 6.0, 0.0]
    train, test = data_of(report.make_report([loader], window=5))["pictures"]
    assert train["note"] == "moving average of 5 epochs"
    assert [picture["lines"][0]["axes"]["frame"]["y"] for picture in (train, test)] == [smoothed, plain]
    for key in ("/return/train", "/return/test"):
        assert plotter.main(["-r", str(tmp_path), "-i", "a", "--keyy", key]) == 0
    assert drawn == [smoothed, plain]
    text = "".join(ET.parse(loader.path / "plots/return_train.svg").getroot().itertext())
    assert "moving average of 5 points" in text
    assert "band" not in text  # of one run


def test_a_plot_has_the_band_that_was_asked_for_and_names_it(tmp_path, capsys):
    for seed, value in ((0, 1.0), (1, 3.0)):
        session(tmp_path, f"s{seed}", seed=seed, test=[(100, 1, value)])
    more = ["-r", str(tmp_path), "-i", "s?", "-o", str(tmp_path), "--keyy", "/return/test", "--opts"]
    assert plotter.main([*more, '{"band": "std"}']) == 0
    text = "".join(ET.parse(tmp_path / "return_test.svg").getroot().itertext())
    assert "band: one standard deviation of the runs to each side" in text
    assert plotter.main([*more, '{"band": "sem"}']) == 2
    assert "band must be one of ci, range, std, got 'sem'" in capsys.readouterr().err


def test_blocks_are_left_out_by_their_share_of_all_that_is_drawn():
    seconds = {"/a": 80.0, "/a/b": 40.0, "/a/b/c": 9.0, "/d/e": 20.0}
    assert [parent_of(path, seconds) for path in seconds] == ["", "/a", "/a/b", ""]
    options = {"collapse": True, "collapse_threshold": 0.1}
    assert _split("/a", 80.0, seconds, 100.0, options) == [("/a/b", 40.0), (None, 40.0)]
    assert _split("/a/b", 40.0, seconds, 100.0, options) == [(None, 40.0)]
    assert _split("/a/b", 40.0, seconds, 100.0, options | {"collapse": False})[0] == ("/a/b/c", 9.0)


# ---------------------------------------------------------------------- lists and reports


def test_lists_and_reports_tell_the_best_test_and_the_last_sign_of_life(tmp_path, capsys):
    loader = session(tmp_path, "a", test=[(100, 2, 6.0), (200, 1, 17.0), (300, 1, 5.0)], train=[(300, 1, 99.0)])
    now = time.time()
    for file, age in (("params.yaml", 5000), ("varlog.json", 500), ("monlog.json", 4000), ("repeal.json", 5000)):
        os.utime(loader.path / file, (now - age, now - age))
    assert sessions.main([str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["best_return"], row["best_return_of"], row["frames"]) == (17.0, "test", 300)
    assert 500 <= row["age_s"] < 1000
    page = report.make_report([loader])
    figures = re.findall(r'<td class="n">([^<]*)</td>', page.partition("</table>")[0])
    assert figures == ["0", "300", "5.00", "300", "17.00"]  # seed, frames, last test and its frame, best test


def test_the_newest_film_is_shown(tmp_path):
    loader = session(tmp_path, "a")
    (loader.path / "videos").mkdir()
    for epoch, film in ((9, b"old"), (10, b"new")):
        (loader.path / f"videos/epoch-{epoch:06}.mp4").write_bytes(film)
    page = report.make_report([loader])
    assert "a/videos/epoch-000010.mp4" in page
    assert "bmV3" in page
    assert "b2xk" not in page


def test_success_rates_and_infos_have_a_section_and_constants_no_picture(tmp_path):
    loader = session(tmp_path, "a", test=[(100, 1, 1.0), (200, 1, 2.0)])
    keys = {"/success/test": (0.25, 0.75), "/success/train": (0.5, 0.75), "/info/train/reach": (1.0, 3.0),
            "/update/agent/epochs": (10.0, 10.0), "/mine": (1.0, 2.0)}  # fmt: skip
    lines = [
        {"meta": {"frame": 100 * (at + 1)}, "data": {
            key: {"num": 1, "sum": values[at], "min": 0, "max": 0, "std": 0} for key, values in keys.items()}}
        for at in (0, 1)
    ]  # fmt: skip
    with (loader.path / "varlog.json").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    page = report.make_report([loader])
    titles = [picture["title"] for picture in data_of(page)["pictures"]]
    assert titles == ["test return", "success rate, training", "success rate, tests", "reach, training", "mine"]
    assert "<h2>What the environment says</h2>" in page
    assert "Constant: epochs 10." in page
    assert "<th>last test success</th>" in page
    assert '<td class="s">75 %</td>' in page


def test_one_group_has_no_picture_that_compares_it(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_REPETITIONS", 10)
    runs = [session(tmp_path, f"{seed}", seed=seed, test=[(100, 1, 1.0 + seed)]) for seed in (0, 1)]
    page = report.make_report(runs)
    assert "<h2>Comparison</h2>" in page
    assert [picture["title"] for picture in data_of(page)["pictures"]] == ["test return"]
    assert "traces" in data_of(report.make_report([*runs, session(tmp_path, "other", gamma=0.1, test=[(9, 1, 1.0)])]))[
        "pictures"
    ][0]  # fmt: skip


def test_figures_for_papers_hold_their_text_as_text(tmp_path):
    runs = [session(tmp_path, f"{seed}", seed=seed, test=[(100, 1, 1.0), (200, 1, 3.0)]) for seed in (0, 1)]
    runs.append(session(tmp_path, "other", gamma=0.1, test=[(100, 1, 1.0), (200, 1, 3.0)]))
    for run in runs:
        text = (run.path / "params.yaml").read_text()
        (run.path / "params.yaml").write_text(text.replace("Counter-v0", "$x^$-v0"))  # no formula
    report.make_report(runs, band="std", figures=tmp_path / "figures")
    pdf, svg = sorted((tmp_path / "figures").iterdir())
    assert (pdf.name, svg.name) == ("return_test.pdf", "return_test.svg")
    assert b"/CIDFontType2" in pdf.read_bytes()  # TrueType, which publishers ask for
    text = "".join(ET.parse(svg).getroot().itertext())
    for words in ("gamma = 0.9", "gamma = 0.1", "test return", "frames", "band: one standard deviation of the runs"):
        assert words in text
