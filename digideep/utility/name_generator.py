"""Names of sessions. `python -m digideep.utility.name_generator [--base DIR] [--pre PREFIX]` makes a directory."""

import argparse
import random
from datetime import datetime
from pathlib import Path

from digideep.utility.importing import SESSIONS

_ADJECTIVES = (
    "agile amber brave bright calm candid clever cosmic crisp curious daring deft eager earnest fair fearless fleet "
    "frank gentle gifted golden happy honest humble jolly keen kind lively lucid mellow merry mighty nimble noble "
    "patient polite proud quick quiet rapid serene sharp silent silver sober solid steady sunny swift tidy vivid wise"
)
_SURNAMES = (
    "abel ampere babbage barto bayes bellman bernoulli bohr boltzmann boole cantor cauchy church curie darwin dijkstra "
    "einstein euclid euler faraday fermat fermi feynman fourier franklin galois gauss germain godel hamilton hilbert "
    "hopper hypatia jacobi kalman kepler kolmogorov kovalevskaya lagrange laplace leibniz lovelace markov maxwell "
    "minsky nash newton noether pascal pontryagin ramanujan riemann shannon sutton tesla turing watkins wiener"
)


def draw_name(prefix: str = "session_") -> str:
    """Return `<prefix>YYYYMMDDHHMMSS_<adjective>_<surname>`, drawn from the system's entropy, not from a seed."""
    draw = random.SystemRandom()
    words = (draw.choice(names.split()) for names in (_ADJECTIVES, _SURNAMES))
    return f"{prefix}{datetime.now():%Y%m%d%H%M%S}_{'_'.join(words)}"


def make_directory(base: Path, prefix: str) -> Path:
    """Make a directory of a new name, and what leads there. Raises: OSError: if that cannot be done."""
    while True:
        path = base / draw_name(prefix)
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir():  # not taken by another one of this second: the base is a file
                raise


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m digideep.utility.name_generator",
        description="Make a directory of a new name, such as session_20190302120000_swift_turing, and print its name.",
    )
    parser.add_argument("--base", type=Path, default=Path(SESSIONS), metavar="DIR", help=f"where (./{SESSIONS})")
    parser.add_argument("--pre", default="session_", metavar="PREFIX", help="what the name begins with (session_)")
    args = parser.parse_args(argv)
    if "/" in args.pre or "\0" in args.pre:
        parser.error(f"--pre must be the beginning of a name without slashes, got {args.pre!r}.")
    try:
        print(make_directory(args.base, args.pre).name)
    except OSError as err:
        parser.error(f"no directory can be made in {args.base}: {err.strerror}. Choose another --base.")


if __name__ == "__main__":
    main()
