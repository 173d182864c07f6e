"""What the measurements share: processes and their memory, the machine, the tables of RESULTS.md."""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]
_SHOWN = ("torch", "gymnasium", "mujoco", "ale-py", "stable-baselines3", "sbx-rl", "jax", "skrl",
          "rl-games", "envpool")  # fmt: skip


class Refused(Exception):
    """A program ended with exit code 2: it says itself why it does not start."""


class Finished(NamedTuple):
    """A process that has ended well.

    Attributes:
        stdout: what it printed.
        start: the clock when it was started, seconds since the epoch.
        peak_mb: the most memory that it held, in 10^6 bytes; None where the system does not tell.
    """

    stdout: str
    start: float
    peak_mb: float | None


def run(command: Sequence[str], **variables: str) -> Finished:
    """Run a command in the root of the project to its end.

    Args:
        command: program and arguments.
        variables: of the environment, beside this process's own.

    Raises:
        Refused: if it ends with exit code 2.
        RuntimeError: if it fails, with what it said.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.time()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)
        peak_mb = None
        if hasattr(os, "wait4"):  # tells the memory of this one process
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak_mb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
        code = process.wait()
        out.seek(0)
        err.seek(0)
        said = err.read().decode(errors="replace").strip()
        if code == 2:
            raise Refused(said.splitlines()[-1] if said else "")
        if code:
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{said}")
        return Finished(out.read().decode(), start, peak_mb)


def train(params: str, cpanel: dict[str, Any], **variables: str) -> tuple[Finished, list[dict], list[dict]]:
    """Train as a user does, in a session that is thrown away.

    Returns:
        The process; the lines of `varlog.json` ("meta" of each epoch) and of `prolog.json`.
    """
    with tempfile.TemporaryDirectory(prefix="digideep-bench-") as base:
        command = [sys.executable, "-m", "digideep.main", "--params", params, "--cpanel", json.dumps(cpanel), "--quiet"]
        finished = run([*command, "--session-path", base, "--session-name", "s"], **variables)
        lines = [(Path(base) / "s" / name).read_text().splitlines() for name in ("varlog.json", "prolog.json")]
        meta, timings = ([json.loads(line) for line in part] for part in lines)
        epochs = {line["meta"]["epoch"]: line["meta"] for line in meta}
        return finished, list(epochs.values()), timings


def machine(peers: str | None = None) -> str:
    """The machine and the versions, on one line. Args: peers: the peers' Python."""
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    versions = _versions()
    if peers is not None:
        code = "from benchmarks.measuring import _versions; import json; print(json.dumps(_versions()))"
        versions = json.loads(run([peers, "-c", code]).stdout) | versions
    shown = ", ".join(f"{name} {versions[name]}" for name in _SHOWN if name in versions)
    return f"{platform.machine()}, {os.cpu_count()} cores{memory}; Python {platform.python_version()}, {shown}."


def _versions() -> dict[str, str]:
    installed = {}
    for name in _SHOWN:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def spread(values: Sequence[float], form: str = ",.0f") -> tuple[str, str]:
    """The median, and "least to greatest". Args: form: of a number."""
    return format(statistics.median(values), form), f"{min(values):{form}} to {max(values):{form}}"


def update_table(
    text: str,
    name: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    keys: int = 1,
    note: str | None = None,
    order: Sequence[tuple[str, ...]] | None = None,
) -> str:
    """Write rows of a table that stands between `<!-- name -->` and `<!-- /name -->`.

    Rows of the same table with the same first `keys` cells are replaced, others stay; whatever else is there goes.

    Args:
        text: of the whole file.
        name: of the table.
        header: titles of the columns.
        rows: cells.
        keys: how many cells tell rows apart.
        note: a line above the table; None keeps the one that is there.
        order: keys of all rows that the table may have, from its first to its last; None keeps what is there.

    Raises:
        ValueError: if the marks are missing.
    """
    before, _, table = _find(text, name)[2].partition(_line(header) + "\n")
    kept: dict[tuple[str, ...], Sequence[str]] = {}
    for line in table.splitlines()[1:]:
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) == len(header):
            kept[tuple(cells[:keys])] = cells
    kept |= {tuple(row[:keys]): row for row in rows}
    if order is not None:
        kept = {key: kept[key] for key in order if key in kept}
    if note is None:
        note = before.strip() if table else ""
    body = [_line(header), "|---" * len(header) + "|", *map(_line, kept.values())]
    above = f"{note}\n\n" if note else ""
    return update_part(text, name, above + "\n".join(body))


def update_part(text: str, name: str, content: str) -> str:
    """Put something between `<!-- name -->` and `<!-- /name -->`. Raises: ValueError: if the marks are missing."""
    found = _find(text, name)
    return text[: found.start(2)] + f"{content}\n" + text[found.end(2) :]


def _find(text: str, name: str) -> re.Match[str]:
    """Return the match whose second group stands between the marks of a name."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n)(.*?)(<!-- /{re.escape(name)} -->)", re.DOTALL)
    found = pattern.search(text)
    if found is None:
        raise ValueError(f"The results have no place for '{name}'. Put in '<!-- {name} -->' and '<!-- /{name} -->'.")
    return found


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Parser(argparse.ArgumentParser):
    """Arguments that all measurements take. Refuses with one line and exit code 2."""

    def __init__(self, module: str, description: str | None, runs: int | None = 3, results: str = "RESULTS.md"):
        super().__init__(prog=f"python -m benchmarks.{module}", description=description, allow_abbrev=False)
        if runs is not None:
            self.add_argument("--runs", type=positive, default=runs, help=f"of each, in turns ({runs})")
        default = ROOT / "benchmarks" / results
        self.add_argument("--results", type=existing, default=default, help=f"file with the tables ({results})")

    def add_peers(self) -> None:
        """--peers, the Python of the peers."""
        default = str(ROOT / ".venv-bench/bin/python")
        self.add_argument("--peers", default=default, help="Python with stable-baselines3 and SBX (.venv-bench)")

    def error(self, message: str) -> NoReturn:
        """One line instead of the usage."""
        self.exit(2, f"{self.prog}: {message}. See --help.\n")


def require_peers(parser: Parser, peers: str) -> None:
    """Refuse a Python that is not there."""
    if not os.access(peers, os.X_OK):
        parser.error(f"--peers {peers} is not there: 'make bench' installs it, or give another Python")


def existing(text: str) -> Path:
    """The path of a file that is there, for argparse."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not there: give a file with the marks of the tables")
    return Path(text)


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)
