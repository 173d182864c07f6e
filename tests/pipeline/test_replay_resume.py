"""Exact resume and segments: replay memories that are stopped, killed, resumed, tampered with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from digideep.main import main
from digideep.memory.generic import Memory
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.segments import SegmentStore, find_segments, need_of
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from tests.memory.test_replay import Stream, filled
from tests.pipeline.test_resume import last, train
from tests.support.helpers import ROOT, tiny

SMALL = {"epoch_size": 10, "n_steps": 3, "num_workers": 2, "warm_start": 30, "batch_size": 8, "hidden_sizes": [8, 8],
         "gradient_steps_per_frame": 0.25, "memory_size_in_chunks": 1000, "test_interval": 2,
         "test_win_size": 2}  # fmt: skip
WRAPPED = {"memory_size_in_chunks": 15}  # 15 chunks, 40 are stored
METHODS = {
    "sac": ("sac_classic", {}),
    "dqn": ("dqn_classic", {"prioritized": True, "is_dueling": True, "n_step_return": 3}),
    "ddpg": ("ddpg_classic", {}),
    "td3": ("td3_mujoco", {"model_name": "Pendulum-v1"}),
    "crossq": ("crossq_classic", {}),
    "droq": ("droq_mujoco", {"model_name": "Pendulum-v1", "policy_delay": 2, "gradient_steps_per_frame": 0.5}),
}
QUIET = ("--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu")


def method(name: str, **changes) -> tuple[str, str]:
    """A parameter file, and the control panel of a run that takes a second and ends amid episodes."""
    params, own = METHODS[name]
    return str(ROOT / f"params/{params}.py"), tiny(**SMALL | {"number_epochs": 4} | own | changes)


def names(session: Path) -> set[str]:
    return {path.name for path in (session / "memory").iterdir()}


@pytest.mark.parametrize(
    ("name", "ring"),
    [(name, ring) for name in METHODS for ring in ({}, WRAPPED) if ring or name in ("sac", "dqn")],
    ids=lambda value: value if isinstance(value, str) else "wrapped" if value else "part-filled",
)
def test_a_resumed_run_is_bit_identical_from_every_checkpoint(tmp_path, name, ring):
    params, panel = method(name, **ring)
    assert train(tmp_path, "straight", params, panel) == 0
    session = tmp_path / "stopped"
    assert train(tmp_path, "stopped", params, panel, "--repeal", '{"/runner/max_iter": 3}') == 75
    whole = tmp_path / "whole"
    shutil.copytree(session, whole)
    for epoch in (3, 2, 1, 0):
        shutil.rmtree(session)
        shutil.copytree(whole, session)
        checkpoint = session / f"checkpoints/checkpoint-{epoch}"
        assert main(["--resume", str(checkpoint), *QUIET, "--repeal", '{"/runner/max_iter": null}']) == 0
        different, total = compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))
        assert different == []
        assert total > 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A session of four epochs that was stopped before its last one."""
    base = tmp_path_factory.mktemp("sessions")
    params, panel = method("sac", **WRAPPED)
    assert train(base, "s", params, panel, "--repeal", '{"/runner/max_iter": 3}') == 75
    return base / "s"


@pytest.fixture
def session(trained, tmp_path):
    """A copy to tamper with."""
    return shutil.copytree(trained, tmp_path / "s")


