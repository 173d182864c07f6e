"""A share of the bad inputs of `tests.bad_input`, which draws them: `make check` tries them all."""

import re
import subprocess
import sys

from tests.support.helpers import ROOT


def test_bad_input_is_refused_in_one_line_and_creates_nothing():
    command = [sys.executable, "-m", "tests.bad_input", "--some", "150", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)
    counts = re.search(r"^150 inputs: .*?(\d+) with exit code 2.* 0 faults", result.stdout, re.MULTILINE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert counts is not None, result.stdout
    assert int(counts[1]) > 100
