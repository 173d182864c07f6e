"""Hindsight: goals that were reached in the same episode, and what they would have brought."""

import numpy as np
import pytest
import torch

from digideep.memory.episodes import Episodes
from digideep.memory.generic import Memory
from digideep.memory.hindsight import Hindsight
from digideep.memory.priorities import Priorities
from digideep.memory.replay import Replay
from digideep.memory.transitions import TransitionIndices, draw_uniform, gather_transitions
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError

KEYS = {"observations": ["/observations/observation", "/observations/desired_goal"], "actions": "/agents/a/actions"}


class Line:
    """An environment's word on goals: -1 a step, and 0 at the goal; `is_terminal`, which ends the episode."""

    def __init__(self, is_terminal: bool | None = None):
        self.is_terminal, self.told = is_terminal, {}

    def of(self, achieved_goal, desired_goal):
        self.paths = achieved_goal, desired_goal
        return self

    def rewards(self, achieved, desired, infos):
        self.told = infos
        return -(achieved != desired)[:, 0].astype(np.float32)

    def terminations(self, achieved, desired, infos):
        return None if self.is_terminal is None else (achieved == desired)[:, 0] & self.is_terminal


class Stream:
    """Workers with episodes of random lengths, also of one step, each truncated or terminated.

    What is achieved is the number of the moment: no two are alike in a worker. Desired is minus the number of the
    episode, reward 100 times that, which no relabelled transition has.
    """

    def __init__(self, workers: int = 3, longest: int = 6, seed: int = 0):
        self.generator = np.random.default_rng(seed)
        self.longest = longest
        self.left = [self._length() for _ in range(workers)]
        self.state = [[0, 1] for _ in range(workers)]  # moment, episode

    def _length(self):
        return int(self.generator.integers(1, self.longest + 1))

    def chunk(self, length: int):
        shape = (len(self.state), length + 1, 1)
        names = ("observation", "achieved_goal", "desired_goal")
        chunk = {f"/observations/{name}": np.zeros(shape, np.float32) for name in names}
        chunk |= {key: np.zeros(shape, np.float32) for key in ("/rewards", "/agents/a/actions", "/infos/moment")}
        chunk |= {key: np.zeros(shape, np.bool_) for key in ("/masks", "/terminations")}
        for worker, (moment, episode) in enumerate(self.state):
            for row in range(length + 1):
                chunk["/observations/observation"][worker, row] = chunk["/infos/moment"][worker, row] = moment
                chunk["/observations/achieved_goal"][worker, row] = moment
                chunk["/observations/desired_goal"][worker, row] = -episode
                chunk["/masks"][worker, row] = self.left[worker] > 0
                if row == length:
                    break
                if self.left[worker]:
                    self.left[worker] -= 1
                    chunk["/rewards"][worker, row] = -100 * episode
                    is_last = not self.left[worker]
                    chunk["/terminations"][worker, row] = is_last and bool(self.generator.integers(2))
                else:
                    episode, self.left[worker] = episode + 1, self._length()
                moment += 1
            self.state[worker] = [moment, episode]
        return chunk


def filled(num_chunks, chunk_len=4, capacity=3, **options):
    memory, stream = Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity), Stream(**options)
    for _ in range(num_chunks):
        memory.store(stream.chunk(chunk_len))
    return memory


def info(size=600, seed=0, **more):
    return {**KEYS, "gamma": 0.5, "batch_size": size, "generator": np.random.default_rng(seed), **more}


def starts(memory):
    """Where transitions start, by looking at every row: [worker, row]."""
    newest = memory.ring.n_chunks * memory.ring.chunk_sample_len
    rows = [row for row in range(memory.ring.num_steps) if row < newest and row != memory.ring.head]
    return [(w, row) for w in range(memory.num_workers) for row in rows if memory.buffer["/masks"][w, row, 0]]


def walk(memory, worker, row):
    """Return the moments of the episode before the outcome of a transition, and from there on, step by step."""
    ring, masks = memory.ring, memory.buffer["/masks"][worker, :, 0]

    def moment(row):
        return int(memory.buffer["/observations/achieved_goal"][worker, row, 0])

    after, at = [], row
    while masks[at] and at != ring.head:
        at = int(ring.successor(np.array([at]))[0])
        after.append(moment(at))
    before, at = [moment(row)], row
    while at != ring.oldest and masks[(at - 1) % ring.num_steps]:
        at = (at - 1) % ring.num_steps
        before.insert(0, moment(at))
    return before, after


RINGS = [(4, 3), (1, 7), (5, 1), (2, 2), (3, 5)]


