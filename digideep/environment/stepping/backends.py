"""Vector environments that others have written in C++, beside `VectorEnvironment`: ALE's own, and EnvPool.

They hide their environments, so that nothing can be re-lived: a resumed run restarts the episodes that were running and
marks them as truncated. Both autoreset in the step after an end, as `VectorEnvironment` does. Frames are taken one at a
time and stacked here, so that lives, stacks and returns mean the same whatever the backend.
"""

import logging
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.closing import close_environment
from digideep.environment.contract import NotAsDeclared, WholeRange, fit, told
from digideep.environment.making.atari import Atari, is_life_lost, register_games
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.processes import available_cores
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.workers import VectorEnvironment, WorkerPlan
from digideep.parameters.checks import require
from digideep.utility.errors import UsageError, WorkerError
from digideep.utility.seeding import generator_state, make_generator, set_generator_state

_log = logging.getLogger("digideep")


class NativeEnvironment:
    """What native backends share: some workers that are stepped together.

    A subclass implements `_begin`, `_finish` and `close`; and `_start`, if it can simulate while others act.

    Args:
        plan: what each worker runs.
        info: the environment's spaces, as gymnasium tells them.
        rows: of these workers.
        num_threads: threads to step them with.
    """

    title: str
    simulates_meanwhile = False

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, rows: StepBuffers, num_threads: int):
        if plan.render_mode is not None or plan.video_dir is not None:
            raise UsageError(f"{self.title} renders nothing. Use backend 'gymnasium' to watch {plan.spec.name}.")
        if len(info.observation_spaces) != 1:
            raise UsageError(
                f"{self.title} delivers one array, but {plan.spec.name} has the observations "
                f"{', '.join(info.observation_spaces)}. Use backend 'gymnasium'."
            )
        if info.infos:
            raise UsageError(f"{self.title} keeps no infos. Use backend 'gymnasium' for info_keys {list(info.infos)}.")
        self.plan, self.info, self.rows, self.num_threads = plan, info, rows, num_threads
        self.num_workers = num_workers = rows.workers.stop - rows.workers.start
        self.atari = plan.spec.atari_rules
        ((path, self._observations),) = self.rows.observations.items()
        self._path = path
        # Of the newest frames: backends stack none.
        shape = self._observations.shape
        self._shape = shape if self.atari is None else (num_workers, *shape[2:])
        self._range = WholeRange.of(info.observation_spaces[path]) if self._observations.dtype.kind in "iu" else None
        self._first_action = 0  # of the step after a lost life
        self._lives = np.zeros(num_workers, np.int64)
        self._carried = np.zeros(num_workers)  # rewards of that step, which the learner gets with the next one
        self._must_restart = False
        self.reseed(plan.seed, plan.purpose)

    def _begin(self, seeds: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Begin episodes under these seeds. Returns: newest observations (N, ...), lives (N,) if there are any."""
        raise NotImplementedError

    def _start(self, actions: np.ndarray) -> None:
        """Let a step begin."""

    def _finish(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Take the step, or wait for the one that has begun, beginning anew what has ended.

        Returns:
            Newest observations (N, ...), rewards, terminations, truncations (N,), lives (N,) if there are any.
        """
        raise NotImplementedError

    def reset(self) -> None:
        """Begin a new episode everywhere; `rows` holds the first observations."""
        rows, seeds = self.rows, [int(generator.integers(2**31)) for generator in self._generators.values()]
        newest, lives = self._guarded(self._begin, seeds)
        for array in (rows.rewards, rows.terminations, rows.ended, rows.finished, rows.returns, rows.lengths):
            array[:] = 0
        self._carried[:] = 0
        self._must_restart = False
        if lives is not None:
            self._lives = lives.astype(np.int64)
        self._take_in(newest, np.ones(self.num_workers, np.bool_))

    def send(self, actions: np.ndarray) -> None:
        """Let all take a step. Args: actions: (N, ...) environment actions."""
        rows = self.rows
        rows.actions[...] = actions
        if not self._must_restart:
            rows.actions[rows.ended & ~rows.finished] = self._first_action  # a life was lost, the game is not over
            self._guarded(self._start, rows.actions)

    def receive(self) -> None:
        """Wait for the step; the rows hold what came of it."""
        rows = self.rows
        if self._must_restart:
            self.reset()
            return
        starts, begins = rows.ended.copy(), rows.finished.copy()
        goes_on = starts & ~begins
        newest, rewards, terminated, truncated, lives = self._guarded(self._finish, rows.actions)
        for what, array, dtype in (
            ("rewards", rewards, rows.returns.dtype),
            ("terminations", terminated, rows.ended.dtype),
            ("truncations", truncated, rows.ended.dtype),
        ):
            self._guarded(fit, array, rows.ended.shape, dtype, what)
        over = terminated | truncated
        rows.returns[begins] = rows.lengths[begins] = 0
        rows.returns += rewards
        rows.lengths += ~starts
        rows.rewards[:] = rewards
        rows.terminations[:], rows.finished[:], rows.ended[:] = terminated, over, over
        if lives is not None and self.atari is not None and self.atari.terminal_on_life_loss:
            lost = is_life_lost(lives, self._lives) & ~over & ~starts
            rows.rewards[:] = np.where(goes_on, 0, rewards + self._carried)
            self._carried = np.where(goes_on, rewards, 0.0)
            rows.terminations |= lost
            rows.ended |= lost
            self._lives = lives.astype(np.int64)
        self._take_in(newest, starts)

    def _take_in(self, newest: np.ndarray, starts: np.ndarray) -> None:
        """Note the newest observations; stacks of frames move on, or begin with their first frame repeated."""
        newest = self._guarded(fit, newest, self._shape, self._observations.dtype, f"observations: {self._path}")
        if self.atari is None:
            self._observations[...] = newest
            self._check_range()
            return
        stacks = self._observations  # (N, stack, ...)
        stacks[:, :-1] = stacks[:, 1:]
        stacks[:, -1] = newest
        if starts.any():
            stacks[starts] = newest[starts, None]
        self._check_range()

    def _check_range(self) -> None:
        row = None if self._range is None else self._range.first_outside(self._observations)
        if row is not None:
            worker, step = self.rows.workers.start + row, self.rows.lengths[row]
            raise WorkerError(
                f"worker {worker} (step {step} of its episode) of {self.title} gave {self._path}: expected "
                f"{self._range}, got {told(self._observations[row])}. Use backend 'gymnasium'."
            )

    def _guarded(self, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except NotAsDeclared as err:
            raise WorkerError(f"{self.title} gave {err}. Use backend 'gymnasium'.") from err
        except Exception as err:
            raise WorkerError(f"{self.title} failed: {type(err).__name__}: {err}") from err

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let all episodes to come depend on `seed` and `purpose` alone; `reset` must follow."""
        ranks = range(self.rows.workers.start, self.rows.workers.stop)
        self._generators = {str(rank): make_generator(seed, "environment", *purpose, rank) for rank in ranks}

    def state_dict(self) -> dict[str, Any]:
        """By rank, generators of seeds only: nothing can be re-lived."""
        return {rank: {"generator": generator_state(each)} for rank, each in self._generators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """End the episodes that were running, as truncated; the next step begins new ones."""
        for rank, generator in self._generators.items():
            set_generator_state(generator, state[rank]["generator"])
        self._must_restart = True
        self.rows.ended[:] = self.rows.finished[:] = True

    def close(self) -> None:
        """Close every environment."""


class AleEnvironment(NativeEnvironment):
    """ale-py's AtariVectorEnv: Atari games on threads, the fast path for images."""

    title = "ALE's vector environment"
    simulates_meanwhile = True

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, rows: StepBuffers, num_threads: int):
        super().__init__(plan, info, rows, num_threads)
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
            game["game"],
            num_workers,
            num_threads=num_threads,
            max_num_frames_per_episode=2**31 - 2,  # its own limit would leave out the last frame
            repeat_action_probability=rules.repeat_action_probability,
            full_action_space=rules.full_action_space,
            img_height=rules.screen_size,
            img_width=rules.screen_size,
            grayscale=rules.grayscale,
            stack_num=1,
            frameskip=rules.frame_skip,
            noop_max=rules.noop_max,
            reward_clipping=False,
            use_fire_reset=rules.fire_on_reset,
        )
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

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, rows: StepBuffers, num_threads: int):
        super().__init__(plan, info, rows, num_threads)
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
        """A new pool in the place of the old one: its seeds are fixed from the start."""
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
    """An Atari preprocessing in EnvPool's words."""
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


class NativeVectorEnvironment:
    """All the workers of one Explorer in a native backend; the same interface as `VectorEnvironment`.

    Where the backend simulates by threads of its own, the workers come in two parts: one simulates while the other's
    actions are chosen.

    Args:
        native: the backend.
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_threads: to share out to the parts; 0 for one on each core.
        in_parts: whether two parts may be stepped one after the other.
    """

    def __init__(
        self,
        native: type[NativeEnvironment],
        plan: WorkerPlan,
        info: EnvironmentInfo,
        num_workers: int,
        num_threads: int,
        *,
        in_parts: bool,
    ):
        self.rows = StepBuffers(info, num_workers, np.zeros)
        middle = num_workers // 2 if in_parts and native.simulates_meanwhile else 0
        self.parts = [self.rows.part(0, middle), self.rows.part(middle, num_workers)] if middle else [self.rows]
        self._must_warn = False
        threads = max((num_threads or available_cores()) // len(self.parts), 1)
        self._natives = {part.workers.start: native(plan, info, part, threads) for part in self.parts}

    def reset(self) -> None:
        """Begin a new episode everywhere; `rows` holds the first observations."""
        self._must_warn = False
        for native in self._natives.values():
            native.reset()

    def send(self, part: StepBuffers, actions: np.ndarray) -> None:
        """Let a part of the workers take a step. Args: part: one of `parts`; actions: (n, ...) environment actions."""
        if self._must_warn:
            self._must_warn = False
            _log.warning(
                "%s cannot re-live episodes: the %d that were running restart, marked as truncated. This resume is not "
                "exact; backend 'gymnasium' is.", self._natives[0].title, len(self.rows.ended),
            )  # fmt: skip
        self._natives[part.workers.start].send(actions)

    def receive(self, part: StepBuffers) -> None:
        """Wait for the step of a part of the workers; its rows hold what came of it."""
        self._natives[part.workers.start].receive()

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let all episodes to come depend on `seed` and `purpose` alone; `reset` must follow."""
        for native in self._natives.values():
            native.reseed(seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """By rank, generators of seeds only: nothing can be re-lived."""
        return {rank: state for native in self._natives.values() for rank, state in native.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """End the episodes that were running, as truncated; the next step begins new ones. Returns: an empty list."""
        for native in self._natives.values():
            native.load_state_dict(state)
        self._must_warn = True  # with the first step, when the session's log is open
        return []

    def close(self) -> None:
        """Close every environment."""
        for native in self._natives.values():
            close_environment(native, native.title)


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
    in_parts: bool = True,
) -> VectorEnvironment | NativeVectorEnvironment:
    """The workers of an Explorer.

    Args:
        backend: "gymnasium", "ale" or "envpool".
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_processes: of `VectorEnvironment`; threads of the others, 0 for one on each core.
        timeout_s: how long an answer of a worker process may take.
        in_parts: see `VectorEnvironment`.

    Raises:
        UsageError: if the backend does not fit the environment, or its package is missing.
    """
    if backend == "gymnasium":
        return VectorEnvironment(plan, info, num_workers, num_processes, timeout_s, in_parts=in_parts)
    return NativeVectorEnvironment(_NATIVE[backend], plan, info, num_workers, num_processes, in_parts=in_parts)
