"""Each part of a run may be a user's own, from a file outside of the project, and resumes exactly."""

import json
import shutil

import pytest

from digideep.main import main
from digideep.post.loader import Loader
from tests.support.helpers import ROOT

SMALL = {"number_epochs": 2, "epoch_size": 30, "num_workers": 2, "warm_start": 8, "batch_size": 8, "test_win_size": 2}
SMALL |= {"compile": "off", "hidden_sizes": [16], "memory_size": 200}
PARTS = {
    "runner": "/runner", "agent": "/agents/agent", "memory": "/memory", "sampler": "/agents/agent/sampler",
    "wrapper": "/env/norm_wrappers/0", "optimizer": "/agents/agent/optimizer", "environment": "/env/from_params",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    here = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(ROOT / "tests/support/ones_own.py", here / "parts_of_mine.py")
    return here


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_ones_own_from_a_file_elsewhere_resumes_exactly(part, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    arguments = ["--params", "parts_of_mine.py", "--cpanel", json.dumps(SMALL | {"part": part}), "--device", "cpu"]
    assert main([*arguments, "--verify-resume", "2"]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out
    assert main([*arguments, "--session-name", part, "--stop-after", "1", "--log-level", "3"]) == 75
    node = Loader(place / "digideep_sessions" / part).params
    for key in PARTS[part].strip("/").split("/"):
        node = node[int(key) if key.isdigit() else key]
    named = node["entry_point"] if part == "environment" else node["class"]
    assert named.startswith("parts_of_mine."), named