@pytest.mark.parametrize("damage", ["flipped", "missing", "truncated"])
def test_a_broken_segment_makes_its_checkpoints_invalid_and_an_older_one_takes_over(session, capsys, damage):
    newest = max((session / "memory").iterdir(), key=lambda path: int(path.name.split("-")[2]))
    data = newest.read_bytes()
    newest.unlink()
    if damage != "missing":
        newest.write_bytes(data[:-1] + (b"" if damage == "truncated" else bytes([data[-1] ^ 1])))
    assert main(["--resume", str(session), "--repeal", '{"/runner/max_iter": null}', "--no-monitor-cpu"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Skipping checkpoint-3" in output
    assert f"Loaded: {session}/checkpoints/checkpoint-2" in output.replace("\n", "")


def test_a_policy_can_be_played_though_its_segments_are_gone(session, capsys):
    shutil.rmtree(session / "memory")
    play = ["--play", "--load-checkpoint", str(session), "--episodes", "1", "--render", "none"]
    assert main(play) == 0
    assert "return over 1 episode:" in capsys.readouterr().out


def test_segments_of_forgotten_chunks_go_with_the_last_checkpoint_that_needs_them(tmp_path):
    params, panel = method("sac", number_epochs=6, keep_checkpoints=2, **WRAPPED)
    assert train(tmp_path, "s", params, panel) == 0
    # 10 chunks an epoch; the ring holds 15. checkpoint-5 needs chunks 35 to 49, checkpoint-6 those from 45 on.
    spans = sorted(tuple(map(int, name.split("-")[1:3])) for name in names(tmp_path / "s"))
    assert spans == [(30, 40), (40, 45), (45, 50), (50, 60)]  # none goes round the ring


@pytest.mark.parametrize(
    ("kept", "aside", "swept", "released"),
    [
        ([6], [], {3, 4, 5}, set()),
        ([2, 6], [], {0, 1, 3, 4, 5}, set()),
        ([6], [2], {0, 1, 3, 4, 5}, {0, 1}),  # set aside for good
        ([4, 6], [5], {1, 2, 3, 4, 5}, {2, 3, 4}),  # also where others need them
        ([None, 6], [], {0, 1, 2, 3, 4, 5}, {0, 1, 2}),  # what one of them needs cannot be read
        ([6], [None], {0, 1, 2, 3, 4, 5}, {0, 1, 2}),
    ],
)
def test_a_segment_is_deleted_when_it_is_known_that_nobody_needs_it(tmp_path, kept, aside, swept, released):
    """One segment a chunk, of a ring of three: the checkpoint after chunk 6 needs those from 3 to 5."""
    memory, stream, store, needs = Memory(chunk_sample_len=4, buffer_chunk_len=3), Stream(), SegmentStore(tmp_path), {}
    for count in range(1, 7):
        memory.store(stream.chunk(4))
        needs[count] = need_of({"memory": store.append(memory)})

    def left():
        return {int(path.name.split("-")[1]) for path in tmp_path.iterdir()}

    assert left() == set(range(6))
    resumed = SegmentStore(tmp_path, find_segments(tmp_path, needs[6]))
    oldest = resumed.sweep(
        {f"checkpoint-{each}": needs.get(each) for each in kept}, [needs.get(each) for each in aside]
    )
    assert oldest == {f"checkpoint-{each}": 0 if each is None else max(each - 3, 0) for each in kept}
    assert left() == swept
    resumed.release(6)  # whoever was kept is gone
    assert left() == released


def test_chunks_of_a_discarded_future_are_not_taken_for_new_ones(session):
    before = names(session)
    checkpoint = session / "checkpoints/checkpoint-2"
    other = {"/runner/max_iter": None, "/agents/agent/lr_actor": 0.01, "/runner/keep_checkpoints": 5}
    assert main(["--resume", str(checkpoint), *QUIET, "--repeal", json.dumps(other)]) == 0
    third = {name for name in before if name.startswith("segment-20-30-")}
    new = {name for name in names(session) - before if name.startswith("segment-20-30-")}
    assert (len(third), len(new)) == (1, 1), "the actions of another learning rate are other chunks"
    for path in list_checkpoints(session / "checkpoints")[2:]:
        assert main(["--resume", str(path), *QUIET, "--repeal", '{"/runner/n_epochs": 5}']) == 0


def test_a_discarded_future_is_set_aside_with_its_segments_and_can_be_taken_up_again(tmp_path, session):
    whole = shutil.copytree(session, tmp_path / "whole/s")
    keep = {"/runner/max_iter": None, "/agents/agent/lr_actor": 0.01, "/runner/keep_checkpoints": 1}
    checkpoints = session / "checkpoints"
    assert main(["--resume", str(checkpoints / "checkpoint-1"), *QUIET, "--repeal", json.dumps(keep)]) == 0
    assert sorted(path.name for path in checkpoints.iterdir() if path.name != "best") == [
        "checkpoint-2.aside", "checkpoint-3.aside", "checkpoint-4",
    ]  # fmt: skip
    shutil.rmtree(checkpoints / "checkpoint-4")
    (checkpoints / "checkpoint-3.aside").rename(checkpoints / "checkpoint-3")
    assert compare_checkpoints(whole / "checkpoints/checkpoint-3", checkpoints / "checkpoint-3")[0] == []
    (session / "done.lock").unlink()
    for path in (whole, session):
        assert main(["--resume", str(path), *QUIET, "--repeal", '{"/runner/max_iter": null}']) == 0
    assert compare_checkpoints(whole / "checkpoints/checkpoint-4", checkpoints / "checkpoint-4")[0] == []


def test_saving_writes_what_is_new_whatever_the_memory_holds(tmp_path):
    memory, stream = Memory(chunk_sample_len=4, buffer_chunk_len=5000), Stream(workers=1)
    (tmp_path / "memory").mkdir()
    store = SegmentStore(tmp_path / "memory")
    sizes = {}
    for held in (100, 1000, 4000, 6000):
        while memory.ring.n_chunks < held:
            memory.store(stream.chunk(4))
        store.append(memory)
        for _ in range(50):
            memory.store(stream.chunk(4))
        sizes[held] = store.append(memory)["newest"][2]
    assert max(sizes.values()) - min(sizes.values()) < 50
    row = sum(array.nbytes for array in memory.buffer.values()) / memory.ring.num_rows
    assert sizes[4000] < 1.1 * 200 * row + 600


@pytest.mark.parametrize("largest", [300, 2**26])  # several files a save, or as few as can be
@pytest.mark.parametrize("saves", [(1,), (2, 3), (1, 4, 5, 9), (3, 20), (7, 8, 9, 10, 11, 12)])
def test_a_ring_is_restored_to_the_bit_from_any_series_of_segments(tmp_path, saves, largest, monkeypatch):
    monkeypatch.setattr("digideep.pipeline.segments._LARGEST_BYTES", largest)
    memory, stream = Memory(chunk_sample_len=4, buffer_chunk_len=3), Stream()
    store = SegmentStore(tmp_path / "memory")
    for save in saves:
        while memory.ring.n_chunks < save:
            memory.store(stream.chunk(4))
        need = need_of(json.loads(json.dumps({"memory": store.append(memory)})))
        segments = find_segments(tmp_path / "memory", need)
        restored = Memory(chunk_sample_len=4, buffer_chunk_len=3)
        SegmentStore(tmp_path / "memory", segments).restore(restored, save)
        restored.load_state_dict(memory.state_dict())
        for key, array in filled(save).buffer.items():
            np.testing.assert_array_equal(restored.buffer[key], array)


def test_a_save_costs_the_same_however_often_the_memory_was_saved(tmp_path):
    memory, stream = Memory(chunk_sample_len=1, buffer_chunk_len=1000), Stream(workers=1)
    store, sizes = SegmentStore(tmp_path / "memory"), []
    for _ in range(1200):
        memory.store(stream.chunk(1))
        need = store.append(memory)
        sizes.append(len(json.dumps(need)) + need["newest"][2])
        store.release(need["oldest"])
    assert max(sizes[1000:]) - min(sizes[10:20]) < 100
    assert len(names(tmp_path)) == 1000, "what nobody needs any more is deleted"
    assert len(find_segments(tmp_path / "memory", need_of({"memory": need}))) == 1000


def test_the_best_policy_by_test_return_is_kept_and_can_be_played_but_not_resumed(session, capsys):
    best = session / "checkpoints/best"
    state = json.loads((best / "runner.json").read_text())
    assert state["runner"]["best_return"] == pytest.approx(Loader(session).varlog.mean("/return/test").max())
    assert "memory" not in state
    play = ["--play", "--load-checkpoint", str(best), "--episodes", "1", "--render", "none", "--dry-run"]
    assert main(play) == 0
    assert main(["--resume", str(best)]) == 2
    assert "holds the best policy and nothing else" in capsys.readouterr().err
    assert (
        main(
            ["--resume", str(session), *QUIET, "--repeal", '{"/runner/max_iter": null, "/runner/keep_checkpoints": 1}']
        )
        == 0
    )
    assert [path.name for path in list_checkpoints(session / "checkpoints")] == ["checkpoint-4"]
    assert best.is_dir()


def test_a_memory_on_disk_ends_the_same_and_leaves_only_its_segments(tmp_path):
    for name, on_disk in (("ram", False), ("disk", True)):
        params, panel = method("sac", memory_on_disk=on_disk, **WRAPPED)
        assert train(tmp_path, name, params, panel, "--repeal", '{"/runner/max_iter": 2}') == 75
        go_on = json.dumps({"/runner/max_iter": None, "/memory/on_disk": on_disk})
        assert main(["--resume", str(tmp_path / name), *QUIET, "--repeal", go_on]) == 0
    different, _ = compare_checkpoints(last(tmp_path, "ram"), last(tmp_path, "disk"))
    assert different == ["/cpanel/memory_on_disk", "/params/memory/on_disk"]
    assert not (tmp_path / "disk/memory/ring").exists()


def test_a_memory_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, capsys):
    params, panel = method("sac", memory_size_in_chunks=10**12)
    assert train(tmp_path, "s", params, panel) == 2
    error = capsys.readouterr().err
    assert "memory_size_in_chunks=1000000000000 would need " in error
    assert "or keep it on disk with memory_on_disk." in error
    assert list(tmp_path.iterdir()) == []


def test_a_memory_smaller_than_a_batch_is_refused(tmp_path, capsys):
    params, panel = method("sac", memory_size_in_chunks=1)
    assert train(tmp_path, "s", params, panel) == 2
    assert "memory_size must hold at least one batch (8 transitions), got 6." in capsys.readouterr().err


@pytest.mark.usefixtures("forking_verify")
def test_verify_resume_proves_it_for_a_replay_method(capfd):
    params, panel = method("sac", epoch_size=30, **WRAPPED)
    assert main(["--params", params, "--verify-resume", "2", "--device", "cpu", "--cpanel", panel]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out
