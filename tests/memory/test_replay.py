"""Drawing from the ring: what is drawn is what was stored."""

import numpy as np
import psutil
import pytest

from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities, SumTree
from digideep.memory.transitions import TransitionIndices, draw_uniform, gather_transitions
from digideep.utility.errors import UsageError


class Stream:
    """Workers whose episodes last `lengths` steps in turn; observation: (worker, episode, step); action: step + 0.5."""

    def __init__(self, workers: int = 2, lengths=(4, 3), is_terminal=True):
        self.workers, self.lengths, self.is_terminal = workers, lengths, is_terminal
        self.state = [[worker, 0, worker % 2] for worker in range(workers)]  # worker 1 is a step ahead

    def chunk(self, length: int):
        keys = ("/observations/agent", "/masks", "/rewards", "/terminations", "/agents/a/actions")
        chunk = {key: np.zeros((self.workers, length + 1, 1), np.float32) for key in keys}
        chunk["/observations/agent"] = np.zeros((self.workers, length + 1, 3), np.float32)
        for key in ("/masks", "/terminations"):
            chunk[key] = chunk[key].astype(bool)
        for worker, (_, episode, step) in enumerate(self.state):
            for row in range(length + 1):
                last = self.lengths[episode % len(self.lengths)]
                chunk["/observations/agent"][worker, row] = worker, episode, step
                chunk["/masks"][worker, row] = step < last
                if row == length:
                    break
                if step < last:
                    chunk["/rewards"][worker, row] = 10 * episode + step + 1
                    chunk["/terminations"][worker, row] = self.is_terminal and step + 1 == last
                    chunk["/agents/a/actions"][worker, row] = step + 0.5
                    step += 1
                else:
                    episode, step = episode + 1, 0
            self.state[worker] = [worker, episode, step]
        return chunk


def filled(num_chunks, chunk_len=4, capacity=3, **options):
    memory = Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity)
    stream = Stream(**options)
    for _ in range(num_chunks):
        memory.store(stream.chunk(chunk_len))
    return memory


def info(size=4000, **more):
    keys = {"observations": "/observations/agent", "actions": "/agents/a/actions"}
    return {**keys, "gamma": 0.5, "batch_size": size, "generator": np.random.default_rng(0), **more}


def drawn(memory, **more):
    return gather_transitions(draw_uniform(memory, info(**more)), info(**more))


def starts(memory):
    """All rows that the ring can be drawn from, by looking at every one of them."""
    every = [(w, r) for w in range(memory.num_workers) for r in range(memory.ring.num_steps)]
    filled = memory.ring.n_chunks * memory.ring.chunk_sample_len
    return {(w, r) for w, r in every if r < filled and r != memory.ring.head and memory.buffer["/masks"][w, r, 0]}


@pytest.mark.parametrize(("chunk_len", "capacity"), [(4, 3), (1, 7), (5, 1), (2, 2)])
def test_transitions_drawn_from_any_ring_equal_the_ones_that_were_stored(chunk_len, capacity):
    for num_chunks in range(1, 3 * capacity + 2):
        memory = filled(num_chunks, chunk_len, capacity)
        batch = drawn(memory, size=500)
        now, then = batch["/observations/agent"], batch["/observations/agent_2"]
        np.testing.assert_array_equal(then[:, :2], now[:, :2])  # the same worker, the same episode
        np.testing.assert_array_equal(then[:, 2], now[:, 2] + 1)
        np.testing.assert_array_equal(batch["/agents/a/actions"][:, 0], now[:, 2] + 0.5)
        np.testing.assert_array_equal(batch["/rewards"], 10 * now[:, 1] + now[:, 2] + 1)
        last = np.where(now[:, 1] % 2 == 0, 4, 3)
        np.testing.assert_array_equal(batch["/discounts"], np.where(then[:, 2] == last, 0, 0.5))


