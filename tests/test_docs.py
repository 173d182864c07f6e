"""The documents tell the truth: their example runs, their links lead somewhere, their files exist."""

import json
import re

import pytest

from digideep.main import main
from tests.support.helpers import ROOT, tiny

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.usefixtures("forking_verify")
def test_the_method_in_extending_trains_and_resumes_exactly(tmp_path, monkeypatch, capfd):
    code, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (tmp_path / "reinforce.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    assert main(["--params", "reinforce.py", "--cpanel", tiny(epoch_size=10), "--verify-resume", "2"]) == 0
    assert "resume is exact" in capfd.readouterr().out


def test_the_variant_in_extending_trains(tmp_path, monkeypatch):
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (tmp_path / "clipped.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    panel = {"number_epochs": 1, "epoch_size": 20, "warm_start": 8, "batch_size": 8, "hidden_sizes": [8],
             "memory_size_in_chunks": 50, "test_activate": False, "least_return": 7.5}  # fmt: skip
    assert main(["--params", "clipped.py", "--cpanel", json.dumps(panel), "--session-name", "s"]) == 0
    (line,) = (tmp_path / "digideep_sessions/s/varlog.json").read_text().splitlines()
    losses = json.loads(line)["data"]["/update/agent/critic_loss"]
    assert losses["min"] > 40, "2 critics x 7.5^2 / 2 = 56.25, had both said 0"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for path in re.findall(r"`((?:params|digideep|docs|benchmarks|tests)/[\w/]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
