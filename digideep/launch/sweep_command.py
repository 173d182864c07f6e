"""Search for values of the control panel: `digideep sweep FILE --trials 24`, `digideep sweep DIR`."""

import argparse
import json
import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from digideep.launch.engine import Engine, Job
from digideep.launch.group_command import PASSED_ON, begin, job_flags, make_console, retries, run_program, seeds
from digideep.launch.launcher import FAILED, FINISHED, STOPPED_EARLY, Launcher, RunState
from digideep.launch.local import available_cores
from digideep.launch.preparing import VALUES
from digideep.launch.study import PRUNERS, SAMPLERS, Trial
from digideep.launch.sweep import BEST, TEMPLATE, Sweep, is_reached
from digideep.launch.sweep_preparing import (
    PRUNER,
    REDUCTION,
    SAMPLER,
    TESTS,
    TRIALS,
    WAVE,
    PreparedSweep,
    prepare_sweep,
)
from digideep.launch.table import RunTable
from digideep.launch.where import add_engine_flags
from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import json_object, path_name, plain_name, positive
from digideep.pipeline.checkpoint import checkpoint_order, list_checkpoints
from digideep.pipeline.flags import add_flags
from digideep.pipeline.session_directory import let_go
from digideep.pipeline.stop_signals import STOPPED, StopSignals
from digideep.telemetry.output import JsonOutput
from digideep.utility.errors import FinishedError
from digideep.utility.files import as_typed
from digideep.utility.text import printable

_COLOURS = {"best": "bold green", "complete": "cyan", "pruned": "dim", "running": "yellow", "failed": "red"}

_FRESH_SEED = 100  # other than those of trials


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep sweep",
        usage="%(prog)s FILE [flags] | %(prog)s DIR [flags]",
        description="Search for the best values of a control panel, by Optuna. Each trial is one or several sessions, "
        "which are paused where trials are judged. The same command again, or `digideep sweep DIR`, goes on.",
        epilog="""examples:
  digideep sweep params.ppo_classic --search ranges.json --trials 24 --jobs 2
  digideep sweep mine.py --trials 48 --seeds 3 --metric /return/recent --sampler random
  digideep sweep digideep_sessions/ppo_classic_sweep
  digideep sweep mine.py --trials 48 --on ray --ray-address auto --cpus-per-run 2
  digideep report digideep_sessions/ppo_classic_sweep

exit codes: 0 all trials were made, 1 none came to its end, 2 refused to start, 3 all were made already, 75 stopped
early: run it again.
""",
    )
    parser.add_argument("file", nargs="*", metavar="FILE", type=path_name,
                        help="a parameter file; or the directory of a sweep that is there")  # fmt: skip
    plan = parser.add_argument_group("the search")
    plan.add_argument("--params", nargs=1, metavar="FILE", type=path_name, help="the parameter file")
    plan.add_argument("--search", metavar="FILE", type=_ranges, help="JSON with ranges and choices by key of the "
                      "control panel: '{\"lr\": {\"low\": 1e-4, \"high\": 1e-2, \"log\": true}}' "
                      "(search(trial, cpanel) of the parameter file)")  # fmt: skip
    plan.add_argument("--trials", metavar="N", type=positive, help=f"how many ({TRIALS})")
    plan.add_argument("--seeds", metavar="N", type=seeds, help="of each trial: their number, counted from 0, or a "
                      "list of them (the file's own)")  # fmt: skip
    plan.add_argument("--metric", metavar="NAME", type=_metric, help="what is compared: the mean over the "
                      "seeds of what was logged last under this name (/return/test)")  # fmt: skip
    plan.add_argument("--minimize", action="store_true", help="smaller values are better")
    plan.add_argument("--sampler", choices=list(SAMPLERS), help=f"what draws the values ({SAMPLER})")
    plan.add_argument("--pruner", choices=PRUNERS, help=f"what stops trials early ({PRUNER})")
    plan.add_argument("--wave", metavar="N", type=positive, help=f"trials that are drawn and judged together ({WAVE})")
    plan.add_argument("--rungs", metavar="EPOCH", nargs="+", type=positive, help="epochs after which trials are "
                      "judged, but for the last (chosen so that halving leaves one trial of a wave)")  # fmt: skip
    plan.add_argument("--reduction", metavar="N", type=_reduction, help=f"one of this many trials goes on at a rung "
                      f"({REDUCTION})")  # fmt: skip
    plan.add_argument("--name", metavar="NAME", type=plain_name, help="of the sweep's directory (FILE_sweep)")
    add_flags(parser, VALUES)
    how = parser.add_argument_group("how they run")
    how.add_argument("--jobs", metavar="N", type=positive, help="sessions at once (as many as there are cores for)")
    how.add_argument("--retries", metavar="N", type=retries, default=0, help="of each session that fails (0)")
    how.add_argument("--dry-run", action="store_true", help="list the first trials, write nothing")
    how.add_argument("--quiet", action="store_true", help="show failures, and the end")
    how.add_argument("--json", action="store_true", help="print at the end all trials as JSON, nothing else")
    add_flags(parser, PASSED_ON)
    add_engine_flags(parser, has_slurm=False)
    return parser


