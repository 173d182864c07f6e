"""Frames per second if the products of matrices were all that takes time: `python -m benchmarks.ceiling`.

Counted are the floating-point operations of a cycle of ours, by torch's own counter, and measured how many the machine
does at its best. That bounds whoever trains the same networks on the same batches. Run nothing else meanwhile.
"""

import json
import sys
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.compare import has_bfloat16
from benchmarks.measuring import Parser, machine, update_table
from benchmarks.workloads import WORKLOADS
from digideep.environment.stepping.processes import available_cores
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.restoring import make_runner
from digideep.pipeline.session import Session

_NAMES = ("sac-halfcheetah", "td3-halfcheetah", "ppo-pong")  # small networks are bound by other things
_SIZE = 1024
_HEADER = ("workload", "GFLOP a frame", "GFLOP/s", "frames/s at most")


def operations_per_frame(name: str, **changes: Any) -> float:
    """Floating-point operations of the networks, acting and learning. Args: changes: to the workload's panel."""
    workload = WORKLOADS[name]
    panel = workload.panel(compile="off", **changes)
    argv = ["--params", workload.params, "--cpanel", json.dumps(panel), "--dry-run", "--quiet"]
    runner = make_runner(Session(parse_arguments(argv)))
    try:
        while not all(agent.n_updates for agent in runner.agents.values()):
            runner.train_cycle()
        start = runner.frames
        with FlopCounterMode(display=False) as counter:
            for _ in range(2):  # TD3's actor learns every second time
                runner.train_cycle()
        return counter.get_total_flops() / (runner.frames - start)
    finally:
        runner.close()


def operations_per_second(dtype: torch.dtype, runs: int) -> float:
    """Of a product of two large square matrices on all cores, at its best."""
    torch.set_num_threads(available_cores())
    a, b = torch.rand(2, _SIZE, _SIZE).to(dtype)
    durations = []
    for _ in range(runs):
        start = time.perf_counter()
        torch.mm(a, b)
        durations.append(time.perf_counter() - start)
    return 2 * _SIZE**3 / min(durations)


def main(argv: list[str] | None = None) -> int:
    """Count, measure, write the table."""
    args = Parser("ceiling", __doc__, runs=100).parse_args(argv)
    rows = []
    for name in _NAMES:
        for title, changes in ({name: {}} | {f"{name}, {v}": c for v, c in WORKLOADS[name].variants.items()}).items():
            dtype = torch.bfloat16 if changes.get("precision") == "bf16" else torch.float32
            if dtype == torch.bfloat16 and not has_bfloat16():
                print(f"  {title} is left out: this processor has no instructions for bfloat16.", flush=True)
                continue
            work, power = operations_per_frame(name, **changes), operations_per_second(dtype, args.runs)
            rows.append([title, f"{work / 1e9:.3f}", f"{power / 1e9:.0f}", f"{power / work:,.0f}"])
            print(f"  {' | '.join(rows[-1])}", flush=True)
    note = f"`python -m benchmarks.ceiling` on {machine()}"
    args.results.write_text(update_table(args.results.read_text(), "ceiling", _HEADER, rows, note=note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
