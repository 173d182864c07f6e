"""What is refused changes nothing, whatever lies where a session's files should be. A session begins whole or not."""

import json
import os
import resource
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from digideep.main import main
from digideep.pipeline import checkpoint_store, session_directory
from digideep.pipeline import session as session_module
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.telemetry.log_handlers import ReportHandler
from tests.damage.harness import OTHER_USER, snapshot
from tests.support.forked import in_child
from tests.support.helpers import CLASSIC, tiny

QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A session of four epochs that was stopped after three."""
    base = tmp_path_factory.mktemp("sessions")
    panel = tiny(number_epochs=4, epoch_size=1, test_activate=False, keep_checkpoints=None)
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(base), "--session-name", "s", *QUIET]
    assert main([*argv, "--repeal", '{"/runner/max_iter": 3}']) == 75
    return base / "s"


@pytest.fixture
def session(trained, tmp_path):
    """A copy to tamper with, beside which lies what nobody may touch."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("nobody may touch this\n" * 1000)
    (outside / "segment-1-2-abc.safetensors").write_text("nor this")
    return shutil.copytree(trained, tmp_path / "s")


def refused(capsys, *argv: str) -> str:
    """Run a command that is refused with exit code 2 or 3. Returns: its one line."""
    capsys.readouterr()
    assert main([*argv]) in (2, 3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("where", "repeal", "message"),
    [
        ("checkpoints/checkpoint-2", {"/runner/n_epochs": 2}, "2 epochs are done, and /runner/n_epochs is 2"),
        ("", {"/runner/n_epochs": 3}, "3 epochs are done, and /runner/n_epochs is 3"),
        ("checkpoints/checkpoint-1", {"/runner/n_epochs": 0}, "n_epochs"),
        ("checkpoints/checkpoint-1", {"/agents/agent/policy/hidden_sizes": [5]}, "/agents/agent/policy/hidden_sizes"),
        ("checkpoints/checkpoint-1", {"/explorer/train/n_steps": 7}, "/explorer/train/n_steps is 32"),
        ("checkpoints/checkpoint-1", {"/env/name": "Acrobot-v1"}, "The spaces of Acrobot-v1"),
        ("checkpoints/checkpoint-1", {"/runner/no_such": 1}, "there is no 'no_such'"),
    ],
)
def test_a_refused_resume_changes_nothing(session, capsys, where, repeal, message):
    before = snapshot(session.parent)
    assert message in refused(capsys, "--resume", str(session / where), *QUIET, "--repeal", json.dumps(repeal))
    assert snapshot(session.parent) == before


def test_a_refused_resume_of_a_finished_session_leaves_it_finished(session, capsys):
    (session / "done.lock").write_text("\n")
    before = snapshot(session)
    refused(capsys, "--resume", str(session / "checkpoints/checkpoint-1"), *QUIET)
    refused(capsys, "--resume", str(session), *QUIET, "--repeal", '{"/runner/n_epochs": 2}')
    assert snapshot(session) == before


def test_a_refused_evaluation_leaves_no_directory(session, capsys):
    before = snapshot(session)
    play = ["--play", "--load-checkpoint", str(session), "--render", "none", *QUIET]
    refused(capsys, *play, "--repeal", '{"/explorer/eval/num_workers": -7}')
    refused(capsys, *play, "--session-name", "a/b")
    assert snapshot(session) == before


