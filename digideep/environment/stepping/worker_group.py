"""Workers, environments that are stepped, begun anew and re-lived, and those of one process over shared arrays.

Autoreset follows gymnasium's NEXT_STEP mode: the step after an end ignores its action and brings the first observation
of the next episode. So the row after t is always the true successor of row t.

Exact resume needs nothing from a simulator: each worker draws a fresh seed for each episode and remembers the actions,
so that `Worker.load_state_dict` re-lives the episode up to the step where it was saved. Where seeds are expensive, one
serves several episodes, and what is re-lived begins with the first of them.
"""

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from digideep.environment.closing import CLOSE_S, close_quietly
from digideep.environment.contract import NotAsDeclared, ObservationJudge, check_info, check_reset, read_outcome
from digideep.environment.infos import write_info
from digideep.environment.making.atari import LIFE_LOST
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec, make_environment
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.making.wrappers import raw_reward
from digideep.environment.spaces import ObservationSpaces, observation_spaces
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.utility.errors import WorkerError
from digideep.utility.seeding import generator_state, make_generator, set_generator_state
from digideep.utility.user_code import end_forked_child, in_words, is_ours, text_of


@dataclass(frozen=True)
class WorkerPlan:
    """What a process needs to run its workers."""

    spec: EnvironmentSpec
    seed: int
    purpose: str
    render_mode: str | None = None
    video_dir: Path | None = None


class Worker:
    """One environment: steps it, restarts it, and can re-live what happened since it was seeded.

    An end whose info holds `LIFE_LOST` is one for the learner only: the environment's next reset plays on, and the
    return that is logged does too.
    """

    def __init__(self, plan: WorkerPlan, rank: int):
        self.rank, self.steps_per_seed = rank, plan.spec.steps_per_seed
        self.environment = make_environment(plan.spec, render_mode=plan.render_mode, video_dir=plan.video_dir)
        self._raw = raw_reward(self.environment)
        # Discrete spaces take long to accept a number of numpy's; a Box without dimensions takes arrays only.
        self.is_numbered = isinstance(self.environment.action_space, gym.spaces.Discrete)
        self.reseed(plan.seed, plan.purpose)
        self.episode_seed: int | None = None
        self.info: dict[str, Any] = {}  # of the newest observation
        self.actions: list[np.ndarray | int] = []  # since the environment was seeded
        self.resets: list[int] = []  # unseeded ones since then, as the number of actions before each
        self.is_ended = self.is_finished = False
        self.episode_return, self.episode_length = 0.0, 0

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let the seeds of the episodes to come depend on `seed` and `purpose` alone."""
        self.generator = make_generator(seed, "environment", *purpose, self.rank)

    def reset(self) -> Any:
        """Begin a new episode under a fresh seed. Returns: its first observation."""
        self.episode_seed = int(self.generator.integers(2**31))
        return self._begin()

    def go_on(self) -> Any:
        """Begin the episode after one that has ended. Returns: its first observation."""
        if self.is_finished and len(self.actions) >= self.steps_per_seed:
            return self.reset()
        return self._continue()

    def _begin(self) -> Any:
        self.actions, self.resets, self.is_ended, self.is_finished = [], [], False, False
        self.episode_return, self.episode_length = 0.0, 0
        observation, self.info = check_reset(self.environment.reset(seed=self.episode_seed))
        return observation

    def _continue(self) -> Any:
        self.resets.append(len(self.actions))
        if self.is_finished:
            self.episode_return, self.episode_length = 0.0, 0
        self.is_ended = self.is_finished = False
        observation, self.info = check_reset(self.environment.reset())
        return observation

    def step(self, action: np.ndarray | int) -> tuple[Any, float, bool]:
        """Take a step. Returns: observation, reward, True if terminated; `is_ended` is also true if truncated."""
        self.actions.append(action)
        # Some environments write into the action they are given; what is remembered must stay what was chosen.
        observation, reward, terminated, truncated, self.info = self.environment.step(
            action if isinstance(action, int) else action.copy()
        )
        if not isinstance(reward, float) or type(terminated) is not bool or type(truncated) is not bool:
            reward, terminated, truncated = read_outcome(reward, terminated, truncated)
        reward = float(reward)
        if type(self.info) is not dict:
            check_info(self.info)
        self.is_ended = terminated or truncated
        self.is_finished = self.is_ended and LIFE_LOST not in self.info
        self.episode_return += reward if self._raw is None else self._raw.take()
        self.episode_length += 1
        # The Explorer sees the wrapped rewards only: a wrapper may have made them finite.
        if self.is_finished and self._raw is not None and not math.isfinite(self.episode_return):
            raise NotAsDeclared(
                f"rewards whose sum below norm_wrappers, the episode's return, is {self.episode_return}"
            )
        return observation, reward, terminated

    def describe(self) -> str:
        """Return the worker's number and its last action, for an error message."""
        last = np.asarray(self.actions[-1]).tolist() if self.actions else None
        return f"worker {self.rank} (episode seed {self.episode_seed}, step {len(self.actions)}, last action {last})"

    def state_dict(self) -> dict[str, Any]:
        """Return what happened since the last seed: the seed, the actions, and the resets between them."""
        return {
            "generator": generator_state(self.generator),
            "episode_seed": self.episode_seed,
            "actions": np.stack(self.actions) if self.actions else None,
            "resets": list(self.resets),
        }

    def load_state_dict(self, state: dict[str, Any]) -> tuple[Any, float, bool] | None:
        """Re-live what happened. Returns: as `step`, of the last step; None if no episode had begun."""
        set_generator_state(self.generator, state["generator"])
        self.episode_seed = state["episode_seed"]
        if self.episode_seed is None:
            return None
        outcome, resets = (self._begin(), 0.0, False), set(state["resets"])
        actions = np.empty((0, 0)) if state["actions"] is None else state["actions"]
        for index, action in enumerate(actions):
            if index in resets:
                self._continue()
            outcome = self.step(action.item() if self.is_numbered else np.array(action))
        return (self._continue(), 0.0, False) if len(actions) in resets else outcome


