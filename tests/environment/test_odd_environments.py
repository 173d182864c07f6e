"""Environments that are within gymnasium's rules, and of which nobody thinks: what they are is told, or done right."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from digideep.environment.wrappers import describe_wrapper
from digideep.utility.errors import WorkerError
from tests.helpers import Scripted, make_explorer


class Odd(gym.Env):
    """Episodes of four steps; reward 1.

    Args:
        given: what stands in the place of the spaces, the reward and the info.
    """

    observation_space, action_space = Box(-1, 1, (3,), np.float32), Discrete(2)

    def __init__(self, reward=1.0, info=None, **given):
        self.reward, self.info = reward, info or {}
        vars(self).update(given)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.steps = 0
        return self.observation_space.sample(), self.info

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), self.reward, False, self.steps == 4, self.info


if "Odd-v0" not in gym.registry:
    gym.register("Odd-v0", Odd)


@pytest.mark.parametrize("reward", [-np.inf, np.inf, np.nan])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_raw_return_that_is_not_finite_ends_the_run_though_a_wrapper_makes_the_rewards_finite(reward, mode):
    clip = [
        describe_wrapper(gym.wrappers.TransformReward, func=np.nan_to_num)
        if np.isnan(reward)
        else describe_wrapper(gym.wrappers.ClipReward, min_reward=-1, max_reward=1)
    ]
    explorer = make_explorer(
        "Odd-v0", Scripted([0, 0]), mode=mode, env_kwargs={"reward": reward}, norm_wrappers=clip, n_steps=8
    )
    told = rf"worker 0 \(episode seed \d+, step 4, last action 0\) gave rewards whose sum .* is {reward}"
    with pytest.raises(WorkerError, match=told):
        explorer.update()
    explorer.close()


@pytest.mark.parametrize("says", [False, True, 2])
def test_an_environment_may_say_life_lost_in_its_own_sense(says):
    explorer = make_explorer("Odd-v0", Scripted([0, 0]), env_kwargs={"info": {"life_lost": says}}, n_steps=5)
    explorer.update()
    assert explorer.take_episodes() == [(0, 4.0, 4, None), (1, 4.0, 4, None)]
    explorer.close()
