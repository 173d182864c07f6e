"""The conformance suite, for every backend and method that there is."""

import pytest

from digideep.environment.making.atari import Atari
from digideep.parameters.component import describe
from tests.support.conformance import NATIVE, Case, Conformance

CHEETAH, REACH, PONG = "dm_control/cheetah-run-v0", "FetchReach-v4", "ALE/Pong-v5"
SCREEN = describe(Atari, screen_size=42)
CASES = [
    # In this process, and in two
    Case("CartPole-v1", "ppo", limit=25, terminates=True, n_steps=60),
    Case("CartPole-v1", "dqn", limit=25, terminates=True, n_steps=60),
    Case("CartPole-v1", "ppo", "processes", limit=25, terminates=True, n_steps=60),
    Case("CartPole-v1", "dqn", "processes", limit=25, terminates=True, n_steps=60),
    Case("Pendulum-v1", "ppo"),
    Case("Pendulum-v1", "sac"),
    Case("Pendulum-v1", "sac", "processes"),
    Case("LunarLander-v3", "ppo", limit=None, terminates=True, n_steps=130),
    Case("LunarLander-v3", "dqn", limit=None, terminates=True, n_steps=130),
    Case("LunarLander-v3", "ppo", "processes", limit=None, terminates=True, n_steps=130),
    Case("HalfCheetah-v5", "ppo"),
    Case("HalfCheetah-v5", "sac"),
    Case("HalfCheetah-v5", "sac", "processes"),
    Case(CHEETAH, "ppo"),
    Case(CHEETAH, "sac"),
    Case(CHEETAH, "ppo", "processes"),
    Case(REACH, "ppo"),
    Case(REACH, "sac"),
    Case(REACH, "sac", "processes"),
    # Atari, by gymnasium's wrappers and by the backends that others have written
    Case(PONG, "ppo", limit=9, n_steps=14, params="params.ppo_atari", spec={"atari": SCREEN}),  # seeds take 0.1 s
    Case(PONG, "dqn", limit=6, n_steps=14, params="params.dqn_atari", spec={"atari": SCREEN, "steps_per_seed": 1000}),
    *(
        Case(PONG, method, backend, limit=6, n_steps=14, params=f"params.{method}_atari", spec={"atari": SCREEN})
        for backend in NATIVE
        for method in ("ppo", "dqn")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestConformance(Conformance):
    pass
