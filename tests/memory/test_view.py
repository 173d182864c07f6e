"""One agent's view of a shared memory: the transitions that it would have alone, and none of a player that left."""

import numpy as np
import pytest

from digideep.agent.advantages import generalized_advantages
from digideep.memory.generic import AgentMemoryView, Memory
from digideep.memory.priorities import Priorities
from digideep.memory.sampler import NewestChunk
from digideep.memory.transitions import draw_uniform, gather_transitions
from tests.environment.test_parallel_games import make_explorer


@pytest.fixture(scope="module")
def shared():
    """A memory of 3 chunks of 6 steps that has gone round, and what one large enough for all of them holds."""
    explorer = make_explorer(n_steps=6)
    small, large = (Memory(chunk_sample_len=6, buffer_chunk_len=length) for length in (3, 5))
    for _ in range(5):
        chunk = explorer.update()
        small.store(chunk)
        large.store(chunk)
    return small, large


def test_a_view_has_the_keys_and_rows_of_an_agent_alone(shared):
    x, y = AgentMemoryView(shared[0], "x", 2), AgentMemoryView(shared[0], "y", 1)
    assert set(x.buffer) == {
        "/observations/agent", "/masks", "/rewards", "/terminations", "/agents/x/actions", "/agents/x/hidden_state"
    }  # fmt: skip
    assert (x.num_workers, y.num_workers, x.ring.num_steps, len(x.ring)) == (4, 2, 18, 3)
    assert x.n_frames == y.n_frames == shared[0].n_frames == 60, "frames are the environment's"
    assert x.last_chunk()["/rewards"].shape == (4, 7, 1)
    assert np.shares_memory(x.buffer["/rewards"], shared[0].buffer["/agents/x/rewards"])
    assert AgentMemoryView(Memory(chunk_sample_len=6), "x", 2).n_frames == 0


def transitions_of(player: str) -> set:
    """(steps before, reward, terminated) of the five-row episode of `tests/roster`."""
    factor, last, terminates = {"a": (1, 2, True), "b": (10, 3, False), "c": (100, 4, True)}[player]
    return {(step, factor * (step + 1), terminates and step + 1 == last) for step in range(last)}


@pytest.mark.parametrize("draw", ["uniform", "priorities"])
@pytest.mark.parametrize(("agent", "players", "path"), [("x", "ac", "/agent"), ("y", "b", "/line")])
def test_every_transition_that_is_drawn_has_happened_and_bootstraps_from_its_true_successor(
    shared, agent, players, path, draw
):
    info = {
        "batch_size": 500, "generator": np.random.default_rng(0), "observations": f"/observations{path}",
        "actions": f"/agents/{agent}/actions", "gamma": 0.5,
    }  # fmt: skip
    view = AgentMemoryView(shared[0], agent, len(players))
    indices = draw_uniform(view, info) if draw == "uniform" else Priorities().draw(view, info)
    batch = gather_transitions(indices, info)
    before, after = batch[f"/observations{path}"], batch[f"/observations{path}_2"]
    np.testing.assert_array_equal(after, before + np.array([1, 0]))
    for index, player in ((0, "a"), (1, "b"), (2, "c")):
        mine = before[:, 1] == index
        found = zip(before[mine, 0].astype(int), batch["/rewards"][mine], batch["/discounts"][mine] == 0, strict=True)
        assert {(int(step), float(reward), bool(end)) for step, reward, end in found} == (
            transitions_of(player) if player in players else set()
        )


def test_advantages_stop_where_a_player_leaves(shared):
    view = AgentMemoryView(shared[1], "y", 1)
    keys = ["/masks", "/rewards", "/terminations", "/observations/line"]
    chunk = NewestChunk()(view, {"keys": keys})
    masks, length = chunk["/masks"][..., 0], 6
    values = chunk["/observations/line"][..., 0].round().astype(np.float32)  # V = steps so far
    advantages = generalized_advantages(
        chunk["/rewards"][:, :-1, 0], values, chunk["/terminations"][:, :-1, 0], masks, gamma=0.5, gae_lambda=1.0
    )
    # Player b is truncated at step 3: 30 + V(3) / 2 - V(2) = 29.5, the steps before with it.
    expected = {2: 29.5, 1: 20 + 0.5 * 2 - 1 + 0.5 * 29.5, 0: 10 + 0.5 * 1 - 0 + 0.5 * (20 + 0.5 * 2 - 1 + 0.5 * 29.5)}
    whole = [row for row in range(length) if masks[0, row] and (values[0, row:] == 3).any()]
    assert whole
    for row in range(length):
        if not masks[0, row]:
            assert advantages[0, row] == 0
        elif row in whole:
            assert advantages[0, row] == pytest.approx(expected[int(values[0, row])])
    assert set(chunk["/rows"]) == set(np.flatnonzero(np.pad(masks[:, :-1], ((0, 0), (0, 1)))))
