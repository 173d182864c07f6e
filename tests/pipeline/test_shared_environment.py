"""Runs in which several agents share one environment's action, or one agent chooses all of a hybrid one."""

import json

import imageio.v3 as imageio
import numpy as np
import onnxruntime
import pytest
import torch

from digideep.main import main
from digideep.post.export import export
from digideep.post.loader import Loader
from tests.support.helpers import CLASSIC, ROOT, tiny
from tests.support.joint import ROBOT

JOINT = str(ROOT / "tests/support/joint_params.py")
MIXER = {"model_name": "Mixer-v0", "from_module": "tests.support.joint"}
ROBOT_ALONE = {"model_name": "Robot-v0", "from_module": "tests.support.joint", "normalize_observations": True}
SMALL = {"n_steps": 20, "n_update": 2, "num_mini_batches": 2}
QUIET = ("--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu")


def train(base, name, params, *more, **changes) -> int:
    argv = ["--params", params, "--cpanel", tiny(**(SMALL | changes)), "--session-path", str(base)]
    return main([*argv, "--session-name", name, *QUIET, *more])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A finished run in which three agents share one environment."""
    base = tmp_path_factory.mktemp("shared")
    assert train(base, "s", JOINT) == 0
    return base / "s"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A finished run in which one recurrent agent has all of a nested action."""
    base = tmp_path_factory.mktemp("alone")
    assert train(base, "s", CLASSIC, recurrent=True, core_size=8, **ROBOT_ALONE) == 0
    return base / "s"


@pytest.mark.usefixtures("forking_verify")
def test_verify_resume_proves_it_for_agents_that_share_an_environment_in_other_processes(capfd):
    argv = ["--params", JOINT, "--verify-resume", "2", "--device", "cpu"]
    changes = {"num_workers": 3, "num_processes": 2, "n_steps": 7, "epoch_size": 4, "warm_start": 40}
    assert main([*argv, "--cpanel", tiny(**SMALL | changes, test_activate=False)]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


def test_agents_that_share_an_environment_all_learn(shared):
    log = Loader(shared).varlog
    updates = {key.split("/")[2] for key in log if key.startswith("/update/")}
    assert updates == {"hand", "reach", "rest"}
    assert "/return/train" in log
    assert not [key for key in log if key.startswith("/return/train/")]


def test_hybrid_actions_are_solved_by_ppo_which_needs_both_parts(tmp_path):
    panel = {"num_workers": 16, "n_steps": 32, "number_epochs": 1, "epoch_size": 12, "lr": 0.02, "gamma": 0.0,
             "n_update": 6, "num_mini_batches": 4, "test_interval": 1, "test_win_size": 20, "log_std_init": -0.7,
             "hidden_sizes": [32]}  # fmt: skip
    assert train(tmp_path, "s", CLASSIC, **MIXER, **panel) == 0
    test = Loader(tmp_path / "s").varlog["/return/test"]
    # The best is 10. The right tap with the middle amount gets 5, and so does the right amount from either tap.
    assert test["sum"][-1] / test["num"][-1] > 9


def test_policies_of_agents_that_share_an_environment_choose_their_entries(shared):
    loader = Loader(shared)
    policies = {name: loader.policy(agent=name) for name in ("hand", "reach", "rest")}
    environment = loader.environment()
    assert environment.action_space == ROBOT
    observation, _ = environment.reset(seed=0)
    hand, reach, rest = (policies[name](observation) for name in policies)
    assert ROBOT["arm"]["grip"].contains(hand)
    assert ROBOT["arm"]["reach"].contains(reach)
    assert rest.keys() == {"dial", "wheels/0", "wheels/1"}
    wheels = (rest["wheels/0"], rest["wheels/1"])
    environment.step({"arm": {"grip": hand, "reach": reach}, "dial": rest["dial"], "wheels": wheels})
    many = policies["rest"](np.zeros((4, 3)))
    assert {path: part.shape for path, part in many.items()} == {
        "dial": (4,),
        "wheels/0": (4, 1, 2),
        "wheels/1": (4, 2),
    }


def test_the_policy_of_a_whole_action_chooses_what_the_environment_declares(alone):
    policy = Loader(alone).policy()
    environment = Loader(alone).environment()
    observation, _ = environment.reset(seed=0)
    action = policy(observation)
    assert ROBOT.contains(action)
    environment.step(action)
    policy.reset()
    many = policy(np.stack([observation] * 3))
    assert many["arm"]["reach"].shape == (3, 2)
    assert many["wheels"][1].dtype == np.int8


def test_exported_files_have_an_output_for_each_entry(shared, alone, tmp_path):
    (file,) = export(shared, "torchscript", output=tmp_path / "shared.pt", agent="rest")
    assert (file.agent, file.path.name) == ("rest", "shared-rest.pt")
    module = torch.jit.load(str(file.path))
    dial, *wheels = module(torch.zeros(4, 3, dtype=torch.float64))
    assert [(part.dtype, *part.shape) for part in (dial, *wheels)] == [
        (torch.float64, 4), (torch.int64, 4, 1, 2), (torch.int8, 4, 2)
    ]  # fmt: skip
    (file,) = export(alone, "onnx", output=tmp_path / "alone.onnx")
    assert file.difference < 1e-4
    names = [node.name for node in onnxruntime.InferenceSession(str(file.path)).get_outputs()]
    assert names == ["actions/arm/grip", "actions/arm/reach", "actions/dial", "actions/wheels/0", "actions/wheels/1",
                     "next_hidden_state"]  # fmt: skip


def test_playing_repeats_itself_and_films_what_agents_do_together(shared, capsys):
    argv = ["--play", "--load-checkpoint", str(shared), "--seed", "3", "--episodes", "2"]
    figures = []
    for _ in range(2):
        assert main([*argv, "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0] == figures[1]
    assert main([*argv, "--render", "video"]) == 0
    videos = sorted(shared.glob("evaluations/*/videos/*.mp4"))
    assert len(videos) == 2
    assert len(imageio.imread(videos[0])) > 1


@pytest.mark.parametrize(
    ("params", "panel", "message"),
    [
        (CLASSIC, {**ROBOT_ALONE, "players": {"a": ["arm/*"]}}, "nobody plays dial, wheels/0, wheels/1"),
        (CLASSIC, {"players": {"a": ["*"]}}, "CartPole-v1 has a single action"),
        (CLASSIC, {**MIXER, "use_action_mask": True}, "Action masks are for a single action"),
        (JOINT, {"players": {"hand": ["arm/grip"], "rest": ["arm/reach", "dial", "wheels/*"]}}, "Agent 'reach' plays"),
        (JOINT, {"players": {"hand": ["dial"], "reach": ["arm/reach"], "rest": ["arm/grip", "wheels/*"]}},
         "ActionValues needs Discrete actions"),
        (JOINT, {"players": {"hand": ["arm/grip"], "reach": ["arm/reach", "dial"], "rest": ["wheels/*"]}},
         "needs actions in a bounded Box"),
        (CLASSIC, {**MIXER, "backend": "envpool"}, "EnvPool takes one array of actions"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line_before_anything_is_made(tmp_path, capfd, params, panel, message):
    assert train(tmp_path, "s", params, **panel) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "s").exists()
