"""Evidence that the methods learn: trains each row of `learning_plan.py`, fills LEARNING.md, draws the curves.

    python -m benchmarks.learning --list
    python -m benchmarks.learning --only CartPole Pendulum --jobs 2

A row is a group of ordinary sessions in `--directory`, one for each seed. The same command again, after whatever has
stopped it, does what is left; rows that are finished are not trained anew.
"""

import argparse
import contextlib
import functools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import learning_curves
from benchmarks.learning_figures import Figures, keep, measure, number, published, recall, seeds, verdict
from benchmarks.learning_plan import ROWS, SLOWEST, SPEEDS, Row
from benchmarks.measuring import ROOT, Parser, positive, update_part, update_table
from digideep.launch import group_command
from digideep.launch.group import Group, hold_group, open_group
from digideep.launch.launcher import FAILED, FINISHED, RUNNING, WAITING, Launcher, RunState
from digideep.launch.local import available_cores, make_engine
from digideep.launch.plan import make_runs
from digideep.launch.preparing import Prepared, prepare
from digideep.launch.progress import read_progress
from digideep.pipeline.session_directory import let_go
from digideep.pipeline.stop_signals import STOPPED, StopSignals
from digideep.post.loader import Loader
from digideep.telemetry.console import duration
from digideep.utility.errors import UsageError
from digideep.utility.importing import GROUP
from digideep.utility.own_files import DONE

HEADER = ("task", "method", "frames", "seeds", "mean", "std", "IQM (95 % interval)", "training episodes",
          "minutes a run", "published", "reached")  # fmt: skip
_KEYS = 3
_FAILURES = "failures.json"  # in the directory: why runs failed, by "row/run"; rows that were refused by "row"
_FLAGS = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu")
_NOT_RUN = "not run"


class State(NamedTuple):
    """How far a row is in a directory.

    Attributes:
        done: seeds that have finished.
        frames: that are left, of all seeds.
        speed: frames a second of its runs; None where none has begun.
        words: what the table says while not all seeds are done; None where nothing of it is there.
    """

    done: int
    frames: int
    speed: float | None
    words: str | None


