"""Train several seeds and settings, some at once: `digideep group FILE --seeds 10`, `digideep group DIR`."""

import argparse
import json
import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable

import filelock
from rich.console import Console

from digideep.launch.engine import Engine
from digideep.launch.group import Group, hold_group
from digideep.launch.launcher import FAILED, FINISHED, Launcher, RunState
from digideep.launch.local import available_cores
from digideep.launch.preparing import VALUES, Prepared, prepare
from digideep.launch.slurm import run_on_slurm
from digideep.launch.slurm_script import has_script, queued_job
from digideep.launch.table import RunTable
from digideep.launch.where import LOCAL, SLURM, add_engine_flags, check_engine_flags, make_engine
from digideep.parameters.checks import shown
from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import json_object, path_name, plain_name, positive
from digideep.pipeline.flags import add_flags
from digideep.pipeline.session_directory import let_go
from digideep.pipeline.stop_signals import STOPPED, StopSignals
from digideep.telemetry.console import make_console as console_of
from digideep.telemetry.output import JsonOutput, OutputStream, tolerate_encodings
from digideep.telemetry.requirements import require_mlflow, require_wandb
from digideep.utility.errors import FinishedError, Interruption, UsageError
from digideep.utility.files import as_typed
from digideep.utility.process_state import find_device
from digideep.utility.ranks import Ranks
from digideep.utility.text import one_line, parse_json
from digideep.utility.user_code import in_words

_MOST_SEEDS = 10_000
Program = Callable[[argparse.Namespace, StopSignals, JsonOutput | None], int]
PASSED_ON = ("device", "wandb", "mlflow", "no-monitor-cpu", "no-monitor-gpu")  # each time, to train and resume


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep group",
        usage="%(prog)s FILE [FILE ...] [flags] | %(prog)s DIR [flags]",
        description="Train several seeds and settings as a group of sessions, some at once. The same command again, or "
        "`digideep group DIR`, does what is left.",
        epilog="""examples:
  digideep group params.ppo_classic --seeds 10 --jobs 2
  digideep group params.ppo_classic --seeds 3 --grid '{"lr": [1e-3, 3e-4], "n_update": [4, 10]}' --dry-run
  digideep group params.sac_classic params.td3_mujoco --seeds 1,2,3 --set model_name=Pendulum-v1 --name both
  digideep group digideep_sessions/both --retries 2
  digideep group params.sac_mujoco --seeds 10 --on ray --ray-address auto --cpus-per-run 2
  digideep group params.sac_mujoco --seeds 10 --on slurm --slurm time=04:00:00 mem=8G --submit
  digideep report digideep_sessions/both

exit codes: 0 all runs are done, 1 some failed, 2 refused to start, 3 all were done already, 75 stopped early: run it
again.
""",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", type=path_name,
                        help="parameter files; or the directory of a group that is there")  # fmt: skip
    plan = parser.add_argument_group("the runs")
    plan.add_argument("--params", nargs="+", action="extend", metavar="FILE", type=path_name, help="more such files")
    plan.add_argument(
        "--seeds", metavar="N", type=seeds, help="number of seeds, counted from 0; or a list of them: 3,5,7"
    )
    plan.add_argument("--grid", metavar="JSON", type=json_object, help="values to combine, by key of the control panel "
                      "or path of the tree: '{\"lr\": [1e-3, 3e-4]}'; @FILE reads them from a file")  # fmt: skip
    plan.add_argument("--name", metavar="NAME", type=plain_name, help="of the group's directory (FILE_group)")
    add_flags(parser, VALUES)
    how = parser.add_argument_group("how they run")
    how.add_argument("--jobs", metavar="N", type=positive, help="runs at once (as many as there are cores for)")
    how.add_argument("--retries", metavar="N", type=retries, default=0, help="of each run that fails (0)")
    how.add_argument("--dry-run", action="store_true", help="list the runs, write nothing")
    how.add_argument("--quiet", action="store_true", help="show failures only")
    how.add_argument("--json", action="store_true", help="print at the end how the runs are as JSON, nothing else")
    add_flags(parser, PASSED_ON)
    add_engine_flags(parser, has_slurm=True)
    return parser


def seeds(text: str) -> list[int]:
    """Return the seeds that an argument stands for: a number of them, or a list."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        if not 0 < int(text) <= _MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{shown(text)} is no number of seeds from 1 to {_MOST_SEEDS:,}")
        return list(range(int(text)))
    try:
        found = parse_json(text if text.startswith("[") else f"[{text}]", is_strict=True)
    except ValueError:
        found = None
    is_list = isinstance(found, list) and found and all(type(seed) is int and 0 <= seed < 10**18 for seed in found)
    if not is_list or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number of seeds, nor a list of different ones: 3,5,7")
    return found


def retries(text: str) -> int:
    """Return a number, from an argument that may be 0."""
    return 0 if text == "0" else positive(text)


class _Once(logging.Handler):
    """Prints a warning once, however many runs have it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print what was not printed before."""
        text = record.getMessage()
        if text not in self._seen:
            self._seen.add(text)
            print(f"digideep: {one_line(text)}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns: its exit code."""
    return run_program(make_parser(), _run, argv)


