"""Native vector backends beside gymnasium's: the same rows, and what happens to them at a resume."""

import sys

import numpy as np
import pytest
import torch

from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.stepping.backends import make_vector_environment
from digideep.environment.stepping.worker import WorkerPlan
from digideep.memory.generic import Memory
from digideep.memory.transitions import draw_uniform, gather_stacked
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from digideep.utility.process_state import one_thread
from tests.environment.test_atari import atari
from tests.support.helpers import Scripted


def make(backend, spec, num_workers=2, num_processes=0, *, in_parts=True, **plan):
    info = inspect_environment(spec)
    plan = WorkerPlan(spec, 0, "train", **plan)
    return make_vector_environment(backend, plan, info, num_workers, num_processes, timeout_s=60, in_parts=in_parts)


def step(environment, actions):
    """A step of all parts at once."""
    for part in environment.parts:
        part.actions[...] = actions[part.workers]
        environment.send(part)
    for part in environment.parts:
        environment.receive(part)


def explore(backend, spec, actions, **parameters):
    parameters = {"num_workers": 2, "n_steps": 8} | parameters
    return Explorer("train", {"agent": Scripted(actions)}, spec, inspect_environment(spec), 0, Profiler(),
                    backend=backend, **parameters)  # fmt: skip


def moments(environment, actions):
    """All rows after each step."""
    environment.reset()
    for action in actions:
        step(environment, action)
        rows = environment.buffers
        arrays = {"rewards": rows.rewards, "terminations": rows.terminations, "ended": rows.ended,
                  "finished": rows.finished, "returns": rows.returns, "lengths": rows.lengths,
                  **rows.observations}  # fmt: skip
        yield {name: array.copy() for name, array in arrays.items()}
    environment.close()


@pytest.mark.parametrize(("backend", "in_parts"), [("ale", True), ("ale", False), ("envpool", True)])
def test_a_native_backend_plays_the_same_game_as_gymnasium_frame_by_frame(backend, in_parts):
    """Lost lives, ends of games and of the time limit, autoreset, stacks, raw returns: all in 330 steps of two."""
    spec = atari(limit=130, terminal_on_life_loss=True, fire_on_reset=True)
    actions = np.random.default_rng(0).integers(4, size=(330, 2))
    seen = set()
    native = make(backend, spec, in_parts=in_parts)
    assert [part.workers for part in native.parts] == (
        [slice(0, 1), slice(1, 2)] if backend == "ale" and in_parts else [slice(0, 2)]
    )
    both = zip(moments(make("gymnasium", spec), actions), moments(native, actions), strict=True)
    for index, (ours, theirs) in enumerate(both):
        for name, array in ours.items():
            np.testing.assert_array_equal(theirs[name], array, err_msg=f"{name} after step {index}")
            assert theirs[name].dtype == array.dtype
        for worker in range(2):
            seen.add(tuple(bool(ours[name][worker]) for name in ("terminations", "ended", "finished")))
    # A step, a lost life, a game over, the time limit.
    assert {(False, False, False), (True, True, False), (False, True, True)} <= seen


def test_nothing_is_earned_in_the_step_after_a_time_limit():
    """There a pill would be eaten: without a limit, that very step brings ten points."""
    rewards, returns = [], []
    for limit in (70, None):
        environment = make("ale", atari("ALE/MsPacman-v5", limit=limit), in_parts=False)
        rows = list(moments(environment, np.full((72, 2), 3)))
        rewards.append([each["rewards"][0] for each in rows])
        returns.append([each["returns"][0] for each in rows])
    assert rewards[0][:70] == rewards[1][:70]
    assert [each[70] for each in rewards] == [0, 10]
    assert [each[71] for each in returns] == [0, sum(rewards[1])]


def test_a_native_backend_follows_the_seeds():
    spec = atari(noop_max=30, repeat_action_probability=0.25)
    actions = np.random.default_rng(0).integers(4, size=(20, 2))
    environment = make("ale", spec)
    runs = []
    for epoch in (1, 2, 1):
        environment.reseed(0, "test", epoch)
        environment.reset()
        for action in actions:
            step(environment, action)
        runs.append(environment.buffers.observations["/agent"].copy())
    environment.close()
    np.testing.assert_array_equal(runs[0], runs[2])
    assert (runs[0] != runs[1]).any()
    assert (runs[0][0] != runs[0][1]).any()


