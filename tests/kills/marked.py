"""Environments that tell from outside whether a run trains or tests: by the one byte in the file `$KILLS_MARK`.

Importing this module registers them.
"""

import os

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv

from digideep.environment.making.parallel_games import register_parallel
from digideep.environment.reach import Reach
from tests.support.parallel import Roster

TRAINS, TESTS = b"e", b"t"


class _Marked:
    """Args: is_test: of the test explorer; True by its `extra_env_kwargs`."""

    def __init__(self, is_test=False, **kwargs):
        super().__init__(**kwargs)
        self._mark = TESTS if is_test else TRAINS
        self._file = os.open(os.environ["KILLS_MARK"], os.O_WRONLY)

    def step(self, action):
        os.pwrite(self._file, self._mark, 0)
        return super().step(action)

    def close(self):
        if self._file is not None:
            os.close(self._file)
        self._file = None
        super().close()


class MarkedPole(_Marked, CartPoleEnv):
    pass


class MarkedSwing(_Marked, PendulumEnv):
    pass


class MarkedReach(_Marked, Reach):
    pass


class MarkedRoster(_Marked, Roster):
    pass


_MARKED = (
    ("MarkedPole-v0", MarkedPole, 500),
    ("MarkedSwing-v0", MarkedSwing, 200),
    ("MarkedReach-v0", MarkedReach, 60),
)
for _name, _class, _limit in _MARKED:
    if _name not in gym.registry:
        gym.register(_name, _class, max_episode_steps=_limit)
register_parallel("tests/marked_roster", MarkedRoster)
