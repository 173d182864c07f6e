"""The notebook in the documentation runs from its first cell to its last."""

import nbformat
from nbclient import NotebookClient

from tests.support.helpers import ROOT


def said(notebook):
    """What the last lines of the cells gave."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return [output["data"]["text/plain"] for output in outputs if output["output_type"] == "execute_result"]


def test_the_notebook_runs_and_ends_as_it_did(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    written = nbformat.read(ROOT / "docs/from_python.ipynb", as_version=4)
    notebook = nbformat.read(ROOT / "docs/from_python.ipynb", as_version=4)
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    sessions = {path.name for path in (tmp_path / "digideep_sessions").iterdir()}
    assert sessions == {"pole", "early", "tuned", "seed_0", "seed_1", "swing"}
    assert said(notebook)[0] == said(written)[0] == "'done'"
    assert said(notebook)[2:4] == said(written)[2:4], "how the stopped run ended, and the resumed one"
    assert len(said(notebook)) == len(said(written)) == 10
    assert all(cell.outputs for cell in written.cells if cell.cell_type == "code"), "the page shows what comes out"