@pytest.mark.parametrize(
    ("name", "limit", "actions"),
    [("CartPole-v1", 15, np.array([1, 0])), ("HalfCheetah-v5", 12, np.full((2, 6), 0.5, np.float32))],
)
def test_envpool_serves_other_families_with_gymnasiums_rules(name, limit, actions):
    spec = EnvironmentSpec(name=name, max_episode_steps=limit)
    explorer = explore("envpool", spec, actions, n_steps=40)
    chunk = explorer.update()
    explorer.close()
    info = inspect_environment(spec)
    observations = chunk["/observations/agent"]
    assert observations.shape == (2, 41, *info.observation_spaces["/agent"].shape)
    assert observations.dtype == np.float32
    assert chunk["/rewards"].dtype == np.float32
    for masks, rewards, terminations in zip(
        chunk["/masks"][..., 0], chunk["/rewards"][..., 0], chunk["/terminations"][..., 0], strict=True
    ):
        ends = np.flatnonzero(~masks)
        assert len(ends) >= 2
        assert (rewards[ends[ends < 40]] == 0).all()  # the step that begins an episode
        for first, end in zip([-1, *ends[:-1]], ends, strict=True):
            length = end - first - 1
            assert terminations[end - 1] or length == limit  # the end of an episode is one or the other
            assert length <= limit
    if name == "CartPole-v1":
        assert chunk["/terminations"].any()  # pushed one way only, the pole falls within 15 steps


def test_cartpole_in_envpool_moves_as_in_gymnasium():
    """Row t + 1 is the true successor of row t, at an end too: the physics, by hand, gives the same next state."""
    explorer = explore("envpool", EnvironmentSpec(name="CartPole-v1"), np.array([1, 1]), n_steps=30)
    chunk = explorer.update()
    explorer.close()
    masks, states = chunk["/masks"][:, :-1, 0], chunk["/observations/agent"]
    now, then = states[:, :-1][masks], states[:, 1:][masks]
    x, v, angle, spin = now.T.astype(float)
    push = (10.0 + 0.05 * spin**2 * np.sin(angle)) / 1.1
    bend = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    pull = push - 0.05 * bend * np.cos(angle) / 1.1
    by_hand = np.stack([x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * bend], 1)
    np.testing.assert_allclose(then, by_hand, atol=1e-4)
    assert not masks.all()


class Counting(Scripted):
    """Notes with how many threads it was asked to act, and for how many workers."""

    acts_in_parts = True

    def action_generator(self, observations, hidden_state, masks, deterministic):
        self.asked.append((torch.get_num_threads(), len(masks)))
        return {"actions": self.actions[: len(masks)]}


@pytest.mark.parametrize(("backend", "expected"), [("ale", (1, 1)), ("envpool", (2, 2))])
def test_agents_act_on_one_thread_while_the_other_part_plays(backend, expected):
    spec, agent, before = atari(), Counting([0, 0]), torch.get_num_threads()
    torch.set_num_threads(2)
    explorer = Explorer("train", {"agent": agent}, spec, inspect_environment(spec), 0, Profiler(),
                        on_one_thread=one_thread, num_workers=2, n_steps=3, backend=backend)  # fmt: skip
    chunk = explorer.update()
    explorer.close()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert set(agent.asked) == {expected}
    assert chunk["/observations/agent"].shape[:2] == (2, 4)


@pytest.mark.parametrize("backend", ["ale", "envpool"])
def test_a_resume_ends_what_was_running_as_truncated(backend, caplog):
    spec = atari("ALE/Pong-v5")
    first = explore(backend, spec, [0, 0])
    before = first.update()
    state = first.state_dict()
    first.close()
    resumed = explore(backend, spec, [0, 0])
    with caplog.at_level("WARNING", "digideep"):
        assert resumed.load_state_dict(state) == []
        after = resumed.update()
    (record,) = caplog.records
    assert "cannot re-live episodes: the 2 that were running restart, marked as truncated" in record.getMessage()
    resumed.close()
    # The last row before is the first one after, now as an end; nothing terminated.
    np.testing.assert_array_equal(before["/observations/agent"][:, -1], after["/observations/agent"][:, 0])
    assert before["/masks"][:, -1].all()
    assert not after["/masks"][:, 0].any()
    assert after["/masks"][:, 1:].all()
    assert not before["/terminations"][:, :-1].any()
    frames = after["/observations/agent"][:, 1]
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[:, :1], frames.shape))  # the start of an episode
    assert resumed.frames == 32


