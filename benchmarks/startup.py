"""Seconds from the start of the program to the end of the first update, in alternating runs of fresh processes.

Imports, making the environments and collecting for the first update are in it: 2,048 frames for PPO, 256 for SAC. Ours
without compiling, compiling for the first time, and with what the compiler has kept in its cache from an earlier run.
`python -m benchmarks.startup`
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial

from benchmarks.measuring import Parser, machine, require_peers, run, spread, train, update_table
from benchmarks.workloads import WORKLOADS

_FRAMES = {"ppo-halfcheetah": 2_048, "sac-halfcheetah": 256}  # until the first update
_HEADER = ("workload", "", "seconds, median", "range")


def ours(name: str, compile: str, cache: str | None = None) -> float:
    """Seconds of ours. Args: cache: directory where the compiler keeps its work."""
    workload, frames = WORKLOADS[name], _FRAMES[name]
    changes = {"compile": compile, "number_epochs": 1, "epoch_size": frames // workload.cycle_frames}
    if "warm_start" in workload.cpanel:
        changes["warm_start"] = frames
    variables = {"TORCHINDUCTOR_CACHE_DIR": cache} if cache is not None else {}
    finished, meta, _ = train(workload.params, workload.panel(**changes), **variables)
    return meta[0]["clock"] - finished.start


def theirs(name: str, python: str, library: str) -> float:
    """Seconds of a peer. SAC of theirs takes its first gradient step with the frame after the random ones."""
    command = [python, "-m", "benchmarks.peers", library, name, "--threads", "2"]
    if "learning_starts" in WORKLOADS[name].peer.parameters:
        command += ["--learning-starts", str(_FRAMES[name]), "--frames", str(_FRAMES[name] + 1)]
    else:
        command += ["--frames", str(_FRAMES[name])]
    finished = run(command)
    return json.loads(finished.stdout.splitlines()[-1])["clock"] - finished.start


def contenders(name: str, peers: str, cache: str) -> dict[str, Callable[[], float]]:
    """Who takes part: title -> one run. Args: cache: an empty directory for the compiler."""
    return {
        "digideep, not compiled": partial(ours, name, "off"),
        "digideep, compiled": partial(ours, name, "on", cache),
        "digideep, compiled before": partial(ours, name, "on", cache),
        "stable-baselines3": partial(theirs, name, peers, "sb3"),
        "SBX": partial(theirs, name, peers, "sbx"),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure in turns, write the table."""
    parser = Parser("startup", __doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=tuple(_FRAMES), default=list(_FRAMES),
                        help=f"workloads, of {', '.join(_FRAMES)}")  # fmt: skip
    parser.add_peers()
    args = parser.parse_args(argv)
    require_peers(parser, args.peers)
    seconds: dict[tuple[str, str], list[float]] = {}
    for index in range(args.runs):
        for name in args.only:
            with tempfile.TemporaryDirectory(prefix="digideep-compiler-") as cache:
                for title, measure in contenders(name, args.peers, cache).items():
                    seconds.setdefault((name, title), []).append(measure())
                    print(f"  {index + 1}. {name}, {title}: {seconds[name, title][-1]:.1f} s", flush=True)
    rows = [[*key, *spread(values, ".1f")] for key, values in seconds.items()]
    only = "" if len(args.only) == len(_FRAMES) else f" --only {' '.join(args.only)}"
    note = f"`python -m benchmarks.startup --runs {args.runs}{only}` on {machine(args.peers)}"
    args.results.write_text(update_table(args.results.read_text(), "startup", _HEADER, rows, keys=2, note=note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
