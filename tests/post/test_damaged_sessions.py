"""Sessions that are damaged, hostile or oddly named: one line about each, and the others are listed and drawn."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from digideep.post import plotter, report, sessions
from digideep.post.loader import Loader
from digideep.utility.errors import SessionError
from digideep.utility.files import read_json_lines, read_yaml
from digideep.utility.text import printable
from tests.support.helpers import ROOT

FIGURES = {"num": 1, "sum": 2.0, "min": 2, "max": 2, "std": 0}
META = {"epoch": 1, "frame": 10, "episode": 1, "clock": 1.0}


def line(data, meta=META):
    return json.dumps({"meta": meta, "data": data}) + "\n"


@pytest.fixture
def pair(cartpoles, tmp_path):
    """A whole session, and one to be damaged."""
    log = [line({"/return/train": FIGURES, "/return/test": FIGURES}, {**META, "frame": frame}) for frame in (10, 20)]
    for name in ("good", "bad"):
        ignored = shutil.ignore_patterns("modules", "plots", "prolog.json", "monlog.json")
        shutil.copytree(cartpoles[0], tmp_path / name, ignore=ignored)
        (tmp_path / name / "varlog.json").write_text("".join(log))  # short, so that pictures are drawn quickly
    return tmp_path


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
TREES = {
    "empty": b"",
    "a list": b"- a\n",
    "a scalar": b"5",
    "not UTF-8": b"\xff\xfe: b",
    "a tag": b"a: !!python/object/apply:os.getcwd []\n",
    "a bomb": BOMB.encode(),
    "cut": b"env: {name: [1, 2",
    "no env": b"runner: {seed: 1}\nagents: {}\n",
    "env a list": b"env: [1]\nrunner: {}\nagents: {}\n",
    "a name that is none": b"env: {name: [1]}\nrunner: {}\nagents: {}\n",
    "agents that are none": b"env: {name: x}\nrunner: {}\nagents: {a: null}\n",
    "a date": b"env: {name: x}\nrunner: {seed: 2001-01-01}\nagents: {}\n",
    "a huge number": b"env: {name: x}\nrunner: {seed: " + b"9" * 4000 + b"}\nagents: {}\n",
    "huge hexadecimal": b"env: {name: x}\nrunner: {seed: 0x" + b"f" * 9000 + b"}\nagents: {}\n",
    "a key that is a number": b"env: {name: x}\nrunner: {1: 2}\nagents: {}\n",
    "megabytes": b"x: " + b"a" * 3_000_000,
}
LOGS = {
    "no JSON": b"garbage\n",
    "a list": b"[]\n",
    "no meta": b'{"data": {}}\n',
    "strings": line({"/return/test": {**FIGURES, "sum": "many"}}).encode(),
    "not UTF-8": b"\xff\xfe{}\n",
    "deep": b"[" * 50_000 + b"\n",
    "an integer beyond 64 bits": line({"/return/test": {**FIGURES, "sum": 10**400}}).encode(),
    "a frame that is none": line({"/return/test": FIGURES}, {**META, "frame": float("nan")}).encode(),
    "a mean of nothing": line({"/return/test": {**FIGURES, "num": 0}}).encode(),
    "zeros of a lost block": b"\0" * 4096 + b"\n",
}


@pytest.mark.parametrize(
    ("file", "data"),
    [("params.yaml", data) for data in TREES.values()] + [("varlog.json", data) for data in LOGS.values()],
    ids=[f"params-{name}" for name in TREES] + [f"varlog-{name}" for name in LOGS],
)
def test_a_damaged_session_costs_a_line_and_the_others_are_listed(pair, capsys, file, data):
    (pair / "bad" / file).write_bytes(data)
    started = time.monotonic()
    assert sessions.main([str(pair), "--json"]) == 0
    assert time.monotonic() - started < 5
    shown = capsys.readouterr()
    assert [row["session"] for row in json.loads(shown.out)] == [str(pair / "good")]
    (complaint,) = shown.err.splitlines()
    assert complaint.startswith(f"digideep: left out: {pair / 'bad' / file}")
    with pytest.raises(SessionError, match=file):
        _ = (Loader(pair / "bad").params, Loader(pair / "bad").varlog)
    shutil.rmtree(pair / "good")
    assert sessions.main([str(pair)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cpanel.json", "[1]"),
        ("cpanel.json", ""),
        ("repeal.json", '{"epoch": 1}'),
        ("repeal.json", '[{"epoch": 1, "repeal": {"/a/b/c": 1}}]'),
        ("repeal.json", '[{"epoch": 1, "repeal": {"/env": null}}]'),
        ("evaluations/e/evaluation.json", "{}"),
        ("evaluations/e/evaluation.json", '{"mean": NaN}'),
        ("monlog.json", '{"meta": {"clock": "noon"}, "data": {}}\n'),
        ("prolog.json", '{"meta": {}, "data": {"/a": {"occurs": 1, "totals": -1.0}}}\n'),
        ("prolog.json", '{"meta": {}, "data": {"/a": {"occurs": 1, "totals": NaN}}}\n'),
    ],
)
def test_a_report_leaves_a_damaged_session_out(pair, capsys, file, text):
    (pair / "bad" / file).parent.mkdir(parents=True, exist_ok=True)
    (pair / "bad" / file).write_text(text)
    assert report.main([str(pair / "bad"), "-o", str(pair / "r.html")]) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert str(pair / "bad") in complaint
    assert file in complaint
    assert not (pair / "r.html").exists()


def test_a_report_of_a_whole_and_a_damaged_session_is_about_the_whole_one(pair, capsys):
    (pair / "bad/params.yaml").write_text(BOMB)
    assert report.main([str(pair / "bad"), str(pair / "good"), "--window", "1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(pair / "good/report.html")
    assert len(shown.err.splitlines()) == 1
    assert "<title>good</title>" in (pair / "good/report.html").read_text()


@pytest.mark.parametrize("name", ["varlog.json", "params.yaml", "running.lock", "report.log"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "dangling link", "device"])
def test_what_is_no_file_neither_hangs_nor_ends_the_list(pair, capsys, name, kind):
    file = pair / "bad" / name
    file.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else pair / "nowhere")
    assert sessions.main([str(pair)]) == 0
    shown = capsys.readouterr()
    assert "good" in shown.out
    assert len(shown.err.splitlines()) == (1 if name in ("varlog.json", "params.yaml") else 0)


def test_links_that_go_round_are_walked_once(pair, capsys):
    (pair / "round").symlink_to(pair)
    (pair / "again").symlink_to(pair / "good")
    assert len(sessions.find_sessions(pair)) == 2


def test_figures_that_are_not_finite_are_left_out_of_lists_and_plots(pair, capsys):
    lines = []
    for frame, value in enumerate((float("nan"), 1e308, 4.0, float("inf"))):
        figures = {**FIGURES, "sum": value}
        data = {"/return/train": figures, "/return/test": figures, "/cpu/all/total": figures}
        lines.append(line(data, {**META, "frame": frame}))
    (pair / "bad/monlog.json").write_text(lines[0])
    (pair / "bad/varlog.json").write_text("".join(lines))
    assert sessions.main([str(pair / "bad"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["frames"], row["best_return"]) == (3, 1e308)
    assert plotter.main(["-r", str(pair), "-i", "bad"]) == 0
    assert report.main([str(pair / "bad")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["[red] [x]", "run[1]", "_ü $x$ a", "x" * 255, "red\x1b[31m\n"])
def test_any_name_and_message_is_listed_reported_and_drawn_as_it_is(pair, capsys, name):
    path = (pair / "bad").rename(pair / name)
    text = (path / "params.yaml").read_text()
    (path / "params.yaml").write_text(text.replace("session_msg: ''", r'session_msg: "[/red] [bold]x\e[31m"'))
    assert sessions.main([str(pair)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert r"[/red] [bold]x\x1b[31m" in shown.out
    assert "\x1b" not in shown.out
    assert printable(name)[:40] in shown.out.replace("…", "")
    assert report.main([str(path)]) == 0
    assert plotter.main(["-r", str(pair), "-i", name, "-o", "plots"]) == 0
    assert capsys.readouterr().err == ""


def test_a_locale_without_umlauts_lists_and_reports_and_its_files_are_utf_8(pair):
    path = pair / "bad"
    text = (path / "params.yaml").read_text(encoding="utf-8")
    (path / "params.yaml").write_text(text.replace("session_msg: ''", "session_msg: Grüße"), encoding="utf-8")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    for module, argument, expected in (("sessions", pair, rb"Gr\xfc\xdfe"), ("report", path, b"report.html")):
        command = [sys.executable, "-m", f"digideep.post.{module}", str(argument)]
        done = subprocess.run(command, capture_output=True, env=ascii_only)
        assert (done.returncode, done.stderr) == (0, b"")
        assert expected in done.stdout
    assert "Grüße" in (path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_written_through_a_link_in_a_session(pair, capsys):
    victim = pair / "victim"
    victim.write_text("mine")
    (pair / "outside").mkdir()
    (pair / "bad/report.html").symlink_to(victim)
    shutil.rmtree(pair / "bad/plots", ignore_errors=True)
    (pair / "bad/plots").symlink_to(pair / "outside")
    for run in (
        lambda: report.main([str(pair / "bad")]),
        lambda: report.main([str(pair / "bad"), "-o", str(pair / "bad/report.html")]),
        lambda: report.main([str(pair / "bad"), "-o", str(pair / "r"), "--figures", str(pair / "bad/plots")]),
        lambda: plotter.main(["-r", str(pair), "-i", "bad"]),
        lambda: plotter.main(["-r", str(pair), "-i", "bad", "-o", "bad/plots"]),
    ):
        assert run() == 2
        assert "is a link, expected a" in capsys.readouterr().err
    assert victim.read_text() == "mine"
    assert list((pair / "outside").iterdir()) == []


@pytest.mark.parametrize(("put", "kind"), [(os.mkfifo, "a pipe"), (os.mkdir, "a directory")])
def test_nothing_is_written_into_what_is_no_file_of_a_session(pair, capsys, put, kind):
    (pair / "bad/plots").mkdir(exist_ok=True)
    (pair / "bad/report.html").unlink(missing_ok=True)
    put(pair / "bad/report.html")
    plotter.main(["-r", str(pair), "-i", "bad", "--keyx", "frame", "--keyy", "/return/train"])
    (plot,) = (pair / "bad/plots").iterdir()
    plot.unlink()
    put(plot)
    capsys.readouterr()
    assert report.main([str(pair / "bad")]) == 2
    assert (
        f"report.html is {kind}, expected a file of the session's own. Remove it, or give another"
        in capsys.readouterr().err
    )
    assert plotter.main(["-r", str(pair), "-i", "bad", "--keyx", "frame", "--keyy", "/return/train"]) == 2
    assert (
        f"{plot.name} is {kind}, expected a file of the session's own. Remove it, or give another"
        in capsys.readouterr().err
    )


def test_a_film_that_is_a_link_is_not_put_into_a_report(pair):
    secret = pair / "secret"
    secret.write_bytes(b"secret")
    (pair / "bad/videos").mkdir()
    (pair / "bad/videos/epoch-000009.mp4").symlink_to(secret)
    assert "data:video/mp4" not in report.make_report([Loader(pair / "bad")])


def test_a_group_is_drawn_without_the_run_that_has_no_episode(pair, capsys):
    (pair / "bad/varlog.json").write_text(line({"/speed/frames_per_s": FIGURES}))
    assert plotter.main(["-r", str(pair), "-i", "good", "bad", "-o", "plots"]) == 0
    (complaint,) = capsys.readouterr().err.splitlines()
    assert "bad: '/return/train' is not in varlog.json" in complaint
    assert plotter.main(["-r", str(pair), "-i", "bad", "-o", "plots"]) == 2
    capsys.readouterr()
    assert sessions.main([str(pair), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["best_return"] is None for row in rows] == [True, False]
    assert report.main([str(pair / "good"), str(pair / "bad")]) == 0


@pytest.mark.parametrize("path", ["x" * 300, "nul\0", "y" * 5000])
def test_a_path_that_no_file_system_takes_is_no_session(tmp_path, capsys, path):
    with pytest.raises(SessionError, match="is no session"):
        Loader(tmp_path / path)
    assert sessions.main([str(tmp_path / path)]) == 2
    assert report.main([str(tmp_path / path)]) == 2
    assert plotter.main(["-r", str(tmp_path), "-i", path]) == 2


def test_lines_are_read_up_to_the_one_that_is_being_written(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": "\xc3')
    assert [value for _, value in read_json_lines(file)] == [{"a": 1}, {"a": 2}]
    file.write_bytes(b'{"a": 1}\n{"a"\n{"a": 3}\n')
    with pytest.raises(SessionError, match="line 2, is no JSON"):
        list(read_json_lines(file))
    with file.open("wb") as stream:
        stream.truncate(2**40)  # a terabyte of nothing
    with pytest.raises(SessionError, match="line 1, is larger than"):
        list(read_json_lines(file))


def test_deep_nesting_is_refused_soon(tmp_path):
    (tmp_path / "deep.yaml").write_bytes(b"[" * 1_000_000)
    with pytest.raises(SessionError, match="nested too deeply"):
        read_yaml(tmp_path / "deep.yaml")


def test_yaml_that_digideep_writes_is_read_as_it_was(pair, tmp_path):
    from digideep.parameters.tree import dump_yaml

    tree = {"a": [1, -2, 3.5e-8, 1e300, True, None, "ü\n: x", "1:2", "0x1f"], "b": {"c": {}, "d": []}}
    dump_yaml(tree, tmp_path / "x.yaml")
    assert read_yaml(tmp_path / "x.yaml") == tree