@pytest.mark.parametrize(("chunk_len", "capacity"), RINGS)
def test_bounds_of_episodes_are_those_of_a_walk_over_any_ring(chunk_len, capacity):
    memory, stream = Memory(chunk_sample_len=chunk_len, buffer_chunk_len=capacity), Stream()
    always, sometimes = Episodes(), Episodes()
    for number in range(6 * capacity):
        memory.store(stream.chunk(chunk_len))
        always.follow(memory)
        if number % 3 == 2:  # several chunks at once, and now and then more than the ring holds
            sometimes.follow(memory)
        anew = Episodes()  # as after a resume
        anew.follow(memory)
        workers, rows = np.array(starts(memory) or np.zeros((0, 2), np.int64)).T
        for episodes in (always, anew, *([sometimes] if number % 3 == 2 else [])):
            now, first, last = episodes.bounds(workers, rows)
            for each in range(len(rows)):
                before, after = walk(memory, workers[each], rows[each])
                found = np.arange(first[each], last[each] + 1)
                assert found.tolist() == before + after, (number, workers[each], rows[each])
                assert now[each] == before[-1]
                held = memory.buffer["/observations/achieved_goal"][workers[each], episodes.rows(found), 0]
                assert held.tolist() == found.tolist(), "the rows hold those moments"


@pytest.mark.parametrize("strategy", ["future", "final", "episode"])
def test_goals_are_those_of_the_strategy_and_all_of_them_are_drawn(strategy):
    for number in (1, 2, 3, 4, 7, 9):
        memory = filled(number)
        hindsight = Hindsight(Line(), goal_strategy=strategy, num_sampled_goals=1000)
        pairs = starts(memory) * 120
        workers, rows = np.array(pairs).T
        indices = TransitionIndices(memory, workers, rows, np.ones(len(rows), np.float32))
        batch = hindsight.gather(indices, info())
        drawn: dict = {}
        for pair, goal in zip(pairs, batch["/observations/desired_goal"][:, 0].tolist(), strict=True):
            if goal >= 0:
                drawn.setdefault(pair, set()).add(goal)
        for (worker, row), goals in drawn.items():
            before, after = walk(memory, worker, row)
            allowed = {"future": after, "final": after[-1:], "episode": [*before[1:], *after]}[strategy]
            assert goals == set(allowed), (worker, row)


def test_relabelled_transitions_have_the_reward_of_their_goal_and_others_stay_as_they_were():
    memory = filled(8)
    indices = draw_uniform(memory, info(size=4000))
    plain = gather_transitions(indices, info())
    batch = Hindsight(Line()).gather(indices, info())
    goals = batch["/observations/desired_goal"][:, 0]
    is_new = goals >= 0
    assert abs(is_new.mean() - 0.8) < 0.03, "k = 4"
    for key, array in plain.items():
        np.testing.assert_array_equal(batch[key][~is_new], array[~is_new], key)
        if "desired" not in key and key != "/rewards":
            np.testing.assert_array_equal(batch[key], array, key)
    np.testing.assert_array_equal(batch["/observations/desired_goal_2"][is_new, 0], goals[is_new])
    outcome = batch["/observations/observation_2"][:, 0]
    np.testing.assert_array_equal(batch["/rewards"][is_new], -(outcome != goals)[is_new].astype(np.float32))
    assert {0.0, -1.0} == set(batch["/rewards"][is_new].tolist())


def by_hand(is_terminal, n):
    """One episode of 4 steps, seen by "final": the goal is moment 4, but for the step at row 5, which goes on."""
    memory = Memory(chunk_sample_len=7, buffer_chunk_len=2)
    stream = Stream(workers=1)
    stream.left, stream._length = [4], lambda: 9
    memory.store(stream.chunk(7))
    memory.buffer["/terminations"][0, 3] = True  # with its own goal it was the end
    rows = np.array([0, 1, 2, 3, 5])
    indices = TransitionIndices(memory, np.zeros(5, np.int64), rows, np.ones(5, np.float32))
    hindsight = Hindsight(Line(is_terminal), goal_strategy="final", num_sampled_goals=1)
    hindsight.share = 1.1
    batch = hindsight.gather(indices, info(n_step_return=n))
    assert batch["/observations/desired_goal"][:, 0].tolist() == [4, 4, 4, 4, 7]
    return batch["/rewards"].tolist(), batch["/discounts"].tolist(), batch["/observations/observation_2"][:, 0].tolist()


