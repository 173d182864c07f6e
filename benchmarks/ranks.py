"""What a second rank brings: frames/s of one and two ranks in turns, beside what a model of messages says.

One rank has one thread. Two plain runs at once, each on its own, show what this machine's second core can give at most.
`python -m benchmarks.ranks`; `--draw FILE` draws the model to 64 ranks for all workloads in the table.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measuring import ROOT, Parser, machine, run, update_table

_HALF_CHEETAH = {"num_workers": 4, "n_steps": 512, "num_mini_batches": 32}


class Workload(NamedTuple):
    """What is trained.

    Attributes:
        params: parameter file. panel: what differs.
        cycles: of an epoch.
        sums: gradients that are summed up in a cycle of one rank. floats: of each, about.
        is_replayed: there are as many more as there are ranks, on smaller shares of a batch: what a gradient step costs
            whatever the size of its batch, each rank adds to the cycle.
    """

    params: str
    panel: dict[str, Any]
    cycles: int
    sums: int
    floats: int
    is_replayed: bool = False


WORKLOADS = {
    "ppo-humanoid": Workload(
        "params/ppo_mujoco.py",
        {"model_name": "Humanoid-v5", "num_workers": 8, "n_steps": 256, "num_mini_batches": 4}, 4, 10 * 4, 54_000,
    ),
    "ppo-pong": Workload("params/ppo_atari.py", {"backend": "gymnasium"}, 2, 4 * 4, 1_690_000),
    # ALE simulates on threads of its own: one rank takes some of the second core, too.
    "ppo-pong, ale": Workload("params/ppo_atari.py", {}, 2, 4 * 4, 1_690_000),
    "ppo-halfcheetah": Workload("params/ppo_mujoco.py", _HALF_CHEETAH, 4, 10 * 32, 11_000),
    "ppo-halfcheetah, averaged": Workload(
        "params/ppo_mujoco.py", _HALF_CHEETAH | {"averaging_interval": 320}, 4, 1, 11_000
    ),
    "sac-halfcheetah": Workload("params/sac_mujoco.py", {"warm_start": 500}, 600, 3, 90_000, is_replayed=True),
    "dqn-cartpole": Workload("params/dqn_classic.py", {"warm_start": 1000}, 50, 32, 5_000, is_replayed=True),
}  # fmt: skip
SIZES = (3, 11_000, 150_000, 1_700_000)  # floats of a message
_SMALL = 8  # further messages of a cycle: episodes, normalisers, whether to stop
_BETWEEN_S = 0.003  # of computing, from one message to the next
_HOP_S, _FLOAT_S = 25e-6, 4 / 1.25e9  # of a usual network: from machine to machine, and at 10 Gbit/s


def panel_of(name: str) -> dict[str, Any]:
    """Return the control panel of a workload."""
    from digideep.parameters.control_panel import load_params

    return load_params(str(ROOT / WORKLOADS[name].params)).cpanel | WORKLOADS[name].panel


def start(name: str, ranks: int, epochs: int, base: Path, **changes: Any) -> tuple[subprocess.Popen, Path]:
    """Start a training.

    The same frames are timed of all: simulating takes longer or shorter as a policy learns.

    Args:
        name: of the workload.
        ranks: 1 is a plain run, of as many frames as two.
        epochs: that are timed.
        base: where its session lies.
        changes: of the panel.

    Returns:
        Its process, and its session.
    """
    workload = WORKLOADS[name]
    panel = {"test_activate": False, "save_interval": 1000, "compile": "on"} | workload.panel | changes
    panel |= {"num_threads": 1, "number_epochs": 1 + epochs, "epoch_size": workload.cycles * (2 if ranks == 1 else 1)}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    session = base / f"s{time.monotonic_ns()}"
    command = [sys.executable, *launcher, "-m", "digideep.main", "--params", workload.params]
    command += ["--cpanel", json.dumps(panel), "--session-path", str(base), "--session-name", session.name]
    process = subprocess.Popen(
        [*command, "--quiet", "--device", "cpu"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
    )  # fmt: skip
    return process, session


def speed(started: tuple[subprocess.Popen, Path]) -> float:
    """Wait for a training. Returns: its frames per second, without the first epoch, in which it compiles."""
    process, session = started
    said = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}: {said}")
    lines = [json.loads(line)["meta"] for line in (session / "varlog.json").read_text().splitlines()]
    first, last = next(meta for meta in lines if meta["epoch"] == 1), lines[-1]
    return (last["frame"] - first["frame"]) / (last["clock"] - first["clock"])


def measure_messages() -> dict[int, float]:
    """Return the median seconds of a sum over two ranks, each after some computing as in training, by its floats."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = run([*command, "-m", "benchmarks.ranks", "--as-rank"], OMP_NUM_THREADS="1").stdout
    return {int(size): seconds for size, seconds in json.loads(said.splitlines()[-1]).items()}


