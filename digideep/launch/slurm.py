"""`digideep group … --on slurm`: write the array script of what is left, submit it, show how its runs are."""

import argparse
import contextlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from digideep.launch.group import hold_group
from digideep.launch.launcher import FAILED, FINISHED, RUNNING, WAITING, RunState
from digideep.launch.preparing import Prepared
from digideep.launch.slurm_script import (
    PLACE,
    REASON,
    QueuedJob,
    queued_job,
    require_slurm,
    save_script,
    slurm_text,
    submit,
)
from digideep.launch.table import RunTable
from digideep.pipeline.session_directory import let_go
from digideep.pipeline.stop_signals import STOPPED
from digideep.telemetry.output import JsonOutput
from digideep.utility.errors import UsageError
from digideep.utility.files import as_typed
from digideep.utility.text import one_line


def run_on_slurm(
    args: argparse.Namespace, prepared: Prepared, runs: Sequence[RunState], console: Console,
    json_output: JsonOutput | None,
) -> int:  # fmt: skip
    """Write the script of a group, and submit it if that is asked for; of a group that has one, show how it is.

    Args:
        args: of `digideep group`.
        prepared: the group, of which something is left to do.
        runs: as they are now.
        console: what is said goes there.
        json_output: gets the runs as JSON; None for nobody.

    Returns:
        The exit code: 0 if a script was written, 75 if there was one and something is left to do.

    Raises:
        UsageError: if Slurm is not here, refuses the job, or has one of this group already. Nothing is written then.
    """
    group, place = prepared.group, shlex.quote(str(as_typed(prepared.group.path)))
    queued = queued_job(group.path)
    number = queued.number if queued is not None else None
    if queued is not None and args.submit:
        raise UsageError(f"Job {number} of Slurm has {place} already. Wait for it, or end it first: scancel {number}.")
    if queued is not None:
        _note_tasks(queued, group.path / PLACE, runs)
        code = STOPPED
        said = f"Job {number} of Slurm has this group: squeue --job {number} lists its tasks, scancel {number} ends it."
    elif args.on is None:
        code = STOPPED
        said = (
            f"No job of Slurm has this group. Train what is left by Slurm: digideep group {place} --on slurm --submit; "
            "on this machine: --on local."
        )
    else:
        left = [run.job for run in runs if run.state != FINISHED]
        text = slurm_text(group.path, left, _options(args), at_once=args.jobs, retries=args.retries)
        require_slurm(text, is_submitted=bool(args.submit))
        if prepared.is_new:
            group.create()
        lock = hold_group(group.path)
        try:
            script = save_script(group.path, left, text)
            number = submit(script) if args.submit else None
        finally:
            let_go(lock)
        done = f"submitted as job {number}" if number else f"submit it: sbatch {shlex.quote(str(as_typed(script)))}"
        said, code = f"An array of {len(left)} tasks, {done}. See how they are: digideep group {place}", 0
    table = RunTable(runs, console, is_quiet=True)
    if not args.quiet:
        table.show()
    if json_output is not None:
        json_output.write(json.dumps({"group": str(group.path), "slurm_job": number, "runs": table.rows()}))
    console.print(f"{table.summary()}\n{said}", markup=False, highlight=False, soft_wrap=True)
    return code


def _options(args: argparse.Namespace) -> dict[str, str | None]:
    """Return the options of sbatch that the flags mean."""
    options: dict[str, str | None] = {"cpus-per-task": str(args.cpus_per_run or 1)}
    if args.gpus_per_run:
        options["gpus"] = f"{args.gpus_per_run:.0f}"
    return options | dict(args.slurm or [])


def _note_tasks(queued: QueuedJob, place: Path, runs: Sequence[RunState]) -> None:
    """Give runs the states of their tasks, and the reasons for which they failed."""
    for run in runs:
        if run.state == FINISHED or run.job.name not in queued.runs:
            continue
        with contextlib.suppress(OSError, UnicodeDecodeError):
            run.reason = one_line((place / f"{run.job.name}{REASON}").read_text(encoding="utf-8"))
        state = queued.runs[run.job.name]
        run.state = FAILED if state is None else WAITING if state == "PENDING" else RUNNING
        if state is None:
            run.reason = run.reason or "its task has ended, see the files in slurm"
