"""What environments say of goals, and which of them cannot."""

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.making.goals import EnvironmentGoals
from digideep.environment.making.make_environment import EnvironmentSpec
from digideep.environment.making.wrappers import describe_wrapper
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward, VecSignReward
from digideep.parameters.component import Component, describe
from digideep.utility.errors import UsageError
from digideep.utility.process_state import globals_state, unchanged_globals

PATHS = "/achieved_goal", "/desired_goal"
ACHIEVED = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
DESIRED = np.array([[0.2], [1.6], [2.4], [0.0]], np.float32)


class Doubled(gym.RewardWrapper, Component):
    """Doubles rewards; says of goals what it does, if it is `fair`."""

    def __init__(self, env, *, is_fair: bool = True):
        super().__init__(env)
        if is_fair:
            self.compute_reward = lambda *given: 2 * env.unwrapped.compute_reward(*given)

    def reward(self, reward):
        return 2 * reward


def outcomes(name="GoalLine-v0", paths=PATHS, info_keys=(), vect_wrappers=(), norm_wrappers=(), **kwargs):
    spec = EnvironmentSpec(
        name=name, from_module="tests.support.goals", kwargs=kwargs, info_keys=list(info_keys),
        vect_wrappers=list(vect_wrappers), norm_wrappers=list(norm_wrappers),
    )  # fmt: skip
    return EnvironmentGoals(spec).of(*paths)


@pytest.mark.parametrize("takes_one", [False, True])
def test_rewards_are_the_environments_own_whether_it_takes_one_goal_or_many(takes_one, caplog):
    asked = outcomes(takes_one=takes_one)
    rewards = asked.rewards(ACHIEVED, DESIRED, {})
    assert rewards.tolist() == [0, -1, 0, -1]
    assert rewards.dtype == np.float32
    assert asked.terminations(ACHIEVED, DESIRED, {}) is None
    assert asked._reward.is_vectorised is not takes_one
    assert ("takes one goal at a time" in caplog.text) is takes_one


def test_answers_to_many_goals_are_believed_only_if_they_are_those_to_each():
    asked = outcomes(fault="order")
    assert asked.rewards(ACHIEVED, DESIRED, {}).tolist() == [0, -1, 0, -1]
    assert not asked._reward.is_vectorised


def test_an_end_is_asked_for_each_goal_alone_where_one_call_cannot_tell():
    asked = outcomes(is_terminal=True)
    assert asked.terminations(ACHIEVED, DESIRED, {}).tolist() == [True, False, True, False]
    assert not asked._terminated.is_vectorised, "it looks at the first goal only"


@pytest.mark.parametrize("takes_one", [False, True])
def test_infos_that_are_kept_are_handed_over(takes_one):
    asked = outcomes(counts=True, takes_one=takes_one, info_keys=["steps"])
    assert asked.rewards(ACHIEVED, DESIRED, {"steps": np.array([1, 2, 3, 4])}).tolist() == [-1, -3, -3, -5]


def test_a_wrapper_that_changes_rewards_may_say_what_becomes_of_goals():
    stack = [describe_wrapper(Doubled), describe_wrapper(gym.wrappers.ClipAction)]
    for number in (1, 2):
        asked = outcomes(norm_wrappers=stack[:number])
        assert asked.rewards(ACHIEVED, DESIRED, {}).tolist() == [0, -2, 0, -2]


def test_an_environment_whose_action_has_parts_is_asked_below_what_joins_them():
    assert outcomes(has_parts=True).rewards(ACHIEVED, DESIRED, {}).tolist() == [0, -1, 0, -1]


def test_normalised_observations_that_are_no_goals_do_no_harm():
    wrapper = describe(VecNormalizeObs, paths=["/observation"])
    assert outcomes(vect_wrappers=[wrapper]).rewards(ACHIEVED, DESIRED, {}).shape == (4,)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"name": "Pendulum-v1"}, r"needs the observation '/achieved_goal', which Pendulum-v1 does not have\. Known"),
        (
            {"paths": ("/achieved", "/desired_goal")},
            r"needs the observation '/achieved',.*Did you mean '/achieved_goal'",
        ),
        ({"fault": "mute"}, r"hindsight needs compute_reward\(achieved_goal, desired_goal, info\), of GoalLine-v0"),
        (
            {"fault": "lie"},
            r"compute_reward of GoalLine-v0 says \[.*\] of steps that brought \[.*\]: they must agree",
        ),
        ({"fault": "raise"}, "compute_reward of GoalLine-v0 failed: RuntimeError: no idea at all"),
        ({"fault": "shape"}, "needs goals of one kind: /achieved_goal is Box"),
        ({"counts": True}, r"asks for info\['steps'\], which is not kept\. Add it to info_keys"),
        (
            {"norm_wrappers": [describe_wrapper(Doubled, is_fair=False)]},
            "of wrappers that change rewards or goals, it asks theirs",
        ),
        (
            {"vect_wrappers": [describe(VecSignReward)]},
            "needs rewards as they are. Leave VecSignReward out of vect_wrappers",
        ),
        ({"vect_wrappers": [describe(VecNormalizeReward, gamma=0.9)]}, "Leave VecNormalizeReward out"),
        ({"vect_wrappers": [describe(VecNormalizeObs)]}, "needs goals as they are. Give VecNormalizeObs 'paths'"),
        (
            {"vect_wrappers": [describe(VecNormalizeObs, paths=["/desired_goal"])]},
            "Give VecNormalizeObs 'paths' of other observations",
        ),
        ({"name": "tests/class", "paths": PATHS}, "needs the observation|has several players|Unknown environment"),
    ],
)
def test_what_says_nothing_of_goals_or_something_else_is_refused_in_one_line(how, message):
    with pytest.raises(UsageError, match=message) as refusal:
        outcomes(**how)
    assert "\n" not in str(refusal.value)


def test_asking_changes_no_global_generator():
    spec = EnvironmentSpec(name="tests.support.goals:GoalLine-v0", norm_wrappers=[describe_wrapper(Drawing)])
    before = str(globals_state())
    EnvironmentGoals(spec, unchanged_globals).of(*PATHS)
    assert str(globals_state()) == before
    EnvironmentGoals(spec).of(*PATHS)
    assert str(globals_state()) != before, "the wrapper draws from one"


class Drawing(gym.Wrapper, Component):
    """Draws from numpy's global generator at each reset."""

    def reset(self, **options):
        np.random.random()
        return self.env.reset(**options)
