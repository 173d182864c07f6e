"""Sessions that really were trained, for a moment."""

import pytest

from digideep.main import main
from tests.helpers import CLASSIC, MUJOCO, tiny


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("sessions")


def train(base, name, params, **changes):
    panel = tiny(**changes)
    argv = ["--params", params, "--cpanel", panel, "--session-path", str(base), "--session-name", name, "--quiet"]
    assert main(argv) == 0
    return base / name


@pytest.fixture(scope="session")
def pendulum(base):
    """Normalised observations, actions in [-2, 2]."""
    return train(base, "pendulum", MUJOCO, model_name="Pendulum-v1", n_steps=250, n_update=1)


@pytest.fixture(scope="session")
def cartpoles(base):
    """Two seeds of one plan, and another plan."""
    plans = {"cart_0": {"seed": 0}, "cart_1": {"seed": 1}, "cart_other": {"seed": 0, "gamma": 0.9}}
    return [train(base, name, CLASSIC, **changes) for name, changes in plans.items()]
