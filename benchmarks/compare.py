"""Frames per second beside stable-baselines3, SBX and others, in alternating runs: `make bench`. Run nothing else then.

All train with the same hyperparameters and networks (`benchmarks/workloads.py`), each time in a fresh process: ours
through the command line, as a user does. What is timed is the loop with all that belongs to it; start-up, random
frames and compiling are over before the clock starts. Who uses torch runs with one and with two threads of it; the
better one counts. The tables of RESULTS.md are updated after each workload.
"""

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from benchmarks.measuring import Parser, Refused, machine, positive, require_peers, run, spread, train, update_table
from benchmarks.more_peers import LIBRARIES
from benchmarks.workloads import WORKLOADS, Workload

_SUMMARY = ("workload", "digideep", "stable-baselines3", "SBX", "to stable-baselines3", "to SBX", "command")
_DETAILS = ("workload", "", "frames/s, median", "range", "digideep is faster by", "peak memory, MB")
_SPLIT = ("workload", "share of the time")


class Sample(NamedTuple):
    """One run: frames per second, the most memory in MB, and the share of each phase (ours only)."""

    speed: float
    peak_mb: float | None
    split: dict[str, float]


def has_bfloat16() -> bool:
    """True if the processor has instructions for products in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def measure_ours(workload: Workload, epochs: int, changes: dict) -> Sample:
    """One run of ours, timed from the end of the first epoch to that of the last.

    Raises:
        Refused: for bfloat16 where the processor has no instructions for it: it takes over three times as long there.
    """
    if changes.get("precision") == "bf16" and not has_bfloat16():
        raise Refused("this processor has no instructions for bfloat16.")
    finished, meta, timings = train(workload.params, workload.panel(epochs, **changes))
    first, last = meta[0], meta[-1]
    seconds = last["clock"] - first["clock"]
    return Sample((last["frame"] - first["frame"]) / seconds, finished.peak_mb, split(timings[1:], seconds))


def measure_peer(python: str, library: str, name: str, epochs: int, threads: int) -> Sample:
    """One run of a peer, of as many frames."""
    workload = WORKLOADS[name]
    module = "benchmarks.more_peers" if library in LIBRARIES else "benchmarks.peers"
    command = [python, "-m", module, library, name, "--threads", str(threads)]
    frames = ["--before", str(workload.epoch_frames), "--frames", str(epochs * workload.epoch_frames)]
    finished = run([*command, *frames])
    figures = json.loads(finished.stdout.splitlines()[-1])
    return Sample(figures["frames"] / figures["seconds"], finished.peak_mb, {})


def split(timings: list[dict], seconds: float) -> dict[str, float]:
    """The share of each innermost block of the profiler.

    Args:
        timings: lines of `prolog.json`.
        seconds: that they cover.

    Returns:
        Shares by path, greatest first; "other" is what no innermost block covers.
    """
    totals: dict[str, float] = {}
    for line in timings:
        for path, figures in line["data"].items():
            totals[path] = totals.get(path, 0.0) + figures["totals"]
    innermost = {path: total for path, total in totals.items() if not any(p.startswith(path + "/") for p in totals)}
    shares = {path: total / seconds for path, total in innermost.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1])) | {"other": 1 - sum(shares.values())}


def contenders(name: str, epochs: int, peers: str) -> dict[str, Callable[[], Sample]]:
    """Who takes part: title -> one run."""
    workload = WORKLOADS[name]
    kinds = {"digideep": {}} | {f"digideep, {variant}": changes for variant, changes in workload.variants.items()}
    takers = {title: partial(measure_ours, workload, epochs, changes) for title, changes in kinds.items()}
    titles = {"sb3": workload.peer.name} | {each: each for each, names in LIBRARIES.items() if name in names}
    takers |= {
        f"{title}, {threads} thread{'s' * (threads > 1)}": partial(measure_peer, peers, library, name, epochs, threads)
        for library, title in titles.items()
        for threads in (1, 2)
    }
    return takers | ({"SBX": partial(measure_peer, peers, "sbx", name, epochs, 1)} if workload.peer.has_sbx else {})


def alternate(takers: dict[str, Callable[[], Sample]], runs: int) -> dict[str, list[Sample]]:
    """Runs in turns. Who refuses to start is left out, with its reason on a line; ours must be there."""
    samples: dict[str, list[Sample]] = {title: [] for title in takers}
    for index in range(runs):
        for title in list(samples):
            try:
                samples[title].append(takers[title]())
            except Refused as refusal:
                print(f"  {title} is left out: {refusal}", flush=True)
                del samples[title]
                if title == "digideep":
                    return {}
                continue
            print(f"  {index + 1}. {title}: {samples[title][-1].speed:,.1f} frames/s", flush=True)
    return samples


def write(text: str, name: str, samples: dict[str, list[Sample]], command: str, note: str) -> str:
    """Bring the three tables up to date with what one workload gave. Returns: the new text."""
    medians = {title: statistics.median(sample.speed for sample in taken) for title, taken in samples.items()}
    ours, sbx = medians["digideep"], medians.get("SBX")
    theirs = max(speed for title, speed in medians.items() if title.startswith(("stable", "sb3")))
    form = ",.0f" if ours >= 1000 else ",.1f"
    summary, details = [], []
    for title, taken in samples.items():
        speed = medians[title]
        if title.startswith("digideep"):
            row = name + title.removeprefix("digideep")
            figures = ["" if value is None else format(value, form) for value in (speed, theirs, sbx)]
            ratio = "" if sbx is None else f"{speed / sbx:.2f}"
            summary.append([row, *figures, f"{speed / theirs:.2f}", ratio, f"`{command}`"])
        peaks = [sample.peak_mb for sample in taken if sample.peak_mb is not None]
        peak = format(statistics.median(peaks), ",.0f") if peaks else "unknown"
        ratio = f"{ours / speed:.2f}" if title != "digideep" else ""
        details.append([name, title, *spread([sample.speed for sample in taken], form), ratio, peak])
    middle = sorted(samples["digideep"], key=lambda sample: sample.speed)[len(samples["digideep"]) // 2]
    shares = ", ".join(f"{path} {share:.0%}" for path, share in middle.split.items() if share >= 0.01)
    text = update_table(text, "speed", _SUMMARY, summary, note=note)
    text = update_table(text, "speed-details", _DETAILS, details, keys=2)
    return update_table(text, "split", _SPLIT, [[name, shares]])


def main(argv: list[str] | None = None) -> int:
    """Measure, print each run, write the tables."""
    parser = Parser("compare", __doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=tuple(WORKLOADS), default=list(WORKLOADS),
                        help=f"workloads, of {', '.join(WORKLOADS)}")  # fmt: skip
    parser.add_argument("--epochs", type=positive, help="that are timed, instead of the workload's own number")
    parser.add_argument("--list", action="store_true", help="say what the workloads are, and stop")
    parser.add_peers()
    args = parser.parse_args(argv)
    if args.list:
        print("\n".join(f"{name}: {workload.title}" for name, workload in WORKLOADS.items()))
        return 0
    require_peers(parser, args.peers)
    note = machine(args.peers)
    print(note)
    for name in args.only:
        print(f"{name}: {WORKLOADS[name].title}", flush=True)
        epochs = args.epochs or WORKLOADS[name].epochs
        samples = alternate(contenders(name, epochs, args.peers), args.runs)
        if samples:
            command = f"python -m benchmarks.compare --only {name} --runs {args.runs}"
            command += f" --epochs {args.epochs}" if args.epochs else ""
            args.results.write_text(write(args.results.read_text(), name, samples, command, note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
