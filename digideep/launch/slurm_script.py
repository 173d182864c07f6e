"""A group as an array job of Slurm: one task a session. Writes the script, and submits it if that is asked for."""

import argparse
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import digideep
from digideep.launch.engine import Job
from digideep.parameters.checks import shown
from digideep.utility.errors import SessionError, UsageError
from digideep.utility.files import as_typed, read_json
from digideep.utility.own_files import require_own
from digideep.utility.text import one_line

# The directory in a group's; files of a run: the exit codes with which it failed, why it did the last time.
PLACE, FAILURES, REASON = "slurm", ".failures", ".reason"
_SCRIPT, _JOBS, _NUMBER = "array.sh", "jobs.json", "job"
_log = logging.getLogger("digideep")
_OPTION = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_VALUE = re.compile(r"[\w.,:/@%+=\[\]*()&|!^~-]+", re.ASCII)  # what neither ends a line nor quotes anything
_SIGNAL = re.compile(r"B:USR1@\d{1,5}", re.ASCII)
_OURS = ("array", "output", "error", "open-mode", "requeue", "no-requeue", "chdir", "wrap", "wait", "test-only")
_FORGOTTEN = "Invalid job id"  # so Slurm says some minutes after its end
_ANSWER_S = 60

_TEXT = """#!/bin/bash
{header}

# Each task trains one session of {group}.
# `digideep group … --on slurm` writes this file anew: give options by --slurm, rather than here.

runs=(
{runs}
)
run=${{runs[SLURM_ARRAY_TASK_ID]}}
group={group}
failures=$group/{place}/$run{failures}
cd {cwd} || exit 1
{path}
trap 'kill -USR1 "$process" 2> /dev/null' USR1                # the time is nearly over
trap 'is_ended=1; kill -TERM "$process" 2> /dev/null' TERM    # cancelled, or preempted: then Slurm requeues it
{python} -m digideep.launch.slurm_task "$group/{place}/{jobs}" "$run" &
process=$!
while kill -0 "$process" 2> /dev/null; do wait "$process"; done    # a signal ends a wait early
wait "$process"
code=$?

case $code in
    0 | 3) exit 0 ;;    # done, or done before
    75) retry=1 ;;      # stopped with a checkpoint
    *)
        echo "$code" >> "$failures"
        [ "$(wc -l < "$failures")" -le {retries} ] && retry=1
        ;;
esac
[ -n "$retry" ] && [ -z "$is_ended" ] && scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
exit "$code"
"""


def slurm_option(text: str) -> tuple[str, str | None]:
    """Read NAME=VALUE, or NAME alone: an option of sbatch.

    Raises:
        argparse.ArgumentTypeError: for what cannot stand in a script, and for options that Digideep sets itself.
    """
    name, equals, value = text.partition("=")
    name = name.removeprefix("--")
    if not _OPTION.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no option of sbatch: give NAME=VALUE, as in time=04:00:00")
    if equals and not _VALUE.fullmatch(value):
        raise argparse.ArgumentTypeError(
            f"the value of {name} is {shown(value)}: one word of letters, digits and .,:/@%+=[]*()&|!^~- only"
        )
    if name in _OURS:
        raise argparse.ArgumentTypeError(f"Digideep sets {name} itself. Leave it out")
    if name == "signal" and not _SIGNAL.fullmatch(value):
        raise argparse.ArgumentTypeError(f"signal must be B:USR1@SECONDS, got {shown(value)}")
    return name, value if equals else None


def slurm_text(
    group: Path, jobs: Sequence[Job], options: Mapping[str, str | None], *, at_once: int | None = None, retries: int = 0
) -> str:
    """Return the text of an array script, whose tasks work in the directory that this process works in.

    Args:
        group: the directory of the sessions.
        jobs: what is left to do; task i trains the i-th.
        options: of sbatch, from `slurm_option`.
        at_once: tasks that run at the same time, at most; None leaves it to Slurm.
        retries: of each run that fails.

    Raises:
        UsageError: if the group lies where Slurm cannot write: a path with spaces, quotes or a percent sign.
    """
    if not _VALUE.fullmatch(str(group)) or "%" in str(group):
        raise UsageError(
            f"{shown(str(group))} has characters that Slurm does not take in a path. Choose another --session-path "
            "or --name."
        )
    throttle = f"%{at_once}" if at_once is not None else ""
    header = {
        "job-name": group.name,
        "cpus-per-task": "1",
        "signal": "B:USR1@120",
        **options,
        "array": f"0-{len(jobs) - 1}{throttle}",
        "output": str(group / PLACE / "task-%a.log"),
        "open-mode": "append",
        "requeue": None,
    }
    root = Path(digideep.__file__).parents[1]
    is_installed = root.name in ("site-packages", "dist-packages")
    return _TEXT.format(
        header="\n".join(
            f"#SBATCH --{name}" + (f"={value}" if value is not None else "") for name, value in header.items()
        ),
        runs="\n".join(f"    {shlex.quote(job.name)}" for job in jobs),
        group=shlex.quote(str(group)),
        cwd=shlex.quote(os.getcwd()),
        path="" if is_installed else f"export PYTHONPATH={shlex.quote(str(root))}${{PYTHONPATH:+:$PYTHONPATH}}\n",
        python=shlex.quote(sys.executable),
        jobs=_JOBS,
        place=PLACE,
        failures=FAILURES,
        retries=retries,
    )


