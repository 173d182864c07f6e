"""The Explorer: simulates workers with the agents' actions, and delivers their trajectories as a chunk."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from digideep.environment.episode_infos import Episode
from digideep.environment.explorer_base import ExplorerBase
from digideep.environment.explorer_limits import check_explorer
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.seats import Actor, Part
from digideep.environment.senses import Chunk
from digideep.environment.stepping.backends import make_vector_environment
from digideep.environment.stepping.step_buffers import ChunkBuilder
from digideep.environment.stepping.worker import WorkerPlan
from digideep.parameters.checks import require
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import NonFiniteError, StoppedError, UsageError
from digideep.utility.process_state import check_switches
from digideep.utility.ranks import Ranks
from digideep.utility.seeding import generator_state, make_generator, set_generator_state


class Explorer(ExplorerBase):
    """Turns environments and agents into trajectories.

    Owns the worker environments, and a seat for each agent: one that steers the whole environment, several that each
    have a part of its action, or several in a parallel game. Does not learn, and keeps no trajectory after it has
    delivered it.

    The chunk of an agent alone has its keys at the root, such as `/rewards`, and a row for each worker. So has that of
    agents that share an environment; what each of them chose lies under `/agents/<name>`. In a parallel game each agent
    has all keys under `/agents/<name>`, and a row for each of its players in every worker. A player that has left,
    while others go on, has rows with a mask of False until the episode is over for all; `/masks` tells that for each
    worker. Frames are steps of the environment.

    Args:
        mode: "train", "test", "eval" or the name of a further one. Normalisers learn in "train" only.
        agents: by name; one, or those that `players` of the environment names.
        environment: what each worker runs.
        info: the environment's spaces.
        seed: of the run; worker seeds derive from it, the mode and the worker's rank.
        profiler: times the phases of a step.
        video_dir: where to record every episode; None records none.
        should_stop: asked at each step of whole episodes, which are cut off where it is true.
        ranks: processes whose explorers like this one train together; None for one.
        on_one_thread: a context in which agents act on one thread. Where one part of the workers simulates while
            actions are chosen for the other, all is done within it.
        num_workers: environments stepped together.
        num_processes: processes to spread them over; 0 runs them in this process. For backends other than gymnasium:
            threads, 0 for one on each core that this rank has.
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
        render_mode: as in gymnasium; None draws nothing. render_delay: seconds to wait after each step.
        worker_timeout_s: how long worker processes may take for one step before they count as hanging.
        extra_env_kwargs: keyword arguments of this explorer's environments, beyond and before those of all. They must
            not change the spaces.
        memory: name of the memory that its chunks go to; None for the main one in "train", and for none elsewhere.
    """

    def __init__(
        self, mode: str, agents: Mapping[str, Actor], environment: EnvironmentSpec, info: EnvironmentInfo, seed: int,
        profiler: Profiler, video_dir: Any = None,
        on_one_thread: Callable[[], AbstractContextManager[None]] = nullcontext,
        should_stop: Callable[[], bool] = lambda: False, ranks: Ranks | None = None,
        *,
        num_workers: int, num_processes: int | None = 0, backend: str = "gymnasium", n_steps: int | None = None,
        n_episodes: int | None = None, deterministic: bool = False, warm_start: int = 0, do_reset: bool = False,
        keep_trajectory: bool = True, overlap: bool = False, render_mode: str | None = None, render_delay: float = 0.0,
        worker_timeout_s: float = 300.0, extra_env_kwargs: dict[str, Any] | None = None,
        memory: str | None = None,
    ):  # fmt: skip
        check_explorer(
            num_workers=num_workers, num_processes=num_processes, backend=backend, n_steps=n_steps,
            n_episodes=n_episodes, warm_start=warm_start, do_reset=do_reset, overlap=overlap,
            render_delay=render_delay, worker_timeout_s=worker_timeout_s,
        )  # fmt: skip
        if warm_start and not any(agent.takes_warm_start for agent in agents.values()):
            raise UsageError(f"warm_start={warm_start} needs off-policy agents: random actions teach others nothing.")
        modes = tuple(dict.fromkeys(("human", "rgb_array", *info.render_modes)))
        require(render_mode in (None, *modes), "render_mode", render_mode, f"null or one of {', '.join(modes)}")
        environment = environment.with_kwargs(extra_env_kwargs or {}, info)
        super().__init__(mode, agents, environment, info, seed, profiler, ranks, num_workers, n_steps, memory)
        self.n_episodes, self.deterministic, self.warm_start = n_episodes, deterministic, warm_start
        self.do_reset, self.keep_trajectory = do_reset, keep_trajectory
        self.overlap, self.render_delay, self._should_stop = overlap, render_delay, should_stop
        self._has_begun = self._was_reset = False  # the workers have episodes; just now they got them
        self._ahead: ChunkBuilder | None = None
        self._generator = make_generator(seed, "explorer", mode)
        plan = WorkerPlan(environment, seed, mode, render_mode, video_dir, self._ranks.rank * num_workers)
        self.envs = make_vector_environment(
            backend, plan, info, num_workers, num_processes or 0, worker_timeout_s,
            in_parts=all(agent.acts_in_parts for agent in agents.values()), local_ranks=self._ranks.local_size,
        )  # fmt: skip
        self._parts = [Part(buffers, self.seats.values()) for buffers in self.envs.parts]
        self._acting = on_one_thread if len(self._parts) > 1 else nullcontext
        if keep_trajectory:
            check_switches()

    def reseed(self, *purpose: str | int) -> None:
        """Let all that follows depend on the run's seed and `purpose` alone; begins new episodes."""
        self._await()
        self.envs.reseed(self.seed, self.mode, *purpose)
        self._generator = make_generator(self.seed, "explorer", self.mode, *purpose)
        self.reset()

    def reset(self) -> None:
        """Begin a new episode in every worker."""
        self._await()
        self._ahead = None
        self._tell_progress()
        self.envs.reset()
        for part in self._parts:
            part.row, part.has_arrived = None, False
            self._check(part)
        for seat in self.seats.values():
            seat.begin(seat.view(self.envs.buffers))
        self._has_begun = self._was_reset = True

    def update(self) -> Chunk:
        """Simulate until the limits are met.

        Returns:
            The chunk: flat path -> array (num_workers, steps + 1, ...), the last row being a half-step; empty unless
            `keep_trajectory`. Keys and meanings stand in docs/data.md.

        Raises:
            NonFiniteError: if an environment delivers NaN or infinity.
            WorkerError: if a worker raises, dies or hangs. StoppedError: if whole episodes are cut off.
            UsageError: if settings of torch would change what is learned.
        """
        with self.profiler(self.mode), self._acting():
            if not self._has_begun or (self.do_reset and not self._was_reset):
                self.reset()
            self._was_reset = False
            builder, self._ahead, step, quota = self._ahead, None, 0, self._quota()
            if builder is not None:  # the first step is under way
                step, self.steps = 1, self.steps + 1
            else:
                self._tell_progress()
                builder = self._new_builder() if self.keep_trajectory else None
            while (self.n_steps is not None and step < self.n_steps) or (quota is not None and (quota > 0).any()):
                for part in self._parts:
                    self._finish_step(part, builder, quota)  # while the other part simulates
                    self._begin_step(part, builder, step)
                step += 1
                self.steps += 1
                self._ranks.steps += 1
                if self.n_episodes is not None or self.render_delay:
                    self._finish_steps(builder, quota)
                    time.sleep(self.render_delay)
                    if quota is not None and self._should_stop():
                        raise StoppedError(f"Whole episodes of explorer '{self.mode}' were cut off.")
            self._finish_steps(builder, quota)
            if builder is None:
                return {}
            check_switches()
            for part in self._parts:
                part.write(builder, step, [seat.look(view.workers) for seat, view in part.seated])
            for seat in self.seats.values():
                if seat.leads:
                    seat.senses.merge(self._ranks)
            if self.overlap:
                self._ahead = self._new_builder()
                self._tell_progress()
                for part in self._parts:
                    self._begin_step(part, self._ahead, 0)
            chunk = builder.chunk(step + 1)
            if self.info.all_players:  # a game goes on as long as anybody is there
                masks = [chunk[f"/agents/{name}/masks"] for name in self.seats]
                there = [each.reshape(self.num_workers, -1, *each.shape[1:]).any(1) for each in masks]
                chunk["/masks"] = np.logical_or.reduce(there)
            return chunk

    def _tell_progress(self) -> None:
        """Tell wrappers the run's progress, and workers for episodes of the chunk that begins; no step is under way."""
        is_known = self.mode == "train" and self.planned_frames > 0
        self._progress.share = min(self.frames / self.planned_frames, 1.0) if is_known else 1.0
        self.envs.buffers.progress[:] = self._progress.share

    def _new_builder(self) -> ChunkBuilder:
        return ChunkBuilder((self.n_steps or 64) + 1)

    def _quota(self) -> np.ndarray | None:
        """Return the episodes that each worker has to end: int (N,); None where their number does not matter."""
        if self.n_episodes is None:
            return None
        share, rest = divmod(self.n_episodes, self.num_workers)
        return share + (np.arange(self.num_workers) < rest)

    def _begin_step(self, part: Part, builder: ChunkBuilder | None, index: int) -> None:
        """Choose actions for a part of the workers, let them start, and write what is known before into row `index`."""
        generator = self._generator if self.frames < self.warm_start else None
        with self.profiler("act"):
            rows = [seat.act(view, self.deterministic, generator) for seat, view in part.seated]
        self.envs.send(part.buffers)
        part.row = index
        if builder is not None:
            part.write(builder, index, rows)

    def _finish_steps(self, builder: ChunkBuilder | None, quota: np.ndarray | None) -> None:
        for part in self._parts:
            self._finish_step(part, builder, quota)

    def _finish_step(self, part: Part, builder: ChunkBuilder | None, quota: np.ndarray | None) -> None:
        """Wait for a part of the workers, and take in their step, if one is under way."""
        index = part.row
        if index is None:
            return
        has_arrived, part.row, part.has_arrived = part.has_arrived, None, False
        if not has_arrived:
            with self.profiler("simulate"):
                self.envs.receive(part.buffers)
        with self.profiler("wrap"):
            self._check(part)
            rows = [seat.take_in(view) for seat, view in part.seated]
        if part.buffers.ended.any():
            self._note_ends(part, quota)
        if builder is not None:
            part.write(builder, index, rows)

    def _await(self) -> None:
        """Wait for the steps that are under way, without taking them in yet."""
        for part in self._parts:
            if part.row is not None and not part.has_arrived:
                self.envs.receive(part.buffers)
                part.has_arrived = True

    def _check(self, part: Part) -> None:
        """Refuse observations and rewards that are not finite."""
        for what, array in part.floats:
            # A sum is a quick first look: it is finite unless a value is not, or is huge.
            if not math.isfinite(np.add.reduce(array, axis=None)) and not np.isfinite(array).all():
                row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
                raise NonFiniteError(
                    f"{what} of worker {part.buffers.workers.start + row} in explorer '{self.mode}' is not finite at "
                    f"frame {self.frames}: {array[row].tolist()}. Check the environment '{self.mode}' simulates, or "
                    "its actions."
                )

    def _note_ends(self, part: Part, quota: np.ndarray | None) -> None:
        """Note the episodes that have just ended, as far as they count."""
        buffers = part.buffers
        for row in np.flatnonzero(buffers.finished).tolist():
            worker = buffers.workers.start + row
            if quota is None or quota[worker] > 0:
                self.n_episode += 1
                players: dict[str, float] = {}
                for seat, view in part.seated:
                    players |= seat.player_returns(view, row)
                figures = float(buffers.returns[row]), int(buffers.lengths[row]), players or None
                self._finished.append(Episode(worker, *figures, *self._figures.read(buffers.figures[row])))
            if quota is not None:
                quota[worker] -= 1

    def state_dict(self) -> dict[str, Any]:
        """Return episodes to re-live, seats, counters and generator."""
        self._await()
        return {
            "steps": self.steps,
            "n_episode": self.n_episode,
            "was_reset": self._was_reset,
            "generator": generator_state(self._generator),
            "seats": {name: seat.state_dict() for name, seat in self.seats.items()},
            "workers": self.envs.state_dict() if self._has_begun else {},
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
        for name, seat in self.seats.items():
            seat.load_state_dict(state["seats"][name])
        self._finished = [Episode(*episode) for episode in state["finished"]]
        self._has_begun = bool(state["workers"])
        diverged = self.envs.load_state_dict(state["workers"]) if self._has_begun else []
        self._tell_progress()
        if state["ahead"] is not None:  # the workers are a step further than the seats
            self._ahead = self._new_builder()
            self._ahead.restore({path: np.array(array) for path, array in state["ahead"].items()})
            for part in self._parts:
                part.row, part.has_arrived = 0, True
        elif self._has_begun and not self.info.all_players:
            for seat in self.seats.values():
                seat.senses.masks = ~self.envs.buffers.ended  # a backend that cannot re-live has ended its episodes
        return diverged

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
