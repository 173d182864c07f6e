"""The Session: everything around a run and nothing of learning.

It owns the directory, the locks, the logbook, the device and the signals. Nothing is created before
`open`: whatever a user can get wrong is found by then.
"""

import argparse
import json
import logging
import os
import shlex
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import filelock
import torch
from rich.console import Console

from digideep.environment.explorer import Episode
from digideep.environment.graphics import choose_graphics
from digideep.memory.generic import Memory
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.tree import dump_yaml, override_tree, to_plain
from digideep.pipeline.checkpoint import (
    BEST,
    checkpoint_order,
    list_checkpoints,
    load_checkpoint,
    load_newest_valid,
    remove_checkpoint,
    versions,
    write_checkpoint,
)
from digideep.pipeline.display import LEVELS, ConsoleHandler
from digideep.pipeline.kept_sources import find_package, keep_sources
from digideep.pipeline.logbook import Logbook
from digideep.pipeline.repeals import note_repeal
from digideep.pipeline.segments import SegmentStore
from digideep.pipeline.stop_signals import StopSignals
from digideep.utility.errors import CheckpointError, FinishedError, UsageError
from digideep.utility.files import printable
from digideep.utility.importing import SESSIONS, find_in_working_directory
from digideep.utility.monitor import Monitor
from digideep.utility.names import session_name
from digideep.utility.output import JsonOutput, OutputStream
from digideep.utility.profiler import Profiler

_log = logging.getLogger("digideep")
_report = logging.getLogger("digideep.report")  # lines that the console has been shown already


