"""The Session: everything around a run and nothing of learning.

It owns the directory, the lock, the logbook, the device and the signals. Nothing is created before
`open`: by then, whatever a user can get wrong has been found.
"""

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import filelock

from digideep.environment.explorer import Episode
from digideep.environment.making.graphics import choose_graphics
from digideep.memory.generic import Memory
from digideep.parameters.control_panel import load_params
from digideep.parameters.tree import override_tree, to_plain
from digideep.pipeline.arguments import Arguments
from digideep.pipeline.beginning import base_directory, continued, find_source, for_rank, panel_and_tree, require_ranks
from digideep.pipeline.checkpoint import versions
from digideep.pipeline.checkpoint_store import CheckpointSource, CheckpointStore, SavedRun
from digideep.pipeline.continuing import longer_plan
from digideep.pipeline.kept_sources import find_package
from digideep.pipeline.rank_watch import RankWatch
from digideep.pipeline.repeals import note_repeal, replace_value
from digideep.pipeline.session_directory import (
    find_new_directory,
    let_go,
    new_directory,
    write_recipe,
    write_tree,
    written_files,
)
from digideep.pipeline.stop_signals import StopSignals
from digideep.telemetry.console import make_console
from digideep.telemetry.log_handlers import LEVELS, REPORT, ConsoleHandler, ReportHandler
from digideep.telemetry.logbook import Logbook
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.output import JsonOutput, OutputStream
from digideep.telemetry.profiler import Profiler
from digideep.telemetry.writers import EpochFigures
from digideep.utility.errors import CheckpointError
from digideep.utility.files import as_typed
from digideep.utility.importing import find_in_working_directory
from digideep.utility.own_files import DONE, part_links
from digideep.utility.process_state import find_device
from digideep.utility.ranks import Ranks

_log = logging.getLogger("digideep")


