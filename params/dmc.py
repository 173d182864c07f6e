"""What recipes share about dm_control's tasks: what is seen and played, as numbers or as pixels."""

from typing import Any

import gymnasium as gym

from digideep.environment.making.dm_control import PixelObservation
from digideep.environment.making.wrappers import describe_wrapper
from digideep.parameters.checks import require, require_int
from digideep.parameters.component import Description
from params import shared


def panel() -> dict[str, Any]:
    """Return the keys of the control panels that say what is seen and played."""
    return {
        "model_name": "dm_control/cheetah-run-v0",  # or DMBenchCheetahRun-v0, which gives one vector as /agent
        "observation_path": None,  # all of them, joined to one vector; or a list such as ["/position", "/velocity"]
        "frame_skip": 1,  # control steps for each action
        "from_pixels": False,  # true sees pictures instead of numbers, as /agent
        "screen_size": 84,  # of a picture: height and width
        "frame_stack": 3,  # newest pictures that an observation consists of
        "camera": 0,  # that takes them; quadrupeds need 2
    }


def environment(cpanel: dict[str, Any]) -> Description:
    """Describe the environment of a task."""
    skip = cpanel["frame_skip"]
    require_int("frame_skip", skip, 1, 1_000)
    require(isinstance(cpanel["from_pixels"], bool), "from_pixels", cpanel["from_pixels"], "true or false")
    require_int("frame_stack", cpanel["frame_stack"], 1, 256)
    wrappers = [describe_wrapper(gym.wrappers.RepeatAction, num_repeats=skip)] if skip > 1 else []
    pixels = [  # a panel that says false may have their keys
        describe_wrapper(PixelObservation, screen_size=cpanel["screen_size"], camera=cpanel["camera"]),
        describe_wrapper(gym.wrappers.FrameStackObservation, stack_size=cpanel["frame_stack"]),
    ]
    wrappers += pixels if cpanel["from_pixels"] else []
    return shared.environment_tree(cpanel, norm_wrappers=wrappers)


def memory(cpanel: dict[str, Any]) -> dict[str, Any]:
    """Describe the memory of a replay method, which keeps each picture once."""
    stacks = {"stacks": {"/observations/agent": cpanel["frame_stack"]}} if cpanel["from_pixels"] else {}
    return shared.memory_tree(cpanel, **stacks)
