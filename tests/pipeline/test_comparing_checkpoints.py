"""The judge of exact resume: what `--verify-resume` takes for a difference."""

import numpy as np
import pytest
import torch

from digideep.memory.generic import Memory
from digideep.parameters.component import describe
from digideep.parameters.tree import to_plain
from digideep.pipeline.checkpoint import write_checkpoint
from digideep.pipeline.segments import SegmentStore
from digideep.pipeline.verify import compare_checkpoints
from tests.memory.test_replay import Stream


def checkpoint(session, values=(), reward=0.0):
    """A checkpoint of a memory with one chunk, and of further values. Args: reward: of one of its steps."""
    memory, chunk = Memory(chunk_sample_len=4, buffer_chunk_len=3), Stream().chunk(4)
    chunk["/rewards"][1, 2] = reward
    memory.store(chunk)
    (session / "memory").mkdir(parents=True)
    figures = {"memory": SegmentStore(session / "memory").append(memory)}
    plain = to_plain(describe(Memory, chunk_sample_len=4, buffer_chunk_len=3))
    state = {"params": {"memory": plain}, "memory": memory.state_dict(), **dict(values)}
    return write_checkpoint(session / "checkpoints", "checkpoint-1", state, figures)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"x": np.array([0.0])}, {"x": np.array([-0.0])}, ["/x"]),  # equal numbers
        ({"x": torch.tensor([0.0])}, {"x": torch.tensor([-0.0])}, ["/x"]),
        ({"x": np.array([np.nan])}, {"x": np.array([np.nan])}, []),
        ({"x": np.zeros(2)}, {"x": np.zeros(2, np.float32)}, ["/x"]),
        ({"x": np.zeros((2, 1))}, {"x": np.zeros((1, 2))}, ["/x"]),
        ({"x": 1}, {"x": 1.0}, ["/x"]),
        ({"x": 1}, {}, ["/x"]),
        ({}, {"a": {"b": [1]}}, ["/a/b"]),
        ({"a": {"clock": 1.0, "b": 2}}, {"a": {"clock": 3.0, "b": 2}}, []),
    ],
)
def test_values_are_compared_bit_by_bit_also_those_that_one_side_lacks(tmp_path, ours, theirs, expected):
    paths = [checkpoint(tmp_path / name, values) for name, values in (("a", ours), ("b", theirs))]
    assert compare_checkpoints(*paths)[0] == expected
    assert compare_checkpoints(*paths[::-1])[0] == expected


def test_the_content_of_memories_is_compared(tmp_path):
    paths = [checkpoint(tmp_path / str(reward), reward=reward) for reward in (1.0, 2.0)]
    assert compare_checkpoints(*paths)[0] == ["/memory/buffer//rewards"]
