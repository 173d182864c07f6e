"""The page for those who come from the digideep of 2019: each of its features has a row, and a test that shows it."""

import ast
import re

from digideep.utility.importing import import_named
from tests.support.documents import DOCS
from tests.support.helpers import ROOT

PAGE = (DOCS / "from_2019.md").read_text()


def rows():
    """The cells of each feature's row."""
    text = PAGE.split("<!-- rows -->")[1].split("<!-- /rows -->")[0]
    lines = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def known_tests():
    """Each test's name without its first word, and how often there is one."""
    names = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                names.setdefault(node.name.removeprefix("test_"), []).append(file)
    return names


def test_all_ninety_features_of_2019_have_a_row_and_each_row_a_test_that_exists():
    found, known = rows(), known_tests()
    assert [int(cells[0]) for cells in found] == list(range(1, 91))
    for number, then, now, shown in found:
        names = re.findall(r"`(\w+)`", shown)
        assert names, number
        assert then, number
        assert now, number
        for name in names:
            assert name in known, f"row {number}: no test_{name}"


def test_what_the_page_says_is_called_so_today_can_be_imported():
    dotted = set(re.findall(r"`(digideep(?:\.\w+)+\.[A-Z]\w+)` \|$", PAGE, re.M))
    assert len(dotted) >= 4
    for name in dotted:
        module, _, cls = name.rpartition(".")
        assert hasattr(import_named(module, name), cls), name
    for path in re.findall(r"`(digideep/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
