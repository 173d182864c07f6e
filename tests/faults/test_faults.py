"""The list of deliberate faults fits the program; `python -m tests.faults` tries them."""

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.faults.known import FAULTS
from tests.faults.runner import ROOT, put_in


@cache
def meaning(text: str) -> str:
    """A program without its comments and its layout."""
    return ast.dump(ast.parse(text))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.what}")
def test_a_deliberate_fault_still_fits_the_program(fault):
    assert meaning(put_in(fault)) != meaning((ROOT / fault.file).read_text())
    for test in fault.tests.split():
        file, *names = test.split("::")
        text = (ROOT / file).read_text()
        assert all(f"def {name.partition('[')[0]}(" in text for name in names), test


def test_no_deliberate_fault_is_listed_twice():
    assert len({(fault.file, fault.right, fault.wrong) for fault in FAULTS}) == len(FAULTS)


TRIALS = """
from tests.faults import runner
from tests.faults.runner import Fault, try_all

file, tests = "digideep/parameters/schedule.py", "tests/parameters/test_schedule.py"
line = "from collections.abc import Callable"
faults = [
    Fault(file, "min(n_updates / duration, 1.0)", "(n_updates / duration)", "no end", tests),
    Fault(file, line, f"{line}  # as before", "none", tests),
    Fault(file, line, "import no_such_module", "no import", tests),
]
print(*(verdict.verdict for verdict in try_all(faults, jobs=1)))
runner.LIMIT_S = 1
print(*(verdict.verdict for verdict in try_all([Fault(file, line, "while True: pass", "a loop", tests)], jobs=1)))
"""


def test_the_runner_tells_a_caught_fault_from_one_that_survives_and_from_tests_that_do_not_run():
    done = subprocess.run([sys.executable, "-c", TRIALS], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["caught", "SURVIVED", "broken", "caught"], done.stdout + done.stderr
