"""What holds for all tests."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from digideep.learning.kept_steps import cache_directory
from tests.support.forked import ForkedProgram

cache_directory()  # where a test calls the compiler itself


# What takes longest begins first, so that no processor waits for another one at the end.
_LONG = (
    "test_day.py", "test_damage.py", "test_learning.py", "test_kills.py", "test_notebook.py", "test_faults.py",
    "test_rank_runs.py", "test_shared_environment.py", "test_recurrent_ppo.py", "test_off_policy.py", "test_export.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture
def forking_verify(monkeypatch):
    """Let --verify-resume fork its runs, which spares their imports."""

    def start(command, stdout, **options):
        assert command[1:3] == ["-m", "digideep.main"]
        return ForkedProgram(command[3:], Path(stdout.name))

    processes = SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr("digideep.pipeline.verify.subprocess", processes)
