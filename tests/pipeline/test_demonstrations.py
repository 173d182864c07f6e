"""Runs that begin with a data set: offline, pretrained, and with a share of each batch."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from digideep.agent.base import AgentBase
from digideep.agent.off_policy import OffPolicyAgent
from digideep.environment.explorer import Explorer
from digideep.environment.joint_actions import action_scaler
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from tests.pipeline.test_bad_input import refuse
from tests.support.datasets import counted, pendulums
from tests.support.helpers import tiny

SMALL = {"model_name": "Pendulum-v1", "hidden_sizes": [8], "test_win_size": 1}
OFFLINE = SMALL | {
    "test_interval": 3,
    "number_epochs": 3,
    "epoch_size": 2,
    "num_workers": 1,
    "n_steps": 20,
    "batch_size": 16,
}
REPLAY = SMALL | {"number_epochs": 2, "epoch_size": 4, "n_steps": 4, "num_workers": 2, "warm_start": 8, "batch_size": 8,
                  "memory_size_in_chunks": 50, "test_activate": False}  # fmt: skip
SHORT = SMALL | {"number_epochs": 1, "epoch_size": 1, "test_activate": False}
QUIET = ("--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes of Pendulum, each truncated after 200 steps."""
    return pendulums(tmp_path_factory.mktemp("datasets"))


def train(base, name, recipe, *more, **panel):
    argv = ["--params", f"params.{recipe}", "--cpanel", tiny(**panel), "--session-path", str(base)]
    return main([*argv, "--session-name", name, *QUIET, *more])


def resume(session, *more):
    return main(["--resume", str(session), "--repeal", '{"/runner/max_iter": null}', *QUIET, *more])


def last(session):
    return list_checkpoints(session / "checkpoints")[-1]


def test_an_offline_run_steps_no_environment_and_goes_on_without_its_data_set(recorded, tmp_path, monkeypatch, capsys):
    stepped = []
    update = Explorer.update
    monkeypatch.setattr(Explorer, "update", lambda self: stepped.append(self.mode) or update(self))
    data = tmp_path / "data"
    shutil.copytree(recorded, data)
    panel = OFFLINE | {"dataset": str(data)}
    assert train(tmp_path, "straight", "td3_bc", **panel) == 0
    assert set(stepped) == {"test"}
    assert train(tmp_path, "stopped", "td3_bc", "--repeal", '{"/runner/max_iter": 1}', **panel) == 75
    shutil.rmtree(data)
    assert resume(tmp_path / "stopped") == 0
    different, total = compare_checkpoints(last(tmp_path / "straight"), last(tmp_path / "stopped"))
    assert (different, total > 50) == ([], True)

    log = Loader(tmp_path / "straight").varlog
    assert log["/update/agent/bc_loss"]["frame"].tolist() == [40, 80, 120], "gradient steps"
    memory = Loader(tmp_path / "straight").state()["memory"]
    assert memory["contents"]["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (recorded / "data").iterdir()
    }
    assert (memory["contents"]["episodes"], memory["contents"]["frames"], memory["n_collected"]) == (2, 400, 6)
    (statistics,) = Loader(tmp_path / "straight").state()["statistics"]["agent"].values()
    assert statistics["/agent"]["count"] == pytest.approx(402, abs=1e-3), "each observation once"
    changed = '{"/memory/data/dataset": "another-v0", "/runner/n_epochs": 4}'
    assert main(["--resume", str(tmp_path / "straight"), "--repeal", changed, *QUIET]) == 2
    assert "/memory/data/dataset is" in capsys.readouterr().err


def test_a_run_that_is_stopped_while_it_is_pretrained_ends_as_if_it_was_not(recorded, tmp_path, monkeypatch):
    panel = SHORT | {
        "dataset": str(recorded), "bc_steps": 100, "bc_batch_size": 8,
    }  # fmt: skip
    assert train(tmp_path, "straight", "ppo_classic", **panel) == 0
    seen = []
    average = AgentBase.to_tensor

    def interrupted(self, array):
        seen.append(len(seen))
        if len(seen) == 30:
            monkeypatch.setattr("digideep.pipeline.limits.Limits.why_stop", lambda *args: "a test")
        return average(self, array)

    with monkeypatch.context() as patch:
        patch.setattr(AgentBase, "to_tensor", interrupted)
        assert train(tmp_path, "stopped", "ppo_classic", **panel) == 75
    monkeypatch.undo()
    state = Loader(tmp_path / "stopped").state()
    assert (state["runner"]["i_epoch"], state["agents"]["agent"]["pretraining"]["n_done"]) == (0, 50)
    assert resume(tmp_path / "stopped") == 0
    different, total = compare_checkpoints(last(tmp_path / "straight"), last(tmp_path / "stopped"))
    assert (different, total > 20) == ([], True)
    figures = Loader(tmp_path / "stopped").varlog["/pretraining/agent/bc_loss"]
    assert figures["num"].tolist() == [2]