def as_rank() -> None:
    """Be one of the two ranks that `measure_messages` starts."""
    import torch

    from digideep.utility.ranks import Ranks

    ranks, medians = Ranks.from_environment(), {}
    ranks.connect(torch.device("cpu"))
    torch.set_num_threads(1)
    inputs, weights = torch.randn(512, 348), torch.randn(348, 64)
    for size in SIZES:
        message, times = torch.zeros(size), []
        for _ in range(200 if size < 1_000_000 else 50):
            until = time.perf_counter() + _BETWEEN_S
            while time.perf_counter() < until:
                inputs @ weights
            began = time.perf_counter()
            ranks.sum(message)
            times.append(time.perf_counter() - began)
        medians[size] = statistics.median(times)
    if ranks.is_first:
        print(json.dumps(medians))
    ranks.close()


class Line(NamedTuple):
    """What messages cost. Through shared memory each rank reads what each has written: R times all floats.

    A ring over a network takes 2 (R - 1) hops, and moves 2 (R - 1) / R of the floats. Source: Patarasuk and Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations", Eq. 3.

    Attributes:
        start_s: seconds of a message, or of a hop of the ring, with nothing in it.
        float_s: for each float that is moved.
    """

    start_s: float
    float_s: float
    is_ring: bool = False

    @classmethod
    def through(cls, seconds: dict[int, float]) -> "Line":
        """Return the line through the smallest and the largest message between two ranks of this machine."""
        small, large = min(seconds), max(seconds)
        float_s = max(seconds[large] - seconds[small], 0) / (large - small) / 2
        return cls(seconds[small] - 2 * small * float_s, float_s)

    def message_s(self, ranks: int, floats: int) -> float:
        """Return the seconds of one sum."""
        if ranks == 1:
            return 0.0
        if self.is_ring:
            return 2 * (ranks - 1) * self.start_s + 2 * (ranks - 1) / ranks * floats * self.float_s
        return self.start_s + ranks * floats * self.float_s


def predicted(workload: Workload, cycle_s: float, ranks: int, line: Line, added_s: float = 0.0) -> float:
    """Return how many times the frames/s of one rank the model says.

    Args:
        workload: what is trained.
        cycle_s: seconds of a cycle of one rank.
        ranks: how many.
        line: of messages.
        added_s: seconds that each further rank adds to what a rank computes in a cycle; see `Workload.is_replayed`.
    """
    sums = workload.sums * (ranks if workload.is_replayed else 1)
    messages_s = sums * line.message_s(ranks, workload.floats) + _SMALL * line.message_s(ranks, 3)
    return ranks * cycle_s / (cycle_s + (ranks - 1) * added_s + messages_s)


def cycle_frames(name: str) -> int:
    """Return the frames of a cycle of one rank."""
    panel = panel_of(name)
    return int(panel["num_workers"] * panel["n_steps"])


