"""Families of environments that come with packages of their own: what they need, and where they need a hand.

Packages are imported when one of their environments is asked for, never before.
"""

import contextlib
import io
import logging
import re
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.making import dm_control
from digideep.environment.making.atari import register_games
from digideep.environment.making.graphics import give_up_drawing
from digideep.utility.errors import UsageError
from digideep.utility.importing import import_outside_sessions


@dataclass(frozen=True)
class Family:
    """Environments of one package."""

    name: str  # as it stands in messages
    pattern: str  # of the ids, matched at their start
    module: str  # what to import; the ids are registered by then
    extra: str  # of digideep, which brings the package
    prepare: Callable[[], None] = lambda: None  # called after the import, as often as an environment is made
    # Keyword arguments as a person writes them -> as the registered maker takes them.
    translate: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda name, kwargs: kwargs
    finish: Callable[[gym.Env], gym.Env] = lambda environment: environment  # put around one that was just made

    def provide(self) -> None:
        """Import the package, so that its environments are registered.

        Raises:
            ImportError: if it is not installed.
            UsageError: if a session would be imported in its place.
        """
        # Box2D's wrapper code still has types without a module, which Python 3.12 deprecates; as an error that kills
        # the interpreter. gymnasium-robotics prints a notice of its own with each import.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore", DeprecationWarning)
            import_outside_sessions(self.module)
        self.prepare()


def _mend_robotics() -> None:
    """Let gymnasium-robotics 1.4 run with MuJoCo 3.12 and later.

    There an enum no longer equals a numpy integer from its own side, and `set_joint_qpos` asks `joint_type in (enum,
    ...)`: every Fetch and Hand environment and the kitchen end in a bare AssertionError. The helper module gets the
    same enum as integers.
    """
    import mujoco
    from gymnasium_robotics.utils import mujoco_utils

    joints = mujoco.mjtJoint
    if np.int32(joints.mjJNT_HINGE.value) in (joints.mjJNT_HINGE,) or mujoco_utils.mujoco is not mujoco:
        return
    integers = types.SimpleNamespace(**{name: int(member) for name, member in joints.__members__.items()})
    mujoco_utils.mujoco = types.SimpleNamespace(**{**vars(mujoco), "mjtJoint": integers})


def _quieten_mujoco() -> None:
    """Send MuJoCo's warnings to the log: left alone, it writes MUJOCO_LOG.TXT into the current directory."""
    try:
        import mujoco
    except ImportError:
        return  # gymnasium says what to install

    def warn(message: str) -> None:
        level = logging.DEBUG if "deprecated" in message else logging.WARNING
        logging.getLogger("digideep").log(level, "MuJoCo: %s", message)

    mujoco.set_mju_user_warning(warn)


FAMILIES = (
    Family(
        "dm_control", r"dm_control/|DMBench", "shimmy", "dmc",
        dm_control.prepare, dm_control.translate, dm_control.DmControlEpisode,
    ),
    Family(
        "Gymnasium-Robotics", r"Fetch|HandReach|HandManipulate|PointMaze|AntMaze|AdroitHand|FrankaKitchen",
        "gymnasium_robotics", "robotics", _mend_robotics,
    ),
    Family("Box2D", r"LunarLander|BipedalWalker|CarRacing", "Box2D", "box2d"),
    Family("Atari", r"ALE/", "ale_py", "atari", register_games),
)  # fmt: skip


def provide(name: str) -> Family | None:
    """Import the package of an environment, so that its ids are registered. Returns: its family, if it has one.

    Raises:
        UsageError: if the package is missing, naming the extra that brings it.
    """
    family = next((family for family in FAMILIES if re.match(family.pattern, name)), None)
    if family is not None:
        try:
            try:
                family.provide()
            except ImportError as err:
                if not give_up_drawing(err):
                    raise
                family.provide()
        except ImportError as err:
            raise UsageError(
                f"Environment '{name}' needs {family.name}, which is not here ({err}): "
                f"pip install 'digideep[{family.extra}]'."
            ) from err
    known = gym.registry.get(name)
    if family is not None or (known is not None and "mujoco" in str(known.entry_point)):
        _quieten_mujoco()
    return family


def provide_all() -> list[str]:
    """Register the ids of all families that are installed. Returns: a line for each that is not."""
    missing = []
    for family in FAMILIES:
        try:
            family.provide()
        except (ImportError, UsageError):
            missing.append(f"{family.name} is not installed: pip install 'digideep[{family.extra}]'")
    return missing