@pytest.mark.parametrize("backend", ["ale", "envpool"])
def test_a_reset_after_a_resume_leaves_nothing_to_restart(backend, caplog):
    environment = make(backend, atari())
    environment.reset()
    assert environment.load_state_dict(environment.state_dict()) == []
    environment.reset()
    step(environment, np.array([0, 0]))
    assert environment.buffers.lengths.tolist() == [1, 1]
    assert not caplog.records
    environment.close()


def test_frames_that_are_stored_once_come_back_as_the_stacks_that_were_delivered():
    """Lost lives, ends of games, truncations, and a ring that goes round twice."""
    spec = atari(limit=130, terminal_on_life_loss=True, fire_on_reset=True)
    key, length, capacity = "/observations/agent", 25, 6
    explorer = explore("ale", spec, [0, 0], n_steps=length)
    generator = np.random.default_rng(0)
    whole = Memory(chunk_sample_len=length, buffer_chunk_len=capacity)
    once = Memory(chunk_sample_len=length, buffer_chunk_len=capacity, stacks={key: 4})
    ends = 0
    for _ in range(2 * capacity + 3):
        explorer.seats["agent"].agent.actions = generator.integers(4, size=2)
        chunk = explorer.update()
        ends += (~chunk["/masks"]).sum()
        whole.store(chunk)
        once.store(chunk)
        indices = draw_uniform(once, {"generator": generator, "batch_size": 200})
        for rows in (indices.rows, once.ring.successor(indices.rows)):
            np.testing.assert_array_equal(
                gather_stacked(once, key, indices.workers, rows), whole.buffer[key][indices.workers, rows]
            )
    explorer.close()
    assert ends > 5
    transition = sum(array.nbytes for array in once.buffer.values()) / (2 * once.ring.num_rows)
    assert transition == inspect_environment(spec).row_bytes({key: 4}) == 7070
    assert transition * 1_000_000 <= 7.5e9
    assert inspect_environment(spec).row_bytes() == 4 * 7056 + 14


@pytest.mark.parametrize(
    ("backend", "spec", "plan", "message"),
    [
        ("ale", EnvironmentSpec(name="CartPole-v1"), {}, "backend 'ale' plays Atari games with a preprocessing"),
        ("envpool", EnvironmentSpec(name="Counter-v0", from_module="tests.support.environments"), {},
         "EnvPool has no 'Counter-v0'. Use backend 'gymnasium'"),
        ("envpool", EnvironmentSpec(name="CartPole-v1", kwargs={"sutton_barto_reward": True}), {},
         "EnvPool cannot make 'CartPole-v1' with .*sutton_barto_reward"),
        ("envpool", EnvironmentSpec(name="Nested-v0", from_module="tests.support.environments"), {},
         "EnvPool delivers one array, but Nested-v0 has the observations /a, /b/c"),
        ("envpool", EnvironmentSpec(name="CartPole-v1"), {"render_mode": "rgb_array"},
         "EnvPool renders nothing. Use backend 'gymnasium' to watch CartPole-v1"),
    ],
)  # fmt: skip
def test_a_backend_that_does_not_fit_is_refused_in_one_line(backend, spec, plan, message):
    with pytest.raises(UsageError, match=message) as caught:
        make(backend, spec, **plan)
    assert "\n" not in str(caught.value)


def test_missing_envpool_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(UsageError, match=r"pip install 'digideep\[envpool\]'"):
        make("envpool", EnvironmentSpec(name="CartPole-v1"))


def test_ranks_of_one_machine_share_out_its_cores_to_their_threads(monkeypatch):
    monkeypatch.setattr("digideep.environment.stepping.backends.available_cores", lambda: 16)
    info = inspect_environment(atari())
    for chosen, ranks, each in ((0, 1, 8), (0, 4, 2), (0, 32, 1), (6, 4, 3)):  # two parts each
        plan = WorkerPlan(atari(), 0, "train")
        environment = make_vector_environment("ale", plan, info, 2, chosen, 60.0, in_parts=True, local_ranks=ranks)
        assert {native.num_threads for native in environment._natives.values()} == {each}
        environment.close()
