"""How many processes the workers of an Explorer are worth."""

import os
import time

from digideep.environment.closing import close_environment
from digideep.environment.joint_actions import RandomActions
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec, make_environment
from digideep.environment.spaces import ACTION_MASK
from digideep.utility.seeding import make_generator

_STEPS = 32
# A step of all workers in several processes costs two messages to each, 0.1 ms in all, and half the workers wait for
# the actions of the other half. That is repaid from about here on.
_LEAST_S = 1e-3


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_num_processes(spec: EnvironmentSpec, info: EnvironmentInfo, num_workers: int, cores: int) -> int:
    """Choose as many processes as there are cores if the environment is expensive, none if it is cheap.

    The answer depends on how long some steps take on this machine just now: whoever asks has to write it down.

    Args:
        spec: what each worker runs.
        info: its spaces.
        num_workers: environments in all.
        cores: to share them out to.

    Returns:
        `num_processes` of an `Explorer`.
    """
    takes_random_actions = not info.all_players and f"/{ACTION_MASK}" not in info.infos
    if min(cores, num_workers) < 2 or not takes_random_actions:
        return 0
    return min(cores, num_workers) if _step_s(spec, info) * num_workers >= _LEAST_S else 0


def _step_s(spec: EnvironmentSpec, info: EnvironmentInfo) -> float:
    """Measure the median duration of a step, in seconds."""
    draw = RandomActions(info.action_space)
    environment = make_environment(spec)
    try:
        environment.reset(seed=0)
        durations = []
        for action in draw(make_generator(0, "processes"), _STEPS):
            start = time.perf_counter()
            _, _, terminated, truncated, _ = environment.step(action)
            durations.append(time.perf_counter() - start)
            if terminated or truncated:
                environment.reset()
    finally:
        close_environment(environment, spec.name)
    return sorted(durations)[_STEPS // 2]