def test_returns_of_several_steps_are_computed_anew_for_each_of_them():
    rewards, discounts, after = by_hand(is_terminal=True, n=3)
    assert rewards == [-1 - 0.5 - 0.25, -1 - 0.5, -1, 0, -1]
    assert discounts == [0.125, 0, 0, 0, 0], "moment 7 is the newest one's goal"
    assert after == [3, 4, 4, 4, 7]
    assert by_hand(is_terminal=False, n=3) == (rewards, [0.125, 0.125, 0.25, 0.5, 0.25], after)
    # An environment that says nothing of ends leaves them where they were.
    assert by_hand(is_terminal=None, n=3) == (rewards, [0.125, 0, 0, 0, 0.25], after)
    assert by_hand(is_terminal=True, n=1) == ([-1, -1, -1, 0, -1], [0.5, 0.5, 0.5, 0, 0.5], [1, 2, 3, 4, 6])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_returns_of_several_steps_equal_a_walk_over_a_ring_that_goes_round(n):
    for number in (2, 4, 7, 9):
        memory = filled(number)
        indices = draw_uniform(memory, info(size=300))
        batch = Hindsight(Line(is_terminal=True), num_sampled_goals=1000).gather(indices, info(n_step_return=n))
        for each, goal in enumerate(batch["/observations/desired_goal"][:, 0].tolist()):
            if goal < 0:
                continue
            _, after = walk(memory, indices.workers[each], indices.rows[each])
            after = after[:n]
            steps = after[: after.index(goal) + 1] if goal in after else after
            assert batch["/rewards"][each] == sum(-(0.5**k) * (moment != goal) for k, moment in enumerate(steps))
            assert batch["/discounts"][each] == (0 if goal in after else 0.5 ** len(steps))


def test_infos_that_are_kept_are_told_as_they_were_beside_the_outcome():
    memory, goals = filled(5), Line()
    indices = draw_uniform(memory, info())
    batch = Hindsight(goals, num_sampled_goals=1000).gather(indices, info())
    is_new = batch["/observations/desired_goal"][:, 0] >= 0
    np.testing.assert_array_equal(goals.told["moment"], batch["/observations/observation_2"][is_new])
    assert goals.paths == ("/achieved_goal", "/desired_goal")


def replay(**parameters):
    return Replay(goals=Line(), batch_size=64, **parameters)


def test_without_a_sampled_goal_a_batch_is_what_it_was_to_the_last_bit():
    memory = filled(7)
    samplers, infos = (
        [replay(hindsight=each) for each in (None, describe(Hindsight, num_sampled_goals=0))],
        [info(), info()],
    )
    for _ in range(2):  # the second one shows that nothing else was drawn
        plain, none = (sampler(memory, own) for sampler, own in zip(samplers, infos, strict=True))
        assert plain.keys() == none.keys()
        assert all(plain[key].tobytes() == none[key].tobytes() for key in plain)


def test_priorities_weigh_what_was_drawn_whatever_goal_it_has():
    memory, sampler = filled(7), replay(hindsight=describe(Hindsight), priorities=describe(Priorities))
    own = info(size=64)
    sampler(memory, own)
    errors = np.linspace(0, 5, 64, dtype=np.float32)
    sampler.note_errors(torch.from_numpy(errors))
    again = Priorities()
    again.load_state_dict(sampler.priorities["train"].state_dict())
    expected = again.draw(memory, {"batch_size": 64, "generator": np.random.default_rng(5)})
    batch = sampler(memory, info(size=64, seed=5))
    np.testing.assert_array_equal(batch["/weights"], expected.weights)
    assert len(set(batch["/weights"].tolist())) > 5
    assert (batch["/observations/desired_goal"] >= 0).any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"goal_strategy": "past"}, "goal_strategy must be future, final, episode, got 'past'"),
        ({"num_sampled_goals": -1}, r"num_sampled_goals must be an integer in \[0, 1000\], got -1"),
        ({"num_sampled_goals": 2.5}, "num_sampled_goals must be an integer"),
        ({"desired_goal": "/achieved_goal"}, "desired_goal must be another observation than achieved_goal"),
    ],
)
def test_what_cannot_be_meant_is_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        Hindsight(**parameters)


def test_an_agent_that_does_not_see_its_goal_and_goals_that_are_stacks_are_refused():
    memory = Memory(chunk_sample_len=4)
    with pytest.raises(UsageError, match=r"needs an agent that sees '/desired_goal'\. Known: /observation\."):
        replay(hindsight=describe(Hindsight)).check_observations(memory, ["/observations/observation"], {})
    stacked = Memory(chunk_sample_len=4, stacks={"/observations/achieved_goal": 2})
    with pytest.raises(UsageError, match="the memory unstacks '/observations/achieved_goal'"):
        replay(hindsight=describe(Hindsight)).check_observations(stacked, KEYS["observations"], {})
    with pytest.raises(UsageError, match="needs an environment that says"):
        Hindsight().check([memory], KEYS["observations"])
