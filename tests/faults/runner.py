"""Deliberate faults, put into a copy of the program one at a time: which of them does no test notice?

A fault that survives shows a test that is missing, or one whose assertion holds by construction.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
_COPIED = ("digideep", "params", "tests", "docs", "benchmarks", ".ci", "pyproject.toml", "main.py", "setup.py",
           "README.md", "CHANGELOG.md", "Makefile", "constraints.txt")  # fmt: skip


class Fault(NamedTuple):
    """A change of the program that makes it wrong.

    Attributes:
        file: below the root of the project.
        right: text that stands in the file exactly once.
        wrong: what takes its place.
        what: the fault, in words.
        tests: files, or single tests, that have to notice it; separated by blanks.
    """

    file: str
    right: str
    wrong: str
    what: str
    tests: str


def faults_in(file: str, tests: str, *changes: tuple[str, str, str]) -> tuple[Fault, ...]:
    """Several faults of one file that the same tests have to notice. Args: changes: right, wrong and what, of each."""
    return tuple(Fault(file, right, wrong, what, tests) for right, wrong, what in changes)


class Verdict(NamedTuple):
    """What became of a fault: "caught", "SURVIVED", or "broken" if the tests could not be run."""

    fault: Fault
    verdict: str
    seconds: float
    said: str


def put_in(fault: Fault, root: Path = ROOT) -> str:
    """The text of the file with the fault.

    Raises:
        ValueError: if the right text does not stand there exactly once: the program has changed, and the list has to.
    """
    text = (root / fault.file).read_text()
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.right)} times, not once: {fault.right!r}")
    return text.replace(fault.right, fault.wrong)


def run_tests(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests of a copy until the first failure. Returns: pytest's exit code, 1 if they hang; what it said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=_environment(root), capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return 1, f"no end within {LIMIT_S} s"
    return done.returncode, done.stdout + done.stderr


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def _copy(directory: Path) -> Path:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, directory / name)
    return directory


def try_all(faults: Sequence[Fault], jobs: int) -> Iterator[Verdict]:
    """Put in each fault, run its tests, take it out again.

    Args:
        faults: to try.
        jobs: how many at once, each in a copy of its own.
    """
    with tempfile.TemporaryDirectory(prefix="digideep-faults-") as base, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for index in range(jobs):
            directory = Path(base) / str(index)
            directory.mkdir()
            copies.put(_copy(directory))

        def attempt(fault: Fault) -> Verdict:
            root, started = copies.get(), time.monotonic()
            file = root / fault.file
            right = file.read_text()
            try:
                file.write_text(put_in(fault, root))
                code, said = run_tests(root, fault.tests.split())
            finally:
                file.write_text(right)
                copies.put(root)
            verdict = {0: "SURVIVED", 1: "caught"}.get(code, "broken")
            return Verdict(fault, verdict, time.monotonic() - started, said)

        yield from pool.map(attempt, faults)
