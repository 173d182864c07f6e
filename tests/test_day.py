"""A day's work goes through, from an empty directory."""

import subprocess
import sys

from tests.support.helpers import ROOT


def test_a_day_s_work_goes_through(tmp_path):
    command = [sys.executable, str(ROOT / "tests/day.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the day is over" in done.stdout
