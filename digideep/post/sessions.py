"""Lists sessions under a path: `python -m digideep.post.sessions [PATH] [--json]`."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from digideep.parameters.parser import Parser
from digideep.post.loader import Loader, read_sessions
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.files import is_directory
from digideep.utility.importing import SESSIONS
from digideep.utility.text import printable

# What a run is judged by in the list, best first: keys of varlog.json below /return/.
_RETURNS = ("test", "recent", "train")


def find_sessions(path: Path) -> list[Path]:
    """Return the directories that hold a session, below a path or the path itself, without evaluations in them."""
    found, seen, waiting = [], set(), [path]
    while waiting:
        directory = waiting.pop()
        place = os.path.realpath(directory)
        if place in seen:
            continue  # a link led here, too
        seen.add(place)
        try:
            if (directory / "checkpoints").is_dir() and os.path.lexists(directory / "params.yaml"):
                found.append(directory)
                continue
            children = [child for child in directory.iterdir() if not child.name.startswith(".") and child.is_dir()]
        except OSError as err:
            print(f"digideep: left out: {printable(str(directory))} cannot be read: {err.strerror}.", file=sys.stderr)
            continue
        waiting += sorted(children, reverse=True)
    return found


def describe(loader: Loader, now: float) -> dict[str, Any]:
    """Return what the list shows of a session.

    Its frames are those of the last line of its log, its best return the greatest `/return/test` of its log, or the
    greatest `/return/recent` where it was never tested; its age is that of its last sign of life.
    """
    path, log = loader.path, loader.varlog
    measure = next((name for name in _RETURNS if f"/return/{name}" in log), None)
    returns = log.mean(f"/return/{measure}") if measure is not None else np.zeros(0)
    returns = returns[np.isfinite(returns)]
    changed = max(file.lstat().st_mtime for file in (path / "params.yaml", *path.glob("*.log"), *path.glob("*.json")))
    return {
        "session": str(path),
        "state": loader.status,
        "environment": loader.params["env"]["name"],
        "agent": loader.agent_names,
        "frames": log.last("frame"),
        "best_return": float(np.max(returns)) if len(returns) else None,
        "best_return_of": measure if len(returns) else None,
        "age_s": max(now - changed, 0.0),
        "message": loader.message,
    }


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def print_table(rows: list[dict[str, Any]], base: Path) -> None:
    """Print sessions, one a line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    numbers = ("frames logged", "best return", "age")
    for name in ("session", "state", "environment", "agent", *numbers, "message"):
        table.add_column(name, justify="right" if name in numbers else "left")
    colours = {"running": "green", "done": "cyan", "stopped": "yellow"}
    for row in rows:
        path = Path(row["session"])
        name = str(path.relative_to(base)) if path != base and path.is_relative_to(base) else path.name
        best = "-" if row["best_return"] is None else f"{row['best_return']:,.2f} ({row['best_return_of']})"
        state = Text(row["state"], style=colours[row["state"]])
        frames, age = f"{row['frames']:,}", _age(row["age_s"])
        texts = (name, state, row["environment"], row["agent"], frames, best, age, row["message"])
        # Text, since a string would be read for styles in brackets.
        table.add_row(*(text if isinstance(text, Text) else Text(printable(text)) for text in texts))
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(table, highlight=False)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep sessions", description="List sessions: state, environment, agent, frames, best return.",
        epilog="examples:\n  digideep sessions\n  digideep sessions elsewhere --json",
    )  # fmt: skip
    parser.add_argument("path", nargs="?", default=SESSIONS, help=f"where to look (./{SESSIONS})")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if not is_directory(Path(args.path)):
        raise UsageError(f"{printable(args.path)} is no directory. Give one that holds sessions.")
    base = Path(args.path).resolve()
    rows = [describe(loader, time.time()) for loader in read_sessions(find_sessions(base), "params", "varlog")]
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print_table(rows, base)
    else:
        print(f"No sessions under {printable(str(base))}.")


if __name__ == "__main__":
    raise SystemExit(main())
