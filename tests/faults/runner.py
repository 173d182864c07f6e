"""Deliberate faults, put into a copy of the program one at a time: which of them does no test notice?

A fault that survives shows a test that is missing, or one whose assertion holds by construction.
"""

import compileall
import contextlib
import importlib
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.forked import start_child

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
_POLL_S = 0.05
_SHARE = 20
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


def import_libraries() -> None:
    """Import what most tests need, and nothing of the project: each fault's tests inherit it."""
    modules = "numpy torch.distributions torch._dynamo gymnasium.wrappers pytest safetensors.torch rich.live psutil"
    for module in modules.split():
        importlib.import_module(module)


class Trial:
    """A fault in a copy of the project, and its tests in a forked process until the first failure.

    Args:
        fault: to put in.
        root: of the copy.
    """

    def __init__(self, fault: Fault, root: Path):
        self.root = root
        self._fault, self._file, self._log = fault, root / fault.file, root.with_suffix(".log")
        self._right, self._started = self._file.read_text(), time.monotonic()
        self._log.unlink(missing_ok=True)
        self._file.write_text(put_in(fault, root))
        self._pid = start_child(lambda: _run_tests(root, fault.tests.split()), self._log, limit_s=2 * LIMIT_S)

    def verdict(self) -> Verdict | None:
        """None as long as the tests run, for `LIMIT_S` at most; takes the fault out when they have ended."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        seconds = time.monotonic() - self._started
        if not pid and seconds < LIMIT_S:
            return None
        code = os.waitstatus_to_exitcode(status) if pid else 1  # a test that hangs has noticed it
        self.end(is_running=not pid)
        verdict = {0: "SURVIVED", 1: "caught"}.get(code, "broken")
        return Verdict(self._fault, verdict, seconds, self._log.read_text(errors="replace"))

    def end(self, is_running: bool = True) -> None:
        """Stop the tests, with all that they have started, and take the fault out."""
        if is_running:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self._file.write_text(self._right)


def _run_tests(root: Path, tests: Sequence[str]) -> int:
    """In the child: forget this process's own modules, and run the copy's. Returns: pytest's exit code."""
    import pytest

    os.setsid()
    os.chdir(root)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.path[:] = [str(root), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("digideep", "params", "tests")]:
        del sys.modules[name]
    return int(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]))


def _copy(directory: Path) -> Path:
    directory.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, directory / name)
    # By hash: a fault may have the size of what it replaces, and be written in the same second.
    compileall.compile_dir(
        directory / "digideep", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )
    return directory


def without_faults(faults: Sequence[Fault]) -> list[Fault]:
    """All tests of these faults, some at a time, each with a change that changes nothing."""
    tests = sorted({test for fault in faults for test in fault.tests.split()})
    shares = (tests[start : start + _SHARE] for start in range(0, len(tests), _SHARE))
    return [faults[0]._replace(wrong=faults[0].right, tests=" ".join(share)) for share in shares]


def try_all(faults: Sequence[Fault], jobs: int) -> Iterator[Verdict]:
    """Put in each fault, run its tests, take it out again; yields verdicts as they come.

    Args:
        faults: to try.
        jobs: how many at once, each in a copy of its own.
    """
    import_libraries()
    waiting, running = list(faults), list[Trial]()
    with tempfile.TemporaryDirectory(prefix="digideep-faults-") as base:
        free = [_copy(Path(base, str(index))) for index in range(jobs)]
        try:
            while waiting or running:
                while waiting and free:
                    running.append(Trial(waiting.pop(0), free.pop()))
                for trial in list(running):
                    if (verdict := trial.verdict()) is not None:
                        running.remove(trial)
                        free.append(trial.root)
                        yield verdict
                time.sleep(_POLL_S)
        finally:
            for trial in running:
                trial.end()
