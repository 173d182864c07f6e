"""Observations and actions of every space, infos and action masks, in this process and in others."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiDiscrete, Sequence, Text, Tuple

from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.spaces import (
    ActionScaler,
    agent_action_space,
    check_action_mask,
    has_action_mask,
    observation_reader,
    observation_spaces,
    sample_actions,
)
from digideep.post.policy import read_observation
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError, WorkerError
from tests.support.helpers import Scripted
from tests.support.senses import ACTIONS


def explore(name, actions, *, info_keys=(), kwargs=None, seed=0, **parameters):
    """An Explorer whose agent always plays the same actions."""
    spec = EnvironmentSpec(
        name=name, from_module="tests.support.senses", kwargs=kwargs or {}, info_keys=list(info_keys)
    )
    parameters = {"num_workers": 2, "n_steps": 4} | parameters
    agents = {"agent": Scripted(actions)}
    return Explorer("train", agents, spec, inspect_environment(spec), seed, Profiler(), **parameters)


@pytest.mark.parametrize("num_processes", [0, 2])
def test_observations_of_every_space_stand_under_their_paths(num_processes):
    explorer = explore("Senses-v0", [0, 0], num_processes=num_processes)
    chunk = explorer.update()
    explorer.close()
    found = {path: (array.shape[2:], str(array.dtype)) for path, array in chunk.items() if "/observations" in path}
    assert found == {
        "/observations/camera": ((12, 10, 3), "uint8"),
        "/observations/body/position": ((2,), "float32"),
        "/observations/body/gear": ((), "int64"),
        "/observations/flags": ((2,), "int8"),
        "/observations/pair/0": ((2,), "int64"),
        "/observations/pair/1": ((), "float32"),
    }
    assert chunk["/observations/body/gear"][0].tolist() == [1, 2, 3, 1, 2]
    assert chunk["/observations/pair/0"][0].tolist() == [[0, 0], [1, 1], [0, 2], [1, 0], [0, 1]]
    assert chunk["/observations/camera"][1, :, :, 0, 0].argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_tuples_and_names_with_slashes_are_found_by_their_path():
    space = Tuple((Box(0, 1, (2,)), Dict({"walker/joints": Discrete(3), "rest": Tuple((Discrete(2),))})))
    observation = ("first", {"walker/joints": "joints", "rest": ("last",)})
    for path, expected in {"/0": "first", "/1/walker/joints": "joints", "/1/rest/0": "last"}.items():
        assert observation_reader(space, path)(observation) == expected
        assert read_observation(observation, path) == expected
    assert list(observation_spaces(space, "/agent")) == ["/0", "/1/rest/0", "/1/walker/joints"]
    assert list(observation_spaces(Discrete(2), "/agent")) == ["/agent"]


def test_a_name_that_begins_another_one_is_not_taken_for_it():
    observation = {"a": "short", "a/b": "long", "a/b/c": {"d": ("deep", {"": "last"})}}
    for path, expected in {"/a": "short", "/a/b": "long", "/a/b/c/d/0": "deep", "/a/b/c/d/1/": "last"}.items():
        assert read_observation(observation, path) == expected
    for path in ("/a/c", "/a/b/c", "/a/b/c/d", "/a/b/c/d/0/e", "/b"):
        with pytest.raises(KeyError, match=path):
            read_observation(observation, path)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Text(4), "Observations of type Text are not supported. Expected Box, Discrete, MultiDiscrete"),
        (Dict({"a": Sequence(Discrete(2))}), "Observations of type Sequence are not supported"),
        (Graph(Discrete(2), None), "Observations of type Graph are not supported"),
        (Dict({}), "hold nothing to see"),
        (Box(-1, 1, (2,), np.longdouble), r"have the dtype <f16. Expected 64 bits at most"),
        (Dict({"a": Box(0, 9, (2,), np.dtype(">i4"))}), r"have the dtype >i4. .* in native byte order"),
        (Box(-1, 1, (0,)), "hold nothing to see"),
        (Dict({"a": Box(-1, 1, (3, 0)), "b": Box(0, 1, (0,))}), "hold nothing to see"),
        (Dict({"a/b": Discrete(2), "a": Dict({"b": Discrete(2)})}), "Two observations have the path /a/b"),
    ],
)
def test_what_cannot_be_seen_is_refused(space, message):
    with pytest.raises(UsageError, match=message):
        observation_spaces(space, "/agent")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Box(-1, 1, (0,)), "hold nothing to choose"),
        (Box(-1, 1, (2, 0)), "hold nothing to choose"),
        (Box(-1, 1, (2,), np.dtype(">f4")), "have the dtype >f4"),
    ],
)
def test_actions_without_a_number_or_in_another_byte_order_are_refused(space, message):
    with pytest.raises(UsageError, match=message):
        agent_action_space(space)


@pytest.mark.parametrize(
    ("kind", "chosen", "expected"),
    [
        ("discrete", [0, 2], [-1, 1]),
        ("box", [[-2, 0.5, 9, 3], [0, -1, -9, -3]], [[[0, 0.5], [9, 3]], [[2, -1], [-9, 0]]]),
        ("integers", [[-1, 0.2], [1, 5]], [[0, 6], [10, 10]]),
        ("many", [[0, 2], [1, 0]], [[0, 7], [1, 5]]),
        ("grid", [[0, 1, 2, 1], [1, 2, 3, 0]], [[[0, 1], [2, 1]], [[1, 2], [3, 0]]]),
        ("bits", [[0, 1, 1], [1, 0, 0]], [[0, 1, 1], [1, 0, 0]]),
    ],
)
def test_actions_reach_the_environment_in_its_own_shape_and_bounds(kind, chosen, expected):
    dtype = np.float32 if isinstance(ACTIONS[kind], Box) else np.int64
    assert ActionScaler(ACTIONS[kind])(np.array(chosen, dtype)).tolist() == expected
    explorer = explore("Senses-v0", np.array(chosen, dtype), kwargs={"actions": kind})  # it asserts what it gets
    chunk = explorer.update()
    assert chunk["/agents/agent/actions"][:, 0].tolist() == np.array(chosen, dtype).tolist()
    assert chunk["/agents/agent/actions"].dtype == dtype


@pytest.mark.parametrize("kind", [kind for kind in ACTIONS if kind != "words"])
def test_random_actions_cover_the_whole_space_and_nothing_else(kind):
    space = agent_action_space(ACTIONS[kind])
    drawn = sample_actions(space, np.random.default_rng(0), 500)
    assert all(space.contains(row.astype(space.dtype)) for row in drawn)
    if not isinstance(space, Box):
        distinct = {tuple(np.atleast_1d(row).tolist()) for row in drawn}
        sizes = {"discrete": 3, "many": 6, "grid": 48, "bits": 8}
        assert len(distinct) == sizes[kind]
    edge = ActionScaler(ACTIONS[kind])
    assert all(ACTIONS[kind].contains(row.astype(ACTIONS[kind].dtype)) for row in edge(drawn))


def test_random_actions_are_uniform_between_bounds_and_normal_without():
    space = agent_action_space(Box(np.array([2, -np.inf], np.float32), np.array([5, np.inf], np.float32)))
    drawn = sample_actions(space, np.random.default_rng(0), 4000)
    assert drawn.std(0) == pytest.approx([1 / np.sqrt(3), 1], rel=0.05)
    assert drawn.mean(0) == pytest.approx([0, 0], abs=0.05)


def test_random_actions_are_uniform_among_the_allowed_ones():
    allowed = np.tile(np.array([True, False, True, False]), (6000, 1))
    drawn = sample_actions(Discrete(4), np.random.default_rng(0), 6000, allowed)
    assert np.bincount(drawn, minlength=4) == pytest.approx([3000, 0, 3000, 0], abs=150)
    allowed = np.tile(np.array([False, True, True, False, True]), (6000, 1))
    drawn = sample_actions(MultiDiscrete([2, 3]), np.random.default_rng(0), 6000, allowed)
    assert set(drawn[:, 0].tolist()) == {1}
    assert np.bincount(drawn[:, 1], minlength=3) == pytest.approx([3000, 0, 3000], abs=150)


@pytest.mark.parametrize("num_processes", [0, 2])
def test_infos_stand_beside_the_observation_that_they_came_with(num_processes):
    explorer = explore(
        "Senses-v0", [2, 2], info_keys=["power", "deep/even"], kwargs={"actions": "discrete"}, n_steps=11,
        num_processes=num_processes,
    )  # fmt: skip
    chunk = explorer.update()
    explorer.close()
    assert chunk["/infos/power"].dtype == np.float32
    power = np.tanh(1) * np.arange(10)  # a reset has none: zero
    assert chunk["/infos/power"][0] == pytest.approx(np.array([*power, 0, power[1]]), rel=1e-6)
    assert chunk["/infos/deep/even"].dtype == np.bool_
    assert chunk["/infos/deep/even"][0].tolist() == [i < 10 and i % 2 == 0 and i > 0 for i in range(12)]


@pytest.mark.parametrize("num_processes", [0, 2])
def test_infos_come_back_with_a_restored_explorer(num_processes):
    def make():
        return explore("Forbidding-v0", [0, 0], info_keys=["steps"], kwargs={"length": 1}, num_processes=num_processes)

    explorer = make()
    explorer.n_steps = 1
    explorer.update()
    state, expected = explorer.state_dict(), explorer.update()
    other = make()
    other.n_steps = 1
    assert other.load_state_dict(state) == []
    for key, array in other.update().items():
        np.testing.assert_array_equal(array, expected[key])
    for each in (explorer, other):
        each.close()


@pytest.mark.parametrize("actions", ["discrete", "many"])
def test_a_warm_start_keeps_to_the_action_mask(actions):
    explorer = explore(
        "Forbidding-v0", [0, 0], info_keys=["action_mask"], kwargs={"actions": actions}, n_steps=60, warm_start=120
    )
    chunk = explorer.update()  # a forbidden action would raise
    masks = chunk["/infos/action_mask"]
    assert masks.dtype == np.int8
    assert (masks.any(-1) == chunk["/masks"][..., 0]).all()  # at the end nothing is allowed, and nobody has to act
    assert (
        len({tuple(np.atleast_1d(a).tolist()) for a in chunk["/agents/agent/actions"][:, 0:60:6].reshape(20, -1)}) > 1
    )


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_worker_that_forbids_everything_amid_an_episode_is_named(num_processes):
    explorer = explore(
        "Forbidding-v0", [0, 0], info_keys=["action_mask"], kwargs={"stuck": 0}, num_processes=num_processes
    )
    with pytest.raises(WorkerError, match=r"worker 0 forbids every action .* is \[0, 0, 0, 0\]"):
        explorer.update()
    explorer.close()


def test_each_component_of_several_choices_needs_an_allowed_one():
    space, acting = MultiDiscrete([2, 2]), np.array([True, True])
    assert check_action_mask(space, np.array([[1, 0, 0, 1]] * 2), acting).dtype == np.bool_
    masks = np.array([[1, 0, 0, 1], [1, 1, 0, 0]])
    with pytest.raises(WorkerError, match="worker 5 forbids"):
        check_action_mask(space, masks, acting, first_worker=4)
    check_action_mask(space, masks, np.array([True, False]))


def test_a_mask_has_one_entry_for_each_choice():
    infos = {"/action_mask": np.zeros(3, np.int8)}
    assert has_action_mask(Discrete(3), infos)
    assert not has_action_mask(Box(-1, 1, (3,)), infos)
    with pytest.raises(UsageError, match=r"has the shape \(3,\), expected \(4,\)"):
        has_action_mask(Discrete(4), infos)


class Moody(gym.Env):
    """Its info changes its shape, or is no number."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"list": np.zeros(2), "word": "happy"}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {"list": np.zeros(3)}


if "Moody-v0" not in gym.registry:
    gym.register("Moody-v0", Moody)


def test_infos_that_are_no_numbers_or_change_their_shape_are_refused():
    spec = EnvironmentSpec(name="Moody-v0", info_keys=["word"])
    with pytest.raises(UsageError, match=r"'word' is 'happy'\. Expected a number"):
        inspect_environment(spec)
    spec = EnvironmentSpec(name="Moody-v0", info_keys=["list"])
    agents = {"agent": Scripted([0])}
    explorer = Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), num_workers=1, n_steps=2)
    with pytest.raises(
        WorkerError, match=r"info\['list'\] that is not like its first one: expected float32 \(2,\), got"
    ):
        explorer.update()
