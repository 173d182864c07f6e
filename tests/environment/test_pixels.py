"""dm_control from pixels: what is seen, that it repeats itself to the bit, and what is refused."""

import json

import gymnasium as gym
import numpy as np
import pytest

from digideep.environment.making import dm_control
from digideep.environment.making.dm_control import PixelObservation
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.making.wrappers import describe_wrapper
from digideep.main import main
from digideep.utility.errors import UsageError
from params import dmc, sac_dmc
from tests.support.helpers import ROOT

TASK = "dm_control/cartpole-balance-v0"


def make(name=TASK, stack=None, **parameters):
    wrappers = [describe_wrapper(PixelObservation, **{"screen_size": 12} | parameters)]
    wrappers += [describe_wrapper(gym.wrappers.FrameStackObservation, stack_size=stack)] if stack else []
    return make_environment(EnvironmentSpec(name=name, norm_wrappers=wrappers))


def film(environment, steps=4, seed=3):
    """What is seen in an episode of random actions."""
    actions = np.random.default_rng(seed)
    seen = [environment.reset(seed=seed)[0]]
    for _ in range(steps):
        seen.append(environment.step(actions.uniform(-1, 1, environment.action_space.shape))[0])
    return np.stack(seen)


def test_pictures_take_the_place_of_numbers_and_repeat_themselves_to_the_bit():
    environment, other = make(), make()
    pictures = film(environment)
    assert (pictures.shape, pictures.dtype) == ((5, 12, 12, 3), np.uint8)
    assert environment.observation_space.contains(pictures[0])
    assert len({picture.tobytes() for picture in pictures}) > 2, "something moves"
    film(environment, seed=4)
    assert np.array_equal(film(environment), pictures)
    assert np.array_equal(film(other), pictures)
    pixels = other.unwrapped._env.physics.render(12, 12, camera_id=0)
    assert np.array_equal(pixels, pictures[-1])
    assert not np.array_equal(film(make(camera=1), 1), pictures[:2])


def test_stacks_begin_with_the_first_picture_repeated():
    stacks = film(make(stack=3))
    assert stacks.shape == (5, 3, 12, 12, 3)
    assert (stacks[0] == stacks[0, :1]).all()
    assert np.array_equal(stacks[2, 0], stacks[0, 2])


def test_a_simulation_that_diverges_ends_with_the_picture_before(monkeypatch):
    numbers = iter(range(100))  # a picture is its number
    monkeypatch.setattr(PixelObservation, "_draw", lambda self: np.full((12, 12, 3), next(numbers), np.uint8))
    environment = make("dm_control/lqr-lqr_6_2-v0")
    last, _ = environment.reset(seed=0)
    for step in range(60):
        picture, _, terminated, _, _ = environment.step(np.full(2, 1e9 * 10.0**step))
        if terminated:
            assert np.array_equal(picture, last)
            return
        last = picture
    raise AssertionError("it has not diverged")


def test_what_has_no_camera_is_refused(monkeypatch):
    with pytest.raises(UsageError, match=r"camera must be an integer in \[-1, 1\], got 7"):
        make(camera=7)
    with pytest.raises(UsageError, match=r"from_pixels is for dm_control's tasks, and <Pendulum"):
        make("Pendulum-v1")
    with pytest.raises(UsageError, match="screen_size must be an integer in"):
        make(screen_size=0)

    def fail(self):
        raise RuntimeError("no\nlibrary")

    monkeypatch.setattr(dm_control.PixelObservation, "_draw", fail)
    with pytest.raises(UsageError, match=r"from_pixels cannot draw here: no library\. Install EGL or OSMesa"):
        make()


def test_the_panel_says_what_is_seen():
    plain, pixels = (sac_dmc.cpanel | {"model_name": TASK, **changes} for changes in ({}, {"from_pixels": True}))
    assert dmc.environment(plain)["norm_wrappers"] == []
    assert "stacks" not in dmc.memory(plain)
    assert dmc.memory(pixels)["stacks"] == {"/observations/agent": 3}
    tree = dmc.environment(pixels | {"frame_skip": 2, "screen_size": 20})
    spec = EnvironmentSpec(**{key: value for key, value in tree.items() if key != "class"})
    info = inspect_environment(spec)
    assert info.observation_spaces["/agent"].shape == (3, 20, 20, 3)
    assert info.max_episode_steps == 1000
    for key, value in (("from_pixels", 1), ("frame_stack", 0), ("frame_skip", 0)):
        with pytest.raises(UsageError, match=f"{key} must be"):
            dmc.environment(pixels | {key: value})


def test_learning_from_pixels_resumes_exactly(capfd):
    """In processes of their own: a fork would inherit threads of the library that draws."""
    small = {
        "model_name": TASK, "env_kwargs": {"time_limit": 0.2}, "epoch_size": 4, "n_steps": 3, "warm_start": 6,
        "batch_size": 4, "memory_size_in_chunks": 20, "test_activate": False, "compile": "off", "num_threads": 1,
        "hidden_sizes": [8], "screen_size": 16, "frame_skip": 2, "random_shift": 2,
    }  # fmt: skip
    params = str(ROOT / "params/ddpg_drqv2.py")
    assert main(["--params", params, "--verify-resume", "2", "--device", "cpu", "--cpanel", json.dumps(small)]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("sac_classic", {"random_shift": 4}, "random_shift=4 shifts images, but the agent sees only /agent Box"),
        ("ddpg_drqv2", {"from_pixels": False}, "DrQCNN needs images, but the policy sees only Box"),
        ("ddpg_drqv2", {"bc_steps": 3}, "bc_steps=3 needs a data set"),
        ("ddpg_drqv2", {"screen_size": 8}, "DrQCNN needs images of at least 15 x 15 pixels, got 8 x 8"),
        ("ddpg_drqv2", {"random_shift": 4, "channel_axis": "up"}, "channel_axis must be first, last or null, got 'up'"),
        ("sac_drq", {"encoder": "resnet"}, "encoder must be nature, impala or drq, got 'resnet'"),
    ],
)
def test_bad_panels_are_refused_in_one_line(capsys, recipe, changes, words):
    small = {"memory_size": 600} | ({} if recipe == "sac_classic" else {"model_name": TASK}) | changes
    assert main(["--params", str(ROOT / f"params/{recipe}.py"), "--dry-run", "--cpanel", json.dumps(small)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
