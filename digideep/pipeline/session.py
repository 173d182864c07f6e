"""The Session: everything around a run and nothing of learning.

It owns the directory, the locks, the logbook, the device and the signals. Nothing is created before
`open`: whatever a user can get wrong is found by then.
"""

import argparse
import contextlib
import json
import logging
import os
import shlex
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import filelock
import torch
from rich.console import Console

from digideep.environment.explorer import Episode
from digideep.environment.making.graphics import choose_graphics
from digideep.memory.generic import Memory
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.tree import dump_yaml, override_tree, to_plain
from digideep.pipeline.checkpoint import (
    BEST,
    Loaded,
    checkpoint_order,
    drop_oldest,
    list_aside,
    list_checkpoints,
    load_checkpoint,
    load_newest_valid,
    read_need,
    set_aside,
    sweep_checkpoints,
    versions,
    write_checkpoint,
)
from digideep.pipeline.display import LEVELS, ConsoleHandler
from digideep.pipeline.kept_sources import find_package, keep_sources
from digideep.pipeline.logbook import Logbook
from digideep.pipeline.repeals import note_repeal
from digideep.pipeline.segments import SegmentStore
from digideep.pipeline.session_files import (
    PACKAGE,
    ReportHandler,
    decoded,
    hold,
    let_go,
    new_directory,
    require_own_files,
    written_files,
)
from digideep.pipeline.stop_signals import StopSignals
from digideep.telemetry.monitor import Monitor
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import CheckpointError, FinishedError, UsageError
from digideep.utility.importing import SESSIONS, find_in_working_directory
from digideep.utility.names import session_name
from digideep.utility.output import JsonOutput, OutputStream
from digideep.utility.own_files import part_links, require_own

_log = logging.getLogger("digideep")
_report = logging.getLogger("digideep.report")  # lines that the console has been shown already


