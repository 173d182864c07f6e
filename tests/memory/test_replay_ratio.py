"""How often replay methods learn: the ratio to the frames, where it starts, across a resume, and in a plan."""

import numpy as np
import pytest

from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.memory.replay import Replay
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.utility.errors import UsageError
from digideep.utility.plan import Plan
from tests.memory.test_replay import Stream


def steps_of(cycles, workers=1, is_resumed=False, **parameters) -> list[int]:
    """The gradient steps that are due in each cycle of one step."""
    memory, replay, steps = Memory(chunk_sample_len=1, buffer_chunk_len=3), Replay(batch_size=1, **parameters), []
    for _ in range(cycles):
        memory.store({"/masks": np.ones((workers, 2, 1), bool)})
        if is_resumed:
            state, replay = replay.state_dict(), Replay(batch_size=1, **parameters)
            replay.load_state_dict(state)
        steps.append(replay.steps_due(memory))
    return steps


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_fraction_of_a_step_is_carried_on_across_a_resume_too(is_resumed):
    assert steps_of(20, is_resumed=is_resumed, gradient_steps_per_frame=0.3) == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1] * 2
    assert steps_of(4, workers=3, is_resumed=is_resumed, gradient_steps_per_frame=1.5) == [4, 5, 4, 5]


@pytest.mark.parametrize(("starts", "expected"), [(0, [3, 3, 3, 3]), (5, [0, 0, 3, 3]), (6, [0, 0, 3, 3]),
                                                  (7, [0, 0, 0, 3]), (9, [0, 0, 0, 0])])  # fmt: skip
def test_learning_starts_at_its_frame_makes_up_for_none_and_the_plan_knows(starts, expected):
    parameters = {"learning_starts": starts, "gradient_steps_per_frame": 1.5}
    assert steps_of(4, workers=2, **parameters) == expected
    replay, plan = Replay(batch_size=1, **parameters), Plan(n_cycles=4, n_steps=1, num_workers=2)
    assert replay.total_steps(plan) == sum(expected)
    assert (replay.doubt(plan) is None) is (sum(expected) > 0)


def test_a_batch_and_a_start_may_take_the_whole_memory_and_no_more():
    memory, plan = Memory(chunk_sample_len=2, buffer_chunk_len=3), Plan(10, 2, num_workers=2, num_players=3)
    Replay(batch_size=36, learning_starts=12).check_plan(memory, plan)
    with pytest.raises(UsageError, match=r"batch_size must be at most the 36 transitions .* got 37"):
        Replay(batch_size=37).check_plan(memory, plan)
    with pytest.raises(UsageError, match="is 13 frames, of which the memory holds 12"):
        Replay(batch_size=1, learning_starts=13).check_plan(memory, plan)


@pytest.mark.parametrize(
    ("chunks", "steps", "stacks", "n_step_return", "needed"),
    [
        (1, 1, None, 1, 2), (2, 1, None, 1, 3), (1, 2, None, 3, 3), (4, 2, None, 8, 9), (4, 1, 3, 1, 5),
        (2, 4, 3, 6, 9),
    ],
)  # fmt: skip
def test_a_memory_holds_what_can_be_drawn_at_every_moment_or_is_refused(chunks, steps, stacks, n_step_return, needed):
    stacks = None if stacks is None else {"/observations/agent": stacks}
    memory, larger = (
        Memory(chunk_sample_len=size, buffer_chunk_len=count, stacks=stacks)
        for size, count in ((steps, chunks), (needed, 1) if chunks == 1 else (1, needed))
    )
    replay, plan = Replay(batch_size=1, n_step_return=n_step_return), Plan(10, steps, num_workers=2)
    with pytest.raises(
        UsageError, match=rf"holds {chunks * steps} steps of each worker, and must hold at least {needed}"
    ):
        replay.check_plan(memory, plan)
    replay.check_plan(larger, plan)


@pytest.mark.parametrize("priorities", [None, describe(Priorities)])
@pytest.mark.parametrize(("steps", "chunks"), [(2, 1), (1, 3)])
def test_the_least_memory_has_a_transition_also_where_every_step_ends_an_episode(priorities, steps, chunks):
    memory, replay = (
        Memory(chunk_sample_len=steps, buffer_chunk_len=chunks),
        Replay(batch_size=4, priorities=priorities),
    )
    replay.check_plan(memory, Plan(9, steps, num_workers=1, num_players=4))
    needs = {"observations": "/observations/agent", "actions": "/agents/a/actions", "gamma": 0.9}
    stream = Stream(workers=1, lengths=(1,))
    for _ in range(9):
        memory.store(stream.chunk(steps))
        batch = replay(memory, needs | {"generator": np.random.default_rng(0)})
        assert (batch["/rewards"] > 0).all()
        assert np.isfinite(batch["/weights"]).all()


def test_the_exponent_of_the_weights_follows_the_draws_of_the_plan():
    beta = describe(Linear, start=0.0, end=1.0)
    replay = Replay(100, batch_size=1, gradient_steps_per_frame=0.5, priorities=describe(Priorities, beta=beta))
    course, clock = replay.schedules()["beta"]
    assert [course(n) for n in (0, 25, 50)] == [0, 0.5, 1]
    assert clock() == 0
