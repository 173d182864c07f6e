"""What a method of a user's own costs: the seams of agents, policies and the Runner."""

import inspect
import json

import pytest
import torch

from digideep.main import main
from digideep.policy.acting import fast_act_of
from digideep.post.loader import Loader
from tests.support.helpers import ROOT
from tests.support.methods import a2c, normed, tqc

SMALL = {"number_epochs": 2, "num_workers": 2, "test_win_size": 2, "compile": "off"}
REPLAY = {"epoch_size": 20, "warm_start": 8, "batch_size": 8}
METHODS = {"tqc": REPLAY, "a2c": {"epoch_size": 3}, "normed": REPLAY}


def length(*things) -> int:
    return sum(len(inspect.getsource(thing).splitlines()) for thing in things)


def test_methods_that_differ_by_a_loss_and_networks_that_differ_by_a_layer_are_short():
    assert length(tqc) <= 60
    assert length(a2c) <= 60
    assert length(normed.NormedPerceptron, normed.NormedPolicy) <= 25
    assert length(normed.Patient) <= 5


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_ones_own_resumes_exactly(name, capfd):
    panel = json.dumps(SMALL | METHODS[name])
    params = str(ROOT / f"tests/support/methods/{name}.py")
    assert main(["--params", params, "--cpanel", panel, "--verify-resume", "2", "--device", "cpu"]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


def test_the_second_parameter_of_a_runner_of_ones_own_is_reached_from_the_command_line(tmp_path):
    params = str(ROOT / "tests/support/methods/normed.py")
    argv = ["--params", params, "--cpanel", json.dumps(SMALL | REPLAY | {"number_epochs": 1}), "--log-level", "3"]
    where = ["--session-path", str(tmp_path), "--session-name", "s"]
    assert main([*argv, *where, "--repeal", '{"/runner/patience": 7}']) == 0
    loader = Loader(tmp_path / "s")
    assert loader.params["runner"]["patience"] == 7
    policy = loader.policy().agent.policy
    assert sum(isinstance(module, torch.nn.LayerNorm) for module in policy.modules()) == 4
    assert fast_act_of(policy) is None


@pytest.mark.parametrize("name", ["ppo_classic", "sac_classic", "td3_mujoco", "ddpg_classic", "dqn_classic"])
def test_a_gradient_is_computed_four_calls_below_the_loop(name, monkeypatch):
    backward, stacks = torch.autograd.backward, set()

    def watched(loss):
        names = [frame.function for frame in inspect.stack()[1:]]
        stacks.add((*names[names.index("train_cycle") :: -1], "backward"))
        backward(loss)

    monkeypatch.setattr(torch.autograd, "backward", watched)
    panel = SMALL | ({} if name.startswith("ppo") else REPLAY) | {"number_epochs": 1, "epoch_size": 10}
    argv = ["--params", str(ROOT / f"params/{name}.py"), "--cpanel", json.dumps(panel)]
    assert main([*argv, "--dry-run", "--log-level", "3", "--device", "cpu"]) == 0
    assert stacks == {("train_cycle", "update", "gradient_step", "__call__", "backward")}
