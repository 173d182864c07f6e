"""Where environments draw: a window needs a display, and pictures need a library."""

import ctypes
import ctypes.util
import os
import sys
import traceback
from typing import Any

import gymnasium as gym

from digideep.utility.errors import UsageError

_LIBRARIES = {"egl": ("EGL", "libEGL.so.1"), "osmesa": ("OSMesa", "libOSMesa.so.8")}


def choose_graphics() -> None:
    """Let MuJoCo and dm_control draw without a display, or do without drawing.

    Both load their library when they are imported, and cannot be imported where it is missing, even if nothing is ever
    drawn. So `MUJOCO_GL` names a library that can be loaded, or "disabled". It must be set before the import.
    """
    if not sys.platform.startswith("linux"):
        return
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not asked and not os.environ.get("DISPLAY"):
        platform = os.environ.get("PYOPENGL_PLATFORM", "")
        candidates = [platform] if platform in _LIBRARIES else [*_LIBRARIES]
        os.environ["MUJOCO_GL"] = next(filter(_can_be_loaded, candidates), "disabled")
    elif (asked in _LIBRARIES and not _can_be_loaded(asked)) or (asked == "glfw" and not has_display()):
        os.environ["MUJOCO_GL"] = "disabled"


def give_up_drawing(err: ImportError) -> bool:
    """Let dm_control be imported again without drawing, if a library that can be loaded does not work here.

    Args:
        err: what its import raised.

    Returns:
        True if there is another way to try.
    """
    is_of_drawing = any("_render" in frame.filename for frame in traceback.extract_tb(err.__traceback__))
    if os.environ.get("MUJOCO_GL") not in _LIBRARIES or not is_of_drawing:
        return False
    os.environ["MUJOCO_GL"] = "disabled"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("dm_control", "shimmy")]:
        del sys.modules[name]
    return True


def _can_be_loaded(name: str) -> bool:
    short, full = _LIBRARIES[name]
    try:
        ctypes.CDLL(ctypes.util.find_library(short) or full)
    except OSError:
        return False
    return True


def has_display() -> bool:
    """True if a window can be opened here."""
    if not sys.platform.startswith("linux"):
        return True
    name = os.environ.get("WAYLAND_DISPLAY", "")
    if name and os.path.exists(os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), name)):
        return True
    if not os.environ.get("DISPLAY"):
        return False
    try:
        x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(display)
    return bool(display)


def require_display(environment: str) -> None:
    """Refuse a window where there is none: GLFW aborts the interpreter, SDL draws to nowhere.

    Raises:
        UsageError: saying what to do.
    """
    if not has_display():
        shown = os.environ.get("DISPLAY")
        reason = f"the display {shown!r} does not answer" if shown else "there is no display (DISPLAY is not set)"
        raise UsageError(f"{environment} cannot be shown in a window: {reason}. Use --render video or none.")


def follow_the_body(environment: gym.Env, kwargs: dict[str, Any]) -> None:
    """Let pictures of a simulated body be taken from the camera that its model calls "track".

    gymnasium 1.4 takes them from a camera that stands still, unless the environment says which body it follows.
    HalfCheetah, Ant and Swimmer do not say, and run out of the picture.

    Args:
        environment: any; only gymnasium's own of MuJoCo are changed.
        kwargs: that it was made with. A camera among them stays.
    """
    renderer = getattr(environment.unwrapped, "mujoco_renderer", None)
    if renderer is None or not {"camera_id", "camera_name", "default_camera_config"}.isdisjoint(kwargs):
        return
    import mujoco

    if "trackbodyid" not in (renderer.default_cam_config or {}):
        renderer.camera_id = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")  # -1 if it has none


def keep_off_the_screen() -> None:
    """Let SDL draw pictures without looking for a screen, where none answers: it would complain on standard error."""
    if not os.environ.get("SDL_VIDEODRIVER") and not has_display():
        os.environ["SDL_VIDEODRIVER"] = "dummy"
