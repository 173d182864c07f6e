"""Checkpoints: whole or not at all, and never a way to run code."""

import hashlib
import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from digideep.main import main
from digideep.pipeline.checkpoint import (
    checkpoint_name,
    checkpoint_order,
    list_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from digideep.utility.errors import CheckpointError
from tests.support.helpers import CLASSIC, tiny

STATE = {
    "agents": {
        "a": {"weights": torch.arange(6.0).view(2, 3), "step": torch.tensor(3.0), "half": torch.ones(2).bfloat16()}
    },
    "explorer": {"/observations/x": np.arange(4, dtype=np.uint8), "generator": {"state": 2**127 + 1}, "none": None},
    "empty": {},
    "list": [1.5, "two"],
}


def test_a_state_comes_back_with_its_types_and_numbers(tmp_path):
    path = write_checkpoint(tmp_path, "checkpoint-3", STATE, {"logs": {"varlog.json": 12}})
    state, session, written_by = read_checkpoint(path)
    agent = state["agents"]["a"]
    assert torch.equal(agent["weights"], STATE["agents"]["a"]["weights"])
    assert agent["step"].shape == ()
    assert agent["half"].dtype == torch.bfloat16
    array = state["explorer"]["/observations/x"]
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.uint8
    assert state["explorer"]["generator"]["state"] == 2**127 + 1
    assert (state["empty"], state["list"], state["explorer"]["none"]) == ({}, [1.5, "two"], None)
    assert session == {"logs": {"varlog.json": 12}}
    assert written_by["torch"] == torch.__version__


def test_values_that_are_neither_arrays_nor_json_are_not_written(tmp_path):
    with pytest.raises(TypeError, match="/agents/a is a set"):
        write_checkpoint(tmp_path, "checkpoint-0", {"agents": {"a": {1}}}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a/b": torch.zeros(2), "a": {"b": torch.ones(2)}}, "/x/a/b"),
        ({"a": {"b": np.ones(2)}, "a/b": torch.zeros(2)}, "/x/a/b"),
        ({"deep": {1: 2.0, "1": 3.0}}, r"/x/deep has the names \[1, '1'\]"),
        ({"deep": {"$array": "/x"}}, r"/x/deep has the names \['\$array'\]"),
    ],
)
def test_what_would_not_come_back_is_refused_by_its_path(tmp_path, state, path):
    with pytest.raises(ValueError, match=path):
        write_checkpoint(tmp_path, "checkpoint-0", {"x": state}, {})
    assert list(tmp_path.iterdir()) == []


