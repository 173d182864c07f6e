"""What is recorded is what an environment gave and was given, and Minari reads it."""

import json
import sys

import gymnasium as gym
import minari
import numpy as np
import pytest

from digideep.main import main
from digideep.post.demonstrators import SessionDemonstrator
from digideep.post.export import export
from digideep.post.loader import Loader


def record(*argv):
    return main(["record", *map(str, argv)])


def read(root, dataset_id):
    return minari.MinariDataset(root / dataset_id / "data")


def test_a_sessions_policy_is_recorded_with_the_environments_own_numbers(pendulum, tmp_path, capsys):
    argv = [pendulum, "--root", tmp_path, "--episodes", 2, "--seed", 7]
    assert record(*argv, "--id", "pendulum/a-v0") == 0
    assert "2 episodes, 400 frames, deterministic actions" in capsys.readouterr().out
    data = read(tmp_path, "pendulum/a-v0")
    assert (len(data), data.total_steps, data.env_spec.id) == (2, 400, "Pendulum-v1")
    assert data.env_spec.max_episode_steps == 200
    policy, environment = Loader(pendulum).policy(), gym.make("Pendulum-v1")
    for index, episode in enumerate(data):
        observation, info = environment.reset(seed=7 + index)
        policy.reset()
        for step in range(200):
            np.testing.assert_array_equal(episode.observations[step], observation)
            action = policy(observation, info)
            np.testing.assert_array_equal(episode.actions[step], action)
            observation, reward, terminated, truncated, info = environment.step(action)
            assert episode.rewards[step] == reward
            assert (episode.terminations[step], episode.truncations[step]) == (terminated, truncated)
        np.testing.assert_array_equal(episode.observations[200], observation)
        assert truncated
    assert [each["seed"] for each in data.storage.get_episode_metadata([0, 1])] == [7, 8]
    metadata = json.loads((tmp_path / "pendulum/a-v0/data/metadata.json").read_text())
    assert metadata["digideep_acting"] == "deterministic"
    assert (metadata["algorithm_name"], metadata["digideep_seed"]) == ("PPO", 7)

    assert record(*argv, "--id", "pendulum/b-v0") == 0
    again = read(tmp_path, "pendulum/b-v0")
    for ours, theirs in zip(data, again, strict=True):
        np.testing.assert_array_equal(ours.actions, theirs.actions)


def test_exploration_is_recorded_where_it_is_asked_for_and_can_be_repeated(pendulum, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        argv = ["--stochastic", "--frames", 30, "--seed", seed, "--id", f"p/{name}-v0", "--root", tmp_path]
        assert record(pendulum, *argv) == 0
    actions = [read(tmp_path, f"p/{name}-v0")[0].actions for name in "abc"]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])
    seen = np.array([1.0, 0.0, 0.0], np.float32)
    chosen = [
        SessionDemonstrator(pendulum, None, deterministic=False, seed=seed).act(seen, {}).item() for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    first = read(tmp_path, "p/a-v0")[0]
    assert (len(first), first.truncations[-1], first.terminations.any()) == (30, True, False), "cut off"


def test_chance_and_exported_policies_are_recorded(pendulum, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--random", "--model", "CartPole-v1", "--episodes", 2, "--id", "pole/random-v0", "--root", "sets"]
    assert record(*argv) == 0
    episode = read(tmp_path / "sets", "pole/random-v0")[0]
    assert (episode.actions.dtype, episode.terminations[-1], episode.truncations.any()) == (np.int64, True, False)

    (file,) = export(pendulum, "torchscript", output=tmp_path / "policy.pt")
    for source, name in ((file.path, "file"), (pendulum, "session")):
        argv = ["--frames", 40, "--id", f"pendulum/{name}-v0", "--root", tmp_path]
        assert record(source, *argv) == 0
    ours, theirs = (read(tmp_path, f"pendulum/{name}-v0")[0] for name in ("file", "session"))
    np.testing.assert_allclose(ours.actions, theirs.actions, atol=1e-3)
    np.testing.assert_allclose(ours.observations, theirs.observations, atol=1e-2)


class Bad(gym.Env):
    """Fails in a way of its own in its third step."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, how="raise"):
        self.how, box = how, gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"a/b": box}) if how == "slash" else box

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        seen = np.zeros(2, np.float32)
        if self.steps == 3 and self.how == "raise":
            raise ValueError("on purpose")
        if self.steps == 3 and self.how == "exit":
            sys.exit(3)
        if self.steps == 3:
            seen = {"shape": np.zeros((3, 2), np.float32), "nan": np.full(2, np.nan, np.float32)}[self.how]
        return seen, 0.0, self.steps == 4, False, {}


if "Bad-v0" not in gym.registry:
    gym.register("Bad-v0", Bad)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere", "--id", "a/b-v0"], "nowhere is no session"),
        (["--id", "a/b-v0"], "Give a session or an exported file; or --random with --model"),
        (["--random", "--id", "a/b-v0"], "Give a session or an exported file; or --random with --model"),
        (["--random", "--model", "Pendulum-v1", "--id", "../b"], "--id must be one such as pendulum/medium-v0"),
        (["--random", "--model", "No-v0", "--id", "a/b-v0"], "Unknown environment 'No-v0'"),
        (["SESSION", "--id", "a/b-v0", "--checkpoint", "worst"], "has no 'worst'"),
        (["file.txt", "--id", "a/b-v0"], "file.txt cannot act here"),
        (["file.pt", "--id", "a/b-v0"], "file.pt is no policy that digideep exported"),
        (["file.pt", "--id", "a/b-v0", "--stochastic"], "An exported file is deterministic"),
        (["SESSION", "--id", "a/b-v0", "--episodes", "0"], "--episodes"),
        (["SESSION", "--id", "a/there-v0"], "is there already"),
        (["SESSION", "--id", "a/whole-v0/b-v0"], "lies within the data set"),
        (["SESSION", "--id", "a/b-v0", "--env-kwargs", '{"k": 1}'], "--env-kwargs are for --random"),
        (["--random", "--model", "Pendulum-v1", "--id", "a/b-v0", "--stochastic"], "--random has neither"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_a_line_and_nothing_is_made(
    pendulum, tmp_path, monkeypatch, capsys, argv, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("file.txt", "file.pt"):
        (tmp_path / name).write_text("no policy")
    (tmp_path / "sets/a/there-v0").mkdir(parents=True)
    (tmp_path / "sets/a/whole-v0/data").mkdir(parents=True)
    (tmp_path / "sets/a/whole-v0/data/metadata.json").touch()
    before = set(tmp_path.rglob("*"))
    argv = [str(pendulum) if word == "SESSION" else word for word in argv]
    assert record(*argv, "--root", "sets") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "The environment fails in the episode of seed 0: ValueError: on purpose"),
        ("exit", "The environment called sys.exit(3)"),
        ("shape", "it gave values that Box"),
        ("nan", "not finite"),
        ("slash", "cannot hold 'a/b': a name with a slash"),
    ],
)
def test_of_an_environment_that_fails_nothing_is_recorded(tmp_path, capsys, how, message):
    bad = ["--random", "--model", f"{__name__}:Bad-v0", "--env-kwargs", json.dumps({"how": how})]
    assert record(*bad, "--id", "a/b-v0", "--root", tmp_path / "sets") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not list(tmp_path.rglob("*"))