def require_slurm(text: str, *, is_submitted: bool) -> None:
    """Refuse a script that Slurm would refuse, as far as that can be known here.

    Args:
        text: of the script.
        is_submitted: it is to be submitted from this machine, so that Slurm has to be here.
    """
    if shutil.which("sbatch") is None:
        if is_submitted:
            raise UsageError(
                "--submit needs sbatch, which is not here. Run this on a login node, or leave --submit out."
            )
        return
    try:
        _ask("sbatch", "--test-only", text=text)
    except UsageError as err:
        if is_submitted:
            raise
        _log.warning("Nothing is submitted, and Slurm would not take it as it is: %s", err)


def save_script(group: Path, jobs: Sequence[Job], text: str) -> Path:
    """Write the script into the group's directory, and what its tasks read. Returns: its path.

    Failures are counted anew.
    """
    place = group / PLACE
    require_own(place, is_directory=True)
    place.mkdir(exist_ok=True)
    for old in (*place.glob(f"*{FAILURES}"), *place.glob(f"*{REASON}")):
        old.unlink()
    for name, content in ((_JOBS, json.dumps({job.name: job.to_json() for job in jobs}, indent=1)), (_SCRIPT, text)):
        require_own(place / name)
        (place / name).write_text(content, encoding="utf-8")
    return place / _SCRIPT


def submit(script: Path) -> str:
    """Submit a script. Returns: the number of its job. Raises: UsageError: if Slurm does not take it."""
    job = _ask("sbatch", "--parsable", str(script)).partition(";")[0]
    require_own(script.with_name(_NUMBER))
    script.with_name(_NUMBER).write_text(f"{job}\n", encoding="utf-8")
    return job


def has_script(group: Path) -> bool:
    """True if a script was written for a group: then Slurm trains it, unless somebody says otherwise."""
    return (group / PLACE / _SCRIPT).is_file()


class QueuedJob(NamedTuple):
    """A job that was submitted for a group, and has not ended.

    Attributes:
        number: as Slurm names it.
        runs: the state of each run's task, such as "PENDING"; None of one that has ended.
    """

    number: str
    runs: dict[str, str | None]


def queued_job(group: Path) -> QueuedJob | None:
    """Return the job that was submitted for a group, if it is queued or running.

    Raises:
        UsageError: if Slurm is here, and does not say so.
    """
    try:
        number = (group / PLACE / _NUMBER).read_text(encoding="utf-8").strip()
        names = list(read_json(group / PLACE / _JOBS, dict))
    except (OSError, UnicodeDecodeError, SessionError):
        return None
    if not number.isdecimal() or shutil.which("squeue") is None:
        return None
    states, why = [], ""
    try:
        said = _ask("squeue", "--noheader", "--array", "--jobs", number, "--format", "%K %T")
        states = [line.split() for line in said.splitlines()]
        why = "" if all(len(state) == 2 for state in states) else f"squeue prints {shown(said)}."
    except UsageError as err:
        why = "" if _FORGOTTEN in str(err) else str(err)
    if why:
        raise UsageError(
            f"Slurm does not say whether it still has job {number} of {as_typed(group)}. {why} Try again later; if the "
            f"job has ended, remove {as_typed(group / PLACE / _NUMBER)}."
        )
    by_index = dict(states)
    return QueuedJob(number, {name: by_index.get(str(index)) for index, name in enumerate(names)}) if states else None


def _ask(*command: str, text: str | None = None) -> str:
    """Run a command of Slurm. Returns: what it prints. Raises: UsageError: with its reason, if it fails."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=_ANSWER_S
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{command[0]} does not answer within {_ANSWER_S} s.") from None
    except OSError as err:
        raise UsageError(f"{command[0]} cannot be run: {err.strerror or err}.") from err
    if done.returncode != 0:
        said = one_line(done.stderr or done.stdout) or f"exit code {done.returncode}"
        raise UsageError(f"'{shlex.join(command[:2])}' failed: {said}")
    return done.stdout.strip()
