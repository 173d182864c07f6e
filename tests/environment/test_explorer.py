"""Chunks, half-steps, limits, and the ways in which an environment can fail."""

import multiprocessing
import os
import time

import numpy as np
import psutil
import pytest

import tests.support.scripted  # noqa: F401  it registers Quitter-v0
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.parameters.component import describe
from digideep.utility.errors import NonFiniteError, StoppedError, UsageError, WorkerError
from params import ppo_classic
from params.shared import explorer_tree
from tests.support.helpers import Scripted, make_explorer


def column(chunk, key, worker=0):
    return chunk[key][worker, :, 0].tolist()


@pytest.mark.parametrize("num_processes", [0, 2])
def test_every_row_holds_the_true_successor_of_the_row_before(num_processes):
    explorer = make_explorer(
        "Counter-v0", Scripted([0, 2]), env_kwargs={"length": 3}, n_steps=6, num_processes=num_processes
    )
    chunk = explorer.update()
    assert column(chunk, "/observations/agent") == [0, 1, 2, 3, 0, 1, 2]
    assert column(chunk, "/masks") == [True, True, True, False, True, True, True]
    assert column(chunk, "/rewards")[:6] == [1, 2, 3, 0, 1, 2]
    assert column(chunk, "/terminations")[:6] == [False, False, True, False, False, False]
    assert [(e.worker, e.episode_return, e.length) for e in explorer.take_episodes()] == [(0, 6.0, 3), (1, 6.0, 3)]
    explorer.close()


def test_a_time_limit_ends_the_episode_without_a_termination():
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), limit=2, n_steps=4)
    chunk = explorer.update()
    assert column(chunk, "/observations/agent") == [0, 1, 2, 0, 1]
    assert column(chunk, "/masks") == [True, True, False, True, True]
    assert not chunk["/terminations"].any()


def test_a_chunk_begins_with_the_half_step_of_the_one_before():
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), n_steps=3)
    first, second = explorer.update(), explorer.update()
    assert column(first, "/observations/agent") == [0, 1, 2, 3]
    assert column(second, "/observations/agent") == [3, 4, 5, 6]
    assert first["/observations/agent"].dtype == np.float32
    assert first["/agents/agent/actions"].shape == (2, 4)


def test_agent_actions_start_at_zero_whatever_the_environment_counts_from():
    explorer = make_explorer("Counter-v0", Scripted([0, 2]), n_steps=1)
    assert explorer.update()["/agents/agent/actions"][:, 0].tolist() == [0, 2]  # the environment asserts 5 and 7


def test_actions_are_scaled_to_the_environment_and_stored_as_chosen():
    agent = Scripted(np.array([[-3.0, 0.5], [1.0, -1.0]], np.float32))
    explorer = make_explorer("Noise-v0", agent, n_steps=1)
    chunk = explorer.update()
    assert chunk["/agents/agent/actions"][:, 0].tolist() == [[-3.0, 0.5], [1.0, -1.0]]
    assert explorer.envs.buffers.actions.tolist() == [[-2.0, 7.5], [2.0, 0.0]]


def test_nested_observations_keep_their_paths_and_types():
    chunk = make_explorer("Nested-v0", Scripted([0, 0]), n_steps=2).update()
    assert chunk["/observations/a"].dtype == np.float32
    assert chunk["/observations/b/c"].dtype == np.uint8
    assert chunk["/observations/b/c"].shape == (2, 3, 2, 2)


def test_episodes_are_shared_out_evenly_among_the_workers():
    explorer = make_explorer(
        "Counter-v0", Scripted([0, 0, 0]), env_kwargs={"length": 4}, num_workers=3, n_steps=None, n_episodes=5,
        keep_trajectory=False,
    )  # fmt: skip
    assert explorer.update() == {}
    assert sorted(episode.worker for episode in explorer.take_episodes()) == [0, 0, 1, 1, 2]


def test_a_chunk_of_whole_episodes_grows_as_long_as_they_are():
    explorer = make_explorer(
        "Counter-v0", Scripted([0]), env_kwargs={"length": 150}, num_workers=1, n_steps=None, n_episodes=1
    )
    assert column(explorer.update(), "/observations/agent") == list(range(151))


