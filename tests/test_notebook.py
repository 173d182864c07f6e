"""The notebook in the documentation runs from its first cell to its last."""

import nbformat
from nbclient import NotebookClient

from tests.support.helpers import ROOT


def test_the_notebook_runs_and_says_what_it_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    written = nbformat.read(ROOT / "docs/from_python.ipynb", as_version=4)
    notebook = nbformat.from_dict(written)
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    sessions = {path.name for path in (tmp_path / "digideep_sessions").iterdir()}
    assert sessions == {"pole", "early", "tuned", "seed_0", "seed_1", "swing"}
    results = [
        [
            output["data"]["text/plain"]
            for output in cell.get("outputs", ())
            if output["output_type"] == "execute_result"
        ]
        for cell in notebook.cells
    ]
    assert [text for texts in results for text in texts][0::4][:1] == ["'done'"]
    assert "'stopped'" in [text for texts in results for text in texts]
    assert "[{'/agents/agent/lr': 0.0002, '/runner/n_epochs': 2}]" in str(results)
    for cell in written.cells:
        if cell.cell_type == "code":
            assert cell.outputs or cell is written.cells[-1], "the page shows what comes out"
