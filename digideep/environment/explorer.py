"""The Explorer: simulates workers with the agents' actions and delivers what happened as a chunk."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.environment.actor import Actor
from digideep.environment.explorer_limits import check_explorer
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.normalizers import VectorWrapper
from digideep.environment.spaces import ActionScaler, check_action_mask, has_action_mask, sample_actions
from digideep.environment.stepping.backends import make_vector_environment
from digideep.environment.stepping.step_buffers import ChunkBuilder, StepBuffers
from digideep.environment.stepping.workers import WorkerPlan
from digideep.parameters.checks import require
from digideep.parameters.component import Component, build
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import NonFiniteError, StoppedError, UsageError
from digideep.utility.seeding import generator_state, make_generator, set_generator_state

Chunk = dict[str, np.ndarray]


class Episode(NamedTuple):
    """A finished episode, before any wrapper changed its rewards; of a game with lives, the whole game."""

    worker: int
    episode_return: float
    length: int
    player_returns: dict[str, float] | None = None  # where there are several players; the return is their sum


class Explorer(Component):
    """Turns environments and agents into trajectories.

    Owns the worker environments, the wrappers around them and the current observations. Does not learn, and keeps no
    trajectory after it has delivered it.

    Args:
        mode: "train", "test" or "eval". Normalisers learn in "train" only.
        agents: by name; one agent steers the whole action space. For several see `MultiAgentExplorer`.
        environment: what each worker runs.
        info: the environment's spaces.
        seed: of the run; worker seeds derive from it, the mode and the worker's rank.
        profiler: times the phases of a step.
        video_dir: where to record every episode; None records none.
        should_stop: asked at each step of whole episodes, which are cut off where it is true.
        on_one_thread: a context in which agents act on one thread. Where one part of the workers simulates while
            actions are chosen for the other, all is done within it.
        num_workers: environments stepped together.
        num_processes: processes to spread them over; 0 runs them in this process. For backends other than gymnasium:
            threads, 0 for one on each core.
        backend: what steps them: "gymnasium", which alone resumes exactly and renders; "ale" or "envpool".
        n_steps: steps per `update`; None for no fixed number.
        n_episodes: episodes that must end in an `update`, shared out evenly so that short ones are not favoured; None
            for none. With both limits, both must be met.
        deterministic: take the policy's mode instead of a sample.
        warm_start: frames at the start of a run in which agents that take it (off-policy ones) act uniformly at random.
            States and artifacts are those of what an agent would have done without exploration.
        do_reset: begin new episodes with each `update`.
        keep_trajectory: deliver the trajectory; False where only the episodes' returns matter.
        overlap: begin the first step of a chunk at the end of the update before, so that it is simulated while agents
            learn. Its actions come from the policy before that learning: a lag that never depends on timing.
        render_mode: as in gymnasium; None draws nothing.
        render_delay: seconds to wait after each step.
        worker_timeout_s: how long worker processes may take for one step before they count as hanging.
        extra_env_kwargs: keyword arguments of this explorer's environments, beyond and before those of all. They must
            not change the spaces.
    """

    def __init__(
        self,
        mode: str,
        agents: Mapping[str, Actor],
        environment: EnvironmentSpec,
        info: EnvironmentInfo,
        seed: int,
        profiler: Profiler,
        video_dir: Any = None,
        on_one_thread: Callable[[], AbstractContextManager[None]] = nullcontext,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        num_workers: int,
        num_processes: int | None = 0,
        backend: str = "gymnasium",
        n_steps: int | None = None,
        n_episodes: int | None = None,
        deterministic: bool = False,
        warm_start: int = 0,
        do_reset: bool = False,
        keep_trajectory: bool = True,
        overlap: bool = False,
        render_mode: str | None = None,
        render_delay: float = 0.0,
        worker_timeout_s: float = 300.0,
        extra_env_kwargs: dict[str, Any] | None = None,
    ):
        check_explorer(
            num_workers=num_workers, num_processes=num_processes, backend=backend, n_steps=n_steps,
            n_episodes=n_episodes, warm_start=warm_start, do_reset=do_reset, overlap=overlap,
            render_delay=render_delay, worker_timeout_s=worker_timeout_s,
        )  # fmt: skip
        self._warming: set[str] = set()
        if warm_start:
            self._warming = {
                n for n, agent in agents.items() if getattr(agent, "takes_warm_start", agent.is_off_policy)
            }
        if warm_start and not self._warming:
            raise UsageError(f"warm_start={warm_start} needs off-policy agents: random actions teach others nothing.")

        modes = tuple(dict.fromkeys(("human", "rgb_array", *info.render_modes)))
        require(render_mode in (None, *modes), "render_mode", render_mode, f"null or one of {', '.join(modes)}")

        environment = environment.with_kwargs(extra_env_kwargs or {}, info)
        self.mode, self.agents, self.info, self.seed, self.profiler = mode, agents, info, seed, profiler
        self.num_workers, self.n_steps, self.n_episodes = num_workers, n_steps, n_episodes
        self.deterministic, self.warm_start, self.do_reset = deterministic, warm_start, do_reset
        self.keep_trajectory, self.overlap, self.render_delay = keep_trajectory, overlap, render_delay
        self._should_stop = should_stop

        self.steps, self.n_episode = 0, 0
        self.observations: dict[str, np.ndarray] = {}
        self.infos: dict[str, np.ndarray] = {}
        self.masks = np.zeros(num_workers, np.bool_)
        self.hidden_state: dict[str, np.ndarray | None] = {}
        self._was_reset = False
        self._is_bare: dict[str, bool] = {}  # agents that choose actions and nothing else
        self._under_way: dict[int, int] = {}  # first worker of a part -> row of the step that it takes
        self._arrived: set[int] = set()  # parts whose step under way has been waited for
        self._ahead: ChunkBuilder | None = None
        self._finished: list[Episode] = []
        self._has_action_mask = has_action_mask(info.agent_action_space, info.infos)
        self._generator = make_generator(seed, "explorer", mode)
        self._seat_agents(environment)
        plan = WorkerPlan(environment, seed, mode, render_mode, video_dir)
        in_parts = all(agent.acts_in_parts for agent in agents.values())
        self.envs = make_vector_environment(
            backend, plan, info, num_workers, num_processes or 0, worker_timeout_s, in_parts=in_parts
        )
        self._acting = on_one_thread if len(self.envs.parts) > 1 else nullcontext

    def _seat_agents(self, environment: EnvironmentSpec) -> None:
        """Make what stands between the workers and the agents."""
        if len(self.agents) != 1 or self.info.agents:
            raise UsageError(
                f"{len(self.agents)} agents for one action space: expected exactly one. Got {sorted(self.agents)}. "
                "Several need players under env, and MultiAgentExplorer: see docs/several_agents.md."
            )
        self._edge: Callable[[np.ndarray], np.ndarray] = ActionScaler(self.info.action_space)
        self.wrappers = self._make_wrappers(environment, self.info, self.num_workers)

    def _make_wrappers(self, environment: EnvironmentSpec, info: EnvironmentInfo, num_rows: int) -> list[VectorWrapper]:
        spaces = info.observation_spaces
        return [
            build(description, VectorWrapper, mode=self.mode, num_workers=num_rows, observation_spaces=spaces)
            for description in environment.vect_wrappers
        ]

    @property
    def frames(self) -> int:
        """Steps of single environments so far."""
        return self.steps * self.num_workers

    def reseed(self, *purpose: str | int) -> None:
        """Let all that follows depend on the run's seed and `purpose` alone; begins new episodes."""
        self._await()
        self.envs.reseed(self.seed, self.mode, *purpose)
        self._generator = make_generator(self.seed, "explorer", self.mode, *purpose)
        self.reset()

    def reset(self) -> None:
        """Begin a new episode in every worker."""
        self._await()
        self._under_way, self._arrived, self._ahead = {}, set(), None
        self.envs.reset()
        self.masks = np.ones(self.num_workers, np.bool_)
        self._begin(self._check(self.envs.rows))
        self._was_reset = True

    def _begin(self, observations: dict[str, np.ndarray]) -> None:
        """Take in the first observations of new episodes."""
        for wrapper in self.wrappers:
            observations = wrapper.reset(self.envs.rows, observations)
        self.observations = {path: array.copy() for path, array in observations.items()}
        self.infos = {path: array.copy() for path, array in self.envs.rows.infos.items()}
        self.hidden_state = {name: agent.reset_hidden_state(self.num_workers) for name, agent in self.agents.items()}

    def update(self) -> Chunk:
        """Simulate until the limits are met.

        Returns:
            The chunk: flat path -> array (num_workers, steps + 1, ...), the last row being a half-step; empty unless
            `keep_trajectory`. Keys and meanings stand in docs/data.md.

        Raises:
            NonFiniteError: if an environment delivers NaN or infinity.
            WorkerError: if a worker raises, dies or hangs. StoppedError: if whole episodes are cut off.
        """
        with self.profiler(self.mode), self._acting():
            if not self.observations or (self.do_reset and not self._was_reset):
                self.reset()
            self._was_reset = False
            rows, self._ahead, step, quota = self._ahead, None, 0, self._quota()
            if rows is not None:  # the first step is under way
                step, self.steps = 1, self.steps + 1
            elif self.keep_trajectory:
                rows = self._empty_rows()
            while (self.n_steps is not None and step < self.n_steps) or (quota is not None and (quota > 0).any()):
                for part in self.envs.parts:
                    self._finish_step(part, rows, quota)  # while the other part simulates
                    self._begin_step(part, rows, step)
                step += 1
                self.steps += 1
                if self.n_episodes is not None or self.render_delay:
                    self._finish_steps(rows, quota)
                    time.sleep(self.render_delay)
                    if quota is not None and self._should_stop():
                        raise StoppedError(f"Whole episodes of explorer '{self.mode}' were cut off.")
            self._finish_steps(rows, quota)
            if rows is None:
                return {}
            for part in self.envs.parts:
                rows.write(step, part.workers, self._before(part.workers))
            if self.overlap:
                self._ahead = self._empty_rows()
                for part in self.envs.parts:
                    self._begin_step(part, self._ahead, 0)
            return rows.chunk(step + 1)

    def _empty_rows(self) -> ChunkBuilder:
        return ChunkBuilder(self.num_workers, (self.n_steps or 64) + 1)

    def _quota(self) -> np.ndarray | None:
        """Episodes that each worker has to end: int (N,); None where their number does not matter."""
        if self.n_episodes is None:
            return None
        share, rest = divmod(self.n_episodes, self.num_workers)
        return share + (np.arange(self.num_workers) < rest)

    def _before(self, workers: slice) -> Chunk:
        """What is known before an action is chosen."""
        row = {f"/observations{path}": array[workers] for path, array in self.observations.items()}
        row |= {f"/infos{path}": array[workers] for path, array in self.infos.items()}
        row["/masks"] = self.masks[workers, None]
        return row

    def _begin_step(self, part: StepBuffers, rows: ChunkBuilder | None, index: int) -> None:
        """Choose actions for a part of the workers, let them start, note what there was in row `index`."""
        with self.profiler("act"):
            chosen, actions = self._act(part.workers)
        self.envs.send(part, self._edge(actions))
        self._under_way[part.workers.start] = index
        if rows is not None:
            rows.write(index, part.workers, self._before(part.workers) | chosen)

    def _finish_steps(self, rows: ChunkBuilder | None, quota: np.ndarray | None) -> None:
        for part in self.envs.parts:
            self._finish_step(part, rows, quota)

    def _finish_step(self, part: StepBuffers, rows: ChunkBuilder | None, quota: np.ndarray | None) -> None:
        """Wait for a part of the workers, and note what came of their step, if one is under way."""
        index = self._under_way.pop(part.workers.start, None)
        if index is None:
            return
        if part.workers.start in self._arrived:
            self._arrived.remove(part.workers.start)
        else:
            with self.profiler("simulate"):
                self.envs.receive(part)
        with self.profiler("wrap"):
            after = self._take_in(part)
        np.logical_not(part.ended, out=self.masks[part.workers])
        if part.ended.any():
            self._note_ends(part, quota)
        if rows is not None:
            rows.write(index, part.workers, after)

    def _await(self) -> None:
        """Wait for the steps that are under way, without noting yet what came of them."""
        for part in self.envs.parts:
            if part.workers.start in self._under_way.keys() - self._arrived:
                self.envs.receive(part)
                self._arrived.add(part.workers.start)

    def _take_in(self, part: StepBuffers) -> Chunk:
        """Wrap what a step of a part of the workers brought. Returns: its entries of the chunk's row."""
        workers = part.workers
        moved = self.masks[workers]
        observations, rewards = self._check(part), part.rewards
        for wrapper in self.wrappers:
            observations, rewards = wrapper.step(part, observations, rewards, moved)
        for path, array in observations.items():
            self.observations[path][workers] = array
        for path, array in part.infos.items():
            self.infos[path][workers] = array
        if not moved.all():
            for hidden_state in self.hidden_state.values():
                if hidden_state is not None:
                    hidden_state[workers][~moved] = 0
        return {"/rewards": rewards[:, None], "/terminations": part.terminations[:, None]}

    def _act(self, workers: slice) -> tuple[Chunk, np.ndarray]:
        """What the agents choose: the entries of the chunk's row, and the actions (n, ...)."""
        (name,) = self.agents
        space, masks, allowed = self.info.agent_action_space, self.masks[workers], None
        if self._has_action_mask:
            allowed = check_action_mask(space, self.infos["/action_mask"][workers], masks, workers.start)
        observations = {path: array[workers] for path, array in self.observations.items()}
        observations |= {f"/infos{path}": array[workers] for path, array in self.infos.items()}
        return self._choose(name, workers, observations, masks, space, allowed)

    def _choose(
        self,
        name: str,
        workers: slice,
        observations: dict[str, np.ndarray],
        masks: np.ndarray,
        space: gym.Space,
        allowed: np.ndarray | None = None,
    ) -> tuple[Chunk, np.ndarray]:
        """What an agent chooses for some rows: its entries of the chunk's row, and the actions (n, ...)."""
        is_random = self.frames < self.warm_start and name in self._warming
        random = sample_actions(space, self._generator, len(masks), allowed) if is_random else None
        if random is not None and self._is_bare.get(name):
            return {f"/agents/{name}/actions": random}, random
        hidden_state = self.hidden_state[name]
        before = None if hidden_state is None else hidden_state[workers]
        # Without exploration nothing is drawn, so that looking at what an agent delivers changes no number.
        choice = self.agents[name].action_generator(observations, before, masks, self.deterministic or is_random)
        if random is not None:
            self._is_bare[name] = choice.keys() <= {"actions"}
            choice = {**choice, "actions": random}
        row = {f"/agents/{name}/actions": choice["actions"]}
        if hidden_state is not None and before is not None:
            row[f"/agents/{name}/hidden_state"] = before.copy()
            hidden_state[workers] = choice["hidden_state"]
        for key, value in choice.get("artifacts", {}).items():
            row[f"/agents/{name}/artifacts/{key}"] = value
        return row, choice["actions"]

    def _check(self, part: StepBuffers) -> dict[str, np.ndarray]:
        """The workers' observations, as they lie in the workers' arrays, once all is seen to be finite."""
        if not _is_finite(part.rewards):
            self._refuse("reward", part, part.rewards)
        for path, array in part.observations.items():
            if array.dtype.kind == "f" and not _is_finite(array):
                self._refuse(f"observation {path}", part, array)
        return part.observations

    def _refuse(self, what: str, part: StepBuffers, array: np.ndarray) -> None:
        row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise NonFiniteError(
            f"{what} of worker {part.workers.start + row} in explorer '{self.mode}' is not finite at frame "
            f"{self.frames}: {array[row].tolist()}. Check the environment '{self.mode}' simulates, or its actions."
        )

    def _note_ends(self, part: StepBuffers, quota: np.ndarray | None) -> None:
        """Note the episodes that have just ended, as far as they count."""
        for row in np.flatnonzero(part.finished).tolist():
            worker = part.workers.start + row
            if quota is None or quota[worker] > 0:
                self.n_episode += 1
                self._finished.append(self._episode(part, row))
            if quota is not None:
                quota[worker] -= 1

    def _episode(self, part: StepBuffers, row: int) -> Episode:
        return Episode(part.workers.start + row, float(part.returns[row]), int(part.lengths[row]))

    def take_episodes(self) -> list[Episode]:
        """The episodes that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def statistics(self) -> dict[str, Any]:
        """What the normalisers have learned, by position."""
        return {str(index): wrapper.statistics() for index, wrapper in enumerate(self.wrappers)}

    def load_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what another explorer's normalisers have learned."""
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_statistics(statistics[str(index)])

    def state_dict(self) -> dict[str, Any]:
        """Episodes to re-live, normalisers, current observations, counters and generator."""
        self._await()
        return {
            "steps": self.steps,
            "n_episode": self.n_episode,
            "was_reset": self._was_reset,
            "generator": generator_state(self._generator),
            "observations": {path: array.copy() for path, array in self.observations.items()},
            "infos": {path: array.copy() for path, array in self.infos.items()},
            "masks": self.masks.copy(),
            "hidden_state": {n: None if h is None else h.copy() for n, h in self.hidden_state.items()},
            "wrappers": {str(index): wrapper.state_dict() for index, wrapper in enumerate(self.wrappers)},
            "workers": self.envs.state_dict() if self.observations else {},
            "finished": [list(episode) for episode in self._finished],
            "ahead": None if self._ahead is None else self._ahead.first(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Continue where `state_dict` left off.

        Returns:
            Ranks of workers whose environment did not come back to the observation that it had: their simulator is
            not deterministic, so the resumed run will differ from the one that was stopped.
        """
        self.steps, self.n_episode, self._was_reset = state["steps"], state["n_episode"], state["was_reset"]
        set_generator_state(self._generator, state["generator"])
        self.observations = {path: np.array(array) for path, array in state["observations"].items()}
        self.infos = {path: np.array(array) for path, array in state.get("infos", {}).items()}
        self.masks = np.array(state["masks"])
        self.hidden_state = {n: None if h is None else np.array(h) for n, h in state["hidden_state"].items()}
        self._finished = [Episode(*episode) for episode in state["finished"]]
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_state_dict(state["wrappers"][str(index)])
        strayed = self.envs.load_state_dict(state["workers"]) if self.observations else []
        if state.get("ahead") is not None:  # the workers are a step further than what was noted
            self._ahead = self._empty_rows()
            self._ahead.restore({path: np.array(array) for path, array in state["ahead"].items()})
            self._arrived = {part.workers.start for part in self.envs.parts}
            self._under_way = dict.fromkeys(self._arrived, 0)
        elif self.observations:
            self.masks = ~self.envs.rows.ended  # a backend that cannot re-live has ended its episodes
        return strayed

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()


def _is_finite(array: np.ndarray) -> bool:
    """Whether all values are. Their sum is a quick first look: it is finite unless a value is not, or huge."""
    return math.isfinite(np.add.reduce(array, axis=None)) or bool(np.isfinite(array).all())
