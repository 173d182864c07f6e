"""Reports, plots and lists of sessions: their numbers, and what a browser makes of them."""

import json
import re
import shutil
import xml.etree.ElementTree as ET

import filelock
import numpy as np
import pytest

from digideep.post import plotter, report, sessions
from digideep.post.comparison import differences, make_groups, measured_return, score
from digideep.post.drawing import join, smooth
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.browser import CHROMIUM, look


def test_a_moving_average_is_not_pulled_down_at_its_start():
    assert smooth(np.array([2.0, 4.0, 6.0, 8.0]), 2).tolist() == [2, 3, 5, 7]
    assert smooth(np.array([5.0, 5.0, 5.0]), 2).tolist() == [5, 5, 5]
    assert smooth(np.array([1.0, 2.0]), 1).tolist() == [1, 2]
    with pytest.raises(UsageError, match="window_size must be at least 1"):
        smooth(np.ones(2), 0)


def test_runs_that_logged_at_other_frames_are_joined_by_frame():
    first = np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0])
    second = np.array([5.0, 15.0]), np.array([10.0, 20.0])
    curve = join([first, second])
    assert curve.x.tolist() == [5, 10, 15]
    assert curve.mean.tolist() == [7.5, 12.5, 17.5]
    assert curve.low.tolist() == [5, 10, 15]
    assert curve.high.tolist() == [10, 15, 20]


def test_sessions_that_differ_in_their_seed_only_are_a_group(cartpoles):
    groups = make_groups([Loader(path) for path in cartpoles])
    assert [len(group.loaders) for group in groups] == [2, 1]
    assert groups[0].name == "cart_0 (seeds 0, 1)"
    assert differences(groups) == {"/agents/agent/gamma": [0.98, 0.9]}
    found = score(groups[0])
    values = [measured_return(loader)[0] for loader in groups[0].loaders]
    assert found.values == values
    assert found.mean[0] == pytest.approx(np.mean(values))
    assert min(values) <= found.iqm[1] <= found.iqm[0] <= found.iqm[2] <= max(values)
    assert found == score(groups[0])  # its bootstrap has a seed