def test_both_limits_must_be_met():
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), env_kwargs={"length": 3}, n_steps=10, n_episodes=2)
    assert explorer.update()["/masks"].shape == (2, 11, 1)
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), env_kwargs={"length": 9}, n_steps=2, n_episodes=2)
    assert explorer.update()["/masks"].shape == (2, 10, 1)


def test_do_reset_begins_new_episodes_with_each_update():
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), n_steps=2, do_reset=True)
    assert [column(explorer.update(), "/observations/agent") for _ in range(2)] == [[0, 1, 2]] * 2


def test_hidden_states_are_stored_before_their_row_and_zero_after_a_half_step():
    explorer = make_explorer("Counter-v0", Scripted([0, 0], hidden_size=1), env_kwargs={"length": 2}, n_steps=6)
    assert column(explorer.update(), "/agents/agent/hidden_state")[:6] == [0, 1, 2, 0, 1, 2]


def test_hidden_states_are_zero_where_one_of_the_workers_begins_anew():
    explorer = make_explorer("Quitter-v0", Scripted([1, 0], hidden_size=1), n_steps=6)
    chunk = explorer.update()
    assert column(chunk, "/masks") == [True, False, True, False, True, False, True]
    assert column(chunk, "/agents/agent/hidden_state")[:6] == [0, 1, 0, 1, 0, 1]
    assert column(chunk, "/agents/agent/hidden_state", worker=1)[:6] == [0, 1, 2, 3, 4, 5]


def test_agents_explore_unless_the_explorer_is_deterministic():
    for is_deterministic in (False, True):
        agent = Scripted([0, 0])
        make_explorer("Counter-v0", agent, n_steps=2, deterministic=is_deterministic).update()
        assert [asked for _, _, asked in agent.asked] == [is_deterministic] * 2


def test_a_warm_start_covers_the_whole_action_range_and_then_ends():
    agent = Scripted(np.zeros((2, 2), np.float32))
    explorer = make_explorer("Noise-v0", agent, n_steps=1200, warm_start=2000)
    actions = explorer.update()["/agents/agent/actions"]
    random = actions[:, :1000].reshape(-1)
    assert abs(random.mean()) < 0.05
    assert abs(random.std() - 1 / np.sqrt(3)) < 0.02
    assert -1 <= random.min() < -0.99
    assert 0.99 < random.max() <= 1
    assert not actions[:, 1000:1200].any()


class Remembering(Scripted):
    """Has a hidden state, and artifacts."""

    def action_generator(self, observations, hidden_state, masks, deterministic):
        choice = super().action_generator(observations, hidden_state, masks, deterministic)
        return {**choice, "artifacts": {"x": np.full(len(masks), 7, np.float32)}}


def test_a_warm_start_keeps_states_and_artifacts_and_asks_without_exploration():
    agent = Remembering(np.zeros((2, 2), np.float32), hidden_size=3)
    explorer = make_explorer("Noise-v0", agent, n_steps=4, warm_start=16)
    chunks = [explorer.update() for _ in range(3)]
    assert chunks[0].keys() == chunks[2].keys()
    np.testing.assert_array_equal(chunks[0]["/agents/agent/hidden_state"][0, :, 0], [0, 1, 2, 3, 0])
    assert (chunks[1]["/agents/agent/artifacts/x"][:, :4] == 7).all()
    assert chunks[1]["/agents/agent/actions"].any()
    assert not chunks[2]["/agents/agent/actions"].any()
    assert [deterministic for _, _, deterministic in agent.asked] == [True] * 8 + [False] * 4


def test_an_agent_of_actions_alone_is_asked_once_in_a_warm_start():
    agent = Scripted(np.zeros((2, 2), np.float32))
    make_explorer("Noise-v0", agent, n_steps=8, warm_start=12).update()
    assert [deterministic for _, _, deterministic in agent.asked] == [True] + [False] * 2


def test_a_warm_start_that_nobody_takes_is_refused():
    agent = Scripted(np.zeros((2, 2), np.float32))
    agent.takes_warm_start = False
    with pytest.raises(UsageError, match="warm_start=5 needs off-policy agents"):
        make_explorer("Noise-v0", agent, warm_start=5)


