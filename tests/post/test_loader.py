"""A session as a module: what it reads, what it does not do, and that its policy is the one that `--play` plays."""

import json
import subprocess
import sys

import numpy as np
import pytest

from digideep.environment.explorer import Explorer
from digideep.main import main
from digideep.post.loader import Loader
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.seeding import make_generator
from tests.support.helpers import ROOT


def play(session, capfd, *more):
    capfd.readouterr()
    assert main(["--play", "--load-checkpoint", str(session), "--json", *more]) == 0
    return json.loads(capfd.readouterr().out)


def play_with_loader(session, episodes, seed):
    """The same episodes without digideep's loop: returns and lengths."""
    loader = Loader(session)
    policy, environment = loader.policy(), loader.environment()
    seeds = make_generator(seed, "environment", "eval", 0)
    returns, lengths = [], []
    for _ in range(episodes):
        observation, _ = environment.reset(seed=int(seeds.integers(2**31)))
        policy.reset()
        returns.append(0.0)
        lengths.append(0)
        is_over = False
        while not is_over:
            action = policy(observation)
            assert environment.action_space.contains(action)
            observation, reward, terminated, truncated, _ = environment.step(action)
            returns[-1] += float(reward)
            lengths[-1] += 1
            is_over = terminated or truncated
    environment.close()
    return returns, lengths


def test_the_policy_earns_exactly_what_play_earns(pendulum, capfd):
    played = play(pendulum, capfd, "--episodes", "3", "--seed", "5")
    returns, lengths = play_with_loader(pendulum, 3, 5)
    assert played["returns"] == returns  # equal as floats: every action was the same bit by bit
    assert played["lengths"] == lengths


def test_numbered_actions_are_played_exactly_too(cartpoles, capfd):
    played = play(cartpoles[0], capfd, "--episodes", "3", "--seed", "5")
    assert (played["returns"], played["lengths"]) == play_with_loader(cartpoles[0], 3, 5)


def test_each_action_is_the_explorers_bit_by_bit(pendulum):
    policy, other = Loader(pendulum).policy(), Loader(pendulum).policy()
    explorer = Explorer(
        "eval", {"agent": policy.agent}, policy.spec, policy.info, 0, Profiler(), num_workers=1, n_steps=1,
        deterministic=True,
    )  # fmt: skip
    explorer.load_statistics({policy.name: {str(i): each.statistics() for i, each in enumerate(policy.wrappers)}})
    explorer.reset()
    for _ in range(50):
        raw = explorer.envs.buffers.observations["/agent"][0].copy()
        explorer.update()
        assert other(raw).tobytes() == explorer.envs.buffers.actions[0].tobytes()


def test_an_evaluation_is_printed_and_stored(pendulum, capfd):
    played = play(pendulum, capfd, "--episodes", "4", "--seed", "7", "--session-name", "stored")
    assert json.loads((pendulum / "evaluations/stored/evaluation.json").read_text()) == played
    assert played["episodes"] == len(played["returns"]) == len(played["lengths"]) == 4
    assert played["mean"] == pytest.approx(np.mean(played["returns"]))
    assert played["std"] == pytest.approx(np.std(played["returns"]))
    assert played["quantiles"]["0.5"] == pytest.approx(np.median(played["returns"]))
    assert played["seed"] == 7
    assert play(pendulum, capfd, "--episodes", "4", "--seed", "7")["returns"] == played["returns"]
    assert play(pendulum, capfd, "--episodes", "4", "--seed", "8")["returns"] != played["returns"]
    assert any(found == played for found in Loader(pendulum).evaluations)


def test_an_earlier_checkpoint_is_another_policy(pendulum):
    loader, observation = Loader(pendulum), np.array([0.5, 0.5, 1.0], np.float32)
    assert loader.checkpoints == ["checkpoint-0", "checkpoint-1", "checkpoint-2", "checkpoint-3"]
    first, named, last = loader.policy(1), loader.policy("checkpoint-1"), loader.policy()
    assert first(observation) == named(observation) != last(observation)
    with pytest.raises(CheckpointError, match="has no 'checkpoint-9'"):
        loader.policy(9)


def test_logs_are_arrays(pendulum):
    loader = Loader(pendulum)
    returns = loader.varlog["/return/train"]
    assert returns["epoch"].tolist() == [1, 2, 3]
    assert returns["frame"].dtype.kind == "i"
    assert set(returns) == {"epoch", "frame", "episode", "clock", "num", "sum", "std", "min", "max"}
    assert loader.varlog.mean("/return/train") == pytest.approx(returns["sum"] / returns["num"])
    assert loader.prolog["/train/simulate"]["totals"].min() > 0
    assert "/update/agent/value_loss" in list(loader.varlog)
    with pytest.raises(KeyError, match="Did you mean '/return/train'"):
        loader.varlog["/return/trian"]


def test_a_line_that_is_being_written_is_left_out(pendulum, tmp_path):
    (tmp_path / "params.yaml").write_text((pendulum / "params.yaml").read_text())
    text = (pendulum / "varlog.json").read_text()
    (tmp_path / "varlog.json").write_text(text[:-20])
    assert Loader(tmp_path).varlog["/return/train"]["epoch"].tolist() == [1, 2]


def test_a_session_is_a_package_whose_import_changes_nothing(pendulum):
    code = f"""
import sys
sys.path.insert(0, {str(pendulum.parents[1])!r})
path = list(sys.path)
from {pendulum.parent.name.replace("-", "_")}.pendulum import loader
assert sys.path == path
assert not any("modules" in (getattr(m, "__file__", None) or "").split("/") for m in sys.modules.values())
assert not {{"torch", "gymnasium"}} & set(sys.modules)
print(loader.params["env"]["name"], loader.cpanel["gamma"], len(loader.varlog["/return/train"]["sum"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["Pendulum-v1", "0.99", "3"], done.stderr


def test_what_is_no_session_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no session"):
        Loader(tmp_path)


def test_frozen_play_runs_the_sources_of_the_session(pendulum, capfd):
    file = pendulum / "modules/digideep/pipeline/evaluation.py"
    text = file.read_text()
    file.write_text(text.replace('"environment": environment', '"frozen": True,\n        "environment": environment'))
    try:
        played = play(pendulum, capfd, "--episodes", "2", "--seed", "5")
        assert "frozen" not in played
        frozen = play(pendulum, capfd, "--episodes", "2", "--seed", "5", "--frozen")
        assert frozen.pop("frozen") is True
        assert frozen == played
    finally:
        file.write_text(text)


def test_a_session_without_sources_cannot_be_played_frozen(tmp_path, capsys):
    assert main(["--play", "--frozen", "--load-checkpoint", str(tmp_path)]) == 2
    assert "keeps no sources" in capsys.readouterr().err