def test_a_report_is_one_page_that_asks_for_nothing(cartpoles, tmp_path, capsys):
    target = tmp_path / "report.html"
    assert report.main([*map(str, cartpoles), "-o", str(target)]) == 0
    page = target.read_text()
    addresses = set(re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", page))
    assert all(address.startswith("data:") for address in addresses), addresses
    assert "<script" not in page
    for title in ("Comparison", "Learning curves", "Losses and other metrics", "Where the time went", "Parameters"):
        assert f"<h2>{title}</h2>" in page
    assert "/agents/agent/gamma" in page
    assert "interquartile mean" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser; .ci/run installs one")
def test_a_browser_shows_the_report_without_complaint(cartpoles, tmp_path):
    target = tmp_path / "report.html"
    target.write_text(report.make_report([Loader(path) for path in cartpoles]))
    shown, complaints = look(target.as_uri(), tmp_path / "profile")
    assert complaints == []
    assert shown.count("<svg") >= 4
    assert "cart_0 (seeds 0, 1)" in shown


def test_what_a_session_says_of_itself_is_not_run(cartpoles, tmp_path):
    session = tmp_path / "evil"
    shutil.copytree(cartpoles[0], session)
    text = (session / "params.yaml").read_text()
    (session / "params.yaml").write_text(text.replace("session_msg: ''", "session_msg: <script>alert(1)</script>$x$"))
    page = report.make_report([Loader(session)])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page


def test_a_recorded_episode_is_in_the_report(cartpoles, tmp_path):
    session = tmp_path / "filmed"
    shutil.copytree(cartpoles[0], session)
    (session / "videos").mkdir()
    (session / "videos/epoch-000001.mp4").write_bytes(b"not really")
    assert 'src="data:video/mp4;base64,bm90IHJlYWxseQ=="' in report.make_report([Loader(session)])


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert "is no session" in capsys.readouterr().err


def plot(base, *arguments):
    return plotter.main(["-r", str(base), *arguments])


def test_plots_are_written_in_every_format_that_is_asked_for(base, cartpoles, tmp_path, capsys):
    options = {"ext": ["svg", "png", "pdf"], "window_size": [1, 2], "legends": ["two seeds", "other"], "dpi": 40}
    groups = ["-i", "cart_?", "-i", "cart_other", "-o", str(tmp_path), "--opts", json.dumps(options)]
    assert plot(base, *groups, "--keyx", "frame", "--keyy", "/return/train") == 0
    files = [tmp_path / f"return_train.{ext}" for ext in options["ext"]]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    assert "two seeds" in "".join(ET.parse(files[0]).getroot().itertext())
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert files[2].read_bytes().startswith(b"%PDF")


def test_the_load_and_the_profile_are_plotted_into_the_session(base, cartpoles, capsys):
    line = {
        "meta": {"clock": 60.0},
        "data": {"/cpu/all/total": {"num": 1, "sum": 50.0, "min": 50, "max": 50, "std": 0}},
    }
    later = {**line, "meta": {"clock": 180.0}}
    (cartpoles[0] / "monlog.json").write_text(json.dumps(line) + "\n" + json.dumps(later) + "\n")
    assert plot(base, "-i", "cart_0", "--type", "monitor") == 0
    assert plot(base, "-i", "cart_0", "--type", "profiler", "--opts", '{"collapse_threshold": 0.01}') == 0
    text = "".join(ET.parse(cartpoles[0] / "plots/profiler.svg").getroot().itertext())
    assert "update/agent" in text
    assert "simulate" in text
    assert (cartpoles[0] / "plots/cpu_all_total.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "nobody"], "names no session"),
        (["-i", "cart_0", "--keyy", "/return/trian"], "Did you mean '/return/train'"),
        (["-i", "cart_0", "--keyx", "frames"], "has no field 'frames'"),
        (["-i", "cart_0", "--opts", '{"tilte": ""}'], "Did you mean 'title'"),
        (["-i", "cart_0", "--opts", '{"ext": "gifx"}'], "is no format"),
        (["-i", "cart_0", "--opts", '{"window_size": 0}'], "at least 1"),
        (["-i", "cart_?"], "say where to with -o"),
        (["-i", "cart_?", "-o", "x", "--type", "profiler"], "draws one session"),
    ],
)
def test_plots_that_cannot_be_drawn_are_refused(base, cartpoles, capsys, arguments, message):
    assert plot(base, *arguments) == 2
    assert message in capsys.readouterr().err


def test_sessions_are_listed_with_their_state(base, cartpoles, capsys):
    stopped, running = cartpoles[1], cartpoles[2]
    (stopped / "done.lock").unlink()
    with filelock.FileLock(running / "running.lock"):
        assert sessions.main([str(base), "--json"]) == 0
        rows = {row["session"].rpartition("/")[2]: row for row in json.loads(capsys.readouterr().out)}
    (stopped / "done.lock").write_text("\n")
    assert [rows[path.name]["state"] for path in cartpoles] == ["done", "stopped", "running"]
    first = rows["cart_0"]
    assert first["frames"] == 3 * 2 * 2 * 32
    log = Loader(cartpoles[0]).varlog
    assert first["best_return"] == pytest.approx(log.mean("/return/test").max())
    assert (first["environment"], first["agent"], first["best_return_of"]) == ("CartPole-v1", "PPO", "test")
    assert 0 <= first["age_s"] < 3600
    assert sessions.main([str(base)]) == 0
    assert "cart_other" in capsys.readouterr().out


def test_a_list_of_nowhere_is_refused(tmp_path, capsys):
    assert sessions.main([str(tmp_path / "nowhere")]) == 2
    assert "is no directory" in capsys.readouterr().err
    assert sessions.main([str(tmp_path)]) == 0
    assert "No sessions" in capsys.readouterr().out