class Session:
    """One run of the program.

    Attributes:
        mode: "train", "play", "custom" or "create".
        path: the session's directory (of this evaluation, with --play); None with --dry-run.
        tree: the plain parameter tree.
        state: of the checkpoint that is loaded; None for a fresh start.
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
        self.cpanel: dict[str, Any] = {}
        self.loaded_from: Path | None = None
        self._figures: dict[str, Any] = {}
        self._segments: SegmentStore | None = None
        self._lock: filelock.FileLock | None = None
        self._handlers: list[logging.Handler] = []
        self._started = time.perf_counter()
        self._elapsed_before_s = 0.0

        choose_graphics()
        find_in_working_directory()  # where parameter files and their packages are looked for
        self._start_console()
        try:
            self._choose()
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

        if self.args.load_checkpoint is None:
            self._params = load_params(self.args.params)
            self.cpanel = override_panel(self._params.cpanel, self.args.cpanel)
            self.tree = to_plain(generate(self._params, self.cpanel))
        else:
            self._load(Path(self.args.load_checkpoint))
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
        path = path.resolve()
        is_checkpoint = path.parent.name == "checkpoints" and (checkpoint_order(path) is not None or path.name == BEST)
        if path.name == BEST and self.mode != "play":
            raise UsageError(f"{path} holds the best policy and nothing else: play it with --play.")
        directory = path.parents[1] if is_checkpoint else path
        if not (directory / "checkpoints").is_dir():
            raise UsageError(
                f"{directory} is no session: it has no directory 'checkpoints'. Give a session's directory."
            )
        if self.is_resuming:
            if not os.access(directory, os.W_OK):
                raise UsageError(f"{directory} cannot be written. Resume needs write permission there.")
            self._acquire(directory)
            if (directory / "done.lock").exists() and not self.args.repeal:
                raise FinishedError(f"{directory} has finished. Play it with --play --load-checkpoint {directory}.")
        needs_memory = self.mode != "play"
        self.loaded_from, self.state, self._figures = (
            load_checkpoint(path, needs_memory) if is_checkpoint else load_newest_valid(path, needs_memory)
        )
        self._session_of_checkpoint = directory
        if self.is_resuming:
            self.path = directory
            self._elapsed_before_s = float(self._figures.get("elapsed_s", 0.0))
        try:
            self.tree, self.cpanel = self.state["params"], self.state["cpanel"]
        except KeyError as err:
            raise CheckpointError(f"{self.loaded_from} holds no {err}: it is no checkpoint of a run.") from err

    def _new_path(self) -> Path:
        """Where this run will write; refuses what cannot become a directory."""
        if self.loaded_from is not None:
            base = self._session_of_checkpoint / ("evaluations" if self.mode == "play" else "customs")
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

    def _acquire(self, directory: Path) -> None:
        """Hold `running.lock` as long as this process lives; the system lets go of it even after SIGKILL."""
        self._lock = filelock.FileLock(directory / "running.lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            self._lock = None
            raise UsageError(f"{directory} is in use by a running process. Wait for it, or stop it first.") from None

    # ------------------------------------------------------------------ the directory

    def open(self, runner: Any) -> None:
        """Make the directory and start what writes into it. Args: runner: built, and restored if resuming."""
        if self.path is not None:
            self._prepare(runner)
        self.logbook.open(
            self.path,
            first_frame=runner.frames if self.is_resuming else None,
            cpanel=to_plain(self.cpanel),
            tree=self.tree,
        )
        if self.path is None:
            _log.info("Dry run: nothing is written.")
            return
        _log.info("Session: %s", self.path)
        if self.loaded_from is not None:
            _log.info("Loaded: %s", self.loaded_from)

    def _prepare(self, runner: Any) -> None:
        assert self.path is not None
        if self.is_resuming:
            self._forget_future()
        else:
            self._create()
        handler = logging.FileHandler(self.path / "report.log", encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(_ReportFormatter())
        self._add_handler(handler)
        loaded = self.state["params"] if self.is_resuming and self.state is not None else {}
        note_repeal(self.path, runner.i_epoch, self.args.repeal, loaded)

    def _create(self) -> None:
        assert self.path is not None
        try:
            self.path.mkdir(parents=True)
        except OSError as err:
            raise UsageError(f"{self.path} cannot be made ({err.strerror}). Choose another --session-path.") from err
        self._acquire(self.path)
        if self.mode in ("train", "create"):
            (self.path / "checkpoints").mkdir()
            panel = json.dumps(to_plain(self.cpanel), indent=2) + "\n"
            (self.path / "cpanel.json").write_text(panel, encoding="utf-8")
            keep_sources(self.path / "modules", self._params, self.args.save_modules)
            for name, text in _PACKAGE.items():
                (self.path / name).write_text(text, encoding="utf-8")
        about = {
            "session_name": _decoded(self.path.name),
            "session_msg": _decoded(self.args.msg),
            "session_cmd": _decoded(shlex.join(["python", *sys.argv])),
            "versions": versions(),
        }
        dump_yaml({**self.tree, **about}, self.path / "params.yaml")

    def _forget_future(self) -> None:
        """Take back what a stopped run logged and saved after the checkpoint that is resumed."""
        assert self.path is not None
        assert self.loaded_from is not None
        later = list_checkpoints(self.path / "checkpoints")
        for checkpoint in later[later.index(self.loaded_from) + 1 :]:
            _log.warning("Removing %s: it is newer than the checkpoint that is resumed.", checkpoint.name)
            remove_checkpoint(checkpoint)
        self.logbook.cut(self.path, self._figures.get("logs", {}))

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
            self._segments = SegmentStore(self.path / "memory", self._figures if self.is_resuming else {})
        content = {**state, "params": self.tree, "cpanel": to_plain(self.cpanel)}
        figures = {
            "logs": self.logbook.sizes(),
            "elapsed_s": self.elapsed_s,
            "segments": self._segments.append(memory),
        }
        write_checkpoint(self.path / "checkpoints", name, content, figures)
        _log.debug("Saved %s", name)
        checkpoints = list_checkpoints(self.path / "checkpoints")
        doomed = checkpoints[:-keep] if keep is not None else []
        for old in doomed:
            remove_checkpoint(old)
        self._segments.sweep(checkpoints[len(doomed) :], is_due=bool(doomed))

    def save_best(self, state: dict[str, Any]) -> None:
        """Keep a policy beside the checkpoints, whatever becomes of them. Args: state: what it takes to play it."""
        if self.path is not None:
            content = {**state, "params": self.tree, "cpanel": to_plain(self.cpanel)}
            write_checkpoint(self.path / "checkpoints", BEST, content, {"elapsed_s": self.elapsed_s})

    def restore_memory(self, memory: Memory, n_chunks: int) -> None:
        """Fill the memory from the segments of the loaded checkpoint. Args: n_chunks: stored since the run began."""
        SegmentStore(self._session_of_checkpoint / "memory", self._figures).restore(memory, n_chunks)

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
        """From here on SIGINT, SIGTERM and SIGUSR1 ask for a stop after the cycle; a second SIGINT stops at once.

        Args:
            max_time_h: hours of this process after which whole episodes are cut off; None for no limit.
        """
        self.signals.install()
        self.signals.hold()
        if max_time_h is not None:
            self.signals.limit(max_time_h * 3600 - self.process_s)

    def report_failure(self, text: str) -> bool:
        """Write a traceback to `report.log`. Returns: whether there is one."""
        if self.path is None or not self.path.exists():
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
        if self._lock is not None:
            self._lock.release()
        self._lock = None
        self._handlers = []
        if self.json_output is not None:
            self.json_output.close()


# What makes a session importable: `from digideep_sessions.NAME import loader`.
_PACKAGE = {
    "__init__.py": '''"""A digideep session as a package: see docs/sessions.md."""

from .saam import loader

__all__ = ["loader"]
''',
    "saam.py": '''"""Session as a module: reads data files when asked, runs nothing of `modules/`, changes no path."""

from pathlib import Path

from digideep.post.loader import Loader

loader = Loader(Path(__file__).parent)
''',
}


class _ReportFormatter(logging.Formatter):
    """`[seconds since the start, LEVEL] text`, as digideep has always written it."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return f"[{record.relativeCreated / 1000:12.5f}s, {record.levelname[:5]:>5}] {record.getMessage()}"


def _decoded(text: str) -> str:
    """Text of the command line, whose bytes are UTF-8 also where the locale's encoding is not."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return printable(text)


def _find_device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here. Use --device cpu, or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
