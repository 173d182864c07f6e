"""A sweep whose launcher and whose children are killed at random, beside one that nobody disturbs.

`python -m tests.kills.sweep`
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from tests.kills.groups import JOBS, PANEL, Tormented, start
from tests.support.helpers import CLASSIC

RANGES = {"lr": {"low": 1e-4, "high": 3e-2, "log": True}, "n_update": {"low": 1, "high": 8},
          "gamma": {"choices": [0.9, 0.98, 0.99]}}  # fmt: skip
TRIALS, WAVE = 24, 12


class TormentedSweep(Tormented):
    """A sweep whose processes are killed; see `Tormented`. Its sessions are run again however often they are killed."""

    def __init__(self, path: Path, draw: random.Random):
        super().__init__(path, start, draw)
        self._arguments = [
            "sweep", CLASSIC, "--search", json.dumps(RANGES), "--trials", str(TRIALS), "--wave", str(WAVE), "--jobs",
            str(JOBS), "--retries", "1000", "--name", path.name, "--session-path", str(path.parent),
            "--cpanel", json.dumps(PANEL), "--no-monitor-gpu", "--no-monitor-cpu", "--device", "cpu",
        ]  # fmt: skip


def compare(straight: Path, killed: Path) -> Iterator[str]:
    """What is not the same in two sweeps that came to their end: trials, and the state of each session."""
    for name in ("trials.json", "best.json"):
        if (straight / name).read_bytes() != (killed / name).read_bytes():
            yield f"{name} differs"
    ours, theirs = ({path.name for path in each.glob("trial=*")} for each in (straight, killed))
    yield from (f"{name} is in one of them only" for name in sorted(ours ^ theirs))
    for name in sorted(ours & theirs):
        ends = [list_checkpoints(each / name / "checkpoints")[-1] for each in (straight, killed)]
        if ends[0].name != ends[1].name:
            yield f"{name} ends with {ends[0].name} and {ends[1].name}"
            continue
        different, total = compare_checkpoints(*ends)
        yield from (f"{name}: {each}" for each in different)
        if total < 50:
            yield f"{name} holds {total} values only"


def main() -> int:
    """The command. Returns: 1 if a sweep that was disturbed ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="kills (20)")
    parser.add_argument("--each", type=int, default=10, help="of a sweep, at most (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    draw, kills, sweeps, wrong = random.Random(args.seed), Counter[str](), 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
        base = Path(directory).resolve()
        straight = TormentedSweep(base / "straight", draw)
        straight.run(0)
        wrong += straight.wrong
        while kills.total() < args.n and not wrong:
            killed = TormentedSweep(base / f"killed-{sweeps}", draw)
            killed.run(min(args.n - kills.total(), args.each))
            sweeps, kills = sweeps + 1, kills + killed.kills
            wrong += killed.wrong or compare(straight.path, killed.path)
    counts = ", ".join(f"{kills[who]} {who}" for who in ("launchers", "children"))
    print(f"killed {counts}; {sweeps} sweeps of {TRIALS} trials; bit-identical, no orphan: {'NO' if wrong else 'yes'}")
    print(*(f"    {line}" for line in wrong), sep="\n", end="")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