def test_a_share_of_each_batch_comes_from_the_data_set(recorded, tmp_path, monkeypatch):
    drawn = []
    draw = OffPolicyAgent.draw
    monkeypatch.setattr(OffPolicyAgent, "draw", lambda self: drawn.append(draw(self)) or drawn[-1])
    own = {"dataset": str(recorded), "dataset_share": 0.25, "memory_on_disk": True}
    assert train(tmp_path, "s", "sac_classic", **REPLAY | own) == 0
    (file,) = (tmp_path / "s/memory/demo").glob("segment*")
    rows = {row.tobytes() for row in load_file(file)["/observations/agent"].reshape(-1, 3)}
    counts = [sum(row.tobytes() in rows for row in batch.observations.numpy()) for batch in drawn]
    assert (len(counts) > 20, set(counts)) == (True, {2})
    assert train(tmp_path, "plain", "sac_classic", **REPLAY) == 0
    states = [Loader(tmp_path / name).state()["agents"]["agent"]["n_updates"] for name in ("s", "plain")]
    assert states[0] == states[1] == len(counts), "its frames are no frames of the run"


REFUSED = {
    "no data set there": ({"dataset": "no/such-v0"}, "There is no data set 'no/such-v0'"),
    "another environment": ({"model_name": "MountainCarContinuous-v0"}, "is none of MountainCarContinuous-v0: obs"),
    "nothing learns from it": ({"offline": False}, "dataset is given, and nothing learns from it"),
    "a share beside offline": ({"dataset_share": 0.5}, "leave dataset_share at 0"),
    "a share beyond 1": ({"dataset_share": 1.5, "offline": False}, "shares['demo']"),
    "a share below 0": ({"dataset_share": -0.5, "offline": False}, "shares['demo']"),
    "a weight below 0": ({"bc_alpha": -1.0}, "bc_alpha must be"),
    "a batch of none": ({"bc_steps": 10, "bc_batch_size": 0}, "batch_size must be"),
    "steps below 0": ({"bc_steps": -1}, "steps of BehaviourCloning must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_made(recorded, tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    changes, message = REFUSED[case]
    panel = OFFLINE | {"dataset": str(recorded)} | changes
    refuse(capsys, ["--params", "params.td3_bc", "--cpanel", json.dumps(panel)], message)


@pytest.mark.parametrize("key", ["offline", "bc_steps", "dataset_share"])
def test_what_is_learned_from_a_data_set_needs_one(capsys, tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    value = {"offline": True, "bc_steps": 3, "dataset_share": 0.5}[key]
    panel = json.dumps({key: value})
    refuse(capsys, ["--params", "params.sac_classic", "--cpanel", panel], f"{key}={value} needs a data set")


def test_other_actions_are_refused(tmp_path, monkeypatch, capsys):
    data = counted(tmp_path / "datasets", episodes=2)
    monkeypatch.chdir(tmp_path)
    panel = SMALL | {"model_name": "Gauge-v0", "from_module": "tests.support.environments", "dataset": str(data),
                     "bc_steps": 1}  # fmt: skip
    refuse(capsys, ["--params", "params.ppo_classic", "--cpanel", json.dumps(panel)], "The data set counter/written-v0")


def test_a_data_set_in_the_memory_of_ppo_is_refused(recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = {"class": "digideep.environment.datasets.MinariData", "dataset": str(recorded)}
    repeal = json.dumps({"/memory/data": data, "/memory/buffer_chunk_len": None})
    argv = ["--params", "params.ppo_classic", "--cpanel", tiny(**SMALL), "--repeal", repeal]
    refuse(capsys, argv, "A data set has no /agents/agent/artifacts/action_log_p")


def test_a_memory_that_is_too_small_says_how_large_it_must_be(recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    panel = OFFLINE | {"dataset": str(recorded)}
    argv = ["--params", "params.td3_bc", "--cpanel", tiny(**panel), "--repeal", '{"/memory/buffer_chunk_len": 20}']
    refuse(capsys, argv, "takes 21 chunks of 20 steps, and the memory holds 20")


def test_actions_of_several_entries_are_recorded_and_cloned(tmp_path):
    sets = tmp_path / "sets"
    argv = ["--random", "--model", "Robot-v0", "--module", "tests.support.joint", "--root", str(sets)]
    assert main(["record", *argv, "--frames", "12", "--id", "robot/random-v0"]) == 0
    panel = SHORT | {"model_name": "Robot-v0", "from_module": "tests.support.joint", "bc_steps": 50}
    panel |= {"bc_batch_size": 8, "dataset": str(sets / "robot/random-v0")}
    assert train(tmp_path, "s", "ppo_classic", **panel) == 0
    (file,) = (tmp_path / "s/memory/demo").glob("segment*")
    held = load_file(file)
    starts = held["/masks"][0, :, 0]
    scale = action_scaler(inspect_environment(EnvironmentSpec(name="Robot-v0")).action_space)
    given = scale(held["/agents/agent/actions"][0, starts])
    assert starts.sum() == 12
    np.testing.assert_allclose(given.sum(1), held["/rewards"][0, starts, 0], rtol=1e-4, atol=1e-4)
    loss = Loader(tmp_path / "s").varlog["/pretraining/agent/bc_loss"]
    assert np.isfinite(loss["sum"]).all()