def run_program(parser: argparse.ArgumentParser, run: Program, argv: list[str] | None) -> int:
    """Run a command that starts sessions; say in a line on standard error what it refuses. Returns: its exit code.

    Args:
        run: given the arguments, the signals, and where --json writes.
    """
    tolerate_encodings()
    signals, warnings = StopSignals(), _Once()
    signals.install()
    logging.getLogger("digideep").addHandler(warnings)
    args, output, code = None, None, 1
    try:
        args = parser.parse_args(argv)
        if Ranks.from_environment().size > 1:
            raise UsageError(f"{parser.prog} starts the processes of its runs itself: start it without torchrun.")
        output = JsonOutput() if args.json else None
        signals.release()
        code = run(args, signals, output)
    except UsageError as err:
        print(f"digideep: {one_line(str(err))}", file=sys.stderr)
        code = err.exit_code
    except Interruption as err:
        print(f"digideep: {err}", file=sys.stderr)
        code = err.exit_code
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as err:
        if args is None:  # --help
            raise
        print(f"digideep: code of yours {in_words(err)}.", file=sys.stderr)
        code = 2
    finally:
        logging.getLogger("digideep").removeHandler(warnings)
        if output is not None:
            output.close()
        signals.settle(code)
        signals.restore()
    return code


def make_console(args: argparse.Namespace) -> Console:
    """Refuse what could not be used later, and return where people read: standard output, with --json the error's."""
    check_engine_flags(args)
    if args.device is not None and args.on in (None, LOCAL):
        find_device(args.device)
    for name, require in (("wandb", require_wandb), ("mlflow", require_mlflow)):
        if getattr(args, name):
            require()
    return console_of(OutputStream(sys.stderr if args.json else sys.stdout))


def begin(
    args: argparse.Namespace, group: Group, console: Console, signals: StopSignals, *, is_new: bool, jobs: int,
    threads: int,
) -> tuple[Engine, filelock.BaseFileLock]:  # fmt: skip
    """Make the group, if it is new, and hold it: nothing is refused any more. Returns: the engine, and the lock.

    Args:
        jobs: at once. threads: of each.
    """
    if jobs * threads > available_cores() and args.on in (None, LOCAL) and not args.quiet:
        console.print(f"{jobs} jobs of {threads} threads share {available_cores()} cores: they wait for each other.")
    engine = make_engine(args, jobs)
    signals.hold()
    signals.announce = console.print
    signals.stopping = "each run stops after its cycle, with a checkpoint. {ctrl_c} kills them."
    if is_new:
        group.create()
    return engine, hold_group(group.path)


def job_flags(args: argparse.Namespace) -> tuple[str, ...]:
    """Return words for each session, see `Job`."""
    flags = ["--quiet"]
    for name in PASSED_ON:
        value = getattr(args, name.replace("-", "_"))
        flags += [f"--{name}", *([value] if isinstance(value, str) else [])] if value else []
    return tuple(flags)


def _run(args: argparse.Namespace, signals: StopSignals, json_output: JsonOutput | None) -> int:
    console, prepared = make_console(args), prepare(args)
    runs = _states(args, prepared)
    left = [run for run in runs if run.state != FINISHED]
    threads = max((run.job.threads for run in left), default=1)
    jobs = max(min(args.jobs or available_cores() // threads, len(left)), 1)
    if args.dry_run:
        _print_plan(runs, jobs, console)
        return 0
    if not left:
        if json_output is not None:
            json_output.write(_as_json(prepared.group, RunTable(runs, console, is_quiet=True)))
        raise FinishedError(
            f"All {len(runs)} runs of {as_typed(prepared.group.path)} are done. Compare them: {_report(prepared.group)}"
        )
    path = prepared.group.path
    if args.on == SLURM or (args.on is None and has_script(path)) or queued_job(path) is not None:
        return run_on_slurm(args, prepared, runs, console, json_output)
    engine, lock = begin(args, prepared.group, console, signals, is_new=prepared.is_new, jobs=jobs, threads=threads)
    table = RunTable(runs, console, is_quiet=args.quiet)
    try:
        launcher = Launcher(runs, engine, retries=args.retries, should_stop=lambda: signals.reason, show=table.update)
        launcher.run()
    finally:
        table.close()
        let_go(lock)
    if json_output is not None:
        json_output.write(_as_json(prepared.group, table))
    code, text = _end(runs, prepared.group, table, signals.reason)
    if not args.quiet:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return code


def _states(args: argparse.Namespace, prepared: Prepared) -> list[RunState]:
    """Return the runs as they are now."""
    runs = []
    for name in prepared.group.runs:
        length = prepared.lengths.get(name)
        run = RunState(prepared.group.job(name, job_flags(args), length.threads if length is not None else 1), length)
        run.look()
        runs.append(run)
    return runs


def _print_plan(runs: list[RunState], jobs: int, console: Console) -> None:
    for run in runs:
        frames = f", {run.length.frames:,} frames" if run.length is not None else ""
        console.print(f"{run.job.name} {run.state}{frames}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(runs)} runs, {jobs} at once. Dry run: nothing is written.")


def _report(group: Group) -> str:
    return f"digideep report {shlex.quote(str(as_typed(group.path)))}"


def _as_json(group: Group, table: RunTable) -> str:
    return json.dumps({"group": str(group.path), "runs": table.rows()})


def _end(runs: list[RunState], group: Group, table: RunTable, reason: str | None) -> tuple[int, str]:
    """Return the exit code, and what to say. Args: reason: why it was stopped; None if it was not."""
    counts = Counter(run.state for run in runs)
    again = f"digideep group {shlex.quote(str(as_typed(group.path)))}"
    if counts[FINISHED] == len(runs):
        code, advice = 0, f"Compare them: {_report(group)}"
    elif reason is not None or counts[FINISHED] + counts[FAILED] < len(runs):
        code, advice = STOPPED, f"Stopped ({reason or 'one by one'}). Go on: {again}"
    else:
        code, advice = 1, f"Try those that failed again: {again}"
    return code, f"{table.summary()}\n{advice}"


if __name__ == "__main__":
    raise SystemExit(main())
