"""Runs of several agents: exact resume, logs by player, playing, and what is refused."""

import json
import shutil

import imageio.v3 as imageio
import numpy as np
import pytest

from digideep.main import main
from digideep.pipeline.checkpoint import list_checkpoints
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.support.helpers import ROOT, tiny

MPE, MIXED = str(ROOT / "params/ppo_mpe.py"), str(ROOT / "tests/support/mixed_params.py")
SMALL = {"n_steps": 20, "n_update": 2, "num_mini_batches": 2}
SPREAD = {"model_name": "mpe2/simple_spread_v3"}
LEARNERS = {"one": ["agent_0"], "rest": ["agent_[12]"]}


def train(base, name, params, *more, **changes) -> int:
    argv = ["--params", params, "--cpanel", tiny(**(SMALL | changes)), "--session-path", str(base)]
    return main([*argv, "--session-name", name, "--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu", *more])


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A finished run on simple_spread in which one player learns by itself and two share their parameters."""
    base = tmp_path_factory.mktemp("several")
    assert train(base, "s", MPE, "--tensorboard", players=LEARNERS, n_steps=50, **SPREAD) == 0
    return base / "s"


def test_a_resumed_run_of_several_agents_in_processes_is_bit_identical_from_every_checkpoint(tmp_path):
    changes = {"num_workers": 3, "num_processes": 2, "n_steps": 7, "test_activate": False}
    assert train(tmp_path, "straight", MIXED, **changes) == 0
    assert train(tmp_path, "stopped", MIXED, "--repeal", '{"/runner/max_iter": 1}', **changes) == 75
    straight, session = list_checkpoints(tmp_path / "straight/checkpoints")[-1], tmp_path / "stopped"
    for epoch in (1, 0):
        go_on = ["--resume", str(session / f"checkpoints/checkpoint-{epoch}"), "--log-level", "3"]
        assert main([*go_on, "--repeal", '{"/runner/max_iter": null}']) == 0
        different, total = compare_checkpoints(straight, list_checkpoints(session / "checkpoints")[-1])
        assert different == []
        assert total > 100


@pytest.mark.usefixtures("forking_verify")
def test_verify_resume_proves_it_for_several_agents(capfd):
    argv = ["--params", MIXED, "--verify-resume", "2", "--device", "cpu"]
    assert main([*argv, "--cpanel", tiny(**SMALL, epoch_size=10)]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize("place", ["info", "observation"])
def test_masked_players_learn_by_ppo_and_dqn_what_is_allowed_and_resume_exactly(capfd, place):
    # The game raises where an action is forbidden: an epsilon of 0.2 would find it out.
    masked = {"model_name": "tests/turnstile", "env_kwargs": {"place": place}, "use_action_mask": True}
    argv = ["--params", MIXED if place == "observation" else MPE, "--verify-resume", "2", "--device", "cpu"]
    players = {"x": ["first"], "y": ["second"]}
    panel = {"from_module": "tests.support.parallel", "players": players, "epoch_size": 10, **masked}
    assert main([*argv, "--cpanel", tiny(**SMALL, **panel)]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


def test_an_agent_whose_players_never_come_learns_nothing_and_stops_nobody(tmp_path):
    assert train(tmp_path, "s", MIXED, env_kwargs={"absent": ["b"]}) == 0
    updates = {key.split("/")[2] for key in Loader(tmp_path / "s").varlog if key.startswith("/update/")}
    assert updates == {"x"}


def test_returns_are_logged_for_each_player_and_in_sum(session):
    log = Loader(session).varlog
    players = [log[f"/return/train/agent_{i}"]["sum"] for i in range(3)]
    assert log["/return/train"]["sum"] == pytest.approx(np.sum(players, 0))
    assert log["/return/test"]["sum"] == pytest.approx(
        np.sum([log[f"/return/test/agent_{i}"]["sum"] for i in range(3)], 0)
    )
    assert {key.split("/")[2] for key in log if key.startswith("/update/")} == {"one", "rest"}
    weights = Loader(session).state()["agents"]
    assert not np.array_equal(*(weights[name]["policy"]["actor.0.weight"] for name in ("one", "rest")))


def test_tensorboard_shows_each_players_return(session):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(session / "tensorboard"))
    events.Reload()
    assert {"return/train", "return/train/agent_0", "return/train/agent_2"} <= set(events.Tags()["scalars"])


def test_play_repeats_itself_and_records_a_video(session, capsys):
    argv = ["--play", "--load-checkpoint", str(session), "--seed", "3", "--episodes", "2"]
    figures = []
    for _ in range(2):
        assert main([*argv, "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0] == figures[1]
    assert sum(figures[0]["players"].values()) == pytest.approx(figures[0]["mean"])
    shutil.rmtree(session / "evaluations")
    assert main([*argv, "--render", "video"]) == 0
    assert "agent_0: mean" in capsys.readouterr().out
    videos = sorted(session.glob("evaluations/*/videos/*.mp4"))
    assert [len(imageio.imread(video)) for video in videos] == [26, 26]


def test_the_agents_are_given_back_with_their_own_spaces_only(session, capsys):
    other = {"players": {"one": ["agent_[01]"], "rest": ["agent_2"]}}
    repeal = json.dumps({f"/env/{key}": value for key, value in other.items()})
    assert main(["--play", "--load-checkpoint", str(session), "--repeal", repeal, "--render", "none"]) == 2
    assert "are not those of the checkpoint" in capsys.readouterr().err


def test_a_policy_by_itself_is_that_of_one_agent_for_any_of_its_players(session):
    loader = Loader(session)
    with pytest.raises(UsageError, match=r"There are the agents one, rest\. Name one of them"):
        loader.policy()
    policy = loader.policy(agent="rest")
    assert policy.players == ("agent_1", "agent_2")
    assert policy(np.zeros((2, 18), np.float32)).tolist() == [policy(np.zeros(18, np.float32))] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"players": {"agent": ["agent_*", "agent_9"]}}, "there is no player 'agent_9'"),
        ({"players": {"agent": ["agent_0"]}}, "nobody plays agent_1, agent_2"),
        ({"model_name": "CartPole-v1"}, "CartPole-v1 has a single action"),
        ({"model_name": "mpe_spread"}, "With players, expected a name such as mpe2/simple_spread_v3"),
        (
            {"use_action_mask": True},
            "the players' info has no 'action_mask', which use_action_mask needs. It is empty.",
        ),
        ({"players": {}}, "'mpe2/simple_spread_v3' has several players: say in 'players' who plays them"),
        ({"model_name": "mpe2/simple_tag_v3"}, "have different spaces"),
    ],
)
def test_mistakes_in_the_panel_cost_one_line_and_create_nothing(tmp_path, capsys, changes, message):
    assert train(tmp_path / "base", "s", MPE, **(SPREAD | changes)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "base").exists()
