"""Wrappers around single environments: described, stacked, refused, re-lived; returns stay the environment's own."""

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.wrappers import GymnasiumWrapper, MaskGoal, describe_wrapper
from digideep.environment.normalizers import VecNormalizeObs
from digideep.environment.tools.check import check_environment, why_no_exact_resume
from digideep.parameters.component import Component, build, describe
from digideep.parameters.tree import from_plain, override_tree, to_plain
from digideep.utility.errors import UsageError
from tests.support.helpers import Scripted, make_explorer

wrappers = gym.wrappers


class Doubled(gym.RewardWrapper, Component):
    """A user's own: multiplies rewards."""

    def __init__(self, env, *, factor: float = 2.0):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return reward * self.factor


def spec_of(name, *stack, **more):
    """A spec on its way to disk and back."""
    plain = to_plain([describe_wrapper(cls, **arguments) for cls, arguments in stack])
    return EnvironmentSpec(name=name, from_module="tests.support.environments", norm_wrappers=from_plain(plain), **more)


def test_wrappers_are_stacked_from_the_inside_and_decide_the_spaces():
    stack = (wrappers.TimeAwareObservation, {}), (wrappers.FrameStackObservation, {"stack_size": 3})
    spec = spec_of("Counter-v0", *stack, kwargs={"length": 9}, max_episode_steps=10)
    assert inspect_environment(spec).observation_spaces["/agent"].shape == (3, 2)
    environment = make_environment(spec)
    environment.reset(seed=0)
    observation, *_ = environment.step(5)
    # steps so far by the environment's own count, and as a number of steps
    assert observation.tolist() == [[0, 0], [0, 0], [1, 1]]


def test_lists_stand_for_tuples_and_arrays():
    spec = spec_of(
        "CarRacing-v3", (wrappers.ResizeObservation, {"shape": [24, 32]}), (wrappers.GrayscaleObservation, {})
    )
    assert inspect_environment(spec).observation_spaces["/agent"].shape == (24, 32)
    spec = spec_of("Pendulum-v1", (wrappers.RescaleObservation, {"min_obs": [-1, -1, -1], "max_obs": [1, 2, 3]}))
    assert inspect_environment(spec).observation_spaces["/agent"].high.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (wrappers.NormalizeObservation, {}, "learns across episodes.* Use VecNormalizeObs under vect_wrappers"),
        (wrappers.NormalizeReward, {}, "learns across episodes.* Use VecNormalizeReward under vect_wrappers"),
        (wrappers.Autoreset, {}, "workers begin the next episode themselves"),
        (wrappers.FrameStackObservation, {"stack": 3}, r"no argument 'stack'. Did you mean 'stack_size'\?"),
        (wrappers.FrameStackObservation, {}, "FrameStackObservation needs the argument 'stack_size'"),
        (Doubled, {"facto": 3}, r"Doubled has no parameter 'facto'. Did you mean 'factor'\?"),
        (gym.Wrapper, {}, "'gymnasium.core.Wrapper' is no wrapper of gymnasium"),
        (dict, {}, "'builtins.dict' is no wrapper of gymnasium"),
    ],
)
def test_what_cannot_be_a_wrapper_is_refused_where_it_is_written(cls, arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        describe_wrapper(cls, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["os.system", "gymnasium.make", "gymnasium.wrappers.vector", "tests.x.ClipReward"])
def test_a_file_can_name_nothing_but_wrappers_of_gymnasium(name):
    with pytest.raises(UsageError, match="is no wrapper of gymnasium"):
        build({"class": GymnasiumWrapper, "wrapper": name, "arguments": {}}, GymnasiumWrapper)


def test_a_function_has_no_place_in_a_file():
    description = describe_wrapper(wrappers.TransformReward, func=abs)
    with pytest.raises(UsageError, match="/arguments/func is <built-in function abs>: expected numbers"):
        to_plain(description)


def test_a_wrapper_that_does_not_fit_is_refused_in_one_line():
    with pytest.raises(UsageError, match="norm_wrappers: GrayscaleObservation does not fit") as caught:
        inspect_environment(spec_of("CartPole-v1", (wrappers.GrayscaleObservation, {})))
    assert "\n" not in str(caught.value)


def test_returns_that_are_logged_are_those_below_the_wrappers():
    stack = [
        describe_wrapper(wrappers.RepeatAction, num_repeats=2),
        describe_wrapper(wrappers.ClipReward, max_reward=1),
    ]
    explorer = make_explorer(
        "Counter-v0",
        Scripted([0, 1]),
        env_kwargs={"length": 4},
        n_steps=2,
        norm_wrappers=[*stack, describe_wrapper(Doubled)],
    )
    chunk = explorer.update()
    explorer.close()
    assert chunk["/rewards"][0, :2, 0].tolist() == [2, 2]  # 1 + 2 and 3 + 4, clipped to 1, doubled
    assert [episode.episode_return for episode in explorer.take_episodes()] == [10, 10]  # 1 + 2 + 3 + 4
    assert chunk["/masks"][:, :, 0].tolist() == [[True, True, False]] * 2


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (wrappers.FrameStackObservation, {"stack_size": 3}),
        (wrappers.DelayObservation, {"delay": 2}),
        (wrappers.TimeAwareObservation, {}),
        (wrappers.StickyAction, {"repeat_action_probability": 0.5}),
        (wrappers.RepeatAction, {"num_repeats": 2}),
    ],
)
def test_state_within_an_episode_is_relived(cls, arguments):
    spec = spec_of("Noise-v0", (cls, arguments))
    environment = make_environment(spec)
    seen = []
    for _ in range(2):
        first, _ = environment.reset(seed=3)
        seen.append([first])
        for step in range(8):
            action = np.array([1.0, float(step)], np.float32)
            seen[-1].append(environment.step(action)[0])
    np.testing.assert_equal(seen[0], seen[1])