def put(kind: str, path: Path, outside: Path) -> None:
    """Something in the place of a file or a directory."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
        os.chdir(here)
    elif kind == "link":
        path.symlink_to(outside if path.suffix == "" else outside / "victim")
    elif kind == "broken link":
        path.symlink_to(outside / "new")
    elif kind == "other kind":
        path.mkdir() if path.suffix else path.write_text("x")


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "broken link", "other kind"])
@pytest.mark.parametrize(
    "name",
    ["running.lock", "report.log", "varlog.json", "monitor/train.0.monitor.csv", "monitor", "memory", "checkpoints",
     "tensorboard", "videos", "done.lock", "memory/ring", "sinks", "wandb", "mlflow"],
)  # fmt: skip
def test_what_is_no_file_of_the_session_is_refused_without_waiting_for_it(session, capsys, name, kind):
    put(kind, session / name, session.parent / "outside")
    before = snapshot(session.parent)
    argv = ["--resume", str(session), *QUIET, "--repeal", '{"/runner/max_iter": null}']
    assert name.partition("/")[0] in refused(capsys, *argv)
    assert snapshot(session.parent) == before


@pytest.mark.parametrize(
    "name",
    ["monitor/x", "videos/epoch-000002", "memory/segment-1-2-abc.safetensors", "sinks/wandb.json", "mlflow/0"],
)
def test_a_link_within_a_directory_that_is_written_is_refused(session, capsys, name):
    (session / name).parent.mkdir(exist_ok=True)
    (session / name).symlink_to(session.parent / "outside")
    before = snapshot(session.parent)
    assert "is a link" in refused(capsys, "--resume", str(session), *QUIET)
    assert snapshot(session.parent) == before


def test_links_in_the_place_of_what_is_written_aside_are_not_followed(session):
    outside = session.parent / "outside"
    for name in (".repeal.json.writing", ".varlog.json.copy", "checkpoints/.checkpoint-4.writing"):
        (session / name).symlink_to(outside / ("victim" if "json" in name else ""))
    os.link(session / "varlog.json", outside / "log")
    before = snapshot(outside)
    assert main(["--resume", str(session), *QUIET, "--repeal", '{"/runner/max_iter": null}']) == 0
    assert snapshot(outside) == before


@pytest.mark.parametrize("name", ["evaluations", "checkpoints"])
def test_playing_does_not_follow_links_out_of_the_session_either(session, capsys, name):
    put("link", session / name, session.parent / "outside")
    before = snapshot(session.parent)
    refused(capsys, "--play", "--load-checkpoint", str(session), "--episodes", "1", "--render", "none", *QUIET)
    assert snapshot(session.parent) == before


def test_a_checkpoint_that_is_a_link_to_another_session_is_not_resumed_there(trained, session, capsys):
    other = shutil.copytree(trained, session.parent / "other")
    path = session / "checkpoints/checkpoint-3"
    shutil.rmtree(path)
    path.symlink_to(other / "checkpoints/checkpoint-3")
    before = snapshot(session.parent)
    assert "leads out of its session" in refused(capsys, "--resume", str(path), *QUIET)
    assert snapshot(session.parent) == before
    (session / "checkpoints/newest").symlink_to("checkpoint-2")
    assert (
        main(["--resume", str(session / "checkpoints/newest"), *QUIET, "--repeal", '{"/runner/max_iter": null}']) == 0
    )


def test_a_log_that_has_another_name_outside_is_parted_from_it(session):
    outside = session.parent / "outside"
    for name in ("varlog.json", "report.log", "monitor/train.0.monitor.csv"):
        os.link(session / name, outside / Path(name).name)
    before = snapshot(outside)
    argv = ["--resume", str(session / "checkpoints/checkpoint-2"), *QUIET, "--repeal", '{"/runner/max_iter": null}']
    assert main(argv) == 0
    assert snapshot(outside) == before
    epochs = [json.loads(line)["meta"]["epoch"] for line in (session / "varlog.json").read_text().splitlines()]
    assert epochs == [1, 2, 3, 4]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize(
    ("name", "mode", "owner"),
    [
        ("running.lock", 0o600, 0), ("varlog.json", 0o444, OTHER_USER), ("checkpoints", 0, OTHER_USER),
        ("memory", 0o500, 0),
    ],
)  # fmt: skip
def test_what_its_user_may_not_use_is_refused_in_one_line(trained, capsys, name, mode, owner):
    base = Path(tempfile.mkdtemp(prefix="digideep-test-"))  # pytest's own is closed to others
    try:
        copy = shutil.copytree(trained, base / "s")
        for path in (base, *base.rglob("*")):
            os.chown(path, OTHER_USER, OTHER_USER)
        os.chown(copy / name, owner, owner)
        (copy / name).chmod(mode)
        before = snapshot(copy)
        code, output, _ = in_child(lambda: main(["--resume", str(copy), *QUIET]), base / "log", OTHER_USER)
        assert (code, len(output.strip().splitlines())) == (2, 1), output
        assert snapshot(copy) == before
    finally:
        shutil.rmtree(base)


# ---------------------------------------------------------------------- beginning


def start(base: Path, *more: str) -> int:
    panel = tiny(number_epochs=1, epoch_size=1, test_activate=False)
    return main(
        ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(base), "--session-name", "s", *QUIET, *more]
    )


@pytest.mark.parametrize(
    ("module", "moment"),
    [(session_directory, "keep_sources"), (session_directory, "dump_yaml"), (checkpoint_store, "write_checkpoint")],
)
def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(tmp_path, module, moment):
    def killed() -> int:
        setattr(module, moment, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
        return start(tmp_path)

    assert in_child(killed, tmp_path / "log")[0] == -signal.SIGKILL
    assert not (tmp_path / "s").exists(), "nothing that could be taken for a session"
    assert in_child(lambda: main(["--resume", str(tmp_path / "s")]) or start(tmp_path), tmp_path / "log")[0] == 2
    assert start(tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "s"], "what was left of the first try is gone"


def test_a_run_killed_after_its_last_checkpoint_comes_to_its_end_and_keeps_what_it_should(tmp_path):
    def killed() -> int:
        def drop(directory, kept, keep):
            if len(kept) > 1:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint_store.drop_oldest = drop
        return start(tmp_path, "--repeal", '{"/runner/keep_checkpoints": 1}')

    session = tmp_path / "s"
    assert in_child(killed, tmp_path / "log")[0] == -signal.SIGKILL
    assert len(list_checkpoints(session / "checkpoints")) == 2
    assert [main(["--resume", str(session), *QUIET]) for _ in range(2)] == [0, 3]
    assert (session / "done.lock").exists()
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == ["checkpoint-1"]


def test_of_two_runs_that_are_started_with_one_name_one_is_refused(tmp_path):
    codes = []
    for attempt in range(3):
        base, children = tmp_path / str(attempt), []
        base.mkdir()
        reader, writer = os.pipe()
        for number in range(2):
            child = os.fork()
            if child == 0:
                code = 99
                try:
                    os.close(writer)
                    os.read(reader, 1)  # both wait until the pipe is closed

                    def both(base=base) -> int:
                        return start(base, "--create-session-only")

                    code, output, _ = in_child(both, tmp_path / f"log-{attempt}-{number}")
                    code = code if code == 0 or len(output.strip().splitlines()) == 1 else 98
                finally:
                    os._exit(code)
            children.append(child)
        os.close(reader)
        os.close(writer)
        codes.append(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
        assert [path.name for path in base.iterdir()] == ["s"]
        assert [path.name for path in list_checkpoints(base / "s/checkpoints")] == ["checkpoint-0"]
    assert codes == [[0, 2]] * 3


def test_a_session_that_cannot_be_written_leaves_nothing_and_says_so_in_one_line(tmp_path):
    def short_of_room() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        return start(tmp_path / "sessions")

    code, output, _ = in_child(short_of_room, tmp_path / "log")
    assert code == 2
    assert len(output.strip().splitlines()) == 1, output
    assert "cannot be made" in output
    assert list((tmp_path / "sessions").iterdir()) == []


def test_a_report_that_cannot_be_written_is_told_once(capsys):
    import logging

    handler = ReportHandler(Path("/dev/full"))
    for number in range(50):
        handler.handle(logging.LogRecord("digideep", logging.INFO, "", 0, f"line {number}", None, None))
    handler.close()
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "/dev/full cannot be written: [Errno 28] No space left on device" in lines[0]
