"""Exported policies do what the session's policy does, from raw observations to environment actions."""

import numpy as np
import pytest

from digideep.post import export as exporter
from digideep.post.export import SUFFIXES, export, main
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_file_acts_like_the_policy(pendulum, tmp_path, format):
    path, difference = export(pendulum, format, output=tmp_path / f"policy{SUFFIXES[format]}")
    assert difference < 1e-6
    policy = Loader(pendulum).policy()
    run = exporter._LOAD[format](path)
    observations = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = np.stack([policy(observation) for observation in observations])
    assert run(observations) == pytest.approx(expected, abs=1e-5)
    assert np.abs(expected).max() <= 2.0


@pytest.mark.parametrize("format", SUFFIXES)
def test_numbered_actions_are_exported(cartpoles, tmp_path, format):
    path, difference = export(cartpoles[0], format, output=tmp_path / f"policy{SUFFIXES[format]}")
    assert difference == 0
    actions = exporter._LOAD[format](path)(np.zeros((3, 4), np.float32))
    assert actions.shape == (3,)
    assert set(actions.tolist()) <= {0, 1}


def test_a_file_that_acts_otherwise_is_not_left_there(pendulum, tmp_path, monkeypatch):
    forward = exporter.Normalize.forward
    monkeypatch.setattr(exporter.Normalize, "forward", lambda self, rows: forward(self, rows) + 0.01)
    with pytest.raises(UsageError, match="differs from the session's"):
        export(pendulum, "torchscript", output=tmp_path / "policy.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_into_the_session(cartpoles, capsys):
    assert main([str(cartpoles[0]), "--format", "torchscript"]) == 0
    assert (cartpoles[0] / "exports/policy.pt").exists()
    assert "does what the session's policy does" in capsys.readouterr().out


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), "--format", "torchscript"]) == 2
    assert "is no session" in capsys.readouterr().err
