"""What is written reaches the disk before it gets its name, and is never gone in between."""

import os
from pathlib import Path

import pytest

from digideep.memory.generic import Memory
from digideep.pipeline.checkpoint import read_checkpoint, write_checkpoint
from digideep.pipeline.segments import SegmentStore
from tests.memory.test_replay import Stream


@pytest.fixture
def disk(monkeypatch):
    """A record of what happens in order: ("sync", path) and ("rename", old path, new path).

    A file or directory that is renamed must have been synced with all that is in it, as it is by then.
    """
    events, synced = [], {}
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def identity(path):
        status = os.stat(path)
        return status.st_ino, status.st_size if path.is_file() else sorted(entry.name for entry in path.iterdir())

    def note_sync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)
        synced[path] = identity(path)
        events.append(("sync", path))

    def note_rename(how):
        def move(self, target):
            if self.name.endswith(".writing"):
                for path in [self, *self.rglob("*")]:
                    assert synced.get(path) == identity(path), f"{path} is renamed before it is on the disk"
            events.append(("rename", self, Path(target)))
            return how(self, target)

        return move

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename(rename))
    monkeypatch.setattr(Path, "replace", note_rename(replace))
    return events


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_old_one_is_there_until_then(tmp_path, disk):
    path, aside, old = (tmp_path / name for name in ("checkpoint-1", ".checkpoint-1.writing", ".checkpoint-1.old"))
    write_checkpoint(tmp_path, "checkpoint-1", {"value": 1}, {})
    assert disk[-2:] == [("rename", aside, path), ("sync", tmp_path)]
    assert read_checkpoint(path)[0] == {"value": 1}
    del disk[:]
    write_checkpoint(tmp_path, "checkpoint-1", {"value": 2}, {})
    assert [event for event in disk if event[0] == "rename"] == [("rename", path, old), ("rename", aside, path)]
    assert disk.index(("rename", path, old)) > disk.index(("sync", aside)), "as late as can be"
    assert disk[-1] == ("sync", tmp_path)
    assert read_checkpoint(path)[0] == {"value": 2}


def test_a_segment_is_on_the_disk_before_it_has_its_name(tmp_path, disk):
    memory, store = Memory(chunk_sample_len=4, buffer_chunk_len=3), SegmentStore(tmp_path)
    memory.store(Stream().chunk(4))
    store.append(memory)
    (segment,) = (tmp_path / each.name for each in store.segments)
    aside = tmp_path / f".{segment.name}.writing"
    assert disk == [("sync", aside), ("rename", aside, segment), ("sync", tmp_path)]
