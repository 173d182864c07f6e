"""What holds for all tests."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from digideep.learning.compiling import separate_compiled_code
from tests.support.forked import ForkedProgram

separate_compiled_code()  # where a test calls the compiler itself


@pytest.fixture
def forking_verify(monkeypatch):
    """Let --verify-resume fork its runs, which spares their imports."""

    def start(command, stdout, **options):
        assert command[1:3] == ["-m", "digideep.main"]
        return ForkedProgram(command[3:], Path(stdout.name))

    processes = SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr("digideep.pipeline.verify.subprocess", processes)
