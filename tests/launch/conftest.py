"""What tests of groups share."""

import pytest

from tests.support.forked import forking_jobs


@pytest.fixture(autouse=True)
def forked_jobs(request):
    """Jobs are forked, which spares their imports, but for tests that are marked by an argument `real_jobs`."""
    if "real_jobs" in request.fixturenames:
        yield
        return
    with forking_jobs():
        yield


@pytest.fixture
def real_jobs():
    """Jobs are processes of their own."""