class Session:
    """One run of the program.

    Attributes:
        mode: "train", "play", "custom" or "create".
        path: the session's directory (of this evaluation, with --play); None with --dry-run.
        tree: the plain parameter tree.
        state: of the checkpoint that is loaded; None for a fresh start.
        weights: state of the checkpoint whose weights a new run begins with; None for fresh ones.
        device: where agents compute.
        monitor: statistics of named values.
        profiler: where the time goes.
        logbook: log files and dashboards.
        signals: those that stop the run.
        output: where people read: standard output, or with --json the other one.
        json_output: where --json writes; None without it.

    Args:
        args: from `parse_arguments`.
        signals: those that stop the run; None makes some, which are installed when the run begins.

    Raises:
        UsageError: for anything that keeps the run from starting.
    """

    def __init__(self, args: argparse.Namespace, signals: StopSignals | None = None):
        self.args = args
        self.signals, self._owns_signals = signals or StopSignals(), signals is None
        self.mode = (
            "play" if args.play else "custom" if args.custom else "create" if args.create_session_only else "train"
        )
        self.is_resuming = bool(args.resume)
        # With --json, what is printed is JSON and nothing else.
        self.json_output = JsonOutput() if args.json else None
        self.output = OutputStream(sys.stderr if args.json else sys.stdout)
        self.console = Console(file=cast(IO[str], self.output))
        self.signals.announce = self.console.print
        self.monitor = Monitor()
        self.profiler = Profiler(None if args.profiler_level < 0 else args.profiler_level)
        self.logbook = Logbook(self.monitor, self.profiler, args)
        self._stop_reason: str | None = None
        self.path: Path | None = None
        self.state: dict[str, Any] | None = None
        self.weights: dict[str, Any] | None = None
        self.cpanel: dict[str, Any] = {}
        self.loaded_from: Path | None = None
        self._figures: dict[str, Any] = {}
        self._segments: SegmentStore | None = None
        self._kept: dict[str, int] = {}  # checkpoints by name, oldest first: the oldest chunk that each needs
        self._lock: filelock.BaseFileLock | None = None
        self._handlers: list[logging.Handler] = []
        self._started = time.perf_counter()
        self._elapsed_before_s = 0.0

        choose_graphics()
        find_in_working_directory()  # where parameter files and their packages are looked for
        self._start_console()
        try:
            self._choose()
        except OSError as err:
            self.close()
            raise UsageError(f"{err.filename or 'A file'} cannot be used: {err.strerror or err}.") from err
        except BaseException:
            self.close()  # nobody else has this session yet
            raise

    # ------------------------------------------------------------------ before anything is written

    def _choose(self) -> None:
        """Settle everything that can be refused: device, dashboards, parameters or checkpoint, directory."""
        self.device = _find_device(self.args.device)
        self.logbook.require()
        for name in self.args.save_modules:
            find_package(name)

        if self.args.load_checkpoint is not None:
            self._load(Path(self.args.load_checkpoint))
        if self.args.params is not None:
            self.weights, self.state = self.state, None
            self._params = load_params(self.args.params)
            self.cpanel = override_panel(self._params.cpanel, self.args.cpanel)
            self.tree = to_plain(generate(self._params, self.cpanel))
        self.tree = override_tree(self.tree, self.args.repeal)
        if not self.is_resuming and not self.args.dry_run:
            try:
                self.path = self._new_path()
            except OSError as err:  # no permission to look, a path longer than the file system takes
                raise UsageError(f"No session can be made there ({err}). Choose another --session-path.") from err

    def _start_console(self) -> None:
        _log.setLevel(logging.DEBUG)
        _log.propagate = False
        handler = ConsoleHandler(self.console)
        handler.setLevel(logging.WARNING if self.args.quiet else LEVELS[self.args.log_level])
        handler.addFilter(lambda record: record.name != _report.name)
        self._add_handler(handler)

    def _add_handler(self, handler: logging.Handler) -> None:
        _log.addHandler(handler)
        self._handlers.append(handler)

    def _load(self, path: Path) -> None:
        """Find the checkpoint to load; hold the lock of the session that is resumed."""
        if not path.is_dir():
            raise UsageError(f"--load-checkpoint {path} is no directory. Give a session or one of its checkpoints.")
        named, path = path.absolute(), path.resolve()
        is_checkpoint = path.parent.name == "checkpoints" and (checkpoint_order(path) is not None or path.name == BEST)
        if checkpoint_order(named) is not None and named.parents[1].resolve() != path.parents[1]:
            raise UsageError(f"{named} leads out of its session, to {path}. Give that one, or copy it there.")
        if path.name == BEST and self.mode != "play" and self.args.params is None:
            raise UsageError(f"{path} holds the best policy and nothing else: play it, or give --params as well.")
        directory = path.parents[1] if is_checkpoint else path
        if not (directory / "checkpoints").is_dir():
            raise UsageError(
                f"{directory} is no session: it has no directory 'checkpoints'. Give a session's directory."
            )
        if self.is_resuming:
            if not os.access(directory, os.W_OK):
                raise UsageError(f"{directory} cannot be written. Resume needs write permission there.")
            require_own_files(directory)
            self._lock = hold(directory)
            if (directory / "done.lock").exists() and not self.args.repeal:
                raise FinishedError(f"{directory} has finished. Play it with --play --load-checkpoint {directory}.")
        for name in ("checkpoints", "memory"):
            require_own(directory / name, is_directory=True, is_written=self.is_resuming)
        self._session_of_checkpoint = directory
        self._is_named = is_checkpoint
        needs_memory = self.mode != "play" and self.args.params is None
        self._take(load_checkpoint(path, needs_memory) if is_checkpoint else load_newest_valid(path, needs_memory))

    def _take(self, loaded: Loaded) -> None:
        self.loaded_from, self.state, self._figures = loaded.path, loaded.state, loaded.figures
        self.tree, self.cpanel = loaded.state["params"], loaded.state["cpanel"]
        self._loaded_segments = loaded.segments
        if self.is_resuming:
            self.path = self._session_of_checkpoint
            self._segments = SegmentStore(self.path / "memory", loaded.segments)
            self._elapsed_before_s = float(loaded.figures.get("elapsed_s", 0.0))

    def fall_back(self, error: CheckpointError, first: CheckpointError) -> None:
        """Load the checkpoint before the one that turned out not to fit.

        Args:
            error: what is wrong with it.
            first: what was wrong with the newest one. It is raised if there is none left, or if the user named the
                checkpoint or changes its parameters: then it may not be the checkpoint that is at fault.
        """
        if self._is_named or self.args.repeal:
            raise first
        assert self.loaded_from is not None
        _log.warning("Skipping %s: %s", self.loaded_from.name, error)
        try:
            self._take(load_newest_valid(self._session_of_checkpoint, self.mode != "play", before=self.loaded_from))
        except CheckpointError:
            raise first from None

    def _new_path(self) -> Path:
        """Where this run will write; refuses what cannot become a directory."""
        if self.loaded_from is not None and self.args.params is None:
            base = self._session_of_checkpoint / ("evaluations" if self.mode == "play" else "customs")
            require_own(base, is_directory=True)
        else:
            base = Path(self.args.session_path or SESSIONS).resolve()
        name = self.args.session_name or session_name(datetime.now())
        while not self.args.session_name and (base / name).exists():  # another run of this second drew the same
            name = session_name(datetime.now())
        if Path(name).name != name or name in (".", ".."):
            raise UsageError(f"--session-name {name!r} must be a plain directory name.")
        if (base / name).exists():
            raise UsageError(f"{base / name} exists already. Choose another --session-name, or --resume it.")
        parent = base
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            raise UsageError(
                f"{parent} is a file, so that no session can be made in {base}. Choose another --session-path."
            )
        if not os.access(parent, os.W_OK):
            raise UsageError(f"{parent} cannot be written. Choose another --session-path.")
        return base / name

    # ------------------------------------------------------------------ the directory

    def open(self, runner: Any) -> None:
        """Make the directory, with a first checkpoint, and start what writes into it.

        From here on nothing is refused any more: what can be is refused by now.

        Args:
            runner: built, and restored if resuming.
        """
        if self.path is not None:
            self._prepare(runner)
        self.logbook.open(
            self.path,
            first_frame=(runner.frames or None) if self.is_resuming else None,
            cpanel=to_plain(self.cpanel),
            tree=self.tree,
        )
        if self.path is None:
            _log.info("Dry run: nothing is written.")
            return
        _log.info("Session: %s", self.path)
        if self.loaded_from is not None:
            _log.info("%s: %s", "Loaded" if self.weights is None else "Weights", self.loaded_from)

    def _prepare(self, runner: Any) -> None:
        assert self.path is not None
        if self.is_resuming:
            self._forget_future(runner.keep_checkpoints)
        else:
            self._create(runner)
        self._add_handler(ReportHandler(self.path / "report.log"))
        loaded = self.state["params"] if self.is_resuming and self.state is not None else {}
        note_repeal(self.path, runner.i_epoch, self.args.repeal, loaded)

    def _create(self, runner: Any) -> None:
        """Make the directory, with its first checkpoint: it is there as a whole or not at all."""
        assert self.path is not None
        final, self.path = self.path, None
        try:
            with new_directory(final) as (self.path, self._lock):
                if self.mode in ("train", "create"):
                    (self.path / "checkpoints").mkdir()
                    panel = json.dumps(to_plain(self.cpanel), indent=2) + "\n"
                    (self.path / "cpanel.json").write_text(panel, encoding="utf-8")
                    keep_sources(self.path / "modules", self._params, self.args.save_modules)
                    for name, text in PACKAGE.items():
                        (self.path / name).write_text(text, encoding="utf-8")
                about = {
                    "session_name": decoded(final.name),
                    "session_msg": decoded(self.args.msg),
                    "session_cmd": decoded(shlex.join(["python", *sys.argv])),
                    "versions": versions(),
                    **({"session_from": decoded(str(self.loaded_from))} if self.weights else {}),
                }
                dump_yaml({**self.tree, **about}, self.path / "params.yaml")
                if self.mode in ("train", "create"):
                    runner.save()
        except BaseException:
            self.path = None
            raise
        self.path, self._segments = final, None

    def _forget_future(self, keep: int | None) -> None:
        """Take back what a run logged and saved after the checkpoint that is resumed. Args: keep: as for `save`."""
        assert self.path is not None
        assert self.loaded_from is not None
        assert self._segments is not None
        directory = self.path / "checkpoints"
        sweep_checkpoints(directory)
        kept = list_checkpoints(directory)
        while kept[-1] != self.loaded_from:
            later = kept.pop()
            _log.warning("Setting %s aside as %s: %s is resumed.", later.name, set_aside(later).name, kept[-1].name)
        aside = [read_need(path) for path in list_aside(directory)]
        self._kept = self._segments.sweep({path.name: read_need(path) for path in kept}, aside)
        for file in written_files(self.path):
            part_links(file)
        self.logbook.cut(self.path, self._figures.get("logs", {}))
        drop_oldest(directory, self._kept, keep)  # it may have been killed before it could
        self._segments.release(next(iter(self._kept.values())))

    # ------------------------------------------------------------------ while it runs

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken, in all its processes."""
        return self._elapsed_before_s + self.process_s

    @property
    def process_s(self) -> float:
        """Seconds since this process began."""
        return time.perf_counter() - self._started

    def write_episodes(self, mode: str, episodes: list[Episode]) -> None:
        """Append finished episodes to the csv files of their workers."""
        self.logbook.write_episodes(mode, episodes, self.elapsed_s, self.tree["env"]["name"])

    def save(self, name: str, state: dict[str, Any], memory: Memory, keep: int | None) -> None:
        """Write a checkpoint, having written what is new in the memory, and delete the oldest ones.

        Args:
            name: of the checkpoint.
            state: of everything but the memory's content.
            memory: whose content goes to segments.
            keep: how many checkpoints to keep; None for all.
        """
        if self.path is None:
            return
        if self._segments is None:
            self._segments = SegmentStore(self.path / "memory")
        content = {**state, "params": self.tree, "cpanel": to_plain(self.cpanel)}
        figures: dict[str, Any] = {
            "logs": self.logbook.sizes(),
            "elapsed_s": self.elapsed_s,
            "memory": self._segments.append(memory),
        }
        write_checkpoint(self.path / "checkpoints", name, content, figures)
        _log.debug("Saved %s", name)
        self._kept[name] = figures["memory"]["oldest"]
        drop_oldest(self.path / "checkpoints", self._kept, keep)
        self._segments.release(next(iter(self._kept.values())))

    def save_best(self, state: dict[str, Any]) -> None:
        """Keep a policy beside the checkpoints, whatever becomes of them. Args: state: what it takes to play it."""
        if self.path is not None:
            content = {**state, "params": self.tree, "cpanel": to_plain(self.cpanel)}
            write_checkpoint(self.path / "checkpoints", BEST, content, {"elapsed_s": self.elapsed_s})

    def restore_memory(self, memory: Memory, n_chunks: int) -> None:
        """Fill the memory from the segments of the loaded checkpoint. Args: n_chunks: stored since the run began."""
        SegmentStore(self._session_of_checkpoint / "memory", self._loaded_segments).restore(memory, n_chunks)

    def take_back(self) -> None:
        """Delete the directory of an evaluation that was refused after all."""
        if self.path is not None and self.mode == "play":
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()  # if nothing else is in it

    def mark_done(self) -> None:
        """Say that the run has finished."""
        if self.path is not None:
            (self.path / "done.lock").write_text("\n", encoding="utf-8")

    def mark_undone(self) -> None:
        """Take that back: the plan has grown."""
        if self.path is not None:
            (self.path / "done.lock").unlink(missing_ok=True)

    @property
    def stop_reason(self) -> str | None:
        """Why the run should stop soon; None while it should not."""
        return self._stop_reason or self.signals.reason

    @stop_reason.setter
    def stop_reason(self, reason: str | None) -> None:
        self._stop_reason = reason

    def watch_signals(self, max_time_h: float | None = None) -> None:
        """From here on signals ask for a stop after the cycle, see `StopSignals`; a second SIGINT stops at once.

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
        _report.error(text)
        return True

    def close(self) -> None:
        """Stop what the session started; safe to call more than once."""
        if self._owns_signals:
            self.signals.restore()
        self.logbook.close()
        for log_handler in self._handlers:
            _log.removeHandler(log_handler)
            log_handler.close()
        let_go(self._lock)
        self._lock = None
        self._handlers = []
        if self.json_output is not None:
            self.json_output.close()


def _find_device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here. Use --device cpu, or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
