"""Environments stepped by EnvPool."""

import warnings
from typing import Any

import numpy as np

from digideep.environment.making.atari import Atari
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.native_environment import NativeEnvironment
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.parameters.checks import require
from digideep.utility.errors import UsageError


class EnvPoolEnvironment(NativeEnvironment):
    """EnvPool: Atari, MuJoCo, classic control and more, on threads. It takes gymnasium's ids where it knows them."""

    title = "EnvPool"

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, buffers: StepBuffers, num_threads: int):
        super().__init__(plan, info, buffers, num_threads)
        try:
            import envpool
        except ImportError as err:
            raise UsageError(f"backend 'envpool' needs EnvPool ({err}): pip install 'digideep[envpool]'.") from err
        self._module, self._name = envpool, plan.spec.name.rpartition("/")[2]
        if self._name not in envpool.list_all_envs():
            raise UsageError(f"EnvPool has no '{self._name}'. Use backend 'gymnasium', or a game that it has.")
        self._arguments: dict[str, Any] = dict(plan.spec.kwargs)
        limit = plan.spec.max_episode_steps
        if self.atari is not None:
            if self.atari.fire_on_reset:
                # EnvPool counts FIRE as action 1 of every game
                self._first_action = 1
            limit = self.atari.max_episode_steps(limit)
            self._arguments |= _envpool_arguments(self.atari)
        if limit is not None:
            self._arguments["max_episode_steps"] = limit
        self._envs: Any = None
        space, (expected,) = self._make([0] * self.num_workers).observation_space, info.observation_spaces.values()
        shape = expected.shape if self.atari is None else (1, *(expected.shape or ())[1:])
        require(
            getattr(space, "shape", None) == shape, "backend", "envpool",
            f"one whose observations are shaped as gymnasium's, {shape}: EnvPool's {self._name} has {space}",
        )  # fmt: skip

    def _make(self, seeds: list[int]) -> Any:
        """Make a new pool in the place of the old one: its seeds are fixed from the start."""
        self.close()
        try:
            with warnings.catch_warnings():
                # Its bounds are doubles for observations that are floats, which gymnasium says at every start.
                warnings.filterwarnings("ignore", message=".*precision lowered by casting")
                self._envs = self._module.make(
                    self._name,
                    env_type="gymnasium",
                    num_envs=self.num_workers,
                    num_threads=self.num_threads,
                    seed=seeds,
                    **self._arguments,
                )
                _ = self._envs.observation_space
        except (TypeError, ValueError, AssertionError) as err:
            reason = " ".join(str(err).split())
            raise UsageError(f"EnvPool cannot make '{self._name}' with {self._arguments}: {reason}") from err
        return self._envs

    def _begin(self, seeds: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
        newest, info = self._make(seeds).reset()
        return self._newest(newest), info.get("lives")

    def _finish(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        space = self._envs.action_space
        newest, rewards, terminated, truncated, info = self._envs.step(actions.astype(space.dtype))
        return self._newest(newest), rewards, terminated, truncated, info.get("lives")

    def _newest(self, observations: np.ndarray) -> np.ndarray:
        return observations if self.atari is None else observations[:, 0]

    def close(self) -> None:
        """Close every environment."""
        if getattr(self, "_envs", None) is not None:
            self._envs.close()
            self._envs = None


def _envpool_arguments(rules: Atari) -> dict[str, Any]:
    """Return an Atari preprocessing as EnvPool's arguments."""
    return {
        "repeat_action_probability": rules.repeat_action_probability,
        "full_action_space": rules.full_action_space,
        "frame_skip": rules.frame_skip,
        "noop_max": max(rules.noop_max, 1),  # one less is the most there are; 0 crashes it
        "use_fire_reset": rules.fire_on_reset,
        "img_height": rules.screen_size,
        "img_width": rules.screen_size,
        "gray_scale": rules.grayscale,
        "stack_num": 1,
    }
