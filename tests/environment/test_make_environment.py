"""Making environments, their spaces, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.spaces import ActionScaler, agent_action_space, observation_spaces
from digideep.utility.errors import UsageError


def test_mujoco_writes_no_log_into_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_environment(EnvironmentSpec(name="HalfCheetah-v5")).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "CartPole-v9"}, r"Unknown environment 'CartPole-v9'. Did you mean 'CartPole-v1'\?"),
        ({"name": "HalfCheeta-v5"}, r"Did you mean 'HalfCheetah-v5'\?"),
        ({"name": "qwertyuiop"}, "Give an id that gymnasium knows"),
        ({"name": "CartPole-v1", "kwargs": {"gravity_": 3}}, "'CartPole-v1' cannot be made with .*gravity_"),
        ({"name": "CartPole-v1", "from_module": "no.such.module"}, "from_module 'no.such.module' cannot be imported"),
        (
            {"name": "Senses-v0", "from_module": "tests.support.senses", "kwargs": {"actions": "words"}},
            "Actions Text.* Expected",
        ),
        ({"name": "CartPole-v1", "info_keys": ["mood"]}, "info_keys: the environment's info has no 'mood'."),
        ({"name": "CartPole-v1", "info_keys": "mood"}, "info_keys must be a list of names, got 'mood'."),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(spec, message):
    with pytest.raises(UsageError, match=message) as caught:
        inspect_environment(EnvironmentSpec(**spec))
    assert "\n" not in str(caught.value)


def test_a_time_limit_can_be_given():
    info = inspect_environment(EnvironmentSpec(name="CartPole-v1", max_episode_steps=7))
    assert info.max_episode_steps == 7
    assert "rgb_array" in info.render_modes


def test_double_precision_is_narrowed_and_nested_paths_are_joined():
    spaces = observation_spaces(
        gym.spaces.Dict({"x": gym.spaces.Dict({"y": gym.spaces.Box(-1, 1, (3,), np.float64)})}), "/k"
    )
    assert list(spaces) == ["/x/y"]
    assert spaces["/x/y"].dtype == np.float32


def test_bounded_actions_are_clipped_and_scaled_and_unbounded_ones_pass():
    space = gym.spaces.Box(np.array([0, -np.inf], np.float32), np.array([10, np.inf], np.float32))
    edge = ActionScaler(space)
    assert edge(np.array([[-1, 5], [0, -7], [3, 100]], np.float32)).tolist() == [[0, 5], [5, -7], [10, 100]]
    assert agent_action_space(space).low.tolist() == [-1, -np.inf]


def test_the_edge_never_changes_what_it_was_given():
    actions = np.array([[2.0]], np.float32)
    assert ActionScaler(gym.spaces.Box(-1, 1, (1,)))(actions).tolist() == [[1.0]]
    assert actions.tolist() == [[2.0]]
