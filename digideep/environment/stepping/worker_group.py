"""The workers of one process, over the arrays that all processes of an Explorer share."""

import os
import time
from collections.abc import Iterable
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from digideep.environment.closing import CLOSE_S, close_quietly
from digideep.environment.contract import NotAsDeclared, ObservationJudge
from digideep.environment.infos import write_info
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import ObservationSpaces, observation_spaces
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import TallyingWorker, Worker, WorkerPlan
from digideep.utility.errors import WorkerError
from digideep.utility.user_code import end_forked_child, in_words, is_ours, text_of


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
            worker_class = TallyingWorker if plan.spec.episode_infos else Worker
            for rank in ranks:
                self.workers.append(worker_class(plan, rank, buffers.figures[rank]))
                check_instance(self.workers[-1].environment, plan.spec, info, rank)
        except BaseException:
            self.close()
            raise
        self._judge = ObservationJudge(self.workers[0].environment.observation_space, plan.spec.observation_key)
        self._own = {path: array[ranks.start : ranks.stop] for path, array in buffers.observations.items()}
        self._infos = [(array, path[1:]) for path, array in buffers.infos.items()]
        self._tells_progress = plan.spec.uses_progress

    def reset(self) -> None:
        """Begin a new episode in every worker."""
        for worker in self.workers:
            try:
                self._write(worker, worker.reset(self._progress(worker)), 0.0, False)
            except BaseException as err:
                self._blame(worker, err)
        self._check()

    def step(self) -> None:
        """Take a step of every worker; one whose episode is over begins the next instead."""
        actions = self.buffers.actions
        for worker in self.workers:
            try:
                if worker.is_ended:
                    self._write(worker, worker.go_on(self._progress(worker)), 0.0, False)
                else:
                    action = actions[worker.rank]
                    self._write(worker, *worker.step(action.item() if worker.is_numbered else np.array(action)))
            except BaseException as err:
                self._blame(worker, err)
        self._check()

    def _progress(self, worker: Worker) -> float | None:
        return float(self.buffers.progress[worker.rank]) if self._tells_progress else None

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
    inner, spaces = environment.unwrapped, environment.observation_space
    parts: Iterable[tuple[str, gym.Space, gym.Space]] = [("", spaces, environment.action_space)]
    if isinstance(inner, ParallelAdapter):
        parts = [(name, part.observation_space, part.action_space) for name, part in inner.groups.items()]
    elif isinstance(environment, JoinedActions):
        parts = [(name, spaces, part) for name, part in (environment.spaces or {"": environment.joint}).items()]
    own = _named_spaces((name, observation_spaces(seen, spec.observation_key), part) for name, seen, part in parts)
    known = _named_spaces(
        (name, part.observation_spaces, part.action_space) for name, part in (info.agents or {"": info}).items()
    )
    for what in {**known, **own}:
        if own.get(what) != known.get(what):
            raise WorkerError(
                f"worker {rank}: this instance of {spec.name} has the {what} {own.get(what)}, another one "
                f"{known.get(what)}. All instances must have the same spaces: correct the environment."
            )


def _named_spaces(parts: Iterable[tuple[str, ObservationSpaces, gym.Space]]) -> dict[str, Any]:
    """Return spaces by what they are of, in words. Args: parts: agent, or "" for the only one, and its spaces."""
    named: dict[str, Any] = {}
    for agent, observations, actions in parts:
        of = f" of agent '{agent}'" if agent else ""
        named |= {f"observations {path}{of}": space for path, space in observations.items()}
        named[f"actions{of}"] = actions
        if isinstance(actions, gym.spaces.Dict):  # equal ones may have other orders
            named[f"order of actions{of}"] = list(actions.spaces)
    return named
