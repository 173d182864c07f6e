"""Workers: environments that are stepped, begun anew and re-lived.

Autoreset follows gymnasium's NEXT_STEP mode: the step after an end ignores its action and brings the first observation
of the next episode. So the row after t is always the true successor of row t.

Exact resume needs nothing from a simulator: each worker draws a fresh seed for each episode and remembers the actions,
so that `Worker.load_state_dict` re-lives the episode up to the step where it was saved. Where seeds are expensive, one
serves several episodes, and what is re-lived begins with the first of them.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, check_info, check_reset, read_outcome
from digideep.environment.episode_infos import EpisodeTally
from digideep.environment.making.atari import LIFE_LOST
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.making.wrappers import EpisodeNumber, RunProgress, Surroundings, raw_reward
from digideep.utility.seeding import generator_state, make_generator, set_generator_state


@dataclass(frozen=True)
class WorkerPlan:
    """What a process needs to run its workers."""

    spec: EnvironmentSpec
    seed: int
    purpose: str
    render_mode: str | None = None
    video_dir: Path | None = None
    first_worker: int = 0  # its number among those of all ranks


class Worker:
    """One environment: steps it, restarts it, and can re-live what happened since it was seeded.

    An end whose info holds `LIFE_LOST` is one for the learner only: the environment's next reset plays on, and the
    return that is logged does too.

    Args:
        plan: what it runs.
        rank: its number.
        figures: float64 (players or 1, keys + 1), where figures of an episode's infos are written when it ends.
    """

    def __init__(self, plan: WorkerPlan, rank: int, figures: np.ndarray):
        self.rank, self.steps_per_seed = rank, plan.spec.steps_per_seed
        self._progress, self._tells_progress, self._episode = RunProgress(), plan.spec.tell_progress, EpisodeNumber()
        number = plan.first_worker + rank
        surroundings = Surroundings(plan.purpose, number, plan.seed, self._progress, self._episode)
        self.environment = make_environment(
            plan.spec, render_mode=plan.render_mode, video_dir=plan.video_dir, surroundings=surroundings
        )
        self._raw, inner = raw_reward(self.environment), self.environment.unwrapped
        self._game = inner if isinstance(inner, ParallelAdapter) else None
        self._tallies = [EpisodeTally(plan.spec.episode_infos, row) for row in figures]
        # Discrete spaces take long to accept a number of numpy's; a Box without dimensions takes arrays only.
        self.is_numbered = isinstance(self.environment.action_space, gym.spaces.Discrete)
        self.reseed(plan.seed, plan.purpose)
        self.episode_seed: int | None = None
        self.info: dict[str, Any] = {}  # of the newest observation
        self.actions: list[np.ndarray | int] = []  # since the environment was seeded
        self.resets: list[int] = []  # unseeded ones since then, as the number of actions before each
        self.first_episode = 0  # since then, its number
        self.told: list[float | None] = []  # progress that each reset since then was given, the seeded one first
        self.is_ended = self.is_finished = False
        self.episode_return, self.episode_length = 0.0, 0

    def reseed(self, seed: int, *purpose: str | int) -> None:
        """Let the episodes to come, their seeds and numbers, depend on `seed` and `purpose` alone."""
        self._episode.number = -1
        self.generator = make_generator(seed, "environment", *purpose, self.rank)

    def reset(self, progress: float | None = None) -> Any:
        """Begin a new episode under a fresh seed.

        Args:
            progress: to tell the environment and its wrappers; None tells them nothing.

        Returns:
            Its first observation.
        """
        self.episode_seed = int(self.generator.integers(2**31))
        return self._begin(progress)

    def go_on(self, progress: float | None = None) -> Any:
        """Begin the episode after one that has ended. Args: progress: see `reset`. Returns: its first observation."""
        if self.is_finished and len(self.actions) >= self.steps_per_seed:
            return self.reset(progress)
        return self._continue(progress)

    def _begin(self, progress: float | None) -> Any:
        self.actions, self.resets, self.told = [], [], []
        self.first_episode = self._episode.number + 1
        self._begin_episode()
        return self._reset(progress, seed=self.episode_seed)

    def _reset(self, progress: float | None, **seed: Any) -> Any:
        self.told.append(progress)
        self._progress.share = 1.0 if progress is None else progress
        is_told = progress is not None and self._tells_progress
        options: dict[str, Any] = {"options": {"progress": progress}} if is_told else {}
        observation, self.info = check_reset(self.environment.reset(**seed, **options))
        return observation

    def _continue(self, progress: float | None) -> Any:
        self.resets.append(len(self.actions))
        if self.is_finished:
            self._begin_episode()
        self.is_ended = False
        return self._reset(progress)

    def _begin_episode(self) -> None:
        self._episode.number += 1
        self.is_ended = self.is_finished = False
        self.episode_return, self.episode_length = 0.0, 0
        for tally in self._tallies:
            tally.begin()

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
        if self.is_finished:
            self._end_episode()
        return observation, reward, terminated

    def _end_episode(self) -> None:
        # The Explorer sees the wrapped rewards only: a wrapper may have made them finite.
        if self._raw is not None and not math.isfinite(self.episode_return):
            raise NotAsDeclared(
                f"rewards whose sum below norm_wrappers, the episode's return, is {self.episode_return}"
            )
        if self._game is None:
            self._tallies[0].end(self.info)
        else:
            names = (name for group in self._game.groups.values() for name in group.players)
            for tally, name in zip(self._tallies, names, strict=True):
                tally.end(self._game.last_infos.get(name, {}))

    def describe(self) -> str:
        """Return the worker's number and its last action, for an error message."""
        last = np.asarray(self.actions[-1]).tolist() if self.actions else None
        return f"worker {self.rank} (episode seed {self.episode_seed}, step {len(self.actions)}, last action {last})"

    def state_dict(self) -> dict[str, Any]:
        """Return what happened since the last seed: the seed, the actions, the resets between them, what was told."""
        return {
            "generator": generator_state(self.generator),
            "episode_seed": self.episode_seed,
            "actions": np.stack(self.actions) if self.actions else None,
            "resets": list(self.resets),
            "told": list(self.told),
            "first_episode": self.first_episode,
        }

    def load_state_dict(self, state: dict[str, Any]) -> tuple[Any, float, bool] | None:
        """Re-live what happened. Returns: as `step`, of the last step; None if no episode had begun."""
        set_generator_state(self.generator, state["generator"])
        self.episode_seed = state["episode_seed"]
        if self.episode_seed is None:
            return None
        self._episode.number = state.get("first_episode", 0) - 1
        told, resets = iter(state.get("told", ())), set(state["resets"])
        outcome = self._begin(next(told, None)), 0.0, False
        actions = np.empty((0, 0)) if state["actions"] is None else state["actions"]
        for index, action in enumerate(actions):
            if index in resets:
                self._continue(next(told, None))
            outcome = self.step(action.item() if self.is_numbered else np.array(action))
        return (self._continue(next(told, None)), 0.0, False) if len(actions) in resets else outcome


class TallyingWorker(Worker):
    """A worker that takes every info into the figures of its episodes. Others spend no time on it."""

    def step(self, action: np.ndarray | int) -> tuple[Any, float, bool]:
        """See `Worker.step`."""
        outcome = super().step(action)
        if not self.is_finished:
            self._add()
        return outcome

    def _end_episode(self) -> None:
        self._add()
        super()._end_episode()

    def _continue(self, progress: float | None) -> Any:
        goes_on = not self.is_finished
        observation = super()._continue(progress)
        if goes_on:  # after a lost life, by a step
            self._add()
        return observation

    def _add(self) -> None:
        infos = [self.info] if self._game is None else self._game.player_infos()
        for tally, info in zip(self._tallies, infos, strict=True):
            tally.add(info)
