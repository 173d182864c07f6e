"""The Runner: build explorers, memory and agents, and turn the loop."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.memory.generic import MAIN
from digideep.parameters.checks import require_between, require_counts, require_int
from digideep.parameters.component import build
from digideep.parameters.tree import Tree
from digideep.pipeline.announcements import doubts, farewell
from digideep.pipeline.beginning import require_same_weights
from digideep.pipeline.building import build_agents, build_memories, check_chunks, require_room
from digideep.pipeline.checkpoint import checkpoint_name
from digideep.pipeline.collecting import Collector
from digideep.pipeline.continuing import check_same_spaces, plan_of
from digideep.pipeline.demonstrations import pretrain, pretraining_steps
from digideep.pipeline.evaluation import EpisodeRecorder, choose_render_mode, play
from digideep.pipeline.limits import Limits
from digideep.pipeline.message_cost import MessageCost
from digideep.pipeline.progress import Progress
from digideep.pipeline.session import Session
from digideep.pipeline.stop_signals import FINISHED, STOPPED
from digideep.utility.errors import StoppedError, UsageError
from digideep.utility.process_state import configure_torch, globals_state, left_as_it_was, one_thread, set_globals_state
from digideep.utility.seeding import seed_globals

_log = logging.getLogger("digideep")
_MAX_THREADS = 1_024


class Runner(Collector):
    """Introduces explorers, memories and agents to each other, and runs the loop.

    Owns the cadence of tests, logs and checkpoints, and the state of the whole. A subclass may replace `train_cycle`,
    `override` or `custom`; name it in the parameter tree under "runner".

    Args:
        session: everything around the run.
        tree: the parameter tree.
        n_epochs: epochs of the run.
        n_cycles: cycles of an epoch.
        seed: of everything random, at least 0.
        test_act: test during training.
        test_int: epochs from test to test; the first and the last epoch are always tested.
        save_int: epochs from checkpoint to checkpoint; the last epoch is always saved.
        keep_checkpoints: newest checkpoints to keep; None keeps all.
        max_time, max_iter: hours, and epochs, after which this process stops; None for no limit.
        num_threads: of torch. Results can depend on it.
        histogram_int: epochs from one histogram of weights and gradients to the next, where there is a dashboard; None
            for none.
        video_int: epochs from one recorded episode to the next; None records none.
        cuda_deterministic: choose algorithms that repeat their results on CUDA too, where they are slower.
        target_return, target_success, patience: what finishes a run before its last epoch, see `Limits`.
        num_ranks: processes that train together, which torchrun starts; checkpoints hold a state of each.
        rank_timeout_s: how long one step of the environments may take in a rank before it counts as hanging.
    """

    def __init__(
        self, session: Session, tree: Tree, *,
        n_epochs: int, n_cycles: int, seed: int = 0,
        test_act: bool = True, test_int: int = 10, save_int: int = 1, keep_checkpoints: int | None = None,
        max_time: float | None = None, max_iter: int | None = None, num_threads: int = 1,
        histogram_int: int | None = 10, video_int: int | None = None, cuda_deterministic: bool = False,
        target_return: float | None = None, target_success: float | None = None, patience: int | None = None,
        num_ranks: int = 1, rank_timeout_s: float = 40.0,
    ):  # fmt: skip
        require_counts(n_epochs=n_epochs, n_cycles=n_cycles, test_int=test_int, save_int=save_int)
        require_counts(keep_checkpoints=keep_checkpoints, histogram_int=histogram_int, video_int=video_int)
        require_int("num_threads", num_threads, 1, _MAX_THREADS)
        require_int("seed", seed, 0)
        require_between("rank_timeout_s", rank_timeout_s, 1)
        self.ranks, session.watch.patience_s = session.ranks, rank_timeout_s
        self.session, self.tree, self.profiler, self.monitor = session, tree, session.profiler, session.monitor
        self.n_epochs, self.n_cycles, self.seed = n_epochs, n_cycles, seed
        self.test_act, self.test_int, self.save_int, self.video_int = test_act, test_int, save_int, video_int
        self.i_epoch, self.i_cycle, self.keep_checkpoints = 0, 0, keep_checkpoints
        self.explorer, self.memories = {}, {}
        self._is_ending = False  # between an epoch's last cycle and its end
        session.monitor.moment = self.moment
        self.recorder: EpisodeRecorder | None = None
        self._saved: tuple[Any, ...] | None = None
        self.plan_note: str | None = None  # what became of the plan when the run was resumed
        self.progress = Progress(session, histogram_int)
        self.limits = Limits(
            target_return, target_success, patience, is_tested=test_act, max_iter=max_iter, max_time=max_time
        )
        self._process = ExitStack()  # what the run changes in its process, until `close`
        try:
            self._process.enter_context(left_as_it_was())
            seed_globals(seed)
            configure_torch(num_threads, is_deterministic=session.device.type == "cpu" or cuda_deterministic)
            self.instantiate()
            if not self.ranks.is_first:
                seed_globals(self.ranks.seed(seed))  # what is drawn from here on is each rank's own
        except BaseException:
            self.close()
            raise

    def instantiate(self) -> None:
        """Build memories, agents and explorers. Playing needs no explorer but "eval", which `enjoy` builds."""
        self.environment = build(self.tree["env"], EnvironmentSpec)
        self.info = inspect_environment(self.environment)
        self.memories = build_memories(self.session, self.tree)
        self.memory = self.memories[MAIN]
        self.agents = build_agents(self.session, self.tree, self.info, self.memories, self._process, seed=self.seed)
        if self.session.mode == "custom" and type(self).custom is Runner.custom:
            raise UsageError("--custom needs a Runner with a custom() of its own: name its class under 'runner'.")
        if self.session.mode == "play":
            self.render_mode = choose_render_mode(self.session.args, self.environment, self.info)
        else:
            require_room(self.memories, self.tree, self.info, self.ranks.local_size)
            for name in self.tree["explorer"]:
                if name != "eval" and (name != "test" or self.ranks.is_first):
                    self.explorer[name] = self.make_explorer(name)
            self.explorer["train"].planned_frames = plan_of(self.tree).frames
            if self.video_int is not None and self.ranks.is_first:
                self.recorder = EpisodeRecorder(self.session, self.environment, self.info, self.make_explorer)
            check_chunks(self.explorer, self.memories, self.tree)
        self._message_cost = MessageCost(self.agents, self.ranks)
        self.override()

    def make_explorer(
        self, mode: str, *, seed: int | None = None, video_dir: Path | None = None, **changes: Any
    ) -> Explorer:
        """Build the explorer of a mode.

        Args:
            mode: its name under "explorer" in the tree.
            seed: None takes the run's.
            video_dir: where to record every episode.
            changes: parameters that differ from the tree's.
        """
        ranks = self.ranks if mode not in ("test", "eval") else None  # rank 0 alone tests
        if seed is None:
            seed = self.seed if ranks is None else ranks.seed(self.seed)
        return build(
            {**self.tree["explorer"][mode], **changes}, Explorer, mode=mode, agents=self.agents, info=self.info,
            environment=self.environment, seed=seed, ranks=ranks, profiler=self.profiler, video_dir=video_dir,
            tree=self.tree, on_one_thread=one_thread, should_stop=self.session.signals.must_cut,
        )  # fmt: skip

    def override(self) -> None:
        """Do nothing: a hook for subclasses, called when everything is built and before a checkpoint is restored."""

    @property
    def frames(self) -> int:
        """Frames that the train explorers of all ranks have collected so far."""
        return self.explorer["train"].frames

    def moment(self) -> dict[str, int]:
        """Return where the run is: the current epoch (1 is the first), frames and episodes so far."""
        train = self.explorer.get("train")
        frames, episodes = (train.frames, train.n_episode) if train is not None else (0, 0)
        return {"epoch": self.i_epoch + (0 if self._is_ending else 1), "frame": frames, "episode": episodes}

    def start(self) -> int:
        """Do what the session was started for. Returns: the exit code."""
        try:
            if self.session.mode == "play":
                return self.enjoy()
            if self.session.mode == "custom":
                before, code = self._identity(), self.custom()
                if self._identity() != before:  # it has trained
                    self.save()
                return code
            if self.session.mode == "create":
                path = self.session.path
                print(f"Created {path}. Train it with: digideep resume {path}", file=self.session.output)
                return FINISHED
            return self.train()
        finally:
            self.close()

    def train_cycle(self) -> None:
        """Turn the loop once: explore, store, learn."""
        chunk = self.explorer["train"].update()
        self.memory.store(chunk)
        for agent_name in self.agents:
            self.monitor.record(f"/update/{agent_name}", self.agents[agent_name].update())

    def train(self) -> int:
        """Run until the last epoch, or until a stop. Returns: `FINISHED`, or `STOPPED` with a checkpoint written."""
        self.session.mark(is_done=False)
        self.session.watch_signals(self.limits.max_time)
        if self.plan_note is not None:
            _log.info("%s", self.plan_note)
        for doubt in doubts(self.agents):
            _log.warning("%s", doubt)
        self.progress.start(self.environment.name, plan_of(self.tree).frames, self.frames)
        first, reason = self.i_epoch, None
        self.ranks.is_waiting = False
        try:
            pretrain(self.agents, self.monitor, lambda: self._why_stop(first) is not None)
            while not self.is_finished and (reason := self._why_stop(first)) is None:
                if self.i_cycle < self.n_cycles:  # else the test of the epoch was cut off
                    self.train_cycle()
                    self.note_episodes()
                    self.i_cycle += 1
                    if self.i_cycle == self.n_cycles:
                        for agent in self.agents.values():
                            agent.average()
                if self.i_cycle >= self.n_cycles:
                    self.end_epoch()
            return self._end(reason)
        finally:
            self.ranks.is_waiting = True
            self.progress.stop()

    def _why_stop(self, first: int) -> str | None:
        """Return why to stop; None if no rank should. Args: first: epochs that were done before this process."""
        reasons = self.ranks.gather(self.limits.why_stop(first, self.i_epoch, self.session))
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def is_finished(self) -> bool:
        """True if the plan is met, or the goal."""
        return self.i_epoch >= self.n_epochs or self.limits.verdict(self.progress) is not None

    def end_epoch(self) -> None:
        """Count the epoch; test, film, log and save as the plan says.

        A test that a stop cuts off leaves the epoch open: it begins anew after a resume.
        """
        epoch = self.i_epoch + 1
        is_tested = self.test_act and (epoch % self.test_int == 0 or epoch in (1, self.n_epochs))
        before = self.state_dict() if is_tested else None
        self.i_epoch, self.i_cycle, self._is_ending = self.i_epoch + 1, 0, True
        require_same_weights(self.agents, self.ranks, epoch)
        is_cut = False
        try:
            if is_tested and self.ranks.is_first:
                with self.session.signals.cutting():
                    self.test()
        except StoppedError:
            is_cut = True
        if is_tested and self.progress.hear_of_test(is_cut=is_cut):
            self.i_epoch, self.i_cycle, self._is_ending = self.i_epoch - 1, self.n_cycles, False
            _log.info("The test of epoch %d was cut off: it begins anew when the run is resumed.", self.i_epoch + 1)
            self.save(before)
            return
        if self.recorder is not None and self.i_epoch % (self.video_int or 1) == 0:
            self.recorder.record(self.i_epoch, self.frames, self.explorer["train"].statistics())
        self.log()
        if self.i_epoch % self.save_int == 0 or self.is_finished:
            self.save()
        self._is_ending = False

    def _end(self, reason: str | None) -> int:
        """Mark a finished run, or save one that stops. Args: reason: why it stops; None: it has finished."""
        if reason is None:
            self.session.mark(is_done=True)
            verdict = self.limits.verdict(self.progress)
            code, headline = FINISHED, f"Finished after {self.frames:,} frames{f': {verdict}' if verdict else ''}."
        else:
            self.save()
            code, headline = STOPPED, f"Stopped at {self.frames:,} frames ({reason})."
        self.session.signals.settle(code)
        self.progress.stop()
        headline = "\n".join([headline, *doubts(self.agents)])
        _log.info("%s", farewell(headline, self.session.path, self.ranks, is_finished=reason is None))
        return code

    def note_episodes(self) -> None:
        """Take the episodes that ended in this cycle into the statistics."""
        self.progress.cycle(self.explorer["train"], f"{self.i_epoch + 1}/{self.n_epochs}")

    def test(self) -> None:
        """Run whole episodes without exploration, under seeds of this epoch, with what the normalisers learned."""
        explorer = self.explorer["test"]
        explorer.load_statistics(self.explorer["train"].statistics())
        explorer.reseed(self.i_epoch)
        explorer.update()
        if self.progress.test(explorer):
            state = self.state_dict()
            self.session.save_best({key: state[key] for key in ("runner", "spaces", "agents", "statistics")})

    def log(self) -> None:
        """Show and write the figures of the epoch."""
        with self.ranks.waiting():
            self.progress.epoch(self.moment(), self.agents)
            self._message_cost.epoch()

    def save(self, state: dict[str, Any] | None = None) -> None:
        """Write a checkpoint of this moment, unless there is one. Args: state: of it; None asks for it now."""
        identity = self._identity()
        if identity != self._saved:
            with self.ranks.waiting():
                self.session.save(identity[0], state or self.state_dict(), self.memories, self.keep_checkpoints)
            self._saved = identity

    def _identity(self) -> tuple[Any, ...]:
        """Return the name of this moment's checkpoint, and what tells it from another one of that name."""
        updates = [pretraining_steps(self.agents), *(agent.n_updates for agent in self.agents.values())]
        frames = [explorer.frames for explorer in self.continuing.values()]
        return checkpoint_name(self.i_epoch, self.i_cycle), *frames, *updates

    def enjoy(self) -> int:
        """Play whole episodes without exploration; print returns, record videos. Returns: the exit code."""
        return FINISHED if play(self.session, self.make_explorer, self.environment, self.render_mode) else STOPPED

    def custom(self) -> int:
        """Do a job of a subclass's own, started with --custom. Returns: the exit code."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all environments and memories, and leave the process as it was before. Safe to call again."""
        with self._process:
            self.close_collected()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact continuation needs."""
        return {
            "runner": {"i_epoch": self.i_epoch, "i_cycle": self.i_cycle, **self.progress.state_dict()},
            "spaces": self.info.to_plain(),
            "agents": {name: agent.state_dict() for name, agent in self.agents.items()},
            **self.collected_state(),
            "monitor": self.monitor.state_dict(),
            "globals": globals_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off.

        Raises:
            UsageError: if the environment's spaces are not those of the checkpoint.
            CheckpointError: if the checkpoint is broken.
        """
        check_same_spaces(state["spaces"], self.info.to_plain(), self.environment.name)
        for name, agent in self.agents.items():
            agent.load_state_dict(state["agents"][name])
        if self.session.mode == "play":
            return
        self.i_epoch, self.i_cycle = state["runner"]["i_epoch"], state["runner"]["i_cycle"]
        self.progress.load_state_dict(state["runner"])
        self.restore_memories(state)
        self.monitor.load_state_dict(state["monitor"])
        self.restore_explorers(state, self.environment.name)
        if self.session.is_resuming:
            self._saved = self._identity()
        if "globals" in state:  # last of all: what was built and re-lived before may have drawn from them
            set_globals_state(state["globals"])
