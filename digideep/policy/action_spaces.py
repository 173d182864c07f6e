"""Which methods take which actions: said to whoever chose one that does not."""

from typing import Any, NoReturn, TypeGuard

import gymnasium as gym
import numpy as np

from digideep.utility.errors import UsageError

_ALL, _NUMBERED = "PPO or A2C", "PPO, A2C, DQN, QR-DQN, PQN or discrete SAC"
_BOUNDED = "PPO, A2C, SAC, TQC, CrossQ, TD3 or DDPG"


def is_bounded(space: gym.Space[Any]) -> TypeGuard[gym.spaces.Box]:
    """True for a Box with finite bounds."""
    return isinstance(space, gym.spaces.Box) and bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())


def refuse_actions(name: str, needed: str, space: gym.Space[Any]) -> NoReturn:
    """Raise a UsageError. Args: name: of who refuses; needed: what it takes; space: what it was given instead."""
    others = _NUMBERED if isinstance(space, gym.spaces.Discrete) else _BOUNDED if is_bounded(space) else _ALL
    if isinstance(space, gym.spaces.Dict):
        others += ", or give each entry an agent of its own by players"
    raise UsageError(f"{name} needs {needed}, got {space}. For these take {others}.")
