"""Random actions, for a look at an environment without an agent."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import ACTION_MASK, ActionScaler, mask_size, sample_actions

Chooser = Callable[[Mapping[str, Any]], Any]


def random_chooser(environment: gym.Env, info: EnvironmentInfo, generator: np.random.Generator) -> Chooser:
    """Return a function that draws actions from the whole range.

    Args:
        environment: whose `step` takes the actions.
        info: of it.
        generator: owned by the caller.

    Returns:
        A function from the newest info to an action, among those that its "action_mask" allows, if it has one.
    """
    inner = environment.unwrapped
    if isinstance(inner, ParallelAdapter):
        return lambda newest_info: inner.sample(generator)
    space, scale, size = info.agent_action_space, ActionScaler(info.action_space), mask_size(info.agent_action_space)

    def choose(newest_info: Mapping[str, Any]) -> Any:
        mask = None if size is None else newest_info.get(ACTION_MASK)
        allowed = None if mask is None or np.shape(mask) != (size,) else np.asarray(mask)[None] != 0
        action = np.asarray(scale(sample_actions(space, generator, 1, allowed))[0], info.action_space.dtype)
        return action.item() if isinstance(info.action_space, gym.spaces.Discrete) else action

    return choose