class Bench:
    """The rows that are asked for, in a directory.

    Args:
        rows: of the plan.
        directory: of their groups.
        results: the file with the table and the pictures.
        images: the directory of the pictures.

    What a finished row reached is kept in a file beside the results: its sessions are needed no more.
    """

    def __init__(self, rows: Sequence[Row], directory: Path, results: Path, images: Path):
        self.rows, self.directory, self.results, self.images = rows, directory.resolve(), results, images.resolve()
        self.kept = results.resolve().parent / "learning_results"
        self.failures: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.directory / _FAILURES).read_text())
            if isinstance(found, dict):
                self.failures = {name: reason for name, reason in found.items() if isinstance(reason, str)}
        self._figures: dict[str, Figures] = {}

    def sessions(self, row: Row) -> list[Path]:
        """Return the directories of a row's runs. Raises: UsageError: if another plan stands in its place."""
        path = self.directory / row.name
        runs = make_runs([row.recipe], {}, range(row.seeds), row.cpanel, {}, row.frames)
        if (path / GROUP).exists():
            group = open_group(path)
            known = {name: run._replace(repeal=group.runs.get(name, run).repeal) for name, run in runs.items()}
            try:
                group.require_same(Group(path, known, group.begin))
            except UsageError as err:
                raise UsageError(str(err).replace("choose another --name", "give another --directory")) from err
        return [path / name for name in runs]

    def state(self, row: Row) -> State:
        """Return how far a row is."""
        total, name = row.frames * row.seeds, row.name
        try:
            sessions = self.sessions(row)
        except UsageError as err:
            return State(0, total, None, str(err))
        if not (self.directory / name).exists():
            return State(0, total, None, self.failures.get(name))
        left = [session for session in sessions if not (session / DONE).exists()]
        progress = [read_progress(session) for session in sessions]
        speeds = [each.frames_per_s for each in progress if each.frames_per_s]
        frames = sum(max(row.frames - read_progress(session).frames, 0) for session in left)
        reasons = [self.failures.get(f"{name}/{session.name}") for session in left]
        words = [f"{len(sessions) - len(left)} of {len(sessions)} seeds done", *([self.failures[name]] if name in
                 self.failures else []), *(f"{session.name} failed: {reason}" for session, reason in
                 zip(left, reasons, strict=True) if reason)]  # fmt: skip
        return State(len(sessions) - len(left), frames, float(np.mean(speeds)) if speeds else None, "; ".join(words))

    def found(self, row: Row) -> Figures | str | None:
        """Return what a row reached, here or in an earlier directory; why it has not; None if nothing of it is here."""
        state = self.state(row)
        try:
            if row.name not in self._figures and state.done == row.seeds:
                self._figures[row.name] = measure([Loader(session) for session in self.sessions(row)])
        except UsageError as err:
            return str(err)
        try:
            return self._figures.get(row.name) or recall(row, self.kept) or state.words
        except UsageError as err:
            return state.words or str(err)

    # ------------------------------------------------------------------ what is written

    def write(self) -> None:
        """Keep what is finished, write the table, draw the curves. Rows of which nothing is here stay as they are."""
        text = self.results.read_text()
        asked = {row.key: row for row in self.rows}
        everything = [(row, self.found(row)) for row in (asked.get(row.key, row) for row in ROWS)]
        finished = [(row, found) for row, found in everything if isinstance(found, Figures)]
        for row, figures in finished:
            if row in ROWS and row.name in self._figures:  # not a first look, at fewer seeds
                keep(row, figures, self.kept)
        rows = [self._cells(row, found) for row, found in everything if found is not None or not _has_mean(text, row)]
        machines = dict.fromkeys(figures.machine for _, figures in finished)
        note = f"`python -m benchmarks.learning` on {' And on '.join(machines)}" if machines else None
        text = update_table(text, "learning", HEADER, rows, keys=_KEYS, note=note, order=[row.key for row in ROWS])
        colours = {method: place for place, method in enumerate(dict.fromkeys(row.method for row in ROWS))}
        learning_curves.draw(finished, colours, self.images)
        links = learning_curves.links(self.images, self.results, list(dict.fromkeys(row.task for row in ROWS)))
        self.results.write_text(update_part(text, "curves", links))

    def _cells(self, row: Row, found: Figures | str | None) -> list[str]:
        """Return a row of the table."""
        if not isinstance(found, Figures):
            words = " ".join((found or _NOT_RUN).replace(f"{self.directory}/", "").replace("|", "/").split())
            return [*row.key, seeds(row), "", "", "", "", "", published(row.published), words]
        iqm, low, high = map(number, found.iqm)
        mean, training, minutes = (float(np.mean(each)) for each in (found.returns, found.training, found.minutes))
        return [
            *row.key, seeds(row), number(mean), "" if found.std is None else number(found.std),
            f"{iqm} ({low} to {high})", number(training), f"{minutes:.1f}", published(row.published),
            verdict(mean, row.published),
        ]  # fmt: skip

    def show(self, jobs: int) -> None:
        """Print what is done, and how long the rest takes."""
        whole = longest = 0.0
        for row in self.rows:
            state = self.state(row)
            left = state.frames / (state.speed or SPEEDS.get(row.method, SLOWEST))
            whole, longest = whole + left, max(longest, left / max(row.seeds - state.done, 1))
            words = "done" if state.done == row.seeds else f"{state.words or _NOT_RUN}, {duration(left)} left"
            print(f"{', '.join(row.key)} frames: {words}")
        print(f"About {duration(max(whole / jobs, longest))} are left with --jobs {jobs}.")

    # ------------------------------------------------------------------ training

    def train(self, jobs: int, signals: StopSignals) -> int:
        """Train what is left. Returns: the exit code: 0 if all is done, 1 if some failed, 75 if it was stopped."""
        self.directory.mkdir(parents=True, exist_ok=True)
        prepared = [(row, found) for row in self.rows if (found := self._prepare(row)) is not None]
        runs = [(row, _run_states(found)) for row, found in prepared]
        signals.hold()
        signals.announce = print
        signals.stopping = "each run stops after its cycle, with a checkpoint. {ctrl_c} kills them."
        locks: list[Any] = []
        try:
            for _, found in prepared:
                if found.is_new:
                    found.group.create()
                locks.append(hold_group(found.group.path))
            everything = [run for _, states in runs for run in states]
            engine = make_engine(argparse.Namespace(device=None), jobs)
            told: dict[str, str] = {}
            show = functools.partial(self._show, runs, told)
            Launcher(everything, engine, should_stop=lambda: signals.reason, show=show).run()
        finally:
            for lock in locks:
                let_go(lock)
        if signals.reason is not None:
            print(f"Stopped ({signals.reason}). The same command goes on.")
            return STOPPED
        return int(any(self.state(row).done < row.seeds for row in self.rows))

    def _prepare(self, row: Row) -> Prepared | None:
        """Return the group of a row that is not finished; None where nothing is to do, or can be done."""
        self.failures.pop(row.name, None)
        if self.state(row).done == row.seeds:
            return None
        place = ["--name", row.name, "--session-path", str(self.directory), "--seeds", str(row.seeds)]
        words = [row.recipe, *place, "--total-frames", str(row.frames), "--cpanel", json.dumps(row.cpanel)]
        try:
            return prepare(group_command.make_parser().parse_args(words))
        except UsageError as err:
            self._note(row.name, str(err))
            print(f"{', '.join(row.key[:2])} is left out: {err}", flush=True)
            return None

    def _note(self, name: str, reason: str | None) -> None:
        """Keep why something failed, or forget that it did."""
        if self.failures.get(name) != reason:
            self.failures |= {name: reason or ""}
            self.failures = {name: reason for name, reason in self.failures.items() if reason}
            (self.directory / _FAILURES).write_text(json.dumps(self.failures, indent=1) + "\n")

    def _show(self, runs: Sequence[tuple[Row, Sequence[RunState]]], told: dict[str, str]) -> None:
        """Say which runs have begun or ended since the last call; write the table when a row has."""
        for row, states in runs:
            is_over = all(run.state in (FINISHED, FAILED) for run in states)
            for run in states:
                name = f"{row.name}/{run.job.name}"
                if told.get(name, WAITING) != run.state:
                    told[name] = run.state
                    if run.state in (FINISHED, FAILED, RUNNING):
                        self._note(name, run.reason if run.state == FAILED else None)
                    words = f"{run.state}: {run.reason}" if run.reason else run.state
                    print(f"{', '.join(row.key[:2])}, {run.job.name} {words}", flush=True)
            if is_over and row.name not in told:
                told[row.name] = "over"
                self.write()