def test_every_valid_transition_is_drawn_about_equally_often_and_no_other():
    for num_chunks in (1, 3, 4, 7, 9):
        memory = filled(num_chunks)
        indices = draw_uniform(memory, info(size=20_000))
        counts: dict[tuple[int, int], int] = {}
        for pair in zip(indices.workers.tolist(), indices.rows.tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
        assert counts.keys() == starts(memory)
        mean = 20_000 / len(counts)
        assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


def test_a_return_of_three_steps_stops_at_both_kinds_of_ends_and_at_the_newest_row():
    # One episode of 4 steps with rewards 1, 2, 3, 4; then rewards 11, 12, 13. gamma 0.5.
    for is_terminal in (True, False):
        memory = filled(1, chunk_len=7, capacity=2, workers=1, is_terminal=is_terminal)
        rows = np.array([0, 1, 2, 3, 5, 6])
        indices = TransitionIndices(memory, np.zeros(6, np.int64), rows, np.ones(6, np.float32))
        batch = gather_transitions(indices, info(n_step_return=3))
        by_hand = [1 + 1 + 0.75, 2 + 1.5 + 1, 3 + 2, 4, 11 + 6, 12]
        assert batch["/rewards"].tolist() == by_hand
        ends = [0.125, 0, 0, 0, 0.25, 0.5] if is_terminal else [0.125, 0.125, 0.25, 0.5, 0.25, 0.5]
        assert batch["/discounts"].tolist() == ends
        # A truncated episode bootstraps from its own last observation, step 4; row 7 is the newest.
        assert batch["/observations/agent_2"][:, 2].tolist() == [3, 4, 4, 4, 2, 2]
        assert batch["/observations/agent_2"][:, 1].tolist() == [0, 0, 0, 0, 1, 1]


def test_a_return_of_several_steps_equals_a_walk_over_the_stream_on_a_wrapped_ring():
    for num_chunks in range(3, 10):
        memory = filled(num_chunks, is_terminal=False)
        batch = drawn(memory, n_step_return=3)
        newest = memory.buffer["/observations/agent"][:, memory.ring.head]
        for now, then, reward, discount in zip(
            batch["/observations/agent"], batch["/observations/agent_2"], batch["/rewards"], batch["/discounts"],
            strict=True,
        ):  # fmt: skip
            worker, episode, step = now.astype(int)
            end = 4 if episode % 2 == 0 else 3
            if episode == newest[worker, 1]:
                end = int(newest[worker, 2])
            steps = min(3, end - step)
            assert then.tolist() == [worker, episode, step + steps]
            assert reward == sum(0.5**k * (10 * episode + step + k + 1) for k in range(steps))
            assert discount == 0.5**steps


def frames(num_chunks, chunk_len=3, capacity=4):
    """A stream of stacks, whose newest frames are images of 2 x 2 bytes, all of them 40 * episode + step."""
    stacks = {"/observations/agent": 4}
    memory, stream = (
        Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity, stacks=stacks),
        Stream(lengths=(6, 4)),
    )
    for _ in range(num_chunks):
        chunk = stream.chunk(chunk_len)
        number = 40 * chunk["/observations/agent"][..., 1] + chunk["/observations/agent"][..., 2]
        stacked = np.zeros((*number.shape, 4, 2, 2), np.uint8)
        stacked[:, :, -1] = number[..., None, None]
        chunk["/observations/agent"] = stacked
        memory.store(chunk)
    return memory


@pytest.mark.parametrize("num_chunks", [1, 2, 4, 5, 6, 7, 8, 12])
def test_frames_are_stacked_when_drawn_within_their_episode(num_chunks):
    batch = drawn(frames(num_chunks))
    for key, offset in (("/observations/agent", 0), ("/observations/agent_2", 1)):
        stacks = batch[key]
        assert stacks.shape == (4000, 4, 2, 2)
        assert stacks.dtype == np.uint8
        newest = batch["/observations/agent"][:, -1, 0, 0].astype(int) + offset
        for stack, now in zip(stacks[:, :, 0, 0].tolist(), newest.tolist(), strict=True):
            first, step = now // 40 * 40, now % 40
            # Worker 1 begins its first episode at step 1: that is its first frame.
            expected = [[first + max(step - k, low) for k in (3, 2, 1, 0)] for low in ((0, 1) if first == 0 else (0,))]
            assert stack in expected


def test_a_million_transitions_fit_their_budgets():
    cheetah = Memory(chunk_sample_len=1, buffer_chunk_len=1_000_000)
    cheetah.store({
        "/observations/agent": np.zeros((1, 2, 17), np.float32), "/masks": np.ones((1, 2, 1), bool),
        "/rewards": np.zeros((1, 2, 1), np.float32), "/terminations": np.zeros((1, 2, 1), bool),
        "/agents/a/actions": np.zeros((1, 2, 6), np.float32),
    })  # fmt: skip
    assert sum(array.nbytes for array in cheetah.buffer.values()) <= 150e6
    atari = Memory(chunk_sample_len=125, buffer_chunk_len=1000)
    atari.store({
        "/observations/agent": np.zeros((8, 126, 84, 84), np.uint8), "/masks": np.ones((8, 126, 1), bool),
        "/rewards": np.zeros((8, 126, 1), np.float32), "/terminations": np.zeros((8, 126, 1), bool),
        "/agents/a/actions": np.zeros((8, 126), np.int64),
    })  # fmt: skip
    assert sum(array.nbytes for array in atari.buffer.values()) <= 7.5e9


