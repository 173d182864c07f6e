"""What is imported is declared in pyproject.toml: by the core where a module needs it to be imported at all."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

DISTRIBUTIONS = {
    "ale_py": "ale-py",
    "cv2": "opencv-python-headless",
    "dm_control": "dm-control",
    "mlflow": "mlflow-skinny",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "gymnasium_robotics": "gymnasium-robotics",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}  # of import names, where they differ
SOURCES = sorted([*(ROOT / "digideep").rglob("*.py"), *(ROOT / "params").glob("*.py")])


def declared() -> tuple[set[str], set[str]]:
    """The distributions of the core, and those of the extras that users install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements):
        return {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}

    extras = {name: names(listed) for name, listed in project["optional-dependencies"].items()}
    return names(project["dependencies"]), set().union(
        *(listed for name, listed in extras.items() if name not in ("test", "check"))
    )


def third_party_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each imported distribution, and whether importing the module imports it."""

    def visit(node: ast.AST, is_at_import: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, is_at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", is_at_import
        is_within = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, is_at_import and not is_within and not is_for_types)

    for name, is_at_import in visit(ast.parse(path.read_text()), True):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("digideep", "params"):
            yield DISTRIBUTIONS.get(top, top), is_at_import


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_module_imports_what_is_declared(path):
    core, extras = declared()
    for distribution, is_at_import in third_party_imports(path):
        assert distribution in (core if is_at_import else core | extras), f"{path} imports {distribution}"


def test_the_core_holds_nothing_that_is_not_needed():
    core, _ = declared()
    imported = {distribution for path in SOURCES for distribution, _ in third_party_imports(path)}
    assert core <= imported
