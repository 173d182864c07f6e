"""A share of the bad inputs of `tests.bad_input`, which draws them: `make check` tries ten times as many."""

import re
import subprocess
import sys
from collections import Counter

from tests.bad_input import Input, spread
from tests.support.helpers import ROOT


def test_bad_input_is_refused_in_one_line_and_creates_nothing():
    command = [sys.executable, "-m", "tests.bad_input", "--quick", "-n", "150", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)
    counts = re.search(r"^150 inputs: .*?(\d+) with exit code 2.* 0 faults", result.stdout, re.MULTILINE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert counts is not None, result.stdout
    assert int(counts[1]) > 100


def test_a_share_of_bad_inputs_has_its_part_of_every_kind_and_each_subject_before_any_comes_twice():
    paths = [Input(f"repeal {recipe}", f"/{path}", []) for recipe in "abc" for path in range(20)]
    flags = [Input("flag", flag, [text]) for flag in ("--seed", "--msg") for text in "0123456789"]
    drawn = spread([*paths, *flags], 40, seed=0)
    kinds = Counter(each.label.partition(" ")[0] for each in drawn)
    assert kinds == {"repeal": 30, "flag": 10}
    assert len({each.subject for each in drawn}) == 22
    assert Counter(each.subject for each in drawn)["--seed"] == 5
