"""Lists sessions under a path: `python -m digideep.post.sessions [PATH] [--json]`."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from digideep.post.loader import Loader
from digideep.utility.errors import UsageError


def find_sessions(path: Path) -> list[Path]:
    """Directories that hold a session, below a path or the path itself; evaluations within them do not count."""
    if (path / "checkpoints").is_dir() and (path / "params.yaml").is_file():
        return [path]
    if not path.is_dir():
        return []
    children = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [session for child in children for session in find_sessions(child)]


def state_of(path: Path) -> str:
    """ "running", "done" or "stopped"."""
    if _is_locked(path / "running.lock"):
        return "running"
    return "done" if (path / "done.lock").exists() else "stopped"


def _is_locked(file: Path) -> bool:
    """Whether a process holds the lock; it is let go at once if not."""
    if not file.exists():
        return False
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        return False  # a file system without locks, or one that we may not write to: nothing runs there from here
    lock.release()
    return False


def describe(path: Path, now: float) -> dict[str, Any]:
    """What the list shows of a session: its age is that of its last sign of life."""
    loader = Loader(path)
    log = loader.varlog
    frames = max((int(log[key]["frame"][-1]) for key in log), default=0)
    returns = {name: log.mean(f"/return/{name}") for name in ("test", "train") if f"/return/{name}" in log}
    changed = max(file.stat().st_mtime for file in (path / "params.yaml", *path.glob("*.log"), *path.glob("*.json")))
    return {
        "session": str(path),
        "state": state_of(path),
        "environment": loader.params["env"]["name"],
        "agent": "+".join(agent["class"].rpartition(".")[2] for agent in loader.params["agents"].values()),
        "frames": frames,
        "best_return": float(np.max(next(iter(returns.values())))) if returns else None,
        "best_return_of": next(iter(returns), None),
        "age_s": max(now - changed, 0.0),
        "message": loader.params.get("session_msg", ""),
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

    table = Table(box=None, header_style="bold")
    for name in ("session", "state", "environment", "agent", "frames", "best return", "age", "message"):
        table.add_column(name, justify="right" if name in ("frames", "best return", "age") else "left")
    colours = {"running": "green", "done": "cyan", "stopped": "yellow"}
    for row in rows:
        path = Path(row["session"])
        name = str(path.relative_to(base)) if path != base and path.is_relative_to(base) else path.name
        best = "-" if row["best_return"] is None else f"{row['best_return']:,.2f} ({row['best_return_of']})"
        state = f"[{colours[row['state']]}]{row['state']}[/]"
        frames, age = f"{row['frames']:,}", _age(row["age_s"])
        table.add_row(name, state, row["environment"], row["agent"], frames, best, age, row["message"])
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(table, highlight=False)


def main(argv: list[str] | None = None) -> int:
    """The command. Returns: the exit code."""
    parser = argparse.ArgumentParser(prog="python -m digideep.post.sessions", description="List sessions.")
    parser.add_argument("path", nargs="?", default="digideep_sessions", help="where to look (./digideep_sessions)")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    args = parser.parse_args(argv)
    base = Path(args.path).resolve()
    try:
        if not base.is_dir():
            raise UsageError(f"{args.path} is no directory. Give one that holds sessions.")
        rows = [describe(path, time.time()) for path in find_sessions(base)]
    except UsageError as err:
        print(f"digideep: {err}", file=sys.stderr)
        return err.exit_code
    if args.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print_table(rows, base)
    else:
        print(f"No sessions under {base}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
