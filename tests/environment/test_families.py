"""dm_control, Box2D and Gymnasium-Robotics: their ids, their ends, their arguments, and what is said without them."""

import sys

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.utility.errors import UsageError


def make(name, **kwargs):
    return make_environment(EnvironmentSpec(name=name, kwargs=kwargs))


def run(environment, steps=10_000, seed=0):
    """Random actions until the end. Returns: the number of steps, and whether it was a termination, a truncation."""
    environment.reset(seed=seed)
    environment.action_space.seed(seed)
    for step in range(steps):
        _, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        if terminated or truncated:
            return step + 1, terminated, truncated
    return None


@pytest.mark.parametrize(
    ("task", "dt"),
    [("cheetah-run", 0.01), ("ball_in_cup-catch", 0.02), ("walker-walk", 0.025), ("pendulum-swingup", 0.02)],
)
def test_a_time_limit_of_dm_control_is_a_truncation(task, dt):
    name = f"dm_control/{task}-v0"
    environment = make(name, time_limit=0.4)
    assert environment.dt == dt
    assert environment.metadata["render_fps"] == round(1 / dt)
    assert run(environment) == (round(0.4 / dt), False, True)
    environment.close()
    assert inspect_environment(EnvironmentSpec(name=name, kwargs={"time_limit": 0.4})).max_episode_steps == 0.4 / dt


def test_a_terminal_state_of_dm_control_is_a_termination():
    environment = make("dm_control/lqr-lqr_2_1-v0")
    environment.reset(seed=0)
    _, _, terminated, truncated, _ = environment.step(np.zeros(1))
    assert not terminated
    physics = environment.unwrapped._env.physics
    physics.set_state(np.zeros(physics.state().shape))  # the goal of the regulator
    physics.forward()
    _, _, terminated, truncated, _ = environment.step(np.zeros(1))
    assert (terminated, truncated) == (True, False)
    environment.close()


def test_a_simulation_that_diverges_ends_its_episode_with_its_last_sound_observation():
    environment = make("dm_control/lqr-lqr_6_2-v0")
    last, _ = environment.reset(seed=0)
    for step in range(60):
        observation, reward, terminated, truncated, _ = environment.step(np.full(2, 1e9 * 10.0**step))
        if terminated:
            break
        last = observation
    assert (terminated, truncated, reward) == (True, False, 0)
    assert observation is last
    assert np.isfinite(observation["position"]).all()
    environment.reset(seed=1)
    environment.close()


def test_tasks_that_draw_their_model_draw_the_same_one_each_time():
    masses = []
    for _ in range(2):
        environment = make("dm_control/lqr-lqr_2_1-v0")
        masses.append(environment.unwrapped._env.physics.model.jnt_stiffness.copy())
        environment.close()
    np.testing.assert_array_equal(*masses)


def test_digideeps_ids_give_one_vector_and_dm_controls_own_ids_give_keys():
    info = inspect_environment(EnvironmentSpec(name="dm_control/cheetah-run-v0"))
    assert {path: space.shape for path, space in info.observation_spaces.items()} == {
        "/position": (8,),
        "/velocity": (9,),
    }
    assert info.max_episode_steps == 1000
    by_key, flat = make("dm_control/cheetah-run-v0"), make("DMBenchCheetahRun-v0")
    keys, _ = by_key.reset(seed=3)
    vector, _ = flat.reset(seed=3)
    np.testing.assert_array_equal(vector, np.concatenate([keys["position"], keys["velocity"]]))
    for environment in (by_key, flat):
        environment.close()
    kept = inspect_environment(EnvironmentSpec(name="DMBenchBall_in_cupCatch-v0", kwargs={"flat_observation": False}))
    assert list(kept.observation_spaces) == ["/position", "/velocity"]


def test_control_step_camera_and_image_size_of_dm_control_are_plain_arguments():
    spec = EnvironmentSpec(
        name="dm_control/cheetah-run-v0",
        kwargs={"control_timestep": 0.02, "width": 64, "height": 48, "camera_id": 1, "render_kwargs": {"depth": False}},
    )
    environment = make_environment(spec, render_mode="rgb_array")
    assert environment.dt == 0.02
    assert environment.unwrapped.render_kwargs == {"depth": False, "width": 64, "height": 48, "camera_id": 1}
    environment.close()


def test_a_goal_environment_of_gymnasium_robotics_runs_with_the_mujoco_that_is_here():
    environment = make("FetchReach-v4")
    observation, _ = environment.reset(seed=0)
    assert {key: part.shape for key, part in observation.items()} == {
        "observation": (10,),
        "achieved_goal": (3,),
        "desired_goal": (3,),
    }
    assert run(environment) == (50, False, True)
    environment.close()


def test_a_lander_crashes_within_its_time_limit():
    environment = make("LunarLander-v3")
    steps, terminated, truncated = run(environment)
    assert (terminated, truncated) == (True, False)
    assert steps < environment.spec.max_episode_steps == 1000
    environment.close()


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("dm_control/cheetah-run-v0", "shimmy", "dmc"),
        ("DMBenchCheetahRun-v0", "shimmy", "dmc"),
        ("LunarLander-v3", "Box2D", "box2d"),
        ("FetchReach-v4", "gymnasium_robotics", "robotics"),
        ("ALE/Pong-v5", "ale_py", "atari"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'digideep\[{extra}\]'") as caught:
        make(name)
    assert "\n" not in str(caught.value)


def test_gymnasiums_own_environments_stay_what_they_are():
    make("FetchReach-v4").close()
    assert "gymnasium.envs.mujoco" in gym.registry["HalfCheetah-v5"].entry_point


def test_the_physics_of_dm_control_goes_on_from_a_state_that_was_kept():
    environment = make_environment(EnvironmentSpec(name="DMBenchCheetahRun-v0"))
    environment.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 6))
    for action in actions[:10]:
        environment.step(action)
    state = environment.get_wrapper_attr("get_env_state")()
    seen = [environment.step(action)[0] for action in actions[10:]]
    environment.get_wrapper_attr("set_env_state")(state)
    again = [environment.step(action)[0] for action in actions[10:]]
    np.testing.assert_allclose(again, seen, atol=1e-6)
    assert state.shape == (18,)
