"""Checkpoints that are broken, or cannot be read for another reason: none is lost, and an older one takes over."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from digideep.main import main
from digideep.pipeline.checkpoint import FORMAT, list_checkpoints, remove_checkpoint, set_aside, write_checkpoint
from digideep.pipeline.checkpoint_content import check_kinds
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.utility.errors import CheckpointError, UnreadableError
from tests.damage.harness import OTHER_USER, snapshot
from tests.damage.mutations import sign
from tests.pipeline.test_refusals import QUIET, refused, trained  # noqa: F401
from tests.pipeline.test_replay_resume import WRAPPED, method
from tests.pipeline.test_resume import train
from tests.support.forked import in_child

GO_ON = (*QUIET, "--log-level", "1", "--repeal", '{"/runner/max_iter": null}')


@pytest.fixture
def session(trained, tmp_path):  # noqa: F811
    """A copy of a session whose plan has one epoch left; resumed without --repeal, it goes on to its end."""
    copy = shutil.copytree(trained, tmp_path / "s")
    for path in list_checkpoints(copy / "checkpoints"):
        change(path, "runner.json", ("params", "runner", "max_iter"), None)
    return copy


def change(checkpoint, name, keys, value) -> None:
    """Put a value into a checkpoint, and make its hash right again."""
    content = inner = json.loads((checkpoint / name).read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (checkpoint / name).write_text(json.dumps(content))
    if name != "manifest.json":
        sign(checkpoint)


def names(session) -> list[str]:
    return sorted(path.name for path in (session / "checkpoints").iterdir())


def resume(session, capsys) -> str:
    capsys.readouterr()
    assert main(["--resume", str(session), "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    return " ".join(capsys.readouterr().out.split())


WRONG = [
    ("session.json", ("elapsed_s",), "abc"), ("session.json", ("elapsed_s",), None), ("session.json", ("logs",), []),
    ("session.json", ("logs",), {"varlog.json": -1}), ("session.json", ("memory",), 5),
    ("session.json", ("memory", "newest"), [1, 2]), ("session.json", ("memory", "newest"), [0, 1, 2, 3]),
    ("session.json", ("memory", "oldest"), -1), ("session.json", ("memory", "newest"), None),
    ("runner.json", ("params",), 7), ("runner.json", ("params", "agents"), None), ("runner.json", ("cpanel",), []),
    ("runner.json", ("runner", "i_epoch"), "x"), ("runner.json", ("runner", "i_epoch"), -3),
    ("runner.json", ("runner", "i_epoch"), float("inf")), ("runner.json", ("runner", "i_epoch"), 2),
    ("runner.json", ("runner", "i_cycle"), 5), ("runner.json", ("runner", "recent_returns"), "many"),
    ("runner.json", ("runner", "recent_returns"), [1.0, None]), ("runner.json", ("runner", "best_return"), "high"),
    ("runner.json", ("params", "agents", "agent", "policy", "hidden_sizes"), [10**12]),
    ("runner.json", ("agents", "agent", "n_updates"), "x"), ("runner.json", ("agents", "agent", "policy"), {}),
    ("runner.json", ("agents", "agent"), []), ("runner.json", ("monitor", "open"), {"/a": {"num": "many"}}),
    ("runner.json", ("memory", "n_chunks"), 10**30), ("runner.json", ("memory", "n_chunks"), None),
    ("runner.json", ("explorer", "train", "steps"), [1]), ("runner.json", ("explorer", "train", "seats"), "all"),
    ("manifest.json", ("format",), "new"), ("manifest.json", ("format",), -1), ("manifest.json", ("files",), []),
    ("manifest.json", ("versions",), 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "keys", "value"), WRONG, ids=lambda value: str(value)[:40])
def test_right_hashes_over_wrong_contents_give_way_to_the_checkpoint_before(session, capsys, name, keys, value):
    newest = session / "checkpoints/checkpoint-3"
    change(newest, name, keys, value)
    content = snapshot(newest)
    assert "Skipping checkpoint-3" in resume(session, capsys)
    assert names(session) == [*(f"checkpoint-{i}" for i in range(4)), "checkpoint-3.aside", "checkpoint-4"]
    assert snapshot(session / "checkpoints/checkpoint-3.aside") == content
    assert (session / "done.lock").exists()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("runner", "i_cycle"), {}), (("runner", "i_epoch"), "x"), (("agents",), 3), (("params", "env"), []),
        (("statistics",), None),
    ],
)  # fmt: skip
def test_so_they_do_where_a_loader_reads(session, keys, value):
    change(session / "checkpoints/checkpoint-3", "runner.json", keys, value)
    assert Loader(session).state()["runner"]["i_epoch"] == 2
    with pytest.raises(CheckpointError, match="checkpoint-3 is broken"):
        Loader(session).state(3)


@pytest.mark.parametrize("kind", ["nested", "pipe", "link", "grown", "array"])
def test_so_do_files_of_other_kinds(session, capsys, kind):
    newest = session / "checkpoints/checkpoint-3"
    file = newest / "runner.json"
    if kind == "nested":
        content = json.loads(file.read_text())
        for _ in range(300):
            content["cpanel"] = {"a": [content["cpanel"]]}
        file.write_text(json.dumps(content))
        sign(newest)
    elif kind == "grown":
        os.truncate(file, 2**42)
    elif kind == "array":
        states = newest / "states.safetensors"
        arrays = load_arrays(states.read_bytes())
        arrays |= {key: np.zeros((3, 3), array.dtype) for key, array in arrays.items() if "/policy/" in key}
        states.write_bytes(save_arrays(arrays))
        sign(newest)
    else:
        file.unlink()
        os.mkfifo(file) if kind == "pipe" else file.symlink_to("../checkpoint-2/runner.json")
    assert "Skipping checkpoint-3" in resume(session, capsys)
    assert "checkpoint-3.aside" in names(session)


def test_what_is_said_of_every_checkpoint_is_the_fault_of_none(session, capsys):
    for path in list_checkpoints(session / "checkpoints"):
        change(path, "runner.json", ("params", "agents", "agent", "policy", "hidden_sizes"), [10**12])
    before = snapshot(session)
    assert "checkpoint-3 does not fit what digideep can build" in refused(capsys, "--resume", str(session), *QUIET)
    assert snapshot(session) == before


def test_a_checkpoint_of_a_newer_format_is_refused_and_kept(session, capsys):
    newest = session / "checkpoints/checkpoint-3"
    change(newest, "manifest.json", ("format",), FORMAT + 1)
    before = snapshot(session)
    line = refused(capsys, "--resume", str(session), *QUIET)
    assert f"checkpoint-3 has format {FORMAT + 1}, expected {FORMAT}. Use the version that wrote it." in line
    assert "Or name an older checkpoint" in line
    assert snapshot(session) == before
    content = snapshot(newest)
    assert main(["--resume", str(session / "checkpoints/checkpoint-2"), *QUIET]) == 0
    assert snapshot(session / "checkpoints/checkpoint-3.aside") == content


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_loader_says_what_it_may_not_read(session):
    base = Path(tempfile.mkdtemp(prefix="digideep-test-"))  # pytest's own is closed to others
    try:
        base.chmod(0o755)
        copy = shutil.copytree(session, base / "s")

        def read() -> int:
            with pytest.raises(UnreadableError, match="checkpoints cannot be read: Permission denied"):
                Loader(copy).state()
            return 0

        (copy / "checkpoints").chmod(0)
        code, output, _ = in_child(read, base / "log", OTHER_USER)
        assert code == 0, output
    finally:
        shutil.rmtree(base)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("name", ["", "manifest.json", "states.safetensors", "session.json"])
def test_a_checkpoint_that_its_user_may_not_read_is_refused_and_kept(session, name):
    base = Path(tempfile.mkdtemp(prefix="digideep-test-"))  # pytest's own is closed to others
    try:
        copy = shutil.copytree(session, base / "s")
        for path in (base, *base.rglob("*")):
            os.chown(path, OTHER_USER, OTHER_USER)
        (copy / "checkpoints/checkpoint-3" / name).chmod(0)
        before = snapshot(copy)
        code, output, _ = in_child(lambda: main(["--resume", str(copy), *QUIET]), base / "log", OTHER_USER)
        assert (code, len(output.strip().splitlines())) == (2, 1), output
        assert "cannot be read: Permission denied" in output
        assert snapshot(copy) == before
    finally:
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """A session of a replay method, with checkpoints of three epochs."""
    base = tmp_path_factory.mktemp("replayed")
    params, panel = method("sac", keep_checkpoints=None, **WRAPPED)
    assert train(base, "s", params, panel, "--repeal", '{"/runner/max_iter": 3}') == 75
    return base / "s"


@pytest.mark.parametrize("damage", ["cut", "missing", "pipe", "no object", "wrong segment", "newer format"])
def test_an_older_checkpoint_that_is_broken_harms_no_resume_and_keeps_its_segments(replayed, tmp_path, damage):
    session = shutil.copytree(replayed, tmp_path / "s")
    older = session / "checkpoints/checkpoint-1"
    file = older / "session.json"
    if damage == "cut":
        os.truncate(file, 50)
    elif damage == "missing":
        file.unlink()
    elif damage == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif damage == "no object":
        file.write_text("[]")
        sign(older)
    elif damage == "wrong segment":
        change(older, "session.json", ("memory", "newest"), [0, 3, 5, "0" * 64])
    else:
        change(older, "manifest.json", ("format",), FORMAT + 1)
    before = {path.name for path in (session / "memory").iterdir()}
    assert main(["--resume", str(session), *GO_ON]) == 0
    assert before <= {path.name for path in (session / "memory").iterdir()}
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == [f"checkpoint-{i}" for i in range(5)]


def test_a_value_may_be_of_another_kind_than_at_the_beginning_where_arithmetic_makes_it_so():
    like = {"var": np.array(1.0), "mean": 0.0, "sum": np.zeros(3, np.float32), "n": 0, "best": None, "open": {}}
    check_kinds({"var": 47.3, "mean": np.zeros(3), "sum": np.zeros(3), "n": 1.5, "best": 2.0, "open": {"a": "b"}}, like)
    for wrong in ({"n": "x"}, {"n": None}, {"sum": np.zeros((3, 2))}, {"sum": np.zeros(3, np.int16)}, {"open": []}):
        with pytest.raises(CheckpointError, match="expected something like"):
            check_kinds(wrong, like)


def test_what_a_killed_process_left_behind_is_swept(session, capsys):
    checkpoints = session / "checkpoints"
    for name in (".checkpoint-1.old", ".checkpoint-9.writing", ".best.writing"):
        shutil.copytree(checkpoints / "checkpoint-1", checkpoints / name)
    shutil.copytree(checkpoints / "checkpoint-2", checkpoints / ".best.old")
    (checkpoints / ".checkpoint-7.writing").write_text("x")
    resume(session, capsys)
    assert names(session) == ["best", *(f"checkpoint-{i}" for i in range(5))], "the best one had not been replaced yet"
    assert compare_checkpoints(checkpoints / "best", checkpoints / "checkpoint-2")[0] == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_lies_in_the_place_of_a_checkpoint_is_set_aside_and_not_deleted(session, capsys, kind):
    path = session / "checkpoints/checkpoint-4"
    path.write_text("precious") if kind == "file" else path.symlink_to("checkpoint-1")
    resume(session, capsys)
    assert (session / "done.lock").exists()
    assert path.is_dir()
    aside = session / "checkpoints/checkpoint-4.aside"
    assert aside.read_text() == "precious" if kind == "file" else aside.readlink().name == "checkpoint-1"


def test_setting_aside_never_writes_over_what_was_set_aside_before(tmp_path):
    for value in range(3):
        path = write_checkpoint(tmp_path, "checkpoint-5", {"value": value}, {})
        set_aside(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-5.aside", "checkpoint-5.aside-2", "checkpoint-5.aside-3",
    ]  # fmt: skip
    assert list_checkpoints(tmp_path) == []


def test_a_checkpoint_that_is_gone_already_can_be_removed(tmp_path):
    path = write_checkpoint(tmp_path, "checkpoint-5", {}, {})
    remove_checkpoint(path)
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []
