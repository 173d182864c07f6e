"""What vector environments that others have written in C++ share, beside `VectorEnvironment`.

They hide their environments, so that nothing can be re-lived: a resumed run restarts the episodes that were running and
marks them as truncated. They autoreset in the step after an end, as `VectorEnvironment` does. Frames are taken one at a
time and stacked here, so that lives, stacks and returns mean the same whatever the backend.
"""

import logging
from typing import Any

import numpy as np

from digideep.environment.closing import close_environment
from digideep.environment.contract import NotAsDeclared, WholeRange, fit, summary
from digideep.environment.joint_actions import entries_of
from digideep.environment.making.atari import is_life_lost
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.utility.errors import UsageError, WorkerError
from digideep.utility.seeding import generator_state, make_generator, set_generator_state

_log = logging.getLogger("digideep")


class NativeEnvironment:
    """What native backends share: some workers that are stepped together.

    A subclass implements `_begin`, `_finish` and `close`; and `_start`, if it can simulate while others act.

    Args:
        plan: what each worker runs.
        info: the environment's spaces, as gymnasium tells them.
        buffers: of these workers.
        num_threads: threads to step them with.
    """

    title: str
    simulates_meanwhile = False

    def __init__(self, plan: WorkerPlan, info: EnvironmentInfo, buffers: StepBuffers, num_threads: int):
        if plan.render_mode is not None or plan.video_dir is not None:
            raise UsageError(f"{self.title} renders nothing. Use backend 'gymnasium' to watch {plan.spec.name}.")
        if len(info.observation_spaces) != 1:
            raise UsageError(
                f"{self.title} delivers one array, but {plan.spec.name} has the observations "
                f"{', '.join(info.observation_spaces)}. Use backend 'gymnasium'."
            )
        if info.declared_action_space is not None:
            raise UsageError(
                f"{self.title} takes one array of actions, but that of {plan.spec.name} has the entries "
                f"{', '.join(entries_of(info.action_space))}. Use backend 'gymnasium'."
            )
        if info.infos:
            raise UsageError(f"{self.title} keeps no infos. Use backend 'gymnasium' for info_keys {list(info.infos)}.")
        if info.episode_infos:
            asked = ", ".join(info.episode_infos)
            raise UsageError(f"{self.title} keeps no infos. Use backend 'gymnasium' for episode_infos {asked}.")
        if plan.spec.norm_wrappers:
            raise UsageError(f"{self.title} hides its environments. Use backend 'gymnasium' for norm_wrappers.")
        if plan.spec.tell_progress:
            raise UsageError(f"{self.title} resets by itself and cannot tell_progress. Use backend 'gymnasium'.")
        self.buffers, self.num_threads = buffers, num_threads
        self.num_workers = num_workers = buffers.workers.stop - buffers.workers.start
        self.atari = plan.spec.atari_rules
        ((path, self._observations),) = self.buffers.observations.items()
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
        """Begin a new episode everywhere; `buffers` hold the first observations."""
        seeds = [int(generator.integers(2**31)) for generator in self._generators.values()]
        newest, lives = self._guarded(self._begin, seeds)
        for name in ("rewards", "terminations", "ended", "finished", "returns", "lengths"):
            getattr(self.buffers, name)[:] = 0
        self._carried[:] = 0
        self._must_restart = False
        if lives is not None:
            self._lives = lives.astype(np.int64)
        self._take_in(newest, np.ones(self.num_workers, np.bool_))

    def send(self) -> None:
        """Let all take a step, with the `actions` of their buffers."""
        buffers = self.buffers
        if not self._must_restart:
            has_lost_life = buffers.ended & ~buffers.finished  # the game is not over
            buffers.actions[has_lost_life] = self._first_action
            self._guarded(self._start, buffers.actions)

    def receive(self) -> None:
        """Wait for the step; the buffers hold its outcome."""
        buffers = self.buffers
        if self._must_restart:
            self.reset()
            return
        starts, begins = buffers.ended.copy(), buffers.finished.copy()
        goes_on = starts & ~begins
        newest, rewards, terminated, truncated, lives = self._guarded(self._finish, buffers.actions)
        for what, array, dtype in (
            ("rewards", rewards, buffers.returns.dtype),
            ("terminations", terminated, buffers.ended.dtype),
            ("truncations", truncated, buffers.ended.dtype),
        ):
            self._guarded(fit, array, buffers.ended.shape, dtype, what)
        over = terminated | truncated
        buffers.returns[begins] = buffers.lengths[begins] = 0
        buffers.returns += rewards
        buffers.lengths += ~starts
        buffers.rewards[:] = rewards
        buffers.terminations[:], buffers.finished[:], buffers.ended[:] = terminated, over, over
        if lives is not None and self.atari is not None and self.atari.terminal_on_life_loss:
            lost = is_life_lost(lives, self._lives) & ~over & ~starts
            buffers.rewards[:] = np.where(goes_on, 0, rewards + self._carried)
            self._carried = np.where(goes_on, rewards, 0.0)
            buffers.terminations |= lost
            buffers.ended |= lost
            self._lives = lives.astype(np.int64)
        self._take_in(newest, starts)

    def _take_in(self, newest: np.ndarray, starts: np.ndarray) -> None:
        """Write the newest observations; stacks of frames move on, or begin with their first frame repeated."""
        newest = self._guarded(fit, newest, self._shape, self._observations.dtype, f"observations: {self._path}")
        if self.atari is None:
            self._observations[...] = newest
        else:
            stacks = self._observations  # (N, stack, ...)
            stacks[:, :-1] = stacks[:, 1:]
            stacks[:, -1] = newest
            if starts.any():
                stacks[starts] = newest[starts, None]
        row = None if self._range is None else self._range.first_outside(self._observations)
        if row is not None:
            worker, step = self.buffers.workers.start + row, self.buffers.lengths[row]
            raise WorkerError(
                f"worker {worker} (step {step} of its episode) of {self.title} gave {self._path}: expected "
                f"{self._range}, got {summary(self._observations[row])}. Use backend 'gymnasium'."
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
        ranks = range(self.buffers.workers.start, self.buffers.workers.stop)
        self._generators = {str(rank): make_generator(seed, "environment", *purpose, rank) for rank in ranks}

    def state_dict(self) -> dict[str, Any]:
        """Return, by rank, generators of seeds only: nothing can be re-lived."""
        return {rank: {"generator": generator_state(each)} for rank, each in self._generators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """End the episodes that were running, as truncated; the next step begins new ones."""
        for rank, generator in self._generators.items():
            set_generator_state(generator, state[rank]["generator"])
        self._must_restart = True
        self.buffers.ended[:] = self.buffers.finished[:] = True

    def close(self) -> None:
        """Close every environment."""


class NativeVectorEnvironment:
    """All the workers of one Explorer in a native backend; the same interface as `VectorEnvironment`.

    Where the backend simulates by threads of its own, the workers come in two parts: one simulates while the other's
    actions are chosen.

    Args:
        native: the backend.
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_threads: to share out to the parts, each of which has one at least.
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
        self.buffers = StepBuffers(info, num_workers, np.zeros)
        self.parts = self.buffers.halves(num_workers // 2 if in_parts and native.simulates_meanwhile else 0)
        self._must_warn = False
        threads = max(num_threads // len(self.parts), 1)
        self._natives = {part.workers.start: native(plan, info, part, threads) for part in self.parts}

    def reset(self) -> None:
        """Begin a new episode everywhere; `buffers` hold the first observations."""
        self._must_warn = False
        for native in self._natives.values():
            native.reset()

    def send(self, part: StepBuffers) -> None:
        """Let a part of the workers take a step. Args: part: one of `parts`, with its `actions`."""
        if self._must_warn:
            self._must_warn = False
            _log.warning(
                "%s cannot re-live episodes: the %d that were running restart, marked as truncated. This resume is not "
                "exact; backend 'gymnasium' is.", self._natives[0].title, len(self.buffers.ended),
            )  # fmt: skip
        self._natives[part.workers.start].send()

    def receive(self, part: StepBuffers) -> None:
        """Wait for the step of a part of the workers; its buffers hold the outcome."""
        self._natives[part.workers.start].receive()

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let all episodes to come depend on `seed` and `purpose` alone; `reset` must follow."""
        for native in self._natives.values():
            native.reseed(seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """Return, by rank, generators of seeds only: nothing can be re-lived."""
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
