"""Sequences for policies that remember: what is drawn is what a walk over the worker's history gives."""

import numpy as np
import pytest

from digideep.memory.episodes import Episodes
from digideep.memory.generic import Memory
from digideep.memory.hindsight import Hindsight
from digideep.memory.priorities import Priorities
from digideep.memory.sequences import SequenceIndices, SequenceReplay, draw_sequences, gather_sequences
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError
from digideep.utility.plan import Plan
from digideep.utility.ranks import Ranks

GAMMA = 0.5
RINGS = [(4, 4), (1, 14), (14, 1), (3, 5)]
SIZES = [(0, 1, 1), (0, 4, 1), (3, 4, 1), (2, 3, 3), (1, 9, 2)]  # burn_in, sequence_length, n_step_return


class History:
    """All that workers did. Observation: the moment; state: steps of the episode so far, so 0 where it begins."""

    def __init__(self, workers=3, moments=200, longest=9, seed=0):
        generator, shape = np.random.default_rng(seed), (workers, moments, 1)
        self.masks, self.ends = np.ones(shape, bool), np.zeros(shape, bool)
        self.rewards, self.states = generator.normal(size=shape).astype(np.float32), np.zeros(shape, np.float32)
        for worker in range(workers):
            first = 0
            while first < moments:
                length = int(generator.integers(1, longest + 1))
                steps = np.arange(min(length + 1, moments - first))
                self.states[worker, first + steps, 0] = steps
                if first + length < moments:
                    self.masks[worker, first + length] = False
                    self.ends[worker, first + length - 1] = generator.integers(2)
                first += length + 1

    def chunk(self, first, length):
        """The step of the newest row has not been taken: what stands there means nothing."""
        rows = slice(first, first + length + 1)
        moments = np.broadcast_to(np.arange(self.masks.shape[1], dtype=np.float32)[None, :, None], self.masks.shape)
        chunk = {
            "/observations/agent": moments[:, rows].copy(), "/masks": self.masks[:, rows].copy(),
            "/rewards": self.rewards[:, rows].copy(), "/terminations": self.ends[:, rows].copy(),
            "/agents/a/actions": moments[:, rows] + 0.5, "/agents/a/hidden_state": self.states[:, rows].copy(),
        }  # fmt: skip
        chunk["/rewards"][:, -1], chunk["/agents/a/actions"][:, -1], chunk["/terminations"][:, -1] = 1e9, 1e9, True
        return chunk

    def outcome(self, worker, moment, newest, n):
        """Return, discount and the moment to bootstrap from, step by step."""
        total, discount = 0.0, 1.0
        for _ in range(n):
            total += discount * float(self.rewards[worker, moment, 0])
            discount *= GAMMA * (not self.ends[worker, moment, 0])
            moment += 1
            if moment == newest or not self.masks[worker, moment, 0]:
                break
        return total, discount, moment


def filled(num_chunks, chunk_len=4, capacity=3, **options):
    memory, history = Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity), History(**options)
    for number in range(num_chunks):
        memory.store(history.chunk(number * chunk_len, chunk_len))
    return memory, history


def info(burn_in=0, length=4, n=1, size=16, seed=0):
    return {
        "observations": ["/observations/agent"], "actions": "/agents/a/actions", "states": "/agents/a/hidden_state",
        "gamma": GAMMA, "generator": np.random.default_rng(seed), "batch_size": size, "burn_in": burn_in,
        "sequence_length": length, "n_step_return": n,
    }  # fmt: skip


@pytest.mark.parametrize(("burn_in", "length", "n"), SIZES)
@pytest.mark.parametrize(("chunk_len", "capacity"), RINGS)
def test_sequences_are_those_of_a_walk_over_any_ring(chunk_len, capacity, burn_in, length, n):
    history, episodes = History(), Episodes()
    memory = Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity)
    for number in range(3 * capacity + 1):
        memory.store(history.chunk(number * chunk_len, chunk_len))
        if number * chunk_len < 3:
            continue  # perhaps there is no transition yet
        newest, given = (number + 1) * chunk_len, info(burn_in, length, n, seed=number)
        oldest = newest - memory.ring.num_starts
        indices = draw_sequences(memory, episodes, given)
        batch = gather_sequences(indices, episodes, given)
        look_at(history, indices, batch, oldest, newest, burn_in, length, n)