def test_reseeding_repeats_the_same_episodes():
    agent = Scripted(np.zeros((2, 2), np.float32))
    explorer = make_explorer("Noise-v0", agent, mode="test", n_steps=5)
    chunks = []
    for epoch in (3, 4, 3):
        explorer.reseed(epoch)
        chunks.append(explorer.update()["/observations/agent"])
    np.testing.assert_array_equal(chunks[0], chunks[2])
    assert (chunks[0] != chunks[1]).all()
    film = make_explorer("Noise-v0", agent, mode="eval", n_steps=5)
    film.reseed(3)
    assert (film.update()["/observations/agent"] != chunks[0]).all()


def test_workers_and_modes_have_different_seeds():
    chunks = [
        make_explorer("Noise-v0", Scripted(np.zeros((2, 2), np.float32)), mode=mode, n_steps=1).update()
        for mode in ("train", "test", "eval")
    ]
    first = np.concatenate([chunk["/observations/agent"][:, 0, 0] for chunk in chunks])
    assert len(set(first.tolist())) == 6


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode(num_processes):
    """Also amid a warm start, with an episode of each worker that nobody has taken yet, and with normalisers."""
    agent = Scripted(np.array([[0.1, 0.2], [0.3, -0.4]], np.float32))
    wrappers = [describe(VecNormalizeObs), describe(VecNormalizeReward, gamma=0.9)]
    parameters = {"n_steps": 35, "warm_start": 90, "wrappers": wrappers}
    explorer = make_explorer("Noise-v0", agent, num_processes=num_processes, **parameters)
    explorer.update()
    state, expected = explorer.state_dict(), [explorer.update() for _ in range(3)]
    assert len(state["finished"]) == 2
    other = make_explorer("Noise-v0", agent, **parameters)
    assert other.load_state_dict(state) == []
    for chunk in expected:
        repeated = other.update()
        for key, array in chunk.items():
            np.testing.assert_array_equal(array, repeated[key])
    assert other.take_episodes() == explorer.take_episodes()
    explorer.close()


class Follower(Scripted):
    """Acts on what it sees and on its hidden state, worker by worker; may be asked for parts of the workers."""

    acts_in_parts = True

    def action_generator(self, observations, hidden_state, masks, deterministic):
        self.asked.append(len(masks))
        actions = (0.1 * hidden_state[:, :1] - 0.2 * observations["/agent"]).astype(np.float32)
        return {"actions": actions, "hidden_state": hidden_state + 1, "artifacts": {"masks": masks.astype(np.float32)}}


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_processes_and_parts_change_no_number(num_processes):
    alone, spread = Follower([], 1), Follower([], 1)
    parameters = {"n_steps": 25, "num_workers": 5, "limit": 7}
    explorer = make_explorer("Noise-v0", alone, **parameters)
    other = make_explorer("Noise-v0", spread, num_processes=num_processes, **parameters)
    for _ in range(2):
        expected, chunk = explorer.update(), other.update()
        assert expected.keys() == chunk.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(array, chunk[key], err_msg=key)
    assert sorted(other.take_episodes()) == sorted(explorer.take_episodes())
    assert set(alone.asked) == {5}
    assert set(spread.asked) == ({5} if num_processes == 1 else {1, 4} if num_processes == 3 else {2, 3})
    other.close()


def test_whole_episodes_are_counted_alike_in_parts():
    parameters = {"n_steps": None, "n_episodes": 7, "num_workers": 4, "limit": 5, "keep_trajectory": False}
    results = []
    for num_processes in (0, 2):
        explorer = make_explorer("Noise-v0", Follower([], 1), num_processes=num_processes, **parameters)
        explorer.update()
        results.append((explorer.frames, explorer.take_episodes()))
        explorer.close()
    assert results[0] == results[1]
    assert len(results[0][1]) == 7


class Ageing(Follower):
    """Says how old the policy is that acts; it grows older when it learns."""

    age = 0.0

    def action_generator(self, observations, hidden_state, masks, deterministic):
        choice = super().action_generator(observations, hidden_state, masks, deterministic)
        choice["artifacts"]["age"] = np.full(len(masks), self.age, np.float32)
        return choice


