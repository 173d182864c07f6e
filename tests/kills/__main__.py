"""`python -m tests.kills`: see `tests.kills.harness`."""

import argparse
import math
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.kills.harness import PHASES, torment
from tests.kills.methods import METHODS


def main() -> int:
    """The command. Returns: 1 if a run that was killed ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description="Kill runs of every method, resume them, compare how they end."
    )
    parser.add_argument("-n", type=int, default=100, help="kills, spread over the methods (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--only", default="", metavar="NAME", help="methods whose name has this in it")
    args = parser.parse_args()
    methods = {name: method for name, method in METHODS.items() if args.only in name}
    if not methods:
        parser.error(f"--only: there are {', '.join(METHODS)}")
    width, columns = max(map(len, methods)), ["kills", *PHASES, "sessions"]
    print(" " * width, *columns, "bit-identical", sep="  ", flush=True)
    totals, sessions, is_right = Counter[str](), 0, True
    shares = sum(method.share for method in methods.values())
    for name, method in methods.items():
        wanted = math.ceil(args.n * method.share / shares)
        with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
            kills, ended, wrong = torment(
                method, Path(directory).resolve(), wanted, random.Random(f"{args.seed} {name}")
            )
        _print_row(f"{name:<{width}}", kills, ended, "NO" if wrong else "yes")
        print(*(f"    {line}" for line in wrong), sep="\n", end="", flush=True)
        totals, sessions, is_right = totals + kills, sessions + ended, is_right and not wrong
    _print_row(" " * width, totals, sessions, "yes" if is_right else "NO")
    return int(not is_right)


def _print_row(name: str, kills: Counter[str], sessions: int, verdict: str) -> None:
    figures = {"kills": kills.total(), **{phase: kills[phase] for phase in PHASES}, "sessions": sessions}
    print(
        name,
        *(f"{figure:>{len(column)}}" for column, figure in figures.items()),
        f"{verdict:>13}",
        sep="  ",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
