"""Worker environments: batches of them in this process or in others, over shared arrays.

Autoreset follows gymnasium's NEXT_STEP mode: the step after an end ignores its action and brings the first observation
of the next episode. So the row after t is always the true successor of row t.

Exact resume needs nothing from a simulator: each worker draws a fresh seed for each episode and remembers the actions,
so that `Worker.load_state_dict` re-lives the episode up to the step where it was saved. Where seeds are expensive, one
serves several episodes, and what is re-lived begins with the first of them.
"""

import itertools
import logging
import math
import multiprocessing
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.closing import CLOSE_S, close_quietly
from digideep.environment.contract import NotAsDeclared, ObservationJudge, check_info, check_reset, read_outcome
from digideep.environment.infos import write_info
from digideep.environment.making.atari import LIFE_LOST
from digideep.environment.making.make_environment import (
    EnvironmentInfo,
    EnvironmentSpec,
    check_instance,
    make_environment,
)
from digideep.environment.making.wrappers import raw_reward
from digideep.environment.stepping.shared_memory import SharedMemory, map_blocks
from digideep.environment.stepping.signal_pipe import SignalPipe
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker_process import ANSWER, DONE, ERROR, STEP, WorkerProcess
from digideep.utility.errors import UsageError, WorkerError
from digideep.utility.seeding import generator_state, make_generator, seed_globals, set_generator_state
from digideep.utility.user_code import end_forked_child, in_words, is_ours, text_of

_log = logging.getLogger("digideep")
# Waking a process that sleeps takes 0.1 ms: with 8 Humanoid-v5 in 2 processes, 10 % of all frames.
_LINGER_S = 0.002
_START_S = 60.0  # beyond the timeout of a step: a process has to start and to import


@dataclass(frozen=True)
class WorkerPlan:
    """What a process needs to know to run its workers."""

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
        """One step. Returns: observation, reward, whether it terminated. A truncation shows in `is_ended` only."""
        self.actions.append(action)
        # Some environments write into the action they are given; what is remembered must stay what was chosen.
        observation, given, terminated, truncated, self.info = self.environment.step(
            action if isinstance(action, int) else action.copy()
        )
        if not isinstance(given, float) or type(terminated) is not bool or type(truncated) is not bool:
            given, terminated, truncated = read_outcome(given, terminated, truncated)
        reward = float(given)
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
        """Who this is and what it was doing, for an error message."""
        last = np.asarray(self.actions[-1]).tolist() if self.actions else None
        return f"worker {self.rank} (episode seed {self.episode_seed}, step {len(self.actions)}, last action {last})"

    def state_dict(self) -> dict[str, Any]:
        """What happened since the last seed: the seed, the actions, and the resets between them."""
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
        came, resets = (self._begin(), 0.0, False), set(state["resets"])
        actions = np.empty((0, 0)) if state["actions"] is None else state["actions"]
        for index, action in enumerate(actions):
            if index in resets:
                self._continue()
            came = self.step(action.item() if self.is_numbered else np.array(action))
        return (self._continue(), 0.0, False) if len(actions) in resets else came