class WorkerGroup:
    """The workers of one process.

    Args:
        plan: what each of them runs.
        ranks: their numbers.
        buffers: of all workers of the explorer.
        info: the environment's spaces.

    Raises:
        WorkerError: if a worker's spaces are not those in `info`.
    """

    def __init__(self, plan: WorkerPlan, ranks: range, buffers: StepBuffers, info: EnvironmentInfo):
        self.buffers, self._pid = buffers, os.getpid()
        self.workers: list[Worker] = []
        try:
            for rank in ranks:
                self.workers.append(Worker(plan, rank))
                check_instance(self.workers[-1].environment, plan.spec, info, rank)
        except BaseException:
            self.close()
            raise
        self._judge = ObservationJudge(self.workers[0].environment.observation_space, plan.spec.observation_key)
        self._own = {path: array[ranks.start : ranks.stop] for path, array in buffers.observations.items()}
        self._infos = [(array, path[1:]) for path, array in buffers.infos.items()]

    def reset(self) -> None:
        """Begin a new episode in every worker."""
        for worker in self.workers:
            try:
                self._write(worker, worker.reset(), 0.0, False)
            except BaseException as err:
                self._blame(worker, err)
        self._check()

    def step(self) -> None:
        """Take a step of every worker; one whose episode is over begins the next instead."""
        actions = self.buffers.actions
        for worker in self.workers:
            try:
                if worker.is_ended:
                    self._write(worker, worker.go_on(), 0.0, False)
                else:
                    action = actions[worker.rank]
                    self._write(worker, *worker.step(action.item() if worker.is_numbered else np.array(action)))
            except BaseException as err:
                self._blame(worker, err)
        self._check()

    def _write(self, worker: Worker, observation: Any, reward: float, terminated: bool) -> None:
        """Write what a worker has now into its row."""
        if os.getpid() != self._pid:
            end_forked_child()
        buffers, rank = self.buffers, worker.rank
        self._judge.read(observation, buffers.observations, rank)
        for array, key in self._infos:
            write_info(array, rank, key, worker.info)
        buffers.rewards[rank], buffers.terminations[rank], buffers.ended[rank] = reward, terminated, worker.is_ended
        buffers.finished[rank] = worker.is_finished
        buffers.returns[rank], buffers.lengths[rank] = worker.episode_return, worker.episode_length

    def _check(self) -> None:
        """Refuse observations beyond their ranges."""
        found = self._judge.check(self._own)
        if found is not None:
            self._blame(self.workers[found[0]], found[1])

    def _blame(self, worker: Worker, err: BaseException) -> NoReturn:
        """Raise the error of a run for what a worker's code has raised."""
        if os.getpid() != self._pid:
            end_forked_child(err)
        if is_ours(err):
            raise err
        if isinstance(err, NotAsDeclared):
            reason = f"gave {err}. Correct the environment, or what it declares."
        elif isinstance(err, Exception):
            reason = f"failed: {type(err).__name__}: {text_of(err)}"
        else:
            reason = f"{in_words(err)}."
        raise WorkerError(f"{worker.describe()} {reason}") from err

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """See `Worker.reseed`."""
        for worker in self.workers:
            worker.reseed(seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """Return, by rank, the worker's episode and the observation it has led to."""
        observations = self.buffers.observations
        return {
            str(worker.rank): {
                **worker.state_dict(),
                "observation": {path: array[worker.rank].copy() for path, array in observations.items()},
            }
            for worker in self.workers
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Re-live the episodes. Returns: ranks whose environment did not come back to the same observation."""
        diverged = []
        for worker in self.workers:
            saved = state[str(worker.rank)]
            try:
                outcome = worker.load_state_dict(saved)
                if outcome is None:
                    continue
                self._write(worker, *outcome)
            except BaseException as err:
                self._blame(worker, err)
            if any(
                not np.array_equal(self.buffers.observations[path][worker.rank], array, equal_nan=True)
                for path, array in saved["observation"].items()
            ):
                diverged.append(worker.rank)
        return diverged

    def close(self) -> list[str]:
        """Close every environment. Returns: what went wrong, one line each."""
        if os.getpid() != self._pid:  # a forked child: they are not its own
            return []
        deadline, complaints = time.monotonic() + CLOSE_S, []
        for worker in self.workers:
            complaint = close_quietly(worker.environment.close, max(deadline - time.monotonic(), 0.5))
            if complaint is not None:
                complaints.append(f"the environment of worker {worker.rank}: {complaint}.")
        self.workers = []
        return complaints


def check_instance(environment: gym.Env, spec: EnvironmentSpec, info: EnvironmentInfo, rank: int) -> None:
    """Refuse a worker's environment with other spaces than those that agents and arrays were made for.

    Raises:
        WorkerError: naming the first that differs.
    """
    inner = environment.unwrapped
    own = _named_spaces(
        (name, observation_spaces(part.observation_space, spec.observation_key), part.action_space)
        for name, part in (inner.groups if isinstance(inner, ParallelAdapter) else {"": environment}).items()
    )
    known = _named_spaces(
        (name, part.observation_spaces, part.action_space) for name, part in (info.agents or {"": info}).items()
    )
    for what in {**known, **own}:
        if own.get(what) != known.get(what):
            raise WorkerError(
                f"worker {rank}: this instance of {spec.name} has the {what} {own.get(what)}, another one "
                f"{known.get(what)}. All instances must have the same spaces: correct the environment."
            )


def _named_spaces(parts: Iterable[tuple[str, ObservationSpaces, gym.Space]]) -> dict[str, gym.Space]:
    """Return spaces by what they are of, in words. Args: parts: agent, or "" for the only one, and its spaces."""
    named: dict[str, gym.Space] = {}
    for agent, observations, actions in parts:
        of = f" of agent '{agent}'" if agent else ""
        named |= {f"observations {path}{of}": space for path, space in observations.items()}
        named[f"actions{of}"] = actions
    return named