def test_an_environment_with_wrappers_passes_its_check():
    spec = spec_of(
        "Pendulum-v1", (wrappers.FrameStackObservation, {"stack_size": 2}), (wrappers.DelayObservation, {"delay": 1})
    )
    assert why_no_exact_resume(check_environment(spec, steps=30)) == []


def test_a_wrapper_that_is_not_enabled_is_left_out():
    stack = [describe_wrapper(Doubled, factor=3.0, enabled=False), describe_wrapper(wrappers.TimeAwareObservation)]
    spec = EnvironmentSpec(name="Pendulum-v1", norm_wrappers=from_plain(to_plain(stack)))
    assert [each["class"] for each in spec.norm_wrappers] == [GymnasiumWrapper]
    normalised = describe_wrapper(VecNormalizeObs, enabled=False)
    assert EnvironmentSpec(name="Pendulum-v1", vect_wrappers=[normalised]).vect_wrappers == []


def test_enabled_is_set_from_the_command_line_by_its_path():
    plain = to_plain({"env": describe(EnvironmentSpec, name="Pendulum-v1", norm_wrappers=[describe_wrapper(Doubled)])})
    tree = from_plain(override_tree(plain, {"/env/norm_wrappers/0/enabled": False}))
    assert build(tree["env"], EnvironmentSpec).norm_wrappers == []
    with pytest.raises(UsageError, match="enabled' must be true or false"):
        override_tree(plain, {"/env/norm_wrappers/0/enabled": "no"})


def test_a_goal_is_seen_with_the_first_observation_only():
    environment = make_environment(spec_of("Pendulum-v1", (MaskGoal, {"num_masked": 2})))
    assert environment.reset(seed=0)[0][-1] != 0
    for _ in range(2):
        observation = environment.step(np.zeros(1, np.float32))[0]
        assert observation[0] != 0
        assert observation[1:].tolist() == [0, 0]
        assert environment.observation_space.contains(observation)


@pytest.mark.parametrize(("name", "number", "message"), [
    ("Pendulum-v1", 4, r"num_masked must be an integer in \[1, 3\], got 4"),
    ("Pendulum-v1", 0, r"num_masked must be an integer in \[1, 3\], got 0"),
    ("FrozenLake-v1", 1, "MaskGoal needs observations in a one-dimensional Box, got Discrete"),
])  # fmt: skip
def test_a_goal_that_cannot_be_masked_is_refused(name, number, message):
    with pytest.raises(UsageError, match=message):
        make_environment(spec_of(name, (MaskGoal, {"num_masked": number})))