class WorkerGroup:
    """The workers of one process."""

    def __init__(self, plan: WorkerPlan, ranks: range, rows: StepBuffers, info: EnvironmentInfo):
        self.rows, self._pid = rows, os.getpid()
        self.workers: list[Worker] = []
        try:
            for rank in ranks:
                self.workers.append(Worker(plan, rank))
                check_instance(self.workers[-1].environment, plan.spec, info, rank)
        except BaseException:
            self.close()
            raise
        self._judge = ObservationJudge(self.workers[0].environment.observation_space, plan.spec.observation_key)
        self._own = {path: array[ranks.start : ranks.stop] for path, array in rows.observations.items()}

    def _write(self, worker: Worker, observation: Any) -> None:
        try:
            self._judge.read(observation, self.rows.observations, worker.rank)
            for path, array in self.rows.infos.items():
                write_info(array, worker.rank, path[1:], worker.info)
        except NotAsDeclared as err:
            raise self._fault(worker, err) from err

    def _check(self) -> None:
        """See that all observations are within their ranges."""
        found = self._judge.check(self._own)
        if found is not None:
            raise self._fault(self.workers[found[0]], found[1])

    def reset(self) -> None:
        """Begin a new episode in every worker."""
        rows = self.rows
        for worker in self.workers:
            self._write(worker, self._guarded(worker, worker.reset))
            rows.ended[worker.rank] = rows.finished[worker.rank] = rows.terminations[worker.rank] = False
            rows.rewards[worker.rank] = rows.returns[worker.rank] = rows.lengths[worker.rank] = 0
        self._check()

    def step(self) -> None:
        """One step of every worker; one whose episode is over begins the next instead."""
        rows = self.rows
        for worker in self.workers:
            rank = worker.rank
            if worker.is_ended:
                observation = self._guarded(worker, worker.go_on)
                reward, terminated = 0.0, False
            else:
                action = rows.actions[rank]
                action = action.item() if worker.is_numbered else np.array(action)
                observation, reward, terminated = self._guarded(worker, worker.step, action)
            self._write(worker, observation)
            rows.rewards[rank], rows.terminations[rank], rows.ended[rank] = reward, terminated, worker.is_ended
            rows.finished[rank] = worker.is_finished
            rows.returns[rank], rows.lengths[rank] = worker.episode_return, worker.episode_length
        self._check()

    @staticmethod
    def _fault(worker: Worker, err: NotAsDeclared) -> WorkerError:
        return WorkerError(f"{worker.describe()} gave {err}. Correct the environment, or what it declares.")

    def _guarded(self, worker: Worker, function: Any, *args: Any) -> Any:
        try:
            result = function(*args)
        except BaseException as err:
            if os.getpid() != self._pid:
                end_forked_child(err)
            if is_ours(err):
                raise
            if isinstance(err, NotAsDeclared):
                raise self._fault(worker, err) from err
            if isinstance(err, Exception):
                raise WorkerError(f"{worker.describe()} failed: {type(err).__name__}: {text_of(err)}") from err
            raise WorkerError(f"{worker.describe()} {in_words(err)}.") from err
        if os.getpid() != self._pid:
            end_forked_child()
        return result

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """See `Worker.reseed`."""
        for worker in self.workers:
            worker.reseed(seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """By rank: the worker's episode and the observation it has led to."""
        return {
            str(worker.rank): {
                **worker.state_dict(),
                "observation": {path: array[worker.rank].copy() for path, array in self.rows.observations.items()},
            }
            for worker in self.workers
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Re-live the episodes. Returns: ranks whose environment did not come back to the same observation."""
        strayed = []
        for worker in self.workers:
            saved = state[str(worker.rank)]
            came = self._guarded(worker, worker.load_state_dict, saved)
            if came is None:
                continue
            self._write(worker, came[0])
            rows, rank = self.rows, worker.rank
            rows.rewards[rank], rows.terminations[rank] = came[1:]
            rows.ended[rank], rows.finished[rank] = worker.is_ended, worker.is_finished
            rows.returns[rank] = worker.episode_return
            rows.lengths[rank] = worker.episode_length
            if any(
                not np.array_equal(rows.observations[p][rank], o, equal_nan=True)
                for p, o in saved["observation"].items()
            ):
                strayed.append(rank)
        return strayed

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


def _serve(
    connection: Any, ranks: range, plan: WorkerPlan, info: EnvironmentInfo, num_workers: int, blocks: list
) -> None:
    """Main function of a worker process: runs a `WorkerGroup` until told to close, or until the pipe ends."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):  # the parent decides when a run ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    line, batch = SignalPipe(connection), None
    try:
        seed_globals(plan.seed, plan.purpose, ranks.start)
        batch = WorkerGroup(plan, ranks, StepBuffers(info, num_workers, map_blocks(iter(blocks))), info)
        line.send(DONE)
        while True:
            line.linger(_LINGER_S)
            if line.receive() == STEP:
                batch.step()
                line.send(DONE)
                continue
            request, args = line.receive_message()
            line.send(ANSWER, getattr(batch, request)(*args))
            if request == "close":
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except BaseException as err:
        message = str(err) if isinstance(err, (WorkerError, UsageError)) else in_words(err)
        with suppress(OSError):
            line.send(ERROR, (message, traceback.format_exc()))
    if batch is not None:
        batch.close()


def _end_with_parent() -> None:
    """Wait until the parent is gone; some time later, kill what is left: a step that hangs, and its children."""
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(os, "killpg"):
        parent.join()
        time.sleep(2 * CLOSE_S)
        os.killpg(0, signal.SIGKILL)


class VectorEnvironment:
    """All the workers of one Explorer, in this process (`num_processes=0`) or spread over several.

    Workers in several processes come in two parts, so that one simulates while the other's actions are chosen. The
    order of events is fixed; no result depends on which process is faster.

    Args:
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_processes: processes to spread them over, at most `num_workers`.
        timeout_s: how long an answer of a worker process may take.
        in_parts: whether two parts may be stepped one after the other.

    Attributes:
        rows: of all workers.
        parts: the same rows, by the parts that are stepped together.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        info: EnvironmentInfo,
        num_workers: int,
        num_processes: int,
        timeout_s: float,
        *,
        in_parts: bool = True,
    ):
        self.timeout_s = timeout_s
        self._remote: list[WorkerProcess] = []
        self._local: WorkerGroup | None = None
        if num_processes == 0:
            self.rows = StepBuffers(info, num_workers, np.zeros)
            self.parts = [self.rows]
            self._local = WorkerGroup(plan, range(num_workers), self.rows, info)
            return
        memory = SharedMemory()
        self.rows = StepBuffers(info, num_workers, memory.allocate)
        bounds = np.linspace(0, num_workers, num_processes + 1).astype(int).tolist()
        middle = bounds[num_processes // 2]
        is_one = num_processes == 1 or not in_parts
        self.parts = [self.rows] if is_one else [self.rows.part(0, middle), self.rows.part(middle, num_workers)]
        try:
            for first, last in itertools.pairwise(bounds):
                ranks = range(first, last)
                self._remote.append(
                    WorkerProcess(memory.context, _serve, ranks, plan, info, num_workers, memory.blocks)
                )
            for batch in self._remote:
                batch.receive(timeout_s + _START_S)
        except BaseException:
            self.close()
            raise

    def _ask(self, request: str, *args: Any) -> list[Any]:
        if self._local is not None:
            return [getattr(self._local, request)(*args)]
        for batch in self._remote:
            batch.send(request, *args)
        return [batch.receive(self.timeout_s) for batch in self._remote]

    def _of(self, part: StepBuffers) -> list["WorkerProcess"]:
        """The processes of a part's workers."""
        return [batch for batch in self._remote if part.workers.start <= batch.ranks.start < part.workers.stop]

    def reset(self) -> None:
        """Begin a new episode everywhere; `rows` holds the first observations."""
        self._ask("reset")

    def send(self, part: StepBuffers, actions: np.ndarray) -> None:
        """Let a part of the workers take a step.

        Args:
            part: one of `parts`.
            actions: (n, ...) environment actions of its workers.
        """
        part.actions[...] = actions
        for batch in self._of(part):
            batch.send("step")

    def receive(self, part: StepBuffers) -> None:
        """Wait for the step of a part of the workers; its rows hold what came of it."""
        if self._local is not None:
            self._local.step()
        for batch in self._of(part):
            batch.receive(self.timeout_s)

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let all episodes to come depend on `seed` and `purpose` alone."""
        self._ask("reseed", seed, *purpose)

    def state_dict(self) -> dict[str, Any]:
        """By rank, all it takes to re-live the episodes."""
        return {rank: worker for part in self._ask("state_dict") for rank, worker in part.items()}

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Re-live the episodes. Returns: ranks whose environment did not come back to the same observation."""
        return [rank for part in self._ask("load_state_dict", state) for rank in part]

    def close(self) -> None:
        """Close every environment and end every process. What goes wrong is logged."""
        if self._local is not None:
            for complaint in self._local.close():
                _log.warning("%s", complaint)
        for batch in self._remote:
            batch.begin_closing()
        for batch in self._remote:
            batch.close()
