"""The choice of what steps the workers of an Explorer."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.making.atari import Atari, register_games
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.native_environment import NativeEnvironment, NativeVectorEnvironment
from digideep.environment.stepping.processes import available_cores
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.vector_environment import VectorEnvironment
from digideep.environment.stepping.worker import WorkerPlan
from digideep.parameters.checks import require
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


_NATIVE: dict[str, type[NativeEnvironment]] = {"ale": AleEnvironment, "envpool": EnvPoolEnvironment}
BACKENDS = ("gymnasium", *_NATIVE)


def make_vector_environment(
    backend: str,
    plan: WorkerPlan,
    info: EnvironmentInfo,
    num_workers: int,
    num_processes: int,
    timeout_s: float,
    *,
    in_parts: bool,
    local_ranks: int = 1,
) -> VectorEnvironment | NativeVectorEnvironment:
    """Make the workers of an Explorer: a `VectorEnvironment`, or a `NativeVectorEnvironment` of that many threads.

    Threads that `num_processes` leaves open, by 0, are this rank's share of the cores of its machine.

    Raises:
        UsageError: if the backend does not fit the environment, or its package is missing.
    """
    if backend == "gymnasium":
        return VectorEnvironment(plan, info, num_workers, num_processes, timeout_s, in_parts=in_parts)
    num_threads = num_processes or available_cores() // local_ranks
    return NativeVectorEnvironment(_NATIVE[backend], plan, info, num_workers, num_threads, in_parts=in_parts)
