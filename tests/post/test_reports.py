"""Reports, plots and lists of sessions: their numbers, and what a browser makes of them."""

import base64
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ET
from typing import ClassVar

import filelock
import numpy as np
import pytest

from digideep.post import plotter, report, sessions
from digideep.post.comparison import differences, make_groups, measured_return, score
from digideep.post.drawing import WINDOW, join, smooth
from digideep.post.loader import Loader
from digideep.post.plots import VarPlot
from digideep.utility.errors import UsageError
from tests.support.browser import CHROMIUM, Page


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
    assert [group.name for group in groups] == ["gamma = 0.98", "gamma = 0.9"]
    assert differences([group.loaders[0] for group in groups]) == {"/agents/agent/gamma": [0.98, 0.9]}
    found = score(groups[0])
    values = [measured_return(loader)[0] for loader in groups[0].loaders]
    assert found.values == values
    assert found.mean[0] == pytest.approx(np.mean(values))
    assert min(values) <= found.iqm[1] <= found.iqm[0] <= found.iqm[2] <= max(values)
    assert found == score(groups[0])  # its bootstrap has a seed


def test_a_report_is_one_page_that_asks_for_nothing(cartpoles, tmp_path):
    sessions_and_more = tmp_path / "all"
    sessions_and_more.mkdir()
    for path in cartpoles:
        (sessions_and_more / path.name).symlink_to(path)
    assert report.main([str(sessions_and_more), "--title", "A & B"]) == 0
    page = (sessions_and_more / "report.html").read_text()
    assert "<title>A &amp; B</title>" in page
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; style-src" in page
    own = page.replace(scripts[0], "")
    assert own.count("<script") == 3  # plotly, the page's own, and data
    addresses = set(re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", own))
    assert all(address.startswith("data:") for address in addresses), addresses
    for title in ("Comparison", "Learning curves", "Losses and other metrics", "Where the time went", "Parameters"):
        assert f"<h2>{title}</h2>" in page
    assert "/agents/agent/gamma" in page
    assert "interquartile mean" in page


def light(session, target):
    """A copy that is drawn quickly: of returns only."""
    shutil.copytree(session, target, ignore=shutil.ignore_patterns("modules", "prolog.json", "monlog.json"))
    lines = [json.loads(text) for text in (session / "varlog.json").read_text().splitlines()]
    for entry in lines:
        entry["data"] = {key: data for key, data in entry["data"].items() if key.startswith(("/return/", "/speed/"))}
    (target / "varlog.json").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return target


_READY = "document.body && document.body.classList.contains('drawn')"
_LINES = "document.querySelectorAll('#picture-1 .scatterlayer .js-line[style*=\"2px\"]').length"


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser; .ci/run installs one")
def test_a_browser_draws_what_the_buttons_say_and_runs_nothing_of_a_session(cartpoles, tmp_path):
    paths = [light(path, tmp_path / path.name) for path in cartpoles]
    evil = light(cartpoles[2], tmp_path / "<img src=x onerror=alert(1)>" / "</script><script>alert(1)</script>\u2028")
    text = (evil / "params.yaml").read_text()
    message = "session_msg: \"<script>alert(1)</script>$x$ <img src='http://127.0.0.1:9/x'>\""
    (evil / "params.yaml").write_text(text.replace("session_msg: ''", message).replace("gamma: 0.9\n", "gamma: 0.8\n"))
    panel = json.loads((evil / "cpanel.json").read_text()) | {"gamma": "<img src=x onerror=alert(1)>"}
    (evil / "cpanel.json").write_text(json.dumps(panel))
    lines = [json.loads(line) for line in (evil / "varlog.json").read_text().splitlines()]
    for entry in lines:
        entry["data"]["/<img src=x onerror=alert(1)>"] = entry["data"]["/return/train"]
    (evil / "varlog.json").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    file = tmp_path / "report.html"
    file.write_text(report.make_report([Loader(path) for path in (*paths, evil)], title="<script>alert(1)</script>"))

    def press(name):
        page.run(f"document.querySelector('nav button[{name}]').click()")

    with Page(tmp_path / "profile") as page:
        page.open(file.as_uri(), _READY)
        assert page.run("document.querySelectorAll('.picture:not(.js-plotly-plot)').length") == 0
        assert page.run("document.documentElement.scrollWidth <= 1200")
        assert page.run("document.querySelector('#picture-1 .gtitle').textContent") == "train return"
        assert page.run(_LINES) == 3
        names = page.run("[...document.querySelectorAll('nav button[data-group]')].map((each) => each.textContent)")
        assert names == ["gamma = 0.98 (2 runs)", "gamma = 0.9", "gamma = <img src=x onerror=alert(1)>"]
        shown = "[...document.querySelectorAll('#picture-0 .ytick')].map((each) => each.textContent)"
        assert "gamma = <img src=x onerror=alert(1)>" in page.run(shown)

        press('data-group="0"')
        assert page.run(_LINES) == 2
        assert page.run("document.querySelectorAll('#picture-2 .js-line[style*=\"2px\"]').length") == 2
        press('data-group="0"')
        page.run("document.querySelector('nav button[data-group=\"1\"]').dispatchEvent(new Event('dblclick'))")
        assert page.run(_LINES) == 1
        page.run("document.querySelector('nav button[data-group=\"1\"]').dispatchEvent(new Event('dblclick'))")
        assert page.run(_LINES) == 3
        press("data-value=episode")
        assert page.run("document.querySelector('#picture-1 .xtitle').textContent") == "episodes"
        press("data-value=time")
        assert page.run("document.querySelector('#picture-1 .xtitle').textContent") == "minutes of training"
        subtitle = "document.querySelector('#picture-1 .gtitle-subtitle').textContent"
        assert "band: 95 % interval of the mean (bootstrap)" in page.run(subtitle)
        press("data-value=std")
        assert "one standard deviation" in page.run(subtitle)
        press("data-value=log")
        assert page.run("document.getElementById('picture-1').layout.yaxis.type") == "log"

        titles = page.run("[...document.querySelectorAll('.gtitle')].map((each) => each.textContent)")
        assert "<img src=x onerror=alert(1)>" in titles
        assert page.run("document.images.length") == 0
        assert page.complaints == []
        assert page.requests == [file.as_uri()]


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


class Lengths(VarPlot):
    """A user's own: how long episodes are."""

    keys = ("episode", "/length/train")
    defaults: ClassVar = {**VarPlot.defaults, "unit": "steps"}

    def draw(self, groups, keyx, keyy, options):
        figure = super().draw(groups, keyx, keyy, options)
        figure.axes[0].set_ylabel(f"length in {options['unit']}")
        return figure


def test_a_plot_of_ones_own_is_drawn_with_its_own_options_and_its_numbers_are_kept(base, cartpoles, tmp_path):
    options = {"ext": ["svg", "json"], "unit": "moves"}
    arguments = ["-i", "cart_0", "-o", str(tmp_path), "--type", f"{__name__}.Lengths", "--opts", json.dumps(options)]
    assert plot(base, *arguments) == 0
    assert "length in moves" in "".join(ET.parse(tmp_path / "length_train.svg").getroot().itertext())
    (axes,) = json.loads((tmp_path / "length_train.json").read_text())["axes"]
    assert (axes["xlabel"], axes["ylabel"]) == ("episodes", "length in moves")
    log = Loader(cartpoles[0]).varlog["/length/train"]
    (line,) = axes["lines"]
    assert line["label"] == "cart_0"
    assert line["x"] == log["episode"].tolist()
    np.testing.assert_allclose(line["y"], smooth(log["sum"] / log["num"], WINDOW))


def test_the_numbers_of_bands_and_rings_are_kept(base, cartpoles, tmp_path):
    assert plot(base, "-i", "cart_?", "-o", str(tmp_path), "--opts", '{"ext": "json"}') == 0
    (axes,) = json.loads((tmp_path / "return_train.json").read_text())["axes"]
    assert len(axes["bands"]) == 1
    assert len(axes["bands"][0]) > 2
    assert plot(base, "-i", "cart_0", "-o", str(tmp_path), "--type", "profiler", "--opts", '{"ext": "json"}') == 0
    (axes,) = json.loads((tmp_path / "profiler.json").read_text())["axes"]
    named = [ring for ring in axes["rings"] if ring["label"]]
    assert any(ring["label"].startswith("update/agent") for ring in named)
    assert all(ring["to"] >= ring["from"] for ring in named) or all(ring["to"] <= ring["from"] for ring in named)


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
        (["-i", "cart_0", "--type", "profile"], "Did you mean 'profiler'"),
        (["-i", "cart_0", "--type", "tests.post.test_reports.Nothing"], "is no digideep component"),
        (["-i", "cart_0", "--type", "digideep.agent.sac.SAC"], "is no plot"),
        (["-i", "cart_0", "--type", "digideep.post.plots.Plot"], "it leaves to its subclasses what"),
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
