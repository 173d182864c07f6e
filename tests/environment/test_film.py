"""Films of episodes: whatever `render` gives, the episode is played, and the film shows what there is."""

import logging

import imageio.v3 as imageio
import numpy as np
import pytest

from digideep.environment.making.film import Pictures
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.environment.tools.check import why_no_video
from tests.support.unruly import Films  # noqa: F401


@pytest.fixture(autouse=True)
def _log(monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)


def film(kind, directory, episodes=1):
    """Play episodes of five steps. Returns: the films' paths."""
    spec = EnvironmentSpec(name="Films-v0", from_module="tests.support.unruly", kwargs={"kind": kind})
    environment = make_environment(spec, render_mode="rgb_array", video_dir=directory)
    for seed in range(episodes):
        environment.reset(seed=seed)
        while not environment.step(0)[3]:
            pass
    environment.close()
    return sorted(directory.glob("*.mp4"))


@pytest.mark.parametrize(
    "kind",
    ["", "one buffer", "floats", "floats to 255", "grey", "grey with a colour", "RGBA", "channels first", "a list",
     "integers", "bool", "none at times", "an odd size"],
)  # fmt: skip
def test_a_film_becomes_as_light_as_its_pictures_whatever_form_they_have(kind, tmp_path, caplog):
    (path,) = film(kind, tmp_path)
    pictures = imageio.imread(path)
    assert pictures.shape == (6, 32, 48, 3)
    brightness = pictures[:, 4:28, 4:28].mean((1, 2, 3))
    assert brightness[0] < 10
    assert brightness[-1] > 245 or kind == "none at times"  # the last picture is one that is missing
    assert (np.diff(brightness) >= 0).all()
    assert len(caplog.records) == (kind == "none at times")


@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("a size that changes", 6, "pictures changed their size"),
        ("a size that grows", 6, "pictures changed their size"),
        ("raises late", 3, "RuntimeError: the lamp is broken: its film ends there"),
        ("exit 0 in render", 0, "called sys.exit(0) (unruly.py, line "),
        ("nothing", 0, "render() gave no picture: it is not filmed"),
        ("an empty list", 0, "render() gave no picture: it is not filmed"),
        ("text", 0, "render() gave str of shape ()"),
    ],
)
def test_a_film_that_fails_costs_one_line_and_no_episode(kind, count, said, tmp_path, caplog):
    spec_name = "Films-v0" if "exit" not in kind else "Unruly-v0"
    spec = EnvironmentSpec(name=spec_name, from_module="tests.support.unruly", kwargs={"kind": kind})
    environment = make_environment(spec, render_mode="rgb_array", video_dir=tmp_path)
    for seed in (0, 1):
        environment.reset(seed=seed)
        assert [environment.step(0)[3] for _ in range(5)][-1]
    environment.close()
    films = sorted(tmp_path.glob("*.mp4"))
    assert len(films) == (2 if count else 0)
    assert [len(imageio.imread(path)) for path in films] == [count] * len(films)
    assert len(caplog.records) == 1  # of two episodes
    assert said in caplog.text


def test_each_episode_has_its_film(tmp_path):
    assert [path.name for path in film("", tmp_path, 3)] == [f"play-episode-{n}.mp4" for n in range(3)]


def test_pictures_are_of_their_own_and_of_the_first_ones_size():
    pictures = Pictures()
    given = np.zeros((3, 5, 3), np.uint8)
    first = pictures.take(given)
    given[:] = 9
    second = pictures.take(given)
    assert first.shape == second.shape == (4, 6, 3)
    assert first.max() == 0
    assert (second[:3, :5] == 9).all()
    assert second[3].max() == 0
    assert not pictures.has_changed
    assert (pictures.take(np.full((9, 2), 7, np.uint8))[:, :2] == 7).all()
    assert pictures.has_changed


def test_floats_are_shares_until_one_is_greater_than_one():
    pictures = Pictures()
    assert pictures.take(np.full((2, 2), 0.5))[0, 0, 0] == 128
    assert pictures.take(np.full((2, 2), np.nan))[0, 0, 0] == 0
    assert pictures.take(np.full((2, 2), 200.0))[0, 0, 0] == 200
    assert pictures.take(np.full((2, 2), 1.0))[0, 0, 0] == 1
    with pytest.raises(ValueError, match=r"shape \(2, 2, 5\), whose last dimension is no colour"):
        pictures.take(np.zeros((2, 2, 5)))


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("Films-v0", "nothing", "render() gives no picture"),
        ("Films-v0", "text", "ValueError: render() gave str"),
        ("Unruly-v0", "exit 0 in render", "called sys.exit(0)"),
        ("Unruly-v0", "raise in reset", "RuntimeError: the gripper is stuck"),
    ],
)
def test_it_is_said_why_there_can_be_no_film(name, kind, reason):
    assert reason in why_no_video(EnvironmentSpec(name=name, from_module="tests.support.unruly", kwargs={"kind": kind}))