def _ranges(text: str) -> dict[str, object]:
    return json_object(text if text.lstrip().startswith("{") else f"@{text.removeprefix('@')}")


def _metric(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty. Give a name that is logged, such as /return/test")
    return text


def _reduction(text: str) -> int:
    if (found := positive(text)) < 2:
        raise argparse.ArgumentTypeError("one of one goes on without a rung. Expected an integer of at least 2")
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns: its exit code."""
    return run_program(make_parser(), _run, argv)


def _run(args: argparse.Namespace, signals: StopSignals, json_output: JsonOutput | None) -> int:
    console, prepared = make_console(args), prepare_sweep(args)
    for note in () if args.quiet else prepared.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if args.dry_run:
        _print_plan(prepared, console)
        return 0
    threads, most = prepared.length.threads, prepared.settings.rules.wave * len(prepared.settings.seeds)
    jobs = max(min(args.jobs or available_cores() // threads, most), 1)
    engine, lock = begin(args, prepared.group, console, signals, is_new=prepared.is_new, jobs=jobs, threads=threads)
    try:
        sweep = Sweep(prepared.group, prepared.settings)
        place = shlex.quote(str(as_typed(prepared.group.path)))
        if sweep.is_finished:
            if json_output is not None:
                json_output.write(json.dumps(sweep.describe()))
            raise FinishedError(
                f"All {prepared.settings.trials} trials of {place} were made. Look: digideep report {place}"
            )
        _Stage(args, prepared, sweep, engine, signals, console).run()
        if signals.reason is None and not args.quiet:
            _print_trials(sweep, console)
        if json_output is not None:
            json_output.write(json.dumps(sweep.describe()))
        return _end(sweep, place, console, signals.reason)
    finally:
        let_go(lock)


class _Stage:
    """Brings the trials of a sweep from rung to rung.

    Args:
        args: of the command line.
        prepared: how long a trial is.
        signals: those that stop it.
    """

    def __init__(
        self, args: argparse.Namespace, prepared: PreparedSweep, sweep: Sweep, engine: Engine, signals: StopSignals,
        console: Console,
    ):  # fmt: skip
        self._args, self._prepared, self._sweep = args, prepared, sweep
        self._engine, self._signals, self._console = engine, signals, console
        self._flags, self._is_metric_known = job_flags(args), False

    def run(self) -> None:
        """Run until the sweep is at its end, or is to stop."""
        while (rung := self._sweep.next_rung()) is not None:
            failed: dict[str, str] = {}
            while jobs := [
                job
                for job in self._sweep.jobs(rung, self._flags, self._prepared.length.threads)
                if job.name not in failed
            ]:
                failed |= self._launch(jobs)
                if self._signals.reason is not None:
                    return
            self._sweep.judge(rung, failed)
            if not self._args.quiet:
                self._console.print(self._sweep.summary(rung), markup=False, highlight=False, soft_wrap=True)

    def _launch(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Run sessions until each has ended. Returns: why some failed, by their names."""
        before = {job.name: _newest(job) for job in jobs}
        runs = [RunState(job, self._prepared.length) for job in jobs]
        table = RunTable(runs, self._console, is_quiet=self._args.quiet)
        try:
            Launcher(
                runs, self._engine, retries=self._args.retries, should_stop=lambda: self._should_stop(runs),
                show=table.update,
            ).run()  # fmt: skip
        finally:
            table.close(keeps=False)
        failed = {run.job.name: run.reason or "it failed" for run in runs if run.state == FAILED}
        for run in runs:
            is_over = run.state == STOPPED_EARLY and self._signals.reason is None
            if (
                is_over
                and not is_reached(run.job.session, run.job.stop_after)
                and _newest(run.job) == before[run.job.name]
            ):
                failed[run.job.name] = "it stops by itself before it is judged"
        return failed

    def _should_stop(self, runs: Sequence[RunState]) -> bool:
        """True if a person wants a stop. Raises: UsageError: if the metric is none, see `Sweep.require_metric`."""
        for run in runs if not self._is_metric_known else ():
            if run.state in (FINISHED, STOPPED_EARLY) and is_reached(run.job.session, run.job.stop_after):
                self._sweep.require_metric(run.job.session)
                self._is_metric_known = True
        return self._signals.reason is not None


def _newest(job: Job) -> tuple[int, int] | None:
    found = list_checkpoints(job.session / "checkpoints")
    return checkpoint_order(found[-1]) if found else None


def _print_plan(prepared: PreparedSweep, console: Console) -> None:
    """List the first trials of a sweep."""
    for trial in prepared.first:
        console.print(
            f"trial {trial.number}: {trial.reason or _values(trial)}", markup=False, highlight=False, soft_wrap=True
        )
    rungs = ", ".join(map(str, prepared.settings.rules.rungs))
    console.print(f"{prepared.settings.trials} trials, judged after epochs {rungs}. Dry run: nothing is written.")


def _print_trials(sweep: Sweep, console: Console) -> None:
    """Show all trials as a table."""
    trials, best = sweep.study.trials(), sweep.study.best
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("trial", "state", "value", "epochs"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    table.add_column("with")
    for trial in trials:
        state = "best" if best is not None and trial.number == best.number else trial.state
        reached = (_shown(trial.value), str(max(trial.values))) if trial.values else ("-", "-")
        texts = (str(trial.number), state, *reached, _values(trial))
        table.add_row(*(Text(printable(text), _COLOURS[state] if at == 1 else "") for at, text in enumerate(texts)))
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(table)
    for trial in trials:
        if trial.reason:
            console.print(Text(printable(f"trial {trial.number}: {trial.reason}"), "red"), soft_wrap=True)


def _values(trial: Trial) -> str:
    """Return what a trial tries, in a line."""
    return printable(", ".join(f"{name} = {_shown(value)}" for name, value in trial.suggested.items()))


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(sweep: Sweep, place: str, console: Console, reason: str | None) -> int:
    """Say how it has ended. Returns: the exit code."""
    best: Trial | None = sweep.study.best
    if reason is not None and not sweep.is_finished:
        code, words = STOPPED, f"Stopped ({reason}). Go on: digideep sweep {place}"
    elif best is None:
        code, words = 1, "No trial came to its end: the table says why."
    else:
        template = sweep.group.runs[TEMPLATE]
        own = {path: value for path, value in template.repeal.items() if path != TESTS}  # at rungs, of the sweep alone
        repeal = f" --repeal {shlex.quote(json.dumps(own))}" if own else ""
        code, words = 0, (
            f"Best: trial {best.number}, {sweep.settings.metric} {_shown(best.value)}: {_values(best)}\n"
            f"  train    digideep train {template.params} --cpanel @{place}/{BEST}{repeal} --set seed={_FRESH_SEED}\n"
            f"  compare  digideep report {place}"
        )  # fmt: skip
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
