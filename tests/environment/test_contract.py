"""What an environment gives is what it declares, or the run ends and says who gave what and when."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from digideep.environment.contract import NotAsDeclared, ObservationJudge, WholeRange
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec, inspect_environment
from digideep.environment.making.parallel_games import register_parallel
from digideep.environment.spaces import agent_action_space, observation_spaces
from digideep.environment.stepping.native_environment import NativeEnvironment
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.environment.tools.check import check_environment
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import WorkerError
from tests.support.helpers import Scripted, make_explorer
from tests.support.parallel import Roster

LINE = Box(-1, 1, (4,), np.float32)
BYTES = Box(0, 255, (2, 3), np.uint8)
FEW = Box(0, 3, (5,), np.int16)
GOAL = Dict({"line": LINE, "inner": Dict({"pair": Tuple((Discrete(3, start=1), MultiBinary(2)))})})


class Speechless:
    """An object that cannot even be named, as those of simulators that have been closed."""

    def __repr__(self):
        raise RuntimeError("it is gone")


def goal(line=None, pair=None):
    return {"line": np.zeros(4, np.float32) if line is None else line, "inner": {"pair": pair or (1, [0, 1])}}


def judged(space, observation):
    """What becomes of an observation: arrays of one row, or the complaint."""
    judge, spaces = ObservationJudge(space, "/agent"), observation_spaces(space, "/agent")
    arrays = {path: np.zeros((1, *each.shape), each.dtype) for path, each in spaces.items()}
    judge.read(observation, arrays, 0)
    found = judge.check(arrays)
    if found is not None:
        raise found[1]
    return {path: array[0] for path, array in arrays.items()}


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (LINE, np.zeros(1, np.float32), r"/agent: expected float32 \(4,\), got float32 \(1,\): \[0.0\]"),
        (LINE, 0.5, r"expected float32 \(4,\), got float 0.5"),
        (LINE, np.zeros((4, 1), np.float32), r"got float32 \(4, 1\)"),
        (LINE, np.zeros((1, 4), np.float32), r"got float32 \(1, 4\)"),
        (LINE, None, "got None"),
        (LINE, "abcd", "got str 'abcd'"),
        (LINE, [1, 2, None, 4], r"got list \[1, 2, None, 4\]"),
        (LINE, [[1, 2], [3]], r"got list \[\[1, 2\], \[3\]\]: "),
        (LINE, np.array([1, "a", None, 2], object), r"got object \(4,\)"),
        (LINE, np.array(["1", "2", "3", "4"]), r"got <U1 \(4,\)"),
        (LINE, np.ma.masked_less(np.arange(4.0), 1), "got an array with masked values: float64"),
        (LINE, Speechless(), r"got Speechless <tests\..*Speechless object at"),
        (LINE, [Speechless()] * 4, "got list <list object at"),
        (GOAL, {Speechless(): 1}, r"expected the keys 'inner', 'line', got <tests\..*Speechless object at"),
        (GOAL, goal(pair=np.array(1.0)), r"/inner/pair: expected a tuple of 2, got float64 \(\): 1.0"),
        (LINE, np.zeros(4, np.complex64), r"got complex64 \(4,\)"),
        (LINE, {"a": 1}, "got a dictionary with 'a'"),
        (BYTES, np.uint8(7), r"expected uint8 \(2, 3\), got uint8 \(\): 7"),
        (BYTES, 7, r"expected uint8 \(2, 3\), got int 7"),
        (BYTES, np.full((2, 3), 0.5), r"got float64 \(2, 3\) from 0.5 to 0.5"),
        (BYTES, np.zeros((2, 3), np.float32), r"got float32 \(2, 3\) from 0.0 to 0.0"),
        (BYTES, np.full((2, 3), -1), r"got int64 \(2, 3\) from -1 to -1"),
        (BYTES, np.full((2, 3), 256, np.int32), r"got int32 \(2, 3\) from 256 to 256"),
        (BYTES, np.zeros((3, 2), np.uint8), r"got uint8 \(3, 2\)"),
        (FEW, np.array([0, 1, 2, 3, 4], np.int16), r"expected numbers from 0 to 3, got int16 \(5,\) from 0 to 4"),
        (FEW, np.array([0, 1, 2, 3, -1], np.int16), "expected numbers from 0 to 3"),
        (Box(np.array([-2, 5]), np.array([3, 9]), dtype=np.int8), [4, 6], r"from \[-2, 5\] to \[3, 9\], got int8"),
        (Box(1, 3, (2,), np.uint16), np.array([0, 2], np.uint16), "expected numbers from 1 to 3"),
        (Discrete(5), 5, "expected a number from 0 to 4, got int 5"),
        (Discrete(5), np.int64(-1), r"expected a number from 0 to 4, got int64 \(\): -1"),
        (Discrete(5), np.array(7, np.int32), r"got int32 \(\): 7"),
        (Discrete(5, start=-2), np.int64(3), "expected a number from -2 to 2"),
        (Discrete(5), 2.0, r"expected int64 \(\), got float 2.0"),
        (Discrete(5), np.array([2]), r"expected int64 \(\), got int64 \(1,\): \[2\]"),
        (Discrete(5), 2**70, "got int 1180591620717411303424"),
        (MultiDiscrete([2, 3], start=[0, 5]), np.array([1, 8]), r"from \[0, 5\] to \[1, 7\], got int64 \(2,\): "),
        (MultiDiscrete([[2, 3]]), np.array([[2, 0]]), "got int64"),
        (MultiBinary(3), np.array([0, 1, 2], np.int8), "expected numbers from 0 to 1, got int8"),
        (MultiBinary(3), [0.0, 1.0, 0.0], r"expected int8 \(3,\), got list"),
        (GOAL, {"line": np.zeros(4)}, "/: expected the keys 'inner', 'line', got 'line'"),
        (GOAL, goal() | {"more": 1}, "/: expected the keys 'inner', 'line', got 'line', 'inner', 'more'"),
        (GOAL, np.zeros(4, np.float32), r"/: expected a dictionary with 'inner', 'line', got float32 \(4,\)"),
        (GOAL, goal(pair=(1, [0, 1], 2)), "/inner/pair: expected a tuple of 2, got tuple"),
        (GOAL, goal(pair=(4, [0, 1])), "/inner/pair/0: expected a number from 1 to 3, got int 4"),
        (GOAL, goal(pair=(1, [0])), r"/inner/pair/1: expected int8 \(2,\), got list \[0\]"),
        (GOAL, goal(line=np.zeros(3)), r"/line: expected float32 \(4,\), got float64 \(3,\)"),
    ],
)  # fmt: skip
def test_what_a_space_does_not_hold_is_refused(space, observation, message):
    with pytest.raises(NotAsDeclared, match=message):
        judged(space, observation)


@pytest.mark.parametrize(
    ("space", "observation", "expected"),
    [
        (LINE, np.full(4, 0.1), np.full(4, np.float32(0.1))),
        (LINE, [0, 1, 2, 3], [0, 1, 2, 3]),  # outside of its bounds: common, and harmless
        (LINE, np.array([True, False, True, False]), [1, 0, 1, 0]),
        (LINE, np.ma.array(np.ones(4, np.float32)), [1, 1, 1, 1]),
        (Box(-1, 1, (), np.float64), 0.5, 0.5),
        (Box(-1, 1, (), np.float64), np.float32(0.5), 0.5),
        (BYTES, np.full((2, 3), 255, np.int64), np.full((2, 3), 255)),
        (BYTES, [[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [3, 4, 5]]),
        (FEW, np.array([0, 1, 2, 3, 0], np.int64), [0, 1, 2, 3, 0]),
        (Discrete(5, start=-2), np.int32(-2), -2),
        (Discrete(5), np.array(4), 4),
        (Discrete(2), True, 1),
        (MultiDiscrete([2, 3], start=[0, 5]), (1, 7), [1, 7]),
        (MultiBinary(3), np.array([True, False, True]), [1, 0, 1]),
        (Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64), [-(2**63), 2**63 - 1],
         [-(2**63), 2**63 - 1]),
    ],
)  # fmt: skip
def test_what_a_space_holds_is_taken_without_changing_a_number(space, observation, expected):
    assert judged(space, observation)["/agent"].tolist() == np.asarray(expected).tolist()


def test_nested_observations_are_taken_apart():
    arrays = judged(GOAL, goal(pair=[3, np.array([1, 0])]))
    assert {path: array.tolist() for path, array in arrays.items()} == {
        "/line": [0, 0, 0, 0], "/inner/pair/0": 3, "/inner/pair/1": [1, 0]
    }  # fmt: skip


def test_the_first_row_out_of_range_is_found():
    found = WholeRange.of(Box(-3, 3, (2,), np.int8))
    assert found.first_outside(np.array([[0, 3], [-3, 1], [0, -4], [9, 0]], np.int8)) == 2
    assert found.first_outside(np.array([[0, 3], [-3, 1]], np.int8)) is None
    assert WholeRange.of(Box(0, 3, (2,), np.uint8)).first_outside(np.array([[0, 3], [4, 0]], np.uint8)) == 1
    assert WholeRange.of(BYTES) is None


class Given(gym.Env):
    """Counts its steps; from step `at` on it gives something else. `what`: a key of what it gives."""

    observation_space, action_space = Box(-1, 99, (2,), np.float32), Discrete(2)
    odd = None

    def __init__(self, what="observation", at=2):
        self.what, self.at = what, at

    def _give(self, what, usual):
        return Given.odd if what == self.what and self.steps >= self.at else usual

    def _moment(self):
        info = {key: self._give(key, usual) for key, usual in (("whole", 0), ("part", 0.5), ("flag", False))}
        return self._give("observation", np.full(2, self.steps, np.float32)), self._give("info", info)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._moment()

    def step(self, action):
        self.steps += 1
        observation, info = self._moment()
        ends = self._give("terminated", False), self._give("truncated", False)
        return observation, self._give("reward", 1.0), *ends, info


if "Given-v0" not in gym.registry:
    gym.register("Given-v0", Given, max_episode_steps=9)


def explore(what, odd, at=2, num_processes=0, **kwargs):
    Given.odd = odd
    spec = EnvironmentSpec(name="Given-v0", kwargs={"what": what, "at": at}, **kwargs)
    agents = {"agent": Scripted([0, 1])}
    explorer = Explorer(
        "train", agents, spec, inspect_environment(spec), 0, Profiler(), num_workers=2, n_steps=4,
        num_processes=num_processes,
    )  # fmt: skip
    try:
        return explorer.update()
    finally:
        explorer.close()


@pytest.mark.parametrize(
    ("what", "odd", "message"),
    [
        ("observation", np.zeros(1, np.float32), r"an observation .* expected float32 \(2,\), got float32 \(1,\)"),
        ("reward", np.array([1.0]), r"a reward that is no number: expected float64 \(\), got float64 \(1,\): \[1.0\]"),
        ("reward", None, "a reward that is no number: .* got None"),
        ("reward", "1.0", "a reward that is no number: .* got str '1.0'"),
        ("reward", 1j, "a reward that is no number"),
        ("reward", 10**400, "a reward beyond all floats: int 1000"),
        ("reward", Speechless(), "a reward that is no number: .* got Speechless <tests"),
        ("terminated", np.array([False, True]), "terminated that is neither true nor false"),
        ("terminated", None, "terminated that is neither true nor false: .* got None"),
        ("truncated", "False", "truncated that is neither true nor false: .* got str 'False'"),
        ("truncated", 0.5, "truncated that is neither true nor false: .* got float 0.5"),
        ("truncated", 2, "truncated that is neither true nor false: .* got int 2"),
        ("info", None, "an info that is no dictionary: None"),
        ("info", [1], r"an info that is no dictionary: list \[1\]"),
    ],
)
def test_a_run_ends_with_worker_seed_step_and_what_came(what, odd, message):
    expected = rf"^worker 0 \(episode seed \d+, step 2, last action 0\) gave {message}.*\. Correct the environment"
    with pytest.raises(WorkerError, match=expected) as caught:
        explore(what, odd)
    assert "\n" not in str(caught.value)


def test_a_reset_gives_an_observation_and_an_info():
    explorer = make_explorer("Odd-v0", Scripted([0, 0]), env_kwargs={"how": "old"})
    with pytest.raises(WorkerError, match=r"worker 0 .* gave no pair of observation and info at its reset: float64"):
        explorer.update()


def test_worker_processes_say_the_same_in_one_line():
    spec = EnvironmentSpec(name="Odd-v0", from_module="tests.support.environments", kwargs={"how": "key"})
    info, agents = inspect_environment(spec), {"agent": Scripted([0, 0])}
    explorer = Explorer("train", agents, spec, info, 0, Profiler(), num_workers=2, n_steps=4, num_processes=2)
    with pytest.raises(WorkerError, match=r"^worker 0 .* expected the keys 'a', 'b', got 'a'\. Correct.*") as caught:
        explorer.update()
    explorer.close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "odd"),
    [
        ("reward", np.float32(2)), ("reward", 2), ("reward", True), ("reward", np.array(2.0)),
        ("terminated", np.bool_(False)), ("terminated", 0), ("truncated", np.array(False)),
    ],
)  # fmt: skip
def test_numbers_and_truths_are_taken_in_every_usual_form(what, odd):
    chunk = explore(what, odd)
    assert chunk["/rewards"][0, :4, 0].tolist() == [1.0, *[float(odd) if what == "reward" else 1.0] * 3]
    assert not chunk["/terminations"].any()


@pytest.mark.parametrize(
    ("key", "odd", "message"),
    [
        ("whole", 0.75, r"info\['whole'\] that is not like its first one: expected int64 \(\), got float 0.75"),
        ("whole", 2**70, r"info\['whole'\].* got int"),
        ("flag", 2, r"info\['flag'\].* expected bool \(\), got int 2"),
        ("part", "0.5", r"info\['part'\].* expected float32 \(\), got str"),
        ("part", [0.5], r"info\['part'\].* got list"),
    ],
)
def test_an_info_of_another_kind_than_its_first_one_ends_the_run(key, odd, message):
    with pytest.raises(WorkerError, match=rf"step 2, last action 0\) gave {message}"):
        explore(key, odd, info_keys=[key])


@pytest.mark.parametrize(("key", "odd", "expected"), [("part", 3, 3.0), ("whole", True, 1), ("flag", 1, True)])
def test_an_info_may_be_a_number_that_its_first_ones_kind_holds(key, odd, expected):
    assert explore(key, odd, info_keys=[key])[f"/infos/{key}"][0, 2:].tolist() == [expected] * 3


def test_the_second_worker_is_named_where_it_is_the_one_whose_number_is_out_of_range():
    class Second(gym.Env):
        observation_space, action_space = MultiDiscrete([5, 5]), Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2, np.int64), {}

        def step(self, action):
            return np.array([0, 5 * action]), 0.0, False, False, {}

    gym.register("Second-v0", Second)
    try:
        spec = EnvironmentSpec(name="Second-v0")
        agents, info = {"agent": Scripted([0, 1])}, inspect_environment(spec)
        explorer = Explorer("train", agents, spec, info, 0, Profiler(), num_workers=2, n_steps=4)
        with pytest.raises(WorkerError, match=r"worker 1 \(.*, step 1, .* from 0 to 4, got int64 \(2,\): \[0, 5\]"):
            explorer.update()
    finally:
        del gym.registry["Second-v0"]


def test_the_check_and_the_run_say_the_same():
    Given.odd = np.zeros(3, np.float32)
    verdicts = {v.point: v for v in check_environment(EnvironmentSpec(name="Given-v0"), steps=5)}
    assert verdicts["first episode"].is_ok is False
    with pytest.raises(WorkerError) as caught:
        explore("observation", Given.odd)
    what = (
        "an observation that is not what its space says: /agent: expected float32 (2,), got float32 (3,): [0.0, 0.0, "
    )
    assert what in str(caught.value)
    assert f"after 2 steps it gave {what}" in verdicts["first episode"].detail


# ---------------------------------------------------------------------- several players


class Unruly(Roster):
    """Roster that breaks a rule of PettingZoo's parallel API after its first step; `how` says which."""

    def __init__(self, how, render_mode=None):
        super().__init__(leave={"a": (2, True)}, render_mode=render_mode)
        self.how = how

    def reset(self, seed=None, options=None):
        observations, infos = super().reset(seed, options)
        if self.how == "nobody":
            self.agents = []
        if self.how == "unseen":
            del observations["b"]
        if self.how == "stranger":
            self.agents = [*self.agents, "d"]
        return observations, infos

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = super().step(actions)
        if self.how == "unpaid":
            del rewards["c"]
        if self.how == "paid in arrays":
            rewards["b"] = np.ones(1)
        if self.how == "endless":
            del terminations["a"]
        if self.how == "uncut":
            truncations = None
        if self.how == "undead" and self.steps == 2:
            self.agents = ["a", *self.agents]
        if self.how == "shape":
            observations["a"] = np.zeros(1)
        if self.how == "image":
            observations["b"] = observations["b"] | {"image": np.full((2, 2), 0.5)}
        return observations, rewards, terminations, truncations, None if self.how == "info" else infos