def _run_states(prepared: Prepared) -> list[RunState]:
    """Return the runs of a group as they are now."""
    states = []
    for name in prepared.group.runs:
        length = prepared.lengths.get(name)
        state = RunState(prepared.group.job(name, _FLAGS, length.threads if length is not None else 1), length)
        state.look()
        states.append(state)
    return states


def _has_mean(text: str, row: Row) -> bool:
    """True if a table has a mean for a row."""
    found = re.search(rf"^\| {re.escape(' | '.join(row.key))} \|[^|]*\|([^|]*)\|", text, re.MULTILINE)
    return found is not None and bool(found[1].strip())


def _run(args: argparse.Namespace, signals: StopSignals, _: Any) -> int:
    wanted = [text.casefold() for text in args.only or [""]]
    rows = [row for row in ROWS if any(text in ", ".join(row.key).casefold() for text in wanted)]
    if not rows:
        raise UsageError(f"--only {' '.join(args.only)} fits no row. See --list for all there are.")
    if args.seeds is not None:
        rows = [row._replace(seeds=min(row.seeds, args.seeds)) for row in rows]
    for name in ("directory", "images"):
        path = getattr(args, name)
        if path.exists() and not path.is_dir():
            raise UsageError(f"--{name} {path} is a file: give a directory, which need not exist.")
    bench = Bench(rows, args.directory, args.results, args.images)
    jobs = args.jobs or available_cores()
    if args.list:
        bench.show(jobs)
        return 0
    try:
        code = 0 if args.table else bench.train(jobs, signals)
        bench.write()
    except OSError as err:
        raise UsageError(f"{err.filename or args.directory} cannot be written: {err.strerror or err}.") from err
    except ValueError as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"--results {args.results}: {err}") from err
    return code


def make_parser() -> Parser:
    """Return what reads the command line."""
    parser = Parser("learning", (__doc__ or "").splitlines()[0], runs=None, results="LEARNING.md")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="TEXT",
        help="rows that have one of these in 'task, method, frames', such as 'Pendulum-v1, SAC,'",
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="at most so many of each row, for a first look")
    parser.add_argument("--jobs", type=positive, metavar="N", help="runs at once (as many as there are cores)")
    parser.add_argument("--directory", type=Path, default=Path("digideep_sessions/learning"), metavar="DIR",
                        help="of the groups (digideep_sessions/learning)")  # fmt: skip
    parser.add_argument("--images", type=Path, default=ROOT / "docs/images/learning", metavar="DIR",
                        help="of the curves (docs/images/learning)")  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--list", action="store_true", help="show the rows, what is done, and how long the rest takes")
    how.add_argument("--table", action="store_true", help="train nothing: write table and curves of what is there")
    parser.set_defaults(json=False)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns: its exit code."""
    return group_command.run_program(make_parser(), _run, argv)


if __name__ == "__main__":
    sys.exit(main())
