"""Prove exact resume on the user's own parameters: `--verify-resume`."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from digideep.memory.generic import Memory
from digideep.parameters.component import build
from digideep.parameters.control_panel import load_params
from digideep.parameters.tree import from_plain, leaves
from digideep.pipeline.arguments import Arguments
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint
from digideep.pipeline.checkpoint_content import memory_state
from digideep.pipeline.checkpoint_files import num_ranks
from digideep.pipeline.continuing import memories_of
from digideep.pipeline.segments import SegmentStore, find_all_segments, memory_directory
from digideep.pipeline.stop_signals import STOPPED, end_child
from digideep.telemetry.output import OutputStream
from digideep.utility.errors import UsageError
from digideep.utility.importing import find_in_working_directory
from digideep.utility.own_files import DONE
from digideep.utility.ranks import Ranks, is_of_torchrun

_POLL_S = 0.01


def verify_resume(args: Arguments) -> int:
    """Train once straight; train again, stopped with SIGTERM and killed with SIGKILL, and resumed; compare.

    Returns:
        0 if every array and every other value of the two last checkpoints is the same, 1 if not.

    Raises:
        UsageError: if the run does not start.
    """
    ranks = Ranks.from_environment()
    if not ranks.is_first:  # the first one starts all of them
        return 0
    if ranks.local_size != ranks.size:
        raise UsageError("--verify-resume starts all ranks on one machine: start torchrun with --nnodes 1.")
    epochs, params = args.verify_resume, args.params
    assert epochs is not None
    assert params is not None
    if epochs < 2:
        raise UsageError(f"--verify-resume needs at least 2 epochs to stop between them, got {epochs}.")
    panel = {**_panel_of(params), **args.cpanel}
    # No goal: a run that reaches one before it is stopped proves nothing.
    goals = {name: None for name in ("target_return", "target_success", "patience") if panel.get(name) is not None}
    repeal = {"/runner/n_epochs": epochs, "/runner/save_int": 1, "/runner/keep_checkpoints": None, **args.repeal}
    cpanel, overrides = json.dumps(args.cpanel | goals), json.dumps(repeal)
    fresh = ["--params", params, "--cpanel", cpanel, "--repeal", overrides]
    say = partial(print, file=OutputStream(sys.stdout), flush=True)
    child = partial(_child, ranks.size)
    with tempfile.TemporaryDirectory(prefix="digideep-verify-") as directory:
        base = Path(directory)
        common = ["--device", args.device, "--no-monitor-cpu", "--no-monitor-gpu"]
        new = [*common, "--session-path", directory]

        say(f"1. {epochs} epochs straight")
        with child(base, *fresh, *new, "--session-name", "straight") as process:
            _finish(process, base)

        say("2. the same, stopped with SIGTERM within an epoch")
        stopped = base / "stopped"
        with child(base, *fresh, *new, "--session-name", "stopped") as process:
            _wait_for(process, base, 1)
            process.send_signal(signal.SIGTERM)
            process.wait()  # torchrun ends with 1, whatever its ranks do

        say("3. resumed, killed with SIGKILL after another epoch")
        with child(base, *common, "--resume", str(stopped)) as process:
            _wait_for(process, base, 2)
            time.sleep(random.uniform(0, 0.5))
            ranks_and_workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for each in ranks_and_workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()

        say("4. resumed, to the end")
        if not (stopped / DONE).exists():
            with child(base, *common, "--resume", str(stopped)) as process:
                _finish(process, base)

        straight, resumed = (list_checkpoints(base / name / "checkpoints")[-1] for name in ("straight", "stopped"))
        different, total = compare_checkpoints(straight, resumed)
    for path in different:
        say(f"differs: {path}")
    say(f"{total - len(different)} of {total} values and arrays are bit-identical" + (
        ": resume is exact." if not different else ": resume is NOT exact for these parameters."))  # fmt: skip
    return 1 if different else 0


def _panel_of(params: str) -> dict[str, Any]:
    """Return the control panel of a parameter file, which is then imported by the runs only."""
    find_in_working_directory()
    known = set(sys.modules)
    module = load_params(params)
    if module.__name__ not in known:
        del sys.modules[module.__name__]
    return dict(module.cpanel)


@contextlib.contextmanager
def _child(num_ranks: int, base: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    """Start a run in a process that ends with this one. Its output goes to a file, since a pipe could be full."""
    environment = {name: value for name, value in os.environ.items() if not is_of_torchrun(name)}
    with (base / "output").open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "digideep.main", *arguments]
        if num_ranks > 1:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
            command = [*launcher, str(num_ranks), *command[1:]]
        # In a session of its own: a Ctrl-C of the terminal is for this process.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            yield process
        finally:
            end_child(process)


def _finish(process: subprocess.Popen, base: Path) -> None:
    """Wait for the end of a run. Raises: UsageError: if it failed."""
    if process.wait() != 0:
        text = (base / "output").read_text(encoding="utf-8", errors="replace").strip() or "it said nothing"
        raise UsageError(f"the run ended with exit code {process.returncode}: {text.splitlines()[-1]}")


def _wait_for(process: subprocess.Popen, base: Path, epoch: int) -> None:
    """Wait until a checkpoint of that epoch is there, or the process has ended."""
    while process.poll() is None:
        if (base / "stopped" / "checkpoints" / f"checkpoint-{epoch}").exists():
            return
        time.sleep(_POLL_S)
    if process.returncode not in (0, STOPPED):
        _finish(process, base)


def compare_checkpoints(first: Path, second: Path) -> tuple[list[str], int]:
    """Compare checkpoints bit by bit, those of all ranks.

    Returns:
        Paths of what differs or one lacks; the number of values looked at.
    """
    ours, theirs = (leaves(_whole_state(path)) for path in (first, second))
    paths = [path for path in sorted(ours.keys() | theirs.keys()) if not path.endswith("/clock")]
    return [path for path in paths if not _is_same(ours.get(path), theirs.get(path))], len(paths)


def _whole_state(path: Path, rank: int = 0) -> dict[str, Any]:
    """Return what a checkpoint holds, with the content of its memories, however that is cut into segments.

    Args:
        rank: of whom; the first one's holds those of the others, too, under "rank <number>".
    """
    state, figures, _ = read_checkpoint(path, rank)
    segments = find_all_segments(path.parents[1], figures, rank)
    for name, description in memories_of(state["params"]).items():
        memory = build({**from_plain(description), "on_disk": False}, Memory)
        directory, held = memory_directory(path.parents[1], rank, name), memory_state(state, name)
        SegmentStore(directory, segments[name]).restore(memory, held["n_chunks"])
        held["buffer"] = memory.buffer
    others = range(1, num_ranks(state)) if rank == 0 else ()
    return {**state, **{f"rank {number}": _whole_state(path, number) for number in others}}


def _is_same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, (np.ndarray, torch.Tensor)):
        # Bytes, not numbers: a NaN equals itself and -0.0 is not 0.0.
        return first.dtype == second.dtype and first.shape == second.shape and _bytes(first) == _bytes(second)
    return first == second


def _bytes(array: np.ndarray | torch.Tensor) -> bytes:
    if isinstance(array, torch.Tensor):
        array = array.reshape(-1).view(torch.uint8).numpy()
    return array.tobytes()