def look_at(history, indices, batch, oldest, newest, burn_in, length, n):
    """Compare a batch with the history, sequence by sequence and transition by transition."""
    size, num_rows = len(indices.workers), length + n
    seen = batch["/observations/agent"].reshape(size, num_rows)
    before = batch["/observations/agent_before"].reshape(size, burn_in)
    counts = np.bincount(batch["/rows"], minlength=size * num_rows).reshape(size, num_rows)
    assert len(batch["/rows"]) == size * length
    least, most = counts[counts > 0].min(), counts.max()
    assert most - least <= 1, "transitions stand for the missing ones in turn"
    for each, (worker, start) in enumerate(zip(indices.workers, indices.starts, strict=True)):
        masks = history.masks[worker, :, 0]
        last = start
        while last < newest and masks[last]:
            last += 1
        taken = np.flatnonzero(counts[each])
        assert taken.tolist() == list(range(min(length, last - start))), "up to the episode's end, and no further"
        assert len(taken)
        assert seen[each, taken].tolist() == [start + t for t in taken]
        # What has been consumed when the first row comes, and the state before it.
        state, consumed = float(batch["/states"][each, 0]), []
        for moment, keep in zip([*before[each], start], batch["/keep"][each, : burn_in + 1], strict=True):
            state, consumed = (state, consumed) if keep else (0.0, [])
            consumed.append(int(moment))
        assert batch["/keep"][each, burn_in + 1 :].all()
        first = start
        while first > max(start - burn_in, 0) and masks[first - 1]:
            first -= 1
        assert consumed == list(range(first, start + 1)), "the whole burn-in, from the episode's beginning at most"
        assert first >= oldest
        assert state == history.states[worker, first, 0]
    for row, row_2, reward, discount, action in zip(
        *(batch[key] for key in ("/rows", "/rows_2", "/rewards", "/discounts", "/agents/a/actions")), strict=True
    ):
        moment, worker = int(seen.reshape(-1)[row]), indices.workers[row // num_rows]
        total, rest, bootstrap = history.outcome(worker, moment, newest, n)
        assert (reward, discount) == (pytest.approx(total, abs=1e-5), rest)
        assert int(seen.reshape(-1)[row_2]) == bootstrap
        assert action[0] == moment + 0.5
        assert history.masks[worker, moment, 0]


def test_a_burn_in_that_begins_with_its_episode_starts_from_zero_by_hand():
    # One worker; episodes of 3 steps: moments 0 to 3 (3 is the half-step), 4 to 7, and so on.
    memory, _ = filled(2, chunk_len=6, capacity=4, workers=1)
    memory.buffer["/masks"][0, :, 0] = [t % 4 != 3 for t in range(25)]
    memory.buffer["/terminations"][:] = False
    episodes = Episodes()
    episodes.follow(memory)
    one = np.array([0])
    indices = SequenceIndices(memory, one, firsts=np.array([4]), starts=np.array([5]), lasts=np.array([7]))
    batch = gather_sequences(indices, episodes, info(burn_in=3, length=3))
    assert batch["/observations/agent_before"][:, 0].tolist() == [4, 4, 4], "rows before the episode repeat its first"
    assert batch["/keep"].tolist() == [[1, 1, 0, 1, 1, 1, 1]]
    assert batch["/observations/agent"][:, 0].tolist() == [5, 6, 7, 7]
    assert batch["/rows"].tolist() == [0, 1, 0]
    assert batch["/rows_2"].tolist() == [1, 2, 1]
    assert batch["/discounts"].tolist() == [0.5, 0.5, 0.5]
    assert batch["/agents/a/actions"][:, 0].tolist() == [5.5, 6.5, 5.5]
    begin = indices._replace(starts=np.array([4]))
    keep = gather_sequences(begin, episodes, info(burn_in=3, length=3))["/keep"]
    assert keep.tolist() == [[1, 1, 1, 0, 1, 1, 1]], "no row of the burn-in counts"


def test_every_transition_is_drawn_and_about_as_often_as_any_other():
    # One episode of 39 steps that goes on, in a memory that has forgotten nothing.
    memory, _ = filled(13, chunk_len=3, capacity=20, workers=1, longest=1)
    memory.buffer["/masks"][:] = True
    episodes, given = Episodes(), info(burn_in=2, length=8, size=4000)
    batch = gather_sequences(draw_sequences(memory, episodes, given), episodes, given)
    assert len(set(batch["/rows"].tolist())) == 4000 * 8, "an episode that is longer fills every sequence"
    counts = np.bincount(batch["/observations/agent"][batch["/rows"], 0].astype(int), minlength=39)
    shares = counts / counts.mean()
    assert len(counts) == 39
    assert 0.5 < shares.min() <= shares.max() < 1.7
    assert abs(shares[15:24] - shares[15:24].mean()).max() < 0.1


def test_an_episode_that_is_shorter_than_a_sequence_is_drawn_whole():
    memory, history = filled(13, chunk_len=3, capacity=20, longest=4)
    episodes, given = Episodes(), info(burn_in=2, length=5, size=200)
    indices = draw_sequences(memory, episodes, given)
    assert not history.states[indices.workers, indices.starts].any()
    assert (indices.firsts == indices.starts).all()


def test_what_has_lost_its_burn_in_is_left_out_and_nothing_else():
    # 5 chunks of 4 in a ring of 3: moments 9 to 19 are held, the first 2 as burn-in only.
    memory, _ = filled(5, workers=1, longest=1)
    memory.buffer["/masks"][:] = True
    episodes, given = Episodes(), info(burn_in=2, length=2, size=500)
    batch = gather_sequences(draw_sequences(memory, episodes, given), episodes, given)
    assert sorted(set(batch["/observations/agent"][batch["/rows"], 0].tolist())) == list(range(11, 20))
    assert batch["/keep"].all()


# ------------------------------------------------------------------ the sampler


def replay(**parameters):
    return SequenceReplay(**{"batch_size": 32, "sequence_length": 8, "burn_in": 4} | parameters)


def test_a_batch_has_as_many_transitions_whatever_the_length_of_its_sequences():
    memory, _ = filled(9, capacity=6)
    given = {key: info()[key] for key in ("observations", "actions", "states", "gamma", "generator")}
    for length in (1, 4, 16):
        batch = replay(sequence_length=length, burn_in=2)(memory, given)
        assert batch["/rewards"].shape == batch["/rows"].shape == (32,)
        assert batch["/states"].shape == (32 // length, 1)


def test_ranks_share_whole_sequences():
    ranks = Ranks()
    ranks.size, ranks.rank = 2, 0
    sampler = replay(ranks=ranks, batch_size=24)
    assert (sampler.info["batch_size"], sampler.share) == (2, 2 / 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sequence_length": 0}, r"sequence_length must be an integer in \[1, 100000\], got 0"),
        ({"burn_in": -1}, r"burn_in must be an integer in \[0, 100000\], got -1"),
        ({"batch_size": 30}, r"batch_size must be a multiple of sequence_length=8.* got 30\. Take 24, or change"),
        ({"batch_size": 4}, r"got 4\. Take 8, or change"),
        ({"priorities": describe(Priorities)}, "priorities cannot be used with sequences.* Leave prioritized out"),
        ({"hindsight": describe(Hindsight)}, "hindsight cannot be used with sequences.* Leave hindsight out"),
        ({"shares": {"demo": 0.5}}, "shares cannot be used with sequences.* Leave dataset_share out"),
    ],
)
def test_what_does_not_go_with_sequences_is_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        replay(**parameters)


def test_a_memory_that_is_smaller_than_a_sequence_is_refused_and_one_that_fits_is_not():
    plan = Plan(n_cycles=100, n_steps=4, num_workers=2)
    for chunks, fits in ((3, False), (4, True)):  # 4 + 8 + 1 rows, and one that has no successor
        sampler, memory = replay(batch_size=8), Memory(chunk_sample_len=4, buffer_chunk_len=chunks)
        if fits:
            sampler.check_plan(memory, plan)
        else:
            with pytest.raises(UsageError, match="holds 12 steps of each worker, and must hold at least 14"):
                sampler.check_plan(memory, plan)
