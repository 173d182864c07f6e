"""TensorBoard and visdom for real: what they show, where they listen, and what happens when they die."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch.utils.tensorboard  # noqa: F401  its import warns, which is not of interest here

from digideep.main import main
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.telemetry.server_process import ServerProcess
from tests.support.browser import CHROMIUM, look
from tests.support.helpers import CLASSIC, ROOT, command, tiny

PICTURE = "tests.support.rendering:Picture-v0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def post(port, endpoint, message):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", f"/{endpoint}", json.dumps(message))
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def events_of(session):
    """Scalars in TensorBoard's files, in the order in which they were written: tag -> [(step, value)]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(session / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    scalars = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }
    return scalars, accumulator


def windows_of(log):
    """Points of each line in a visdom log: (window, name) -> [(x, y)]."""
    points = {}
    for endpoint, message in map(json.loads, Path(log).read_text().splitlines()):
        if endpoint == "events":
            points = {key: value for key, value in points.items() if key[0] != message["win"]}
        for trace in message["data"]:
            if "x" in trace:
                points.setdefault((message["win"], trace["name"]), []).extend(zip(trace["x"], trace["y"], strict=True))
    return points


@pytest.fixture(scope="module")
def server():
    """A visdom server as a user may have one running."""
    server = ServerProcess("visdom", str(port := free_port()), "127.0.0.1")
    wait_for(lambda: server.address)
    yield port
    server.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory, server):
    """A session with all dashboards, resumed from its second checkpoint as if it had been killed after the third."""
    base = tmp_path_factory.mktemp("dashboards")
    watch = ["--tensorboard", "--visdom", "--visdom-port", str(server)]
    panel = tiny(model_name=PICTURE, number_epochs=3, video_interval=1, histogram_interval=1)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(base), "--session-name", "watched", *watch]
    assert main(argv) == 0
    path = base / "watched"
    shutil.rmtree(path / "checkpoints/checkpoint-3")
    (path / "done.lock").unlink()
    assert main(["--resume", str(path), *watch]) == 0
    return path


def test_tensorboard_files_hold_what_varlog_holds_without_a_fold(session):
    scalars, _ = events_of(session)
    log = Loader(session).varlog
    for key in log:
        expected = list(zip(log[key]["frame"].tolist(), log.mean(key).tolist(), strict=True))
        found = scalars[key.lstrip("/")]
        assert [step for step, _ in found] == [frame for frame, _ in expected], key
        assert [value for _, value in found] == pytest.approx([mean for _, mean in expected], rel=1e-6), key
    assert log["/return/train"]["epoch"].tolist() == [1, 2, 3]
    assert "seconds/train/simulate" in scalars


def test_tensorboard_files_hold_parameters_histograms_and_episodes(session):
    _, accumulator = events_of(session)
    tags = accumulator.Tags()
    assert "episode" in tags["images"]
    assert accumulator.Images("episode")[0].encoded_image_string.startswith(b"GIF89a")
    assert "weights/agent/actor.0.weight" in tags["histograms"]
    assert accumulator.Histograms("gradients/agent/actor.0.weight")[-1].histogram_value.max > 0
    assert "parameters/text_summary" in tags["tensors"]
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(accumulator.summary_metadata)
    assert len(list((session / "videos").glob("epoch-*.mp4"))) == 3


def test_visdom_shows_what_varlog_holds_without_a_fold(session, server):
    windows = json.loads(post(server, "win_data", {"eid": "watched", "win": None}))
    titles = {window["title"] for window in windows.values()}
    assert {
        "/return/train",
        "/update/agent/value_loss",
        "/speed/frames_per_s",
        "time per phase",
        "parameters",
    } <= titles
    assert any(title.startswith("episode at frame") for title in titles)
    log = Loader(session).varlog
    best = np.maximum.accumulate(log.mean("/return/test"))
    (drawn,) = [trace for trace in windows["/return/test"]["content"]["data"] if trace["name"] == "best"]
    assert drawn["y"] == pytest.approx(best)
    for key, names in (("/return/train", ("mean", "min", "max")), ("/update/agent/value_loss", ("value_loss",))):
        traces = {trace["name"]: trace for trace in windows[key]["content"]["data"]}
        assert set(traces) == set(names)
        assert traces[names[0]]["x"] == log[key]["frame"].tolist()
        assert traces[names[0]]["y"] == pytest.approx(log.mean(key))
    assert windows["/return/train"]["content"]["data"][2]["y"] == pytest.approx(log["/return/train"]["max"])


def test_the_visdom_log_of_a_resumed_run_draws_each_point_once(session):
    frames = Loader(session).varlog["/return/train"]["frame"].tolist()
    assert [x for x, _ in windows_of(session / "visdom.log")["/return/train", "mean"]] == frames