def compare(name: str, runs: int, epochs: int, line: Line) -> list[str]:
    """Measure a workload in turns. Returns: a row of the table."""
    found: dict[str, list[float]] = {"one": [], "two": [], "both": [], "halves": []}
    panel = panel_of(name)
    with tempfile.TemporaryDirectory(prefix="digideep-bench-") as directory:
        base = Path(directory)
        for _ in range(runs):
            found["one"].append(speed(start(name, 1, epochs, base)))
            found["two"].append(speed(start(name, 2, epochs, base)))
            apart = [start(name, 1, epochs, base) for _ in range(2)]
            found["both"].append(sum(map(speed, apart)))
            if WORKLOADS[name].is_replayed:  # alone, what each of two ranks computes: half a batch twice as often
                half = {"batch_size": panel["batch_size"] // 2}
                half["gradient_steps_per_frame"] = 2 * panel["gradient_steps_per_frame"]
                found["halves"].append(speed(start(name, 1, epochs, base, **half)))
            print(name, *(f"{who} {values[-1]:,.0f}" for who, values in found.items() if values), flush=True)
    return as_row(name, found, line)


def as_row(name: str, found: dict[str, list[float]], line: Line) -> list[str]:
    """Return a row of the table.

    Args:
        name: of the workload.
        found: frames/s of each run: of one rank, of two, of two runs at once, of one rank on halves of batches.
        line: of messages.
    """
    one, two, both = (statistics.median(found[who]) for who in ("one", "two", "both"))
    cycle_s, halves = cycle_frames(name) / one, found.get("halves")
    added_s = max(cycle_frames(name) / statistics.median(halves) - cycle_s, 0.0) if halves else 0.0
    shown = (f"{min(found[who]):,.0f} to {max(found[who]):,.0f}" for who in ("one", "two"))
    # What the second core gives is no message's.
    model = predicted(WORKLOADS[name], cycle_s, 2, line, added_s) * both / one / 2
    times = [f"{cycle_s * 1e3:.1f}", f"{added_s * 1e3:.1f}"]
    return [name, *times, *shown, f"{two / one:.2f}", f"{model:.2f}", f"{both / one:.2f}"]


def measured_cycles(text: str) -> dict[str, tuple[float, float]]:
    """Return for each workload in the table the seconds of a cycle of one rank, and what a further one adds to it."""
    table = text.split(f"<!-- {_TABLE} -->")[1].split("<!-- /")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|", table, re.M)
    return {name: (float(cycle_ms) / 1e3, float(added_ms) / 1e3) for name, cycle_ms, added_ms in rows}


def draw(cycles: dict[str, tuple[float, float]], line: Line, path: Path) -> None:
    """Draw the model to 64 ranks, each on a core of its own: on this machine if it had so many, and over a network.

    Args:
        cycles: seconds of a cycle of one rank, and of what a further one adds, by workload.
        line: of messages on this machine.
        path: of the .svg file.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    counts = [2**power for power in range(7)]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    shown = {
        f"shared memory: {line.start_s * 1e6:,.0f} us, {line.float_s * 1e9:.2f} ns a float": line,
        f"a network: {_HOP_S * 1e6:.0f} us a hop, 10 Gbit/s": Line(_HOP_S, _FLOAT_S, is_ring=True),
    }
    for axis, (title, each) in zip(axes, shown.items(), strict=True):
        axis.plot(counts, counts, color="0.8", label="no messages")
        for name, (cycle_s, added_s) in cycles.items():
            ratios = [predicted(WORKLOADS[name], cycle_s, n, each, added_s) for n in counts]
            axis.plot(counts, ratios, marker=".", label=name)
        axis.set(xscale="log", yscale="log", xlabel="ranks", title=title, xticks=counts, xticklabels=counts)
        axis.set_ylim(bottom=0.1)
        axis.minorticks_off()
    axes[0].set_ylabel("frames/s, times those of one rank")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(argv: list[str] | None = None) -> int:
    """Measure in turns, write the tables."""
    parser = Parser("ranks", __doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=tuple(WORKLOADS), default=list(WORKLOADS),
                        help=f"workloads, of {'; '.join(WORKLOADS)}")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=4, help="that are timed (4)")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the model into this .svg file")
    parser.add_argument("--as-rank", action="store_true", help="be one of the ranks that measure messages")
    args = parser.parse_args(argv)
    if args.as_rank:
        as_rank()
        return 0
    messages = measure_messages()
    line, text = Line.through(messages), args.results.read_text()
    rows = [[f"{size:,}", f"{seconds * 1e3:.2f}"] for size, seconds in messages.items()]
    text = update_table(text, _MESSAGES, ("floats", "ms, median"), rows, note=machine())
    for name in args.only:
        text = update_table(text, _TABLE, _HEADER, [compare(name, args.runs, args.epochs, line)], note=machine())
        args.results.write_text(text)  # what is measured is not lost if this is stopped
    if args.draw is not None:
        draw(measured_cycles(text), line, args.draw)
    return 0


_TABLE, _MESSAGES = "ranks", "rank-messages"
_HEADER = (
    "workload",
    "ms a cycle",
    "ms more of a further rank",
    "one rank, frames/s",
    "two ranks, frames/s",
    "ratio of medians",
    "model",
    "two runs at once",
)

if __name__ == "__main__":
    sys.exit(main())
