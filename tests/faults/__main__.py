"""`python -m tests.faults [--only TEXT] [--jobs 2]`: put each deliberate fault into a copy, and run its tests."""

import argparse
import sys
from collections import Counter

from tests.faults.known import FAULTS
from tests.faults.runner import try_all, without_faults


def main() -> int:
    """The command. Returns: 1 if a fault survived, or if tests could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Does a test notice each fault?")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose file or words have this in them")
    parser.add_argument("--jobs", type=int, default=2, help="faults at once (2)")
    parser.add_argument("--list", action="store_true", help="print the faults, and stop")
    args = parser.parse_args()
    faults = [fault for fault in FAULTS if args.only in f"{fault.file}: {fault.what}"]
    if args.list:
        print("\n".join(f"{fault.file}: {fault.what}" for fault in faults))
        return 0
    # A test that fails anyway would seem to notice everything.
    for verdict in try_all(without_faults(faults), args.jobs):
        if verdict.verdict != "SURVIVED":
            print(f"{verdict.said}\nThe tests fail without any fault: mend them first.")
            return 1
    print("All of the tests pass without any fault.", flush=True)
    counts: Counter[str] = Counter()
    for verdict in try_all(faults, args.jobs):
        counts[verdict.verdict] += 1
        print(f"{verdict.verdict:8} {verdict.fault.file}: {verdict.fault.what} ({verdict.seconds:.0f} s)", flush=True)
        if verdict.verdict == "broken":
            print(verdict.said[-2000:], flush=True)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return int(counts["caught"] < len(faults))


if __name__ == "__main__":
    sys.exit(main())