register_parallel("tests/unruly", Unruly)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nobody", "step 0, last action None) gave nobody to play: no agents after a reset"),
        ("unseen", "gave player 'b' no observation, though it was there"),
        ("stranger", "gave agents that possible_agents does not have: d"),
        ("unpaid", "gave player 'c' no reward, though it was there"),
        ("paid in arrays", "gave player 'b' a reward that is no number: expected float64 (), got float64 (1,): [1.0]"),
        ("endless", "gave player 'a' no termination, though it was there"),
        ("uncut", "gave player 'a' no truncation, though it was there"),
        ("undead", "gave player 'a' an end, but keeps it in agents while others go on"),
        (
            "shape",
            "gave player 'a' an observation that is not what its space says: /agent: expected float64 (2,), got ",
        ),
        (
            "image",
            "gave player 'b' an observation that is not what its space says: /image: expected uint8 (2, 2), got ",
        ),
        ("info", "gave an info that is no dictionary: None"),
    ],
)
def test_a_game_of_several_players_keeps_to_what_it_declares(how, message):
    spec = EnvironmentSpec(name="tests/unruly", kwargs={"how": how}, players={"x": ["a", "c"], "y": ["b"]})
    agents = {"x": Scripted(np.zeros(2, np.int64)), "y": Scripted(np.zeros((1, 2), np.float32))}
    explorer = Explorer("train", agents, spec, inspect_environment(spec), 0, Profiler(), num_workers=1, n_steps=4)
    with pytest.raises(WorkerError) as caught:
        explorer.update()
    assert message in str(caught.value)
    assert str(caught.value).startswith("worker 0 (episode seed ")


