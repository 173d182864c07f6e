"""Where there is no display, what draws nothing runs, and what would draw says why it cannot."""

import os
import subprocess
import sys

import numpy as np
import pytest

from digideep.environment.making import graphics
from digideep.environment.making.graphics import choose_graphics, has_display, keep_off_the_screen, require_display
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.main import main
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, ROOT, tiny

HEADLESS = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM", "SDL_VIDEODRIVER")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")


@pytest.fixture(autouse=True)
def _headless(monkeypatch):
    for name in HEADLESS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "loadable", "expected"),
    [
        ({}, {"egl", "osmesa"}, "egl"),
        ({}, {"osmesa"}, "osmesa"),
        ({}, set(), "disabled"),
        ({"PYOPENGL_PLATFORM": "osmesa"}, {"egl", "osmesa"}, "osmesa"),
        ({"PYOPENGL_PLATFORM": "egl"}, {"osmesa"}, "disabled"),
        ({"MUJOCO_GL": "egl"}, set(), "disabled"),
        ({"MUJOCO_GL": "osmesa"}, {"egl", "osmesa"}, "osmesa"),
        ({"MUJOCO_GL": "glfw"}, {"egl"}, "disabled"),
        ({"DISPLAY": ":0"}, {"egl"}, None),
    ],
)
def test_a_library_is_named_that_can_be_loaded(given, loadable, expected, monkeypatch):
    monkeypatch.setattr(graphics, "_can_be_loaded", lambda name: name in loadable)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    choose_graphics()
    assert os.environ.get("MUJOCO_GL") == expected


WITHOUT_LIBRARIES = """
import ctypes, ctypes.util
load, find = ctypes.CDLL.__init__, ctypes.util.find_library

def missing(self, name, *args, **kwargs):
    if name and any(part in str(name) for part in ("EGL", "OSMesa")):
        raise OSError("not here")
    load(self, name, *args, **kwargs)

ctypes.CDLL.__init__ = missing
ctypes.util.find_library = lambda name: None if name in ("EGL", "OSMesa") else find(name)
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.environment.tools.check import why_no_video

for name in ("Hopper-v5", "dm_control/cheetah-run-v0"):
    spec = EnvironmentSpec(name=name)
    environment = make_environment(spec)
    environment.reset(seed=0)
    environment.step(environment.action_space.sample())
    print(name, "runs:", why_no_video(spec))
"""


def test_mujoco_simulates_where_it_cannot_draw():
    environment = {name: value for name, value in os.environ.items() if name not in HEADLESS}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(" runs: ")[0] for line in lines] == ["Hopper-v5", "dm_control/cheetah-run-v0"]
    assert not any(line.endswith("None") for line in lines)


def test_mujoco_simulates_where_its_library_does_not_work():
    environment = {name: value for name, value in os.environ.items() if name not in HEADLESS}
    environment |= {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "osmesa"}  # which is no way to draw
    code = WITHOUT_LIBRARIES.partition("from digideep")
    done = subprocess.run(
        [sys.executable, "-c", code[1] + code[2]], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" runs: ")[0] for line in done.stdout.splitlines()] == ["Hopper-v5", "dm_control/cheetah-run-v0"]
    assert "Traceback" not in done.stderr


def test_a_window_needs_a_display_that_answers(monkeypatch):
    assert not has_display()
    with pytest.raises(UsageError, match=r"X-v0 cannot be shown in a window: there is no display \(DISPLAY is not set"):
        require_display("X-v0")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(UsageError, match="the display ':987' does not answer"):
        require_display("X-v0")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-987")
    assert not has_display()


@pytest.mark.parametrize("name", ["CartPole-v1", "Hopper-v5"])
def test_a_window_without_a_display_is_refused_before_anything_is_made(name, tmp_path, capsys):
    argv = ["--params", CLASSIC, "--cpanel", tiny(model_name="CartPole-v1"), "--session-path", str(tmp_path / "s")]
    assert main([*argv, "--play", "--render", "human"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "s").exists()
    with pytest.raises(UsageError, match="cannot be shown in a window"):
        make_environment(EnvironmentSpec(name=name), render_mode="human")


def test_pictures_are_drawn_without_looking_for_a_screen(monkeypatch):
    keep_off_the_screen()
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")  # what the user has set stays
    keep_off_the_screen()
    assert os.environ["SDL_VIDEODRIVER"] == "x11"
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr(graphics, "has_display", lambda: True)
    keep_off_the_screen()
    assert "SDL_VIDEODRIVER" not in os.environ


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_screen_that_does_not_answer_costs_no_word_on_the_panel(name):
    variables = {key: value for key, value in os.environ.items() if key not in (*HEADLESS, "XDG_RUNTIME_DIR")}
    code = (
        "from digideep.environment.making.make_environment import EnvironmentSpec, make_environment\n"
        "environment = make_environment(EnvironmentSpec(name='CartPole-v1'), render_mode='rgb_array')\n"
        "environment.reset(seed=0)\n"
        "print(environment.render().shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**variables, name: ":987"}
    )
    assert (done.stdout, done.stderr) == ("(400, 600, 3)\n", "")


@pytest.mark.parametrize(
    ("name", "kwargs", "camera"),
    [
        ("HalfCheetah-v5", {}, "track"),
        ("Ant-v5", {}, "track"),
        ("Swimmer-v5", {}, "track"),
        ("HalfCheetah-v5", {"camera_id": -1}, None),
        ("Pusher-v5", {}, None),
    ],
)
def test_the_camera_follows_a_body_that_runs_away_unless_another_is_asked_for(name, kwargs, camera):
    environment = make_environment(EnvironmentSpec(name=name, kwargs=kwargs), render_mode="rgb_array")
    renderer = environment.unwrapped.mujoco_renderer
    assert camera == (renderer.model.camera(renderer.camera_id).name if renderer.camera_id >= 0 else None)
    environment.close()


def test_films_of_dm_control_are_taken_by_the_camera_that_follows_unless_another_is_asked_for():
    for kwargs, expected in (({}, 0), ({"camera_id": 1}, 1), ({"camera_id": -1}, -1)):
        spec = EnvironmentSpec(name="dm_control/cheetah-run-v0", kwargs=kwargs)
        environment = make_environment(spec, render_mode="rgb_array")
        environment.reset(seed=0)
        physics = environment.unwrapped._env.physics
        physics.named.data.qpos["rootx"] = 30.0  # out of the free camera's sight
        physics.forward()
        picture = environment.render()
        np.testing.assert_array_equal(picture, physics.render(camera_id=expected))
        environment.close()
