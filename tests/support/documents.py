"""The documents as tests see them: their blocks of code, the commands in them, and their tables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.helpers import ROOT

DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]
_FENCE = re.compile(r"(?:<!-- (?P<marker>[^>]*) -->\n+)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)
_WORDS = {"for", "do", "done", "cd", "export"}  # of the shell, in blocks of commands


class Block(NamedTuple):
    """A fenced block. `marker` is the comment before it: what executes it, why nothing does, or the file's name."""

    page: Path
    language: str
    text: str
    marker: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        line = self.page.read_text()[: self.page.read_text().find(self.text)].count("\n")
        return f"{self.page.relative_to(ROOT)}:{line}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, directives of the site left out."""
    matches = _FENCE.finditer(page.read_text())
    found = (Block(page, match["language"], match["text"], match["marker"] or "") for match in matches)
    return [block for block in found if not block.language.startswith("{")]


def commands(text: str) -> Iterator[list[str]]:
    """Split lines of a shell into commands, each with its words; what connects or redirects them is left out."""
    text = re.sub(r"^#.*|\s# .*", "", text.replace("\\\n", " "), flags=re.M)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set(";|&()\n"):
            words.append(word)
        elif words:
            yield words
            words = []


def own_commands(text: str) -> Iterator[list[str]]:
    """Return those that start Digideep: as `digideep`, or with the module's name, and the arguments.

    A variable of the shell stands for 1.
    """
    for words in commands(text):
        words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in words]
        while words and (words[0] in _WORDS or re.fullmatch(r"\w+=.*", words[0])):
            words = words[1:]
        line = " ".join(words[:3])
        if line.startswith("python main.py"):
            yield ["digideep", *words[2:]]
        elif match := re.match(r"python -m (digideep[\w.]*)", line):
            yield [match[1], *words[3:]]
        elif words and words[0] == "digideep":
            yield words


def foreign_commands(text: str) -> list[str]:
    """Return the commands of a block that are neither Digideep's nor words of the shell."""
    ours = ("python main.py", "python -m digideep", "digideep ")
    lines = (" ".join(words) for words in commands(text))
    stripped = (re.sub(r"^(?:(?:do|[A-Z_]+=\S*) )+", "", line) for line in lines)
    return [line for line in stripped if not line.startswith(ours) and line.split()[0] not in _WORDS]


def prose(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return _FENCE.sub("", page.read_text())


def inline_commands(page: Path) -> list[str]:
    """Return the commands of Digideep within the text of a page: not those with a gap (…), nor a verb alone."""
    spans = (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page)))
    begin = re.compile(r"python main\.py |python -m digideep[\w.]* |digideep \S+ \S|digideep --")
    return [span for span in spans if begin.match(span) and "…" not in span]


def table(page: Path, heading: str) -> dict[str, list[str]]:
    """Return the tables under a heading: by each name in backquotes of the first column, the other cells."""
    text = page.read_text()
    section = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = [re.split(r"(?<!\\) *\| *", line.strip())[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {name: cells[1:] for cells in rows for name in re.findall(r"`([^`]+)`", cells[0])}
