"""Whole runs with observations of every space and with action masks: resumed exactly, played, exported."""

import json

import pytest

from digideep.main import main
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.export import export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.pipeline.test_resume import last, train
from tests.support.helpers import CLASSIC, ROOT, tiny

SENSES = {"from_module": "tests.support.senses", "model_name": "Senses-v0", "n_steps": 13}
FORBIDDING = {
    "from_module": "tests.support.senses",
    "model_name": "Forbidding-v0",
    "use_action_mask": True,
    "n_steps": 13,
}
DQN = {
    "warm_start": 20,
    "batch_size": 8,
    "memory_size_in_chunks": 3,
    "hidden_sizes": [8, 8],
    "gradient_steps_per_frame": 0.2,
}
RUNS = {
    "image and vectors": (CLASSIC, SENSES | {"env_kwargs": {"actions": "many"}, "info_keys": ["power"]}),
    "processes": (CLASSIC, FORBIDDING | {"num_processes": 2}),
    "replayed images": (str(ROOT / "params/dqn_classic.py"), SENSES | DQN),
    "replayed masks": (str(ROOT / "params/dqn_classic.py"), FORBIDDING | DQN),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_bit_identical(tmp_path, name):
    params, changes = RUNS[name]
    panel = tiny(**changes)
    assert train(tmp_path, "straight", params, panel) == 0
    assert train(tmp_path, "stopped", params, panel, "--repeal", '{"/runner/max_iter": 1}') == 75
    go_on = ["--resume", str(tmp_path / "stopped"), "--repeal", '{"/runner/max_iter": null}', "--log-level", "3"]
    assert main([*go_on, "--no-monitor-cpu", "--no-monitor-gpu"]) == 0
    different, total = compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))
    assert different == []
    assert total > 100


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("sessions")
    camera = SENSES | {"observation_path": "/camera", "env_kwargs": {"actions": "grid"}}
    for name, changes in {"all": SENSES, "camera": camera, "masked": FORBIDDING}.items():
        assert train(base, name, CLASSIC, tiny(**changes, number_epochs=1)) == 0
    return base


@pytest.mark.parametrize("name", ["all", "masked"])
def test_it_can_be_played(base, name, capsys):
    play = ["--play", "--load-checkpoint", str(base / name), "--episodes", "1", "--render", "none", "--dry-run"]
    assert main(play) == 0
    assert "return over 1 episode:" in capsys.readouterr().out


def test_the_policy_by_itself_takes_dictionaries_and_masks(base):
    loader = Loader(base / "all")
    policy, environment = loader.policy(), loader.environment()
    observation, _ = environment.reset(seed=0)
    assert environment.action_space.contains(policy(observation))
    loader = Loader(base / "masked")
    policy, environment = loader.policy(), loader.environment()
    observation, info = environment.reset(seed=0)
    assert info["action_mask"][policy(observation, info) - 10] == 1
    with pytest.raises(UsageError, match="give the info that came with the observation"):
        policy(observation)


@pytest.mark.parametrize("name", ["camera", "all", "masked"])
def test_a_policy_that_sees_images_dictionaries_or_masks_is_exported(base, tmp_path, name):
    (exported,) = export(base / name, "torchscript", output=tmp_path / "policy.pt")
    assert exported.difference == 0


@pytest.mark.parametrize(
    ("params", "changes", "message"),
    [
        ("ppo_classic", SENSES | {"env_kwargs": {"actions": "words"}}, "Actions Text"),
        ("ppo_classic", SENSES | {"use_action_mask": True}, "the environment's info has no 'action_mask'"),
        ("ppo_classic", SENSES | {"observation_path": ["/body/geer"]}, "Did you mean '/body/gear'?"),
        ("dqn_classic", SENSES | {"env_kwargs": {"actions": "bits"}}, "For these take PPO or A2C."),
        (
            "sac_classic",
            SENSES | {"warm_start": 8, "batch_size": 8},
            "For these take PPO, A2C, DQN, QR-DQN, PQN or discrete SAC.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(tmp_path, capsys, params, changes, message):
    panel = json.loads(tiny(**changes))
    assert train(tmp_path, "s", str(ROOT / f"params/{params}.py"), json.dumps(panel)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_forbids_everything_ends_the_run_with_one_line(tmp_path, capsys):
    panel = tiny(**FORBIDDING | {"env_kwargs": {"stuck": 3}})
    assert train(tmp_path, "s", CLASSIC, panel) == 1
    assert "WorkerError: worker 0 forbids every action" in capsys.readouterr().err.splitlines()[-1]


def test_a_dictionary_with_an_image_takes_no_more_room_than_its_bytes(base):
    # Camera, position, gear, flags, both of the pair, the action, and what every row has.
    assert Loader(base / "all").policy().info.row_bytes() == 360 + 8 + 8 + 2 + 16 + 4 + 8 + 6


def test_a_run_says_at_its_start_what_its_agent_sees(tmp_path, capsys):
    panel = tiny(**SENSES, number_epochs=1, channel_axis="last")
    argv = ["--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "s"]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert (
        "agent 'agent' sees /body/gear 1 of 3 choices, one-hot, /body/position 2 numbers as given, /flags 2 numbers as "
        "given, /pair/0 2 of 5 choices, one-hot, /pair/1 1 number as given, /camera 12 x 10 pixels, 3 channels last, "
        "divided by 255"
    ) in " ".join(said.split())