@pytest.mark.parametrize("num_processes", [0, 2])
def test_overlap_acts_once_before_learning_and_changes_nothing_else(num_processes):
    parameters = {"n_steps": 3, "num_workers": 4, "limit": 7}
    plain_agent, ahead_agent = Ageing([], 1), Ageing([], 1)
    plain = make_explorer("Noise-v0", plain_agent, **parameters)
    ahead = make_explorer("Noise-v0", ahead_agent, num_processes=num_processes, overlap=True, **parameters)
    for age in range(6):
        plain_agent.age = ahead_agent.age = float(age)
        expected, chunk = plain.update(), ahead.update()
        ages = chunk["/agents/agent/artifacts/age"]
        assert ages[0, :3].tolist() == [max(age - 1, 0), age, age]
        for key in expected.keys() - {"/agents/agent/artifacts/age"}:
            np.testing.assert_array_equal(expected[key], chunk[key], err_msg=key)
        assert plain.frames == ahead.frames
        assert sorted(plain.take_episodes()) == sorted(ahead.take_episodes())
    ahead.close()


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_step_ahead_survives_in_a_checkpoint(num_processes):
    parameters = {"n_steps": 1, "num_workers": 3, "limit": 4, "overlap": True}
    explorer = make_explorer("Noise-v0", Follower([], 1), num_processes=num_processes, **parameters)
    for done in range(9):  # so that steps and resets, ends and beginnings are under way
        explorer.update()
        state = explorer.state_dict()
        other = make_explorer("Noise-v0", Follower([], 1), **parameters)
        assert other.load_state_dict(state) == []
        if done % 2:
            expected = explorer.update()
            repeated = other.update()
            for key, array in expected.items():
                np.testing.assert_array_equal(array, repeated[key], err_msg=f"{done} {key}")
        other.reset()
        assert other.update()["/masks"][:, 0].all()
    explorer.close()


def test_worker_processes_start_where_there_is_no_fork(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    explorer = make_explorer("Counter-v0", Scripted([0, 2]), env_kwargs={"length": 3}, n_steps=6, num_processes=2)
    assert column(explorer.update(), "/observations/agent", worker=1) == [0, 1, 2, 3, 0, 1, 2]
    explorer.close()


def test_an_environment_that_ignores_its_seed_is_found_out():
    agent = Scripted(np.zeros((2, 2), np.float32))
    explorer = make_explorer("Forgetful-v0", agent)
    explorer.update()
    assert make_explorer("Forgetful-v0", agent).load_state_dict(explorer.state_dict()) == [0, 1]


def test_an_environment_that_strays_in_one_of_its_observations_is_found_out():
    explorer = make_explorer("Nested-v0", Scripted([0, 0]))
    explorer.update()
    state = explorer.state_dict()
    state["workers"]["1"]["observation"]["/a"] += 1
    assert make_explorer("Nested-v0", Scripted([0, 0])).load_state_dict(state) == [1]


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_crash_names_worker_seed_and_action_and_carries_its_own_traceback(num_processes):
    explorer = make_explorer("Trouble-v0", Scripted([0, 1]), env_kwargs={"kind": "raise"}, num_processes=num_processes)
    with pytest.raises(WorkerError, match=r"worker 0 \(episode seed \d+, step 3, last action 0\)") as caught:
        explorer.update()
    assert "the gripper is stuck" in str(caught.value)
    cause = caught.value.__cause__
    assert "RuntimeError: the gripper is stuck" in str(caught.value) or isinstance(cause, RuntimeError)
    explorer.close()


def test_an_observation_without_one_of_its_keys_names_worker_and_key():
    explorer = make_explorer("Odd-v0", Scripted([0, 0]), env_kwargs={"how": "key"})
    with pytest.raises(WorkerError, match=r"worker 0 .*, step 0, .* says: /: expected the keys 'a', 'b', got 'a'"):
        explorer.update()


@pytest.mark.parametrize("num_processes", [0, 2])
def test_an_action_without_dimensions_is_given_as_an_array(num_processes):
    explorer = make_explorer("Dial-v0", Scripted(np.array([[-3.0], [0.5]], np.float32)), num_processes=num_processes)
    explorer.update()  # the environment asserts it
    chunk = explorer.update()
    state = explorer.state_dict()
    assert chunk["/agents/agent/actions"][:, 0].tolist() == [[-3.0], [0.5]]
    assert make_explorer("Dial-v0", Scripted(np.zeros((2, 1), np.float32))).load_state_dict(state) == []
    explorer.close()


def test_a_worker_process_that_dies_is_reported_with_its_exit_code():
    explorer = make_explorer("Trouble-v0", Scripted([0, 1]), env_kwargs={"kind": "die"}, num_processes=2)
    with pytest.raises(WorkerError, match=r"workers 0 to 0 died with exit code 7 in 'step'"):
        explorer.update()
    explorer.close()


def test_a_worker_process_that_hangs_is_stopped_and_reported():
    explorer = make_explorer(
        "Trouble-v0", Scripted([0]), env_kwargs={"kind": "hang"}, num_workers=1, num_processes=1, worker_timeout_s=1.0
    )  # a second one that hangs is waited for when it is closed
    with pytest.raises(WorkerError, match="no answer to 'step' for 1 s"):
        explorer.update()
    explorer.close()


def test_closing_leaves_no_process_behind():
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), num_processes=2)
    explorer.update()
    assert len(multiprocessing.active_children()) == 2
    explorer.close()
    assert multiprocessing.active_children() == []