def test_watching_changes_no_number_of_the_training(session, tmp_path):
    panel = tiny(model_name=PICTURE, number_epochs=3, video_interval=None, histogram_interval=None)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "unwatched"]
    assert main([*argv, "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    names = ("checkpoints/checkpoint-2", "checkpoints/checkpoint-3")
    for name in names:
        different, total = compare_checkpoints(tmp_path / "unwatched" / name, session / name)
        assert total > 50
        assert {path.split("/")[1] for path in different} == {"params", "cpanel"}


def test_tensorboard_serves_a_session_on_this_machine_only(session):
    server = ServerProcess("tensorboard", str(session / "tensorboard"), "127.0.0.1", "watched")
    try:
        address = wait_for(lambda: server.address)
        with urllib.request.urlopen(f"{address}data/plugin/scalars/tags", timeout=30) as answer:
            assert answer.status == 200
        wait_for(lambda: "return/train" in urllib.request.urlopen(f"{address}data/plugin/scalars/tags").read().decode())
        with urllib.request.urlopen(
            f"{address}data/plugin/scalars/scalars?run=watched&tag=return/train", timeout=30
        ) as answer:
            points = json.loads(answer.read())
        assert [step for _, step, _ in points] == Loader(session).varlog["/return/train"]["frame"].tolist()
        assert listening(server.process.pid) == {"127.0.0.1"}
    finally:
        server.close()
    assert not server.is_alive


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser; .ci/run installs one")
def test_a_browser_shows_what_tensorboard_serves(session, tmp_path):
    server = ServerProcess("tensorboard", str(session / "tensorboard"), "127.0.0.1", "watched")
    try:
        address = wait_for(lambda: server.address)
        tags = f"{address}data/plugin/scalars/tags"
        wait_for(lambda: "return/train" in urllib.request.urlopen(tags).read().decode())
        shown, _ = look(address, tmp_path / "profile", "--virtual-time-budget=20000")
    finally:
        server.close()
    assert "TensorBoard" in shown
    for words in ("Filter tags", "gradients", "cards"):  # its groups of plots have names and a number of cards
        assert words in shown
    assert 0 < shown.index("Pinned") < shown.index("return/test") < shown.index("gradients")
    assert "watched" in shown  # the run, by its name


def listening(pid):
    """Addresses that a process or its children listen on."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return {c.laddr.ip for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bind", "0.0.0.0"], "--bind opens the servers"),
        (["--tensorboard", "--bind", "everyone"], "is no IP address"),
        (["--quiet", "--log-level", "0"], "do not go together"),
        (["--dry-run", "--visdom"], "do not go together"),
        (["--json"], "goes with --play only"),
        (["--seed", "0"], "goes with --play only"),
        (["--play", "--seed", "-1"], "is no seed"),
        (["--play", "--frozen"], "do not go together"),
        (["--play", "--tensorboard"], "do not go together"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path, capsys, arguments, message):
    assert main(["--params", CLASSIC, "--session-path", str(tmp_path / "s"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_an_environment_that_cannot_draw_refuses_videos_before_anything_is_made(tmp_path, capsys):
    panel = tiny(model_name="tests.support.environments:Noise-v0", video_interval=1)
    assert main(["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path / "s")]) == 2
    assert "cannot render images" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_quiet_run_says_nothing_and_reports_everything(tmp_path, capfd):
    argv = ["--params", CLASSIC, "--cpanel", tiny(), "--session-path", str(tmp_path), "--session-name", "quiet"]
    assert main([*argv, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    report = (tmp_path / "quiet/report.log").read_text()
    assert "frames/s" in report
    assert "Finished after" in report


def test_the_last_screen_says_how_to_go_on(tmp_path, capsys):
    argv = ["--params", CLASSIC, "--cpanel", tiny(), "--session-path", str(tmp_path), "--session-name", "end"]
    assert main(argv) == 0
    output = capsys.readouterr().out
    for words in ("digideep resume", "digideep play", "digideep report", "digideep plot"):
        assert f"{words} " in output
    assert str(tmp_path / "end") in output


def test_a_terminal_shows_a_live_panel(tmp_path):
    """In a pseudo-terminal: speed, returns, phases and the load appear, and the panel is gone at the end."""
    import pty

    leader, follower = pty.openpty()
    panel = tiny(number_epochs=4, epoch_size=4, test_activate=False)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command(*argv), stdout=follower, stderr=follower, cwd=ROOT, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait() == 0
    text = seen.decode(errors="replace")
    for words in ("average", "left", "progress", "policy_loss", "train/simulate", "last "):
        assert words in text
