"""Atari games stepped by ALE's own vector environment."""

import gymnasium as gym
import numpy as np

from digideep.environment.making.atari import register_games
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.native_environment import NativeEnvironment
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.utility.errors import UsageError


class AleEnvironment(NativeEnvironment):
    """ale-py's AtariVectorEnv: Atari games on threads, the fast path for images."""

    title = "ALE's vector environment"
    simulates_meanwhile = True

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, buffers: StepBuffers, num_threads: int):
        super().__init__(plan, info, buffers, num_threads)
        num_workers = self.num_workers
        if self.atari is None:
            raise UsageError(
                f"backend 'ale' plays Atari games with a preprocessing ('atari' in the tree), got {plan.spec.name}."
            )
        register_games()
        from ale_py.vector_env import AtariVectorEnv

        rules = self.atari
        game = {**gym.spec(plan.spec.name).kwargs, **plan.spec.kwargs}
        self._envs = AtariVectorEnv(
            game["game"], num_workers, num_threads=num_threads,
            max_num_frames_per_episode=2**31 - 2,  # its own limit would leave out the last frame
            repeat_action_probability=rules.repeat_action_probability, full_action_space=rules.full_action_space,
            img_height=rules.screen_size, img_width=rules.screen_size, grayscale=rules.grayscale, stack_num=1,
            frameskip=rules.frame_skip, noop_max=rules.noop_max, reward_clipping=False,
            use_fire_reset=rules.fire_on_reset,
        )  # fmt: skip
        if rules.fire_on_reset:
            names = [action.name for action in self._envs.ale.get_action_set()]
            self._first_action = names.index("FIRE") if "FIRE" in names else 0
        self._limit = rules.max_episode_steps(plan.spec.max_episode_steps)
        self._elapsed = np.zeros(num_workers, np.int64)
        self._over = np.zeros(num_workers, np.bool_)
        self._cut = np.zeros(num_workers, np.bool_)

    def _begin(self, seeds: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
        newest, info = self._envs.reset(seed=np.array(seeds))
        self._elapsed[:] = self._over[:] = self._cut[:] = False
        return newest[:, 0], info["lives"]

    def _start(self, actions: np.ndarray) -> None:
        self._envs.send(actions)

    def _finish(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        newest, rewards, terminated, _, info = self._envs.recv()
        begins = self._over
        if self._cut.any():  # ALE does not know that these were over: they took one more step, which is forgotten
            newest, info = self._envs.reset(options={"reset_mask": self._cut})
            rewards, terminated = np.where(self._cut, 0, rewards), terminated & ~self._cut
        self._elapsed = np.where(begins, 0, self._elapsed + 1)
        self._cut = (self._elapsed >= self._limit) & ~terminated
        self._over = terminated | self._cut
        return newest[:, 0], rewards, terminated, self._cut, info["lives"]

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()