def test_a_memory_that_does_not_fit_is_refused_with_a_size_that_does(monkeypatch, tmp_path):
    memory = Memory(chunk_sample_len=1, buffer_chunk_len=2_000_000)
    free = psutil.virtual_memory()._replace(available=19_800_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(UsageError) as refusal:
        memory.require_room(num_workers=4, row_bytes=7050)
    assert str(refusal.value) == (
        "memory_size_in_chunks=2000000 would need 56.4 GB, 19.8 GB are free: lower it to 561702, or keep it on disk "
        "with memory_on_disk."
    )
    Memory(chunk_sample_len=1, buffer_chunk_len=561_702).require_room(4, 7050)
    on_disk = Memory(tmp_path / "ring", chunk_sample_len=1, buffer_chunk_len=10**12, on_disk=True)
    with pytest.raises(UsageError, match=r"GB are free on disk: lower it to \d+\.$"):
        on_disk.require_room(4, 7050)


def test_a_memory_on_disk_holds_the_same(tmp_path):
    memory, stream = Memory(tmp_path / "ring", chunk_sample_len=4, buffer_chunk_len=3, on_disk=True), Stream()
    for _ in range(5):
        memory.store(stream.chunk(4))
    for key, array in filled(5).buffer.items():
        np.testing.assert_array_equal(memory.buffer[key], array)
    assert len(list((tmp_path / "ring").iterdir())) == 5
    memory.close()
    assert not (tmp_path / "ring").exists()


def test_only_the_keys_that_are_asked_for_are_kept():
    memory = Memory(chunk_sample_len=4, buffer_chunk_len=2, keys=["/masks", "/rewards"])
    memory.store(Stream().chunk(4))
    assert memory.buffer.keys() == {"/masks", "/rewards"}
    with pytest.raises(UsageError, match=r"should keep '/reward', which no chunk has\. Did you mean '/rewards'"):
        Memory(chunk_sample_len=4, keys=["/reward"]).store(Stream().chunk(4))


def test_a_memory_without_a_transition_says_so():
    memory = filled(1, chunk_len=1, capacity=1, workers=1)
    memory.buffer["/masks"][:] = False
    with pytest.raises(RuntimeError, match="No transition can be drawn from a memory of 1 steps"):
        draw_uniform(memory, info(size=2))
    with pytest.raises(RuntimeError, match="No transition can be drawn from a memory of 1 steps"):
        Priorities().draw(memory, info(size=2))


def test_a_sum_tree_finds_where_the_running_sum_passes_a_share():
    tree = SumTree(5)
    tree.set(np.array([0, 1, 3, 4]), np.array([1.0, 2.0, 0.5, 4.0]))
    assert tree.total == 7.5
    shares = np.array([0.0, 0.99, 1.0, 2.99, 3.0, 3.49, 3.5, 7.49])
    assert tree.find(shares).tolist() == [0, 0, 1, 1, 3, 3, 4, 4]
    tree.set(np.array([1, 4]), np.array([0.0, 0.0]))
    assert tree.total == 1.5
    assert tree.find(np.array([0.0, 1.2])).tolist() == [0, 3]


def test_a_tree_that_is_built_anew_has_the_same_bits():
    generator = np.random.default_rng(0)
    tree = SumTree(300)
    for _ in range(200):
        indices = generator.integers(300, size=16)
        tree.set(indices, generator.random(16))
    other = SumTree(300)
    other.leaves[:] = tree.leaves
    other.build()
    assert other.nodes.tobytes() == tree.nodes.tobytes()


def test_priorities_draw_in_proportion_and_weigh_against_it():
    memory = filled(2, workers=1)  # rows 0 to 7; 4 is a half-step
    priorities = Priorities(alpha=1.0, beta=1.0, eps=1e-12)
    indices = priorities.draw(memory, info(size=7))
    assert sorted(set(indices.rows.tolist())) == sorted({row for _, row in starts(memory)})
    assert indices.weights.tolist() == [1] * 7
    rows = np.array(sorted({row for _, row in starts(memory)}))
    everything = TransitionIndices(memory, np.zeros(len(rows), np.int64), rows, np.ones(len(rows), np.float32))
    priorities.update(everything, np.where(rows == 2, 6.0, 1.0).astype(np.float32))
    indices = priorities.draw(memory, info(size=12_000))
    assert abs((indices.rows == 2).mean() - 6 / (len(rows) + 5)) < 1e-3
    # Weights are inverse to the chances: 1 for the rare ones, a sixth for the frequent one.
    np.testing.assert_allclose(indices.weights, np.where(indices.rows == 2, 1 / 6, 1), rtol=1e-6)


def test_priorities_follow_a_ring_that_goes_round():
    memory, stream = Memory(chunk_sample_len=4, buffer_chunk_len=3), Stream()
    priorities = Priorities()
    for number in range(12):
        memory.store(stream.chunk(4))
        indices = priorities.draw(memory, info(size=3000))
        assert set(zip(indices.workers.tolist(), indices.rows.tolist(), strict=True)) == starts(memory), number
    restored = Priorities()
    restored.load_state_dict(priorities.state_dict())
    memory.store(stream.chunk(4))
    for key in ("workers", "rows", "weights"):
        first, second = (getattr(each.draw(memory, info(size=64)), key) for each in (priorities, restored))
        np.testing.assert_array_equal(first, second)


def test_few_transitions_among_many_rows_without_one_are_all_drawn_and_nothing_else():
    memory = Memory(chunk_sample_len=2000)
    masks = np.zeros((2, 2001, 1), np.bool_)
    masks[0, :3], masks[1, 1999] = True, True
    memory.store({"/masks": masks, "/x": np.zeros((2, 2001, 1))})
    drawn = draw_uniform(memory, {"batch_size": 4000, "generator": np.random.default_rng(0)})
    places, counts = np.unique(np.stack([drawn.workers, drawn.rows]), axis=1, return_counts=True)
    assert places.T.tolist() == [[0, 0], [0, 1], [0, 2], [1, 1999]]
    assert counts.min() > 850
