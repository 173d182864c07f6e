"""Hindsight: transitions that are shown again as if what was reached had been wanted."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from digideep.memory.episodes import Episodes
from digideep.memory.generic import SampledMemory
from digideep.memory.ring import Chunk
from digideep.memory.transitions import TransitionIndices, gather, gather_transitions, n_step_returns
from digideep.parameters.checks import require, require_int
from digideep.parameters.component import Component
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

_STRATEGIES = ("future", "final", "episode")
_OBSERVATIONS, _INFOS = "/observations", "/infos/"


class GoalOutcomes(Protocol):
    """Says what steps would have brought with other goals."""

    def rewards(self, achieved: np.ndarray, desired: np.ndarray, infos: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return rewards, float32 (B,). Args: goals (B, ...); infos by key, (B, ...), as far as they are kept."""

    def terminations(
        self, achieved: np.ndarray, desired: np.ndarray, infos: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        """Return which steps would have ended in a terminal state, bool (B,); None if the environment never says."""


class Goals(Protocol):
    """What an environment says of goals."""

    def of(self, achieved_goal: str, desired_goal: str) -> GoalOutcomes:
        """Return what can be asked, or refuse that there is nothing. Args: paths of observations."""


class Hindsight(Component):
    """Gives drawn transitions a goal that was reached in their episode, and the reward that it would have brought.

    Each transition keeps its own goal with the chance 1 / (1 + num_sampled_goals). A return of several steps is
    computed anew for all of its steps. Source: Andrychowicz et al. 2017, arXiv:1707.01495, Algorithm 1 and Section 4.5.
    Differs from the paper: goals are drawn when a transition is drawn, not when it is stored; of an episode that goes
    on, or whose beginning was overwritten, they are drawn among what is held of it.

    Args:
        goals: what the environment says of goals; needed before anything is relabelled.
        goal_strategy: "future", observed after the transition, its own outcome included; "final", the last one of the
            episode; "episode", any outcome of a step in the episode.
        num_sampled_goals: relabelled transitions to one with its own goal, k in the paper; 0 relabels none. Usual: 4.
        achieved_goal, desired_goal: paths of observations: what was reached, and what should be.
    """

    def __init__(
        self, goals: Goals | None = None, *, goal_strategy: str = "future", num_sampled_goals: int = 4,
        achieved_goal: str = "/achieved_goal", desired_goal: str = "/desired_goal",
    ):  # fmt: skip
        require(goal_strategy in _STRATEGIES, "goal_strategy", goal_strategy, ", ".join(_STRATEGIES))
        require_int("num_sampled_goals", num_sampled_goals, 0, 1_000)
        require(achieved_goal != desired_goal, "desired_goal", desired_goal, "another observation than achieved_goal")
        self.goals, self.strategy = goals, goal_strategy
        self._outcomes: GoalOutcomes | None = None  # asked for before the first transition is relabelled
        self.share = num_sampled_goals / (1 + num_sampled_goals)  # of transitions that are relabelled
        self.paths = achieved_goal, desired_goal
        self.achieved, self.desired = (_OBSERVATIONS + path for path in self.paths)
        self._episodes: dict[int, Episodes] = {}  # by the memory's identity: several may be drawn from

    def check(self, memories: Sequence[SampledMemory], observations: Sequence[str]) -> GoalOutcomes:
        """Ask the environment what it says of goals, and refuse what cannot be relabelled.

        Args:
            memories: where it will be drawn from.
            observations: keys that the agent sees.

        Raises:
            UsageError: naming what is missing.
        """
        if self.goals is None:
            raise UsageError("hindsight needs an environment that says what another goal would have brought.")
        self._outcomes = self.goals.of(*self.paths)
        for key in (self.achieved, self.desired):
            if any(key in memory.stacks for memory in memories):
                raise UsageError(
                    f"hindsight needs whole goals, and the memory unstacks '{key}'. Take it out of stacks."
                )
        if self.desired not in observations:
            path = self.paths[1]
            seen = [key.removeprefix(_OBSERVATIONS) for key in observations]
            raise UsageError(f"hindsight needs an agent that sees '{path}'. {did_you_mean(path, seen)}")
        return self._outcomes

    @property
    def needed_keys(self) -> list[str]:
        """Keys of a chunk that it reads, beside those of infos, of which it takes what there is."""
        return ["/masks", self.achieved, self.desired]

    def gather(self, indices: TransitionIndices, info: Mapping[str, Any]) -> Chunk:
        """Gather what was drawn, and relabel a part of it: a unit like `gather_transitions`.

        Args:
            indices: from a unit that draws.
            info: as for `gather_transitions`; "generator" too.
        """
        batch = gather_transitions(indices, info)
        if not self.share:
            return batch
        chosen = np.flatnonzero(info["generator"].random(len(indices.rows)) < self.share)
        if not len(chosen):
            return batch
        memory, workers, rows = indices.memory, indices.workers[chosen], indices.rows[chosen]
        goals = self._draw_goals(memory, workers, rows, info["generator"])
        batch["/rewards"][chosen], batch["/discounts"][chosen] = self._returns(memory, workers, rows, goals, info)
        for key in (self.desired, f"{self.desired}_2"):
            batch[key][chosen] = goals
        return batch

    def _draw_goals(
        self, memory: SampledMemory, workers: np.ndarray, rows: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Draw a goal for each transition among those that its episode reached: (B, ...)."""
        episodes = self._episodes.setdefault(id(memory), Episodes())
        episodes.follow(memory)
        now, first, last = episodes.bounds(workers, rows)
        if self.strategy == "final":
            moments = last
        else:
            before = now if self.strategy == "future" else first
            moments = before + 1 + (generator.random(len(rows)) * (last - before)).astype(np.int64)
        return gather(memory.buffer[self.achieved], workers, episodes.rows(moments))

    def _returns(
        self, memory: SampledMemory, workers: np.ndarray, rows: np.ndarray, desired: np.ndarray, info: Mapping[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what these goals would have brought: rewards and discounts as in a batch, float32 (B,)."""
        outcomes = self._outcomes or self.check([memory], info["observations"])  # a resumed run has not checked
        buffer = memory.buffer
        infos = {key.removeprefix(_INFOS): array for key, array in buffer.items() if key.startswith(_INFOS)}

        def outcome(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            after = memory.ring.successor(rows)
            achieved = gather(buffer[self.achieved], workers, after)
            told = {key: gather(array, workers, after) for key, array in infos.items()}
            ends = outcomes.terminations(achieved, desired, told)
            if ends is None:
                ends = gather(buffer["/terminations"][..., 0], workers, rows)
            return outcomes.rewards(achieved, desired, told), ends

        returns, discounts, _ = n_step_returns(memory, workers, rows, info, outcome)
        return returns, discounts
