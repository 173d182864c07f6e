"""Every parameter file is built and run for two cycles."""

import json

import pytest

from digideep.main import main
from digideep.parameters.control_panel import load_params
from tests.support.datasets import pendulums
from tests.support.helpers import ROOT

FILES = sorted(path.name for path in (ROOT / "params").glob("*_*.py"))


def run(name, **changes):
    """Two cycles of a parameter file."""
    cpanel = load_params(f"params.{name[:-3]}").cpanel
    small = {
        "number_epochs": 1,
        "epoch_size": 2,
        "num_workers": 2,
        "test_interval": 1,
        "test_win_size": 1,
        "compile": "off",
        "num_threads": 1,
    }
    small |= {"n_steps": 8} if cpanel["n_steps"] > 8 else {}
    small |= {"num_mini_batches": 2} if "num_mini_batches" in cpanel else {}
    small |= {"warm_start": 2, "batch_size": 2} if "batch_size" in cpanel else {}  # else nothing would be learned
    if cpanel.get("from_pixels"):  # each picture takes its time, and its room
        small |= {"env_kwargs": {"time_limit": 0.2}, "memory_size": 1000, "screen_size": 24}
    return main(["--params", str(ROOT / "params" / name), "--cpanel", json.dumps(small | changes), "--dry-run"])


@pytest.mark.parametrize("name", FILES)
def test_every_parameter_file_runs(name, capsys, tmp_path):
    data = {"dataset": str(pendulums(tmp_path)), "model_name": "Pendulum-v1"} if name == "td3_bc.py" else {}
    assert run(name, **data) == 0
    assert "Finished after" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "changes", "reason"),
    [
        ("crossq_classic", {"network": "mlp"}, "network must be batch_renorm, layer_norm or simba without targets"),
        ("crossq_classic", {"critic_network": "mlp"}, "critic_network must be batch_renorm, layer_norm or simba"),
        ("sac_classic", {"polyak_factor": None}, "network must be batch_renorm, layer_norm or simba without targets"),
        ("sac_classic", {"network": "batch_renorm", "batch_size": 1}, "batch_size must be at least 2"),
        ("sac_classic", {"critic_network": ""}, "critic_network must be one of mlp, "),
        ("sac_classic", {"critic_network": ["mlp"]}, "critic_network must be one of mlp, "),
        ("sac_classic", {"network": "simba", "activation": "tanh"}, "activation must be relu with simba"),
        ("dqn_classic", {"network": "layer_norm", "dropout": 0.5}, "the unknown key 'dropout'"),
        ("pqn_classic", {"critic_network": "simba"}, "the unknown key 'critic_network'"),
        ("sac_discrete_classic", {"burn_in": 3}, "the unknown key 'burn_in'"),
        ("sac_discrete_classic", {"sequence_length": 3}, "the unknown key 'sequence_length'"),
        ("sac_discrete_classic", {"recurrent": True}, "recurrent must be false with this method"),
    ],
)
def test_networks_that_make_no_sense_are_refused_in_one_line(recipe, changes, reason, capsys, tmp_path):
    place = ["--session-path", str(tmp_path), "--session-name", "s"]
    assert main(["--params", f"params.{recipe}", "--cpanel", json.dumps(changes), *place]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("ppo")])
def test_every_parameter_file_of_ppo_runs_with_a_policy_that_remembers(name, capsys):
    assert run(name, recurrent=True, cell="lstm", core_size=8, sequence_length=4) == 0
    assert "Finished after" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dqn_classic.py", "dqn_atari.py", "sac_classic.py", "sac_dmc.py"])
def test_parameter_files_of_dqn_and_sac_run_with_a_policy_that_remembers(name, capsys):
    assert run(name, recurrent=True, core_size=8, sequence_length=2, burn_in=1, memory_size_in_chunks=8) == 0
    assert "Finished after" in capsys.readouterr().out
