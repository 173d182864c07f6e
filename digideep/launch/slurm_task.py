"""What a task of Slurm runs: `python -m digideep.launch.slurm_task JOBS RUN`, see `slurm_script`."""

import signal
import sys
import time
from pathlib import Path

from digideep.launch.engine import Job
from digideep.launch.local import LaunchedProcess
from digideep.launch.slurm_script import REASON
from digideep.pipeline.session_directory import is_held
from digideep.pipeline.stop_signals import STOPPED
from digideep.utility.files import read_json

_POLL_S = 0.2
_HELD_S = 300.0  # a process on a node that was lost may hold the session so long


def main(words: list[str] | None = None) -> int:
    """Run a session of a group. SIGUSR1 and SIGTERM stop it with a checkpoint.

    Args:
        words: the file of jobs, and the name of one; None takes the process's own.

    Returns:
        Its exit code. Why it failed stands in a file beside that of the jobs.
    """
    file, name = sys.argv[1:] if words is None else words
    asked: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    job = Job.from_json(read_json(Path(file), dict)[name])
    give_up_at = time.monotonic() + _HELD_S
    while is_held(job.session) and time.monotonic() < give_up_at:
        if asked:
            return STOPPED
        time.sleep(_POLL_S)
    process = LaunchedProcess(job)
    while (ended := process.poll()) is None:
        if asked:
            process.ask_to_stop()
        time.sleep(_POLL_S)
    if asked and ended.code == -signal.SIGTERM:  # scancel sends it to the process, too, which could not yet handle it
        return STOPPED
    if ended.reason:
        print(f"digideep: {name}: {ended.reason}", file=sys.stderr)
        Path(file).with_name(f"{name}{REASON}").write_text(f"{ended.reason}\n", encoding="utf-8")
    # A process that a signal killed has a negative code, which a shell could not tell from a stop.
    return ended.code if ended.code >= 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
