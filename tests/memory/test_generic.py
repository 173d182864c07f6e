"""The ring of chunks."""

import numpy as np
import pytest

from digideep.memory.generic import Memory
from digideep.utility.errors import UsageError


def chunk(first: int, length: int = 3, workers: int = 2):
    """Rows numbered from `first`; worker 1 counts from 100 more."""
    rows = first + np.arange(length + 1)[None, :] + 100 * np.arange(workers)[:, None]
    return {"/x": rows[..., None].astype(np.float32), "/masks": np.ones((workers, length + 1, 1), bool)}


def filled(num_chunks: int, buffer_chunk_len: int = 3) -> Memory:
    memory = Memory(chunk_sample_len=3, buffer_chunk_len=buffer_chunk_len)
    for index in range(num_chunks):
        memory.store(chunk(3 * index))
    return memory


def test_chunks_overlap_by_the_half_step():
    memory = filled(2)
    assert memory.buffer["/x"][0, :7, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert memory.buffer["/x"][1, 6, 0] == 106
    assert (len(memory.ring), memory.ring.head) == (2, 6)


def test_a_full_ring_overwrites_its_oldest_chunk_and_moves_nothing_else():
    memory = filled(4)
    assert memory.buffer["/x"][0, :, 0].tolist() == [9, 10, 11, 12, 4, 5, 6, 7, 8, 9]
    assert (len(memory.ring), memory.ring.head) == (3, 3)
    assert memory.last_chunk()["/x"][0, :, 0].tolist() == [9, 10, 11, 12]


def test_a_ring_of_one_chunk_holds_the_newest():
    assert filled(5, buffer_chunk_len=1).last_chunk()["/x"][0, :, 0].tolist() == [12, 13, 14, 15]


def test_arrays_are_allocated_once():
    memory = filled(1)
    before = memory.buffer["/x"]
    memory.store(chunk(3))
    assert memory.buffer["/x"] is before


def test_types_are_kept():
    memory = Memory(chunk_sample_len=1)
    memory.store({"/i": np.full((1, 2), 2**40), "/b": np.ones((1, 2, 1), bool), "/u": np.ones((1, 2, 4), np.uint8)})
    assert [str(array.dtype) for array in memory.buffer.values()] == ["int64", "bool", "uint8"]
    assert memory.buffer["/i"][0, 0] == 2**40


def test_a_restored_memory_is_the_same_and_goes_on_the_same():
    memory, other = filled(4), Memory(chunk_sample_len=3, buffer_chunk_len=3)
    with pytest.raises(ValueError, match="segments end at chunk 0, expected 4"):
        other.load_state_dict(memory.state_dict())
    for first, end in ((1, 3), (3, 4)):
        other.restore_chunks(first, memory.copy_chunks(first, end), n_chunks=4)
    other.load_state_dict(memory.state_dict())
    for each in (memory, other):
        each.store(chunk(12))
    np.testing.assert_array_equal(memory.buffer["/x"], other.buffer["/x"])
    assert memory.ring.head == other.ring.head == 6


def test_a_chunk_of_another_shape_or_with_other_keys_is_refused():
    with pytest.raises(ValueError, match="n_steps must be the memory's chunk_sample_len"):
        filled(1).store(chunk(0, length=4))
    with pytest.raises(ValueError, match=r"missing \['/x'\], new \[\]"):
        filled(1).store({"/masks": np.ones((2, 4, 1), bool)})


@pytest.mark.parametrize("size", [0, -1, 1.5, "many"])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(UsageError, match="chunk_sample_len must be an integer of at least 1"):
        Memory(chunk_sample_len=size)
