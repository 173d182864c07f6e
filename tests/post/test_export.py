"""Exported policies do what the session's policy does, from raw observations to environment actions."""

import contextlib
import json
import re
import shutil
import subprocess
import sys

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch

import digideep
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward, VecSignReward, VectorWrapper
from digideep.environment.spaces import ActionScaler
from digideep.main import main as run_digideep
from digideep.post import export as exporter
from digideep.post.export import SUFFIXES, export, main
from digideep.post.export_check import difference
from digideep.post.exported_policy import ExportedPolicy, Normalize
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from digideep.utility.seeding import make_generator
from tests.post.conftest import KINDS, SLASHED
from tests.support.helpers import ROOT

# ------------------------------------------------------------------ whole episodes with onnxruntime alone


class Alone:
    """One exported policy for one environment: nothing but onnxruntime, and what the file says of itself."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        said = self.session.get_modelmeta().custom_metadata_map
        self.inputs, self.is_numbered = (
            json.loads(said["inputs"]),
            json.loads(said["action_space"])["type"] == "Discrete",
        )
        self.reset()

    def reset(self):
        sizes = [port["shape"] for port in self.inputs if port["name"] == "hidden_state"]
        self.state = [np.zeros((1, *size), np.float32) for size in sizes]

    def __call__(self, observation, info):
        feed = {}
        for port in self.inputs:
            if port["name"].startswith("observations"):
                value = observation
                for key in port["name"].split("/")[1:]:
                    value = value[key] if isinstance(value, dict) else value[int(key)]
                # As the environment gives it: nothing is cast.
                feed[port["name"]] = np.asarray(value)[None]
        if any(port["name"] == "action_mask" for port in self.inputs):
            feed["action_mask"] = np.asarray(info["action_mask"])[None]
        if self.state:
            feed["hidden_state"] = self.state[0]
        action, *self.state = self.session.run(None, feed)
        return int(action[0]) if self.is_numbered else action[0]


def play_alone(loader, policies, episodes, seed):
    """Returns of whole episodes. Args: policies: agent -> `Alone`."""
    environment, seeds = loader.training_environment(), make_generator(seed, "environment", "eval", 0)
    returns = []
    for _ in range(episodes):
        for policy in policies.values():
            policy.reset()
        episode_seed = int(seeds.integers(2**31))
        if isinstance(environment, ParallelAdapter):
            returns.append(play_game(environment.environment, environment.groups, policies, episode_seed))
            continue
        observation, info = environment.reset(seed=episode_seed)
        returns.append(0.0)
        is_over = False
        while not is_over:
            action = next(iter(policies.values()))(observation, info)
            assert environment.action_space.contains(action)
            observation, reward, terminated, truncated, info = environment.step(action)
            returns[-1] += float(reward)
            is_over = terminated or truncated
    return returns


def play_game(game, seats, policies, seed):
    owner = {player: agent for agent, seat in seats.items() for player in seat.players}
    observations, infos = game.reset(seed=seed)
    total = 0.0
    while game.agents:
        actions = {player: policies[owner[player]](observations[player], infos.get(player)) for player in game.agents}
        observations, rewards, _, _, infos = game.step(actions)
        total += sum(rewards.values())
    return total


def played(session, capfd, episodes, seed):
    capfd.readouterr()
    argv = ["--play", "--load-checkpoint", str(session), "--json", "--episodes", str(episodes), "--seed", str(seed)]
    assert run_digideep(argv) == 0
    return json.loads(capfd.readouterr().out)["returns"]


@pytest.fixture(scope="module")
def onnx_of(tmp_path_factory):
    """A function from a session to its ONNX files: exporting takes a second or more."""
    made = {}

    def make(session):
        if session not in made:
            made[session] = export(session, "onnx", output=tmp_path_factory.mktemp(session.name) / "policy.onnx")
        return made[session]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_alone_earns_what_the_session_earns(session_of, onnx_of, capfd, kind):
    session = session_of(kind)
    policies = {file.agent: Alone(file.path) for file in onnx_of(session)}
    assert play_alone(Loader(session), policies, 4, 5) == pytest.approx(played(session, capfd, 4, 5), rel=1e-4)


def test_so_it_does_with_normalised_observations_and_numbered_actions(pendulum, cartpoles, onnx_of, capfd):
    for session in (pendulum, cartpoles[0]):
        (file,) = onnx_of(session)
        alone = play_alone(Loader(session), {"agent": Alone(file.path)}, 2, 5)
        assert alone == pytest.approx(played(session, capfd, 2, 5), rel=1e-3)


def test_the_program_in_the_documents_runs_without_digideep(pendulum, onnx_of, tmp_path):
    (file,) = onnx_of(pendulum)
    page = (ROOT / "docs/sessions.md").read_text()
    (code,) = re.findall(r"```python\n(import gymnasium.*?)```", page, re.DOTALL)
    code = code.replace("digideep_sessions/NAME/exports/policy.onnx", str(file.path))
    code = (
        code.replace("HalfCheetah-v5", "Pendulum-v1")
        + "\nimport sys\nassert not {'torch', 'digideep'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    loader = Loader(pendulum)
    policy, environment, total, is_over = loader.policy(), loader.environment(), 0.0, False
    observation, _ = environment.reset(seed=1)
    while not is_over:
        observation, reward, terminated, truncated, _ = environment.step(policy(observation))
        total, is_over = total + float(reward), terminated or truncated
    assert float(done.stdout.splitlines()[-1]) == pytest.approx(total, rel=1e-3)


# ------------------------------------------------------------------ the formats


def runner_of(path, format):
    return exporter._LOAD[format](path)


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_file_acts_like_the_policy_on_batches_of_any_size(pendulum, onnx_of, tmp_path, format):
    output = tmp_path / f"policy{SUFFIXES[format]}"
    ((path, agent, furthest),) = onnx_of(pendulum) if format == "onnx" else export(pendulum, format, output=output)
    assert furthest < 1e-6
    assert agent == "agent"
    policy = Loader(pendulum).policy()
    observations = np.random.default_rng(0).normal(size=(64, 3)).clip(-1, 1).astype(np.float32)
    expected = np.stack([policy(observation) for observation in observations])
    for size in (1, 7, 64):
        (actions,) = runner_of(path, format)([observations[:size]])
        assert actions == pytest.approx(expected[:size], abs=1e-5)
    assert np.abs(expected).max() <= 2.0


@pytest.mark.parametrize("format", SUFFIXES)
def test_numbered_actions_are_exported(cartpoles, onnx_of, tmp_path, format):
    session, output = cartpoles[0], tmp_path / f"policy{SUFFIXES[format]}"
    ((path, _, furthest),) = onnx_of(session) if format == "onnx" else export(session, format, output=output)
    assert furthest == 0
    (actions,) = runner_of(path, format)([np.zeros((3, 4), np.float32)])
    assert actions.shape == (3,)
    assert actions.dtype == np.int64
    assert set(actions.tolist()) <= {0, 1}


@pytest.mark.parametrize("format", ["torchscript", "torch.export"])
@pytest.mark.parametrize("kind", ["sac", "dueling with masks", "lstm", "shared gru with masks", "players", *SLASHED])
def test_the_other_formats_hold_every_kind_too(session_of, tmp_path, kind, format):
    for path, _, furthest in export(session_of(kind), format, output=tmp_path / f"policy{SUFFIXES[format]}"):
        assert furthest < 1e-5
        said = {exporter.DESCRIPTION: ""}
        if format == "torchscript":
            torch.jit.load(str(path), _extra_files=said)
        else:
            torch.export.load(path, extra_files=said)
        inputs = json.loads(json.loads(said[exporter.DESCRIPTION])["inputs"])
        zeros = [np.zeros((5, *port["shape"]), port["dtype"]) for port in inputs]
        assert len(runner_of(path, format)(zeros)[0]) == 5


def test_a_file_says_what_it_takes_and_gives(session_of, onnx_of):
    x, y = onnx_of(session_of("players"))
    assert (x.path.name, y.path.name) == ("policy-x.onnx", "policy-y.onnx")
    session = onnxruntime.InferenceSession(str(y.path))
    said = session.get_modelmeta().custom_metadata_map
    assert said["digideep_version"] == digideep.__version__
    assert (said["environment"], said["agent"], said["epoch"]) == ("tests/roster", "y", "1")
    assert json.loads(said["players"]) == ["b"]
    assert json.loads(said["inputs"]) == [{"name": "observations/line", "dtype": "float64", "shape": [2]}]
    assert json.loads(said["outputs"]) == [{"name": "actions", "dtype": "float32", "shape": [2]}]
    space = json.loads(said["action_space"])
    assert space == {"type": "Box", "dtype": "float32", "shape": [2], "low": [0.0, 0.0], "high": [4.0, 4.0]}
    (node,) = session.get_inputs()
    assert (node.name, node.type) == ("observations/line", "tensor(double)")


# ------------------------------------------------------------------ the comparison


def test_the_edge_clips_and_scales_as_the_environments_edge():
    space = gym.spaces.Box(np.array([-2.0, 0.0, -np.inf], np.float32), np.array([2.0, 10.0, np.inf], np.float32))
    actions = np.array([[-3.0, 0.5, 7.0], [0.25, -1.5, -9.0]], np.float32)
    found = ActionScaler(space, torch)(torch.from_numpy(actions)).numpy()
    assert found == pytest.approx(ActionScaler(space)(actions))
    assert found[0].tolist() == [-2.0, 7.5, 7.0]


def test_a_file_normalises_to_the_last_bit_as_the_session_does():
    """Far beyond the limit; where nothing has spread; around a mean that float32 holds badly."""
    space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    wrapper = VecNormalizeObs("eval", {"/agent": space}, clip=5.0)
    learned = {"mean": np.array([0.5, 0.0, 123456.7]), "var": np.array([2.0, 0.0, 1e-4]), "count": 10.0}
    wrapper.load_state_dict({"/agent": learned})
    rows = np.array([[1e6, 0, 123456.7], [-1e6, 1e-6, 123456.71], [0.9, -1e-5, 123456.65]], np.float32)
    expected = wrapper.observe({"/agent": rows})["/agent"]
    assert expected[:2, 0].tolist() == [5, -5]
    assert 0 < expected[1, 1] < 5
    assert Normalize(wrapper, "/agent")(torch.from_numpy(rows)).numpy().tobytes() == expected.tobytes()


def test_a_difference_of_no_numbers_is_none_that_is_allowed():
    box, nan, zero = gym.spaces.Box(-2, 2, (1,), np.float32), np.full((3, 1), np.nan, np.float32), np.zeros((3, 1), "f")
    for one, other in ((nan, zero), (zero, nan), (nan, nan), (zero, zero + np.float32(np.inf))):
        assert not difference(one, other, box) < 1e9
    assert difference(zero, zero + np.float32(0.4), box) == pytest.approx(0.1)  # of a range of 4
    assert difference(zero, np.array([[0.2], [0], [-0.4]], "f"), box) == pytest.approx(0.1), "the largest one"
    assert difference(zero, zero.astype(np.float64), box) == np.inf
    assert difference(zero, np.zeros((3, 2), np.float32), box) == np.inf


def test_a_difference_is_relative_to_ranges_that_are_nothing_or_immense():
    largest = np.finfo(np.float64).max
    fixed, immense = gym.spaces.Box(1, 1, (1,), np.float32), gym.spaces.Box(-largest, largest, (1,), np.float64)
    assert difference(np.ones((2, 1), "f"), np.ones((2, 1), "f"), fixed) == 0
    assert difference(np.ones((2, 1), "f"), np.full((2, 1), 1.5, "f"), fixed) > 1
    assert difference(np.full((2, 1), -largest), np.full((2, 1), largest), immense) == 1
    free = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    assert difference(np.full((2, 1), 99.0, "f"), np.full((2, 1), 100.0, "f"), free) == pytest.approx(0.005)


def test_of_numbered_actions_the_share_counts_that_differs():
    numbers, others = np.arange(8).reshape(4, 2), np.arange(8).reshape(4, 2)
    others[1] += 1
    assert difference(numbers, others, gym.spaces.MultiDiscrete([9, 9])) == 0.25
    assert difference(numbers, others, gym.spaces.Box(0, 9, (2,), np.int64)) == 0.25
    assert difference(numbers, others, gym.spaces.Box(-(2**63), 2**63 - 1, (2,), np.int64)) == 0


def shifted(self, rows):
    return ((rows.double() - self.mean) / self.scale).clamp(-self.clip, self.clip).float() + 0.01


def unclipped(self, rows):
    return ((rows.double() - self.mean) / self.scale).float()


def broken(self, rows):
    return rows.float() * float("nan")


@pytest.mark.parametrize(
    ("forward", "kind", "message"),
    [
        (shifted, "pendulum", "differ from the session's by"),
        (unclipped, "players", "differ from the session's"),
        (broken, "pendulum", "by nan of the range"),
    ],
)
def test_a_file_that_acts_otherwise_is_not_left_there(
    pendulum, session_of, tmp_path, monkeypatch, forward, kind, message
):
    session = pendulum if kind == "pendulum" else session_of(kind)
    monkeypatch.setattr(Normalize, "forward", forward)
    (tmp_path / "policy.pt").write_text("of before")
    with pytest.raises(UsageError, match=message):
        export(session, "torchscript", output=tmp_path / "policy.pt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of before"]


def test_a_file_that_forgets_the_mask_or_the_state_is_not_left_there(session_of, tmp_path, monkeypatch):
    forward = ExportedPolicy.forward
    monkeypatch.setattr(ExportedPolicy, "forward", lambda self, o, m, h: forward(self, o, torch.ones_like(m), h))
    with pytest.raises(UsageError, match=r"on 0\S* of the observations"):
        export(session_of("shared gru with masks"), "torchscript", output=tmp_path / "policy.pt")
    monkeypatch.setattr(ExportedPolicy, "forward", lambda self, o, h: forward(self, o, torch.zeros_like(h)))
    with pytest.raises(UsageError, match="differ from the session's"):
        export(session_of("lstm"), "torchscript", output=tmp_path / "policy.pt")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ the command


def test_the_command_writes_into_the_session(cartpoles, session_of, capsys):
    assert main([str(cartpoles[0]), "--format", "torchscript"]) == 0
    assert (cartpoles[0] / "exports/policy.pt").exists()
    assert "does what the session's policy does" in capsys.readouterr().out
    session = session_of("players")
    assert main([str(session), "--format", "torchscript", "--agent", "y"]) == 0
    assert [path.name for path in (session / "exports").iterdir()] == ["policy-y.pt"]


def test_nothing_is_written_through_a_link_of_the_session(cartpoles, tmp_path, capsys):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "policy.pt").write_text("precious")
    session = shutil.copytree(cartpoles[0], tmp_path / "session", ignore=shutil.ignore_patterns("exports"))
    (session / "exports").symlink_to(victim)
    assert main([str(session), "--format", "torchscript"]) == 2
    assert "is a link, expected a directory of the session's own. Remove it" in capsys.readouterr().err
    (session / "exports").unlink()
    (session / "exports").mkdir()
    (session / "exports/.writing-policy.pt").symlink_to(victim / "policy.pt")
    assert main([str(session), "--format", "torchscript"]) == 0
    assert [path.name for path in victim.iterdir()] == ["policy.pt"]
    assert (victim / "policy.pt").read_text() == "precious"


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, cartpoles, session_of, capsys):
    (tmp_path / "file").touch()
    players = str(session_of("players"))
    for arguments, message in (
        ([str(tmp_path)], "is no session"),
        ([str(cartpoles[0]), "--checkpoint", "checkpoint-77"], "has no 'checkpoint-77'"),
        ([players, "--agent", "z"], "There is no agent 'z'"),
        ([str(cartpoles[0]), "--output", str(tmp_path / "file/policy.pt")], "cannot be written"),
    ):
        assert main([*arguments, "--format", "torchscript"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_exporter_that_fails_is_told_in_one_line(cartpoles, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("no such\noperation")

    monkeypatch.setitem(exporter._SAVE, "onnx", fail)
    assert main([str(cartpoles[0]), "--format", "onnx", "--output", str(tmp_path / "policy.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "onnx cannot hold this policy: RuntimeError: no such operation. Try torchscript, torch.export" in line
    assert list(tmp_path.iterdir()) == []


class Doubled(VectorWrapper):
    def observe(self, observations):
        return {path: array * 2 for path, array in observations.items()}


def test_wrappers_that_change_observations_unknown_to_tensors_are_refused(cartpoles):
    policy = Loader(cartpoles[0]).policy()
    with contextlib.closing(Loader(cartpoles[0]).environment()) as environment:
        policy.wrappers = [VecSignReward(), VecNormalizeReward("eval", 1, gamma=0.9)]
        ExportedPolicy(policy, environment.observation_space)
        policy.wrappers = [Doubled()]
        with pytest.raises(UsageError, match="Doubled cannot be exported"):
            ExportedPolicy(policy, environment.observation_space)
