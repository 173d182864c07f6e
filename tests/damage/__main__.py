"""`python -m tests.damage`: see `tests.damage.harness`."""

import argparse
import sys

from tests.damage.harness import COMMANDS, explore


def main() -> int:
    """The command. Returns: 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.damage", description="Damage sessions and look what happens."
    )
    parser.add_argument("-n", type=int, default=250, help="mutations (250)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="mutations whose description has this in it")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    args = parser.parse_args()
    faults = explore(args.n, args.seed, lambda index: tuple(args.commands), args.only)
    print(f"{args.n} mutations, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