def test_names_are_ordered_by_epoch_and_cycle(tmp_path):
    names = [
        checkpoint_name(10),
        checkpoint_name(9),
        checkpoint_name(9, 12),
        checkpoint_name(9, 3),
        "checkpoint-x",
        "other",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    ordered = [path.name for path in list_checkpoints(tmp_path)]
    assert ordered == ["checkpoint-9", "checkpoint-9+3", "checkpoint-9+12", "checkpoint-10"]
    assert checkpoint_order(tmp_path / "checkpoint-9+12") == (9, 12)
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path):
    for value in (1, 2):
        path = write_checkpoint(tmp_path, "checkpoint-1", {"value": value}, {})
    assert read_checkpoint(path)[0] == {"value": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint-1"]


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def sign(path):
    """Make the manifest agree with the files again, as somebody would who knows how checkpoints work."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        data = (path / name).read_bytes()
        entry.update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["states.safetensors", "runner.json", "session.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "empty", "pickle", "directory"])
def test_every_damaged_file_is_found(tmp_path, name, damage):
    path = write_checkpoint(tmp_path, "checkpoint-1", STATE, {"logs": {}})
    file = path / name
    data = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        file.write_bytes(data[:5] + bytes([data[5] ^ 0xFF]) + data[6:])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "pickle":
        file.write_bytes(pickle.dumps(Bomb(str(tmp_path / "boom"))))
    elif damage == "directory":
        file.mkdir()
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("states.safetensors", b"", b""),
        ("runner.json", b"1.5", b"2.5"),
        ("session.json", b"12", b"13"),
    ],
)
def test_what_could_be_read_is_found_by_its_hash(tmp_path, name, old, new):
    path = write_checkpoint(tmp_path, "checkpoint-1", STATE, {"logs": {"varlog.json": 12}})
    data = (path / name).read_bytes()
    altered = data.replace(old, new) if old else data[:-1] + bytes([data[-1] ^ 1])  # the last number of an array
    assert altered != data
    (path / name).write_bytes(altered)
    with pytest.raises(CheckpointError, match=rf"{name} is not what was written: its hash differs from the manifest"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["states.safetensors", "runner.json"])
def test_a_pickle_under_a_valid_manifest_is_not_executed_either(tmp_path, name):
    path = write_checkpoint(tmp_path, "checkpoint-1", STATE, {})
    (path / name).write_bytes(pickle.dumps(Bomb(str(tmp_path / "boom"))))
    sign(path)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "boom").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A session of three epochs with a checkpoint of each, its last checkpoint being from before the end."""
    base = tmp_path_factory.mktemp("sessions")
    argv = [
        "--params",
        CLASSIC,
        "--cpanel",
        tiny(),
        "--session-path",
        str(base),
        "--session-name",
        "s",
        "--log-level",
        "3",
    ]
    assert main(argv) == 0
    return base / "s"


@pytest.fixture
def session(trained, tmp_path):
    """A copy to tamper with; one epoch is left to train."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "done.lock").unlink()
    shutil.rmtree(copy / "checkpoints/checkpoint-3")
    return copy


def test_a_broken_checkpoint_gives_way_to_the_one_before_with_a_warning(session, capsys):
    states = session / "checkpoints/checkpoint-2/states.safetensors"
    states.write_bytes(states.read_bytes()[:-1])
    assert main(["--resume", str(session)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Skipping checkpoint-2" in output
    assert "checkpoint-1" in output
    assert (session / "done.lock").exists()


def test_a_broken_checkpoint_that_is_named_is_an_error(session, capsys):
    path = session / "checkpoints/checkpoint-2"
    (path / "manifest.json").unlink()
    assert main(["--resume", str(path)]) == 2
    assert capsys.readouterr().err.strip().endswith("manifest.json is missing.")


def test_a_session_without_a_valid_checkpoint_is_an_error(session, capsys):
    for path in list_checkpoints(session / "checkpoints"):
        (path / "runner.json").write_text("{}")
    assert main(["--resume", str(session)]) == 2
    assert "has no valid checkpoint (3 were looked at)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("os.system", "'os.system' is no digideep component"),
        ("subprocess.Popen", "'subprocess.Popen' is no digideep component"),
        ("numpy.save", "'numpy.save' is no digideep component"),
        ("digideep.pipeline.session.Session", "is no digideep component"),
        ("no_such_package.Agent", "'no_such_package.Agent' cannot be imported"),
        ("digideep.memory.generic.Memory", "Memory has no parameter"),
        ("PPO", "'PPO' is no digideep component"),
        (7, "'7' is no digideep component"),
    ],
)
def test_a_name_that_is_no_fitting_component_is_refused(session, capsys, dotted, message):
    path = session / "checkpoints/checkpoint-2"
    content = json.loads((path / "runner.json").read_text())
    content["params"]["agents"]["agent"]["class"] = dotted
    (path / "runner.json").write_text(json.dumps(content))
    sign(path)
    assert main(["--resume", str(path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize("key", ["params", "agents", "explorer", "memory", "runner", "spaces"])
def test_a_missing_part_under_a_valid_manifest_is_an_error(session, capsys, key):
    path = session / "checkpoints/checkpoint-2"
    content = json.loads((path / "runner.json").read_text())
    del content[key]
    (path / "runner.json").write_text(json.dumps(content))
    sign(path)
    assert main(["--resume", str(path)]) == 2
    assert key in capsys.readouterr().err


def test_nothing_that_loads_can_unpickle(session, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("something is being unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    assert main(["--resume", str(session), "--log-level", "3"]) == 0