class Session:
    """One run of the program.

    Attributes:
        mode: "train", "play", "custom" or "create".
        path: the session's directory (of this evaluation, with --play); None with --dry-run.
        tree: the plain parameter tree; final when the Runner is built.
        state: of the checkpoint that is loaded; None for a fresh start.
        weights: state of the checkpoint whose weights a new run begins with; None for fresh ones.
        device: where agents compute.
        monitor: statistics of named values.
        profiler: where the time goes.
        logbook: log files and dashboards.
        listeners: what is called with the figures of each epoch, see `on_epoch`; a Runner may add to it.
        signals: those that stop the run.
        ranks: processes that train together, of which this is one; rank 0 alone writes logs and talks.
        watch: over the ranks.
        output: where people read: standard output, or with --json standard error.
        json_output: where --json writes; None without it.

    Args:
        args: from `parse_arguments`.
        signals: those that stop the run; None makes some, which are installed when the run begins.
        recipe: what `args.params` names, where it is not a file or module: it has `cpanel`, `gen_params`, `__name__`.
        on_epoch: called with the figures of each epoch; what returns False stops the run, with a checkpoint.
        output: where people read; None for standard output.

    Raises:
        UsageError: for anything that keeps the run from starting.
    """

    def __init__(
        self, args: Arguments, signals: StopSignals | None = None, *, recipe: Any = None,
        on_epoch: Callable[[EpochFigures], Any] | None = None, output: TextIO | None = None,
    ):  # fmt: skip
        self._recipe, self.listeners = recipe, [] if on_epoch is None else [on_epoch]
        self.signals, self._owns_signals = signals or StopSignals(), signals is None
        self.ranks = Ranks.from_environment()
        self.watch = RankWatch(self.ranks, self.signals.ask)
        args = for_rank(args, self.ranks)
        self.args, self.mode, self.is_resuming = args, args.mode, args.resume
        # With --json, what is printed is JSON and nothing else.
        self.json_output = JsonOutput() if args.json else None
        self.output = OutputStream(output or (sys.stderr if args.json else sys.stdout))
        self.console = make_console(self.output)
        self.signals.announce = self.console.print if self.ranks.is_first else lambda text: None
        self.monitor = Monitor()
        self.profiler = Profiler(None if args.profiler_level < 0 else args.profiler_level)
        self.logbook = Logbook(self.monitor, self.profiler, args)
        self.path: Path | None = None
        self.state: dict[str, Any] | None = None
        self.weights: dict[str, Any] | None = None
        self.cpanel: dict[str, Any] = {}
        self._source: CheckpointSource | None = None
        self._store: CheckpointStore | None = None  # None before `open`, and with --dry-run
        self._lock: filelock.BaseFileLock | None = None
        self._handlers: list[logging.Handler] = []
        self._started = time.perf_counter()
        self._elapsed_before_s = 0.0

        choose_graphics()
        find_in_working_directory()  # where parameter files and their packages are looked for
        _log.setLevel(logging.DEBUG)
        _log.propagate = False
        level = logging.WARNING if args.quiet else LEVELS[args.log_level]
        self._add_handler(ConsoleHandler(self.console, level if self.ranks.is_first else logging.ERROR))
        try:
            self._choose()
        except BaseException as err:
            refusal = self.watch.refuse(err)
            self.close()  # nobody else has this session yet
            if refusal is not err:
                raise refusal from err
            raise

    # ------------------------------------------------------------------ before anything is written

    def _choose(self) -> None:
        """Settle everything that can be refused: device, dashboards, parameters or checkpoint, directory."""
        args = self.args
        self.device = self.ranks.device(find_device(args.device))
        self.ranks.connect(self.device)
        self.watch.start()
        args = self.args = continued(args, self.ranks)
        self.mode, self.is_resuming = args.mode, args.resume
        self.logbook.require()
        for name in args.save_modules:
            find_package(name)

        if args.load_checkpoint is not None:
            self._source, self._lock = find_source(args, self.ranks)
            self._source.load(is_written=self.is_resuming)
            self._take(self._source)
        if args.params is not None:
            self.weights, self.state = self.state, None
            self._params = self._recipe or load_params(args.params)
            self.cpanel, self.tree = panel_and_tree(self._params, args, self.ranks)
        elif args.total_frames is not None:
            self.args = dataclasses.replace(args, repeal=args.repeal | longer_plan(self.tree, args.total_frames))
        self.tree = override_tree(self.tree, self.args.repeal)
        if self.mode == "train":
            require_ranks(self.tree, self.ranks, self.loaded_from if self.is_resuming else None)
        if not self.is_resuming and not args.dry_run:
            base = base_directory(args, None if self._source is None else self._source.session)
            path = str(find_new_directory(base, args.session_name)) if self.ranks.is_first else None
            self.path = Path(self.ranks.told_by_first(path))

    def _add_handler(self, handler: logging.Handler) -> None:
        _log.addHandler(handler)
        self._handlers.append(handler)

    def _take(self, source: CheckpointSource) -> None:
        self.state = source.loaded.state
        self.tree, self.cpanel = self.state["params"], self.state["cpanel"]
        if self.is_resuming:
            self.path = source.session
            self._elapsed_before_s = float(source.loaded.figures.get("elapsed_s", 0.0))

    @property
    def loaded_from(self) -> Path | None:
        """The checkpoint that was loaded, if any."""
        return self._source.loaded.path if self._source is not None else None

    def fall_back(self, error: CheckpointError, first: CheckpointError) -> None:
        """Load the checkpoint before the one that turned out not to fit, see `CheckpointSource.fall_back`.

        With --repeal it may not be the checkpoint that is at fault: then the first error is raised, too.
        """
        if self.args.repeal:
            raise first
        assert self._source is not None
        self._source.fall_back(error, first)
        self._take(self._source)

    def settle(self, path: str, value: Any) -> None:
        """Fill in a value that the parameter tree leaves open, before it is final."""
        assert self._store is None
        replace_value(self.tree, path, value)

    # ------------------------------------------------------------------ the directory

    def open(self, runner: SavedRun) -> None:
        """Make the directory, with a first checkpoint, and start what writes into it. Nothing is refused any more."""
        if self.is_resuming:
            self._take_back_future(runner.keep_checkpoints)
        elif self.path is not None:
            self._create(runner)
        if not self.ranks.is_first:
            return
        if self.path is not None:
            self._add_handler(ReportHandler(self.path / "report.log"))
            loaded = self.state["params"] if self.is_resuming and self.state is not None else {}
            note_repeal(self.path, runner.i_epoch, self.args.repeal, loaded)
        self.logbook.open(
            self.path,
            first_frame=(runner.frames or None) if self.is_resuming else None,
            cpanel=to_plain(self.cpanel),
            tree=self.tree,
        )
        if self.path is None:
            _log.info("Dry run: nothing is written.")
            return
        _log.info("Session: %s", as_typed(self.path))
        if self.loaded_from is not None:
            _log.info("%s: %s", "Loaded" if self.weights is None else "Weights", self.loaded_from)

    def _create(self, runner: SavedRun) -> None:
        """Make the directory, with its first checkpoint: it is there as a whole or not at all."""
        assert self.path is not None
        final, self.path = self.path, None
        self.ranks.leave_behind("session", str(final))
        try:
            if not self.ranks.is_first:
                self._store = CheckpointStore(Path(self.ranks.told_by_first(None)), ranks=self.ranks)
                runner.save()
                return self._move(final)
            with new_directory(final) as (self.path, self._lock):
                self._store = CheckpointStore(self.path, ranks=self.ranks)
                if self.mode in ("train", "create"):
                    (self.path / "checkpoints").mkdir()
                    write_recipe(self.path, to_plain(self.cpanel), self._params, self.args.save_modules)
                loaded_from = self.loaded_from if self.weights else None
                write_tree(self.path, self.tree, final.name, self.args.msg, loaded_from, versions())
                self.ranks.told_by_first(str(self.path))
                if self.mode in ("train", "create"):
                    runner.save()
        except BaseException:
            self.path = None
            raise
        return self._move(final)

    def _move(self, final: Path) -> None:
        """Go on in the directory's final place. Args: final: where rank 0 has moved it."""
        assert self._store is not None
        self.ranks.meet()
        self.path = final
        self._store.move(final)

    def _take_back_future(self, keep: int | None) -> None:
        """Take back what a run logged and saved after the checkpoint that is resumed. Args: keep: as for `save`."""
        assert self.path is not None
        assert self._source is not None
        self._store = CheckpointStore(self.path, self._source, self.ranks)
        self._store.take_back(self._source.loaded.path, keep)
        if not self.ranks.is_first:
            return
        for file in written_files(self.path):
            part_links(file)
        self.logbook.cut(self.path, self._source.loaded.figures.get("logs", {}))

    # ------------------------------------------------------------------ while it runs

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken, in all its processes."""
        return self._elapsed_before_s + self.process_s

    @property
    def process_s(self) -> float:
        """Seconds since this process began."""
        return time.perf_counter() - self._started

    def write_episodes(self, mode: str, episodes: Sequence[Episode], info_names: Sequence[str] = ()) -> None:
        """Append finished episodes to the csv files of their workers. Args: info_names: that have columns there."""
        rows = [(episode.worker, episode.episode_return, episode.length, episode.columns()) for episode in episodes]
        self.logbook.write_episodes(mode, rows, self.elapsed_s, self.tree["env"]["name"], info_names)

    def save(self, name: str, state: dict[str, Any], memories: Mapping[str, Memory], keep: int | None) -> None:
        """Write a checkpoint, see `CheckpointStore.save`. Args: state: of all but the content of memories."""
        if self._store is not None:
            figures = {"logs": self.logbook.sizes(), "elapsed_s": self.elapsed_s}
            self._store.save(name, self._with_parameters(state), figures, memories, keep)

    def save_best(self, state: dict[str, Any]) -> None:
        """Keep a policy beside the checkpoints, whatever becomes of them. Args: state: what it takes to play it."""
        if self._store is not None:
            self._store.save_best(self._with_parameters(state), {"elapsed_s": self.elapsed_s})

    def _with_parameters(self, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "params": self.tree, "cpanel": to_plain(self.cpanel)}

    def restore_memory(self, name: str, memory: Memory, n_chunks: int) -> None:
        """Fill a memory from the loaded checkpoint. Args: n_chunks: stored since the run began."""
        assert self._source is not None
        self._source.restore_memory(name, memory, n_chunks)

    def mark(self, *, is_done: bool) -> None:
        """Mark the run as finished, or take the mark back: the plan may have grown."""
        if not self.ranks.is_first:
            return
        if self.path is not None and is_done:
            (self.path / DONE).write_text("\n", encoding="utf-8")
        elif self.path is not None:
            (self.path / DONE).unlink(missing_ok=True)

    def watch_signals(self, max_time_h: float | None = None) -> None:
        """Let signals ask for a stop after the cycle from here on; a second SIGINT stops at once. See `StopSignals`.

        Args:
            max_time_h: hours of this process after which whole episodes are cut off; None for no limit.
        """
        self.signals.install()
        self.signals.hold()
        if max_time_h is not None:
            self.signals.limit(max_time_h * 3600 - self.process_s)

    def report_failure(self, text: str) -> bool:
        """Write a traceback to `report.log`. Returns: whether there is one."""
        if self.path is None or not os.path.exists(self.path):
            return False
        if not self.ranks.is_first:
            self._add_handler(ReportHandler(self.path / "report.log"))
        text = self.ranks.prefix + text
        REPORT.error(text)
        return True

    def close(self) -> None:
        """Stop what the session started; safe to call more than once."""
        if self._owns_signals:
            self.signals.restore()
        self.logbook.close()
        self.watch.stop()
        self.ranks.close()
        for log_handler in self._handlers:
            _log.removeHandler(log_handler)
            log_handler.close()
        if self._lock is not None:
            let_go(self._lock)
        self._lock, self._handlers = None, []
        if self.json_output is not None:
            self.json_output.close()