# ---------------------------------------------------------------------- native backends


class Native(NativeEnvironment):
    """A backend whose batches are given by the test."""

    title, batches = "The test's backend", ()

    def _begin(self, seeds):
        return self.batches[0], None

    def _finish(self, actions):
        newest, *rest = self.batches[1:]
        return newest, *rest, None


NO = np.zeros(3, np.bool_)


@pytest.mark.parametrize(
    ("space", "batches", "message"),
    [
        (LINE, [np.zeros((1, 4), np.float32)], r"/agent: expected float32 \(3, 4\), got float32 \(1, 4\)"),
        (LINE, [np.zeros(4, np.float32)], r"got float32 \(4,\)"),
        (BYTES, [np.full((3, 2, 3), 0.5)], r"expected uint8 \(3, 2, 3\), got float64"),
        (Discrete(5), [np.array([0, 4, 5], np.int32)], r"worker 2 \(step 0 .* expected numbers from 0 to 4, got int64"),
        (LINE, [np.zeros((3, 4)), np.zeros((3, 4)), np.zeros(1), NO, NO], r"rewards: expected float64 \(3,\), got"),
        (LINE, [np.zeros((3, 4)), np.zeros((3, 4)), np.zeros(3), NO + 0.5, NO], r"terminations: expected bool \(3,\)"),
    ],
)  # fmt: skip
def test_batches_of_native_backends_are_what_the_spaces_say(space, batches, message):
    action_space = Discrete(2)
    info = EnvironmentInfo(
        observation_spaces(space, "/agent"), action_space, agent_action_space(action_space), None, ()
    )
    native = Native(WorkerPlan(EnvironmentSpec(name="x"), 0, "train"), info, StepBuffers(info, 3, np.zeros), 1)
    native.batches = batches

    def step():
        native.reset()
        native.send()
        native.receive()

    with pytest.raises(WorkerError, match=message):
        step()