def test_worker_processes_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "if __name__ == '__main__':\n"  # the workers import this file, too
        "    import time\n"
        "    from tests.support.helpers import Scripted, make_explorer\n"
        "    explorer = make_explorer('Counter-v0', Scripted([0, 0]), num_processes=2)\n"
        "    explorer.update()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = psutil.Popen(
        [os.sys.executable, str(script)], stdout=-1, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert parent.stdout.readline() == "ready\n"
    descendants = parent.children(recursive=True)
    assert len(descendants) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(process.is_running() and process.status() != "zombie" for process in descendants):
        assert time.monotonic() < deadline, descendants
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["nan observation", "nan reward"])
def test_values_that_are_not_finite_stop_the_run_and_name_worker_and_frame(kind):
    explorer = make_explorer("Trouble-v0", Scripted([0, 1]), env_kwargs={"kind": kind})
    with pytest.raises(NonFiniteError, match=rf"{kind[4:]}.* of worker 0 in explorer 'train' is not finite at frame 6"):
        explorer.update()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_workers": 0}, r"num_workers must be an integer in \[1, 65536\], got 0"),
        ({"num_processes": 3}, "num_processes must be at most num_workers=2, got 3"),
        ({"n_steps": None}, "n_steps must be given where n_episodes is not"),
        ({"n_steps": -1}, "n_steps must be an integer of at least 1, got -1"),
        ({"warm_start": 1.5}, "warm_start must be an integer"),
    ],
)
def test_impossible_limits_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        make_explorer("Counter-v0", Scripted([0, 0]), **parameters)


def test_whole_episodes_are_cut_off_where_that_is_asked_for_and_fixed_steps_are_not():
    asked = []
    stop = lambda: asked.append(True) or len(asked) == 3  # noqa: E731
    whole = make_explorer("Counter-v0", Scripted([0, 0]), n_steps=None, n_episodes=2, should_stop=stop)
    with pytest.raises(StoppedError, match="explorer 'train' were cut off"):
        whole.update()
    assert whole.steps == 3
    assert whole.take_episodes() == []
    fixed = make_explorer("Counter-v0", Scripted([0, 0]), n_steps=4, should_stop=lambda: True)
    assert fixed.update()["/rewards"].shape == (2, 5, 1)


def test_the_patience_with_workers_is_a_value_of_the_panel():
    tree = explorer_tree(ppo_classic.cpanel | {"worker_timeout_s": 7.5})
    assert {name: each["worker_timeout_s"] for name, each in tree.items()} == dict.fromkeys(tree, 7.5)


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(UsageError, match="backend must be one of gymnasium, ale, envpool, got 'alee'"):
        make_explorer("Counter-v0", Scripted([5, 5]), backend="alee")


def test_an_explorer_waits_after_each_step_that_it_shows(monkeypatch):
    waits = []
    monkeypatch.setattr("digideep.environment.explorer.time.sleep", waits.append)
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), n_steps=3, render_delay=0.05)
    explorer.update()
    assert waits == [0.05] * 3
