"""Prioritised replay: shares and weights by hand, new transitions, stacks of frames, and what is restored."""

import numpy as np
import pytest

from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.memory.transitions import TransitionIndices, draw_uniform
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from tests.memory.test_replay import Stream, filled, frames, info, starts


def indices_of(memory, rows) -> TransitionIndices:
    """Indices of these rows of the only worker."""
    return TransitionIndices(memory, np.zeros(len(rows), np.int64), np.array(rows), np.ones(len(rows), np.float32))


def leaves_of(priorities) -> list[float]:
    return priorities.state_dict()["leaves"].tolist()


def test_the_exponent_flattens_the_shares_and_weights_undo_half_of_that():
    memory = filled(2, workers=1)  # rows 0 to 7; 4 is a half-step
    priorities = Priorities(alpha=0.5, beta=0.5, eps=1.0)
    priorities.draw(memory, info(size=1))
    errors = {0: 3.0, 1: 8.0, 2: 15.0, 3: 0.0, 5: 0.0, 6: 0.0, 7: 0.0}
    priorities.update(indices_of(memory, list(errors)), np.array(list(errors.values()), np.float32))
    by_hand = [2, 3, 4, 1, 0, 1, 1, 1]  # roots of the errors plus 1: 13 in sum
    assert leaves_of(priorities)[:8] == by_hand
    indices = priorities.draw(memory, info(size=1300))
    # One draw from each stratum: shares are met to a draw, not only in the mean.
    assert np.bincount(indices.rows, minlength=8) == pytest.approx(100 * np.array(by_hand), abs=1)
    np.testing.assert_allclose(indices.weights, np.array(by_hand)[indices.rows] ** -0.5, rtol=1e-6)


def test_new_transitions_get_the_largest_priority_that_has_ever_been():
    memory, stream = Memory(chunk_sample_len=4, buffer_chunk_len=3), Stream(workers=1)
    priorities = Priorities(alpha=0.5, eps=1.0)
    memory.store(stream.chunk(4))
    priorities.draw(memory, info(size=1))
    assert leaves_of(priorities) == [1, 1, 1, 1, *[0] * 8]
    priorities.update(indices_of(memory, [0]), np.array([15.0], np.float32))
    priorities.update(indices_of(memory, [0]), np.array([3.0], np.float32))
    memory.store(stream.chunk(4))
    priorities.draw(memory, info(size=1))
    assert leaves_of(priorities) == [2, 1, 1, 1, 0, 4, 4, 4, *[0] * 4]  # row 4 is a half-step


def test_a_restored_one_goes_on_exactly_and_its_weights_follow_the_schedule():
    def make():
        return Priorities(10, alpha=0.5, beta=describe(Linear, start=0.2, end=1.0))

    memory, stream, priorities, errors = filled(0), Stream(), make(), np.random.default_rng(1)
    for _ in range(4):
        memory.store(stream.chunk(4))
        priorities.update(priorities.draw(memory, info(size=64)), (9 * errors.random(64)).astype(np.float32))
    restored = make()
    restored.load_state_dict({**priorities.state_dict(), "leaves": np.array(leaves_of(priorities))})
    memory.store(stream.chunk(4))
    first, second = (each.draw(memory, info(size=64)) for each in (priorities, restored))
    for ours, theirs in zip(first[1:], second[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert leaves_of(restored) == leaves_of(priorities)
    assert len(set(leaves_of(restored))) > 10
    drawn = np.reshape(leaves_of(restored), (2, 12))[second.workers, second.rows]
    np.testing.assert_allclose(second.weights, (drawn / drawn.min()) ** -(0.2 + 0.8 * 4 / 10), rtol=1e-5)
    assert restored.schedules()["beta"][1]() == 5


@pytest.mark.parametrize("by_priority", [False, True])
def test_every_transition_whose_stack_of_frames_is_whole_is_drawn_and_no_other(by_priority):
    for num_chunks in (1, 3, 4, 5, 7, 8, 9, 12):
        memory = frames(num_chunks)  # 12 steps, stacks of 4
        indices = (Priorities().draw if by_priority else draw_uniform)(memory, info(size=3000))
        newest = (3 * num_chunks - 1) % 12 + 1
        # Once it has gone round, the frames before the oldest step are gone: three stacks lack one.
        broken = {(newest % 12 + (newest < 12) + age) % 12 for age in range(3)} if num_chunks > 4 else set()
        whole = {(worker, row) for worker, row in starts(memory) if row not in broken}
        assert set(zip(indices.workers.tolist(), indices.rows.tolist(), strict=True)) == whole, num_chunks
