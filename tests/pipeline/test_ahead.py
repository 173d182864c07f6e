"""The next chunk is collected while agents learn: by which weights, whatever the timing, and exact after a resume."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext
from digideep.agent.ppo import PPO
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.main import main
from digideep.memory.generic import Memory
from digideep.parameters.component import build
from digideep.parameters.control_panel import load_params
from digideep.pipeline.ahead import AheadExplorer
from digideep.pipeline.building import build_actor
from digideep.pipeline.verify import compare_checkpoints
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from tests.pipeline.test_resume import last, train
from tests.support.helpers import CLASSIC, MUJOCO, ROOT, TINY, command, tiny

A2C = str(ROOT / "params/a2c_classic.py")
NOISE = {"model_name": "Noise-v0", "from_module": "tests.support.environments", "test_activate": False}
NORMALISED = {"normalize_observations": True, "normalize_rewards": True}
RECURRENT = {"recurrent": True, "cell": "lstm", "core_size": 8, "sequence_length": 8}


class Setting:
    """The explorer "train" of a parameter file, and agents; one that learns has a memory."""

    def __init__(self, *, is_ahead: bool, learns: bool = False, params: str = "params.ppo_classic", **panel):
        torch.set_num_threads(1)
        module = load_params(params)
        self.tree = module.gen_params(module.cpanel | TINY | panel | {"ahead": is_ahead})
        spec = build(self.tree["env"], EnvironmentSpec)
        self.info = info = inspect_environment(spec)
        self.agents = {name: build_actor(self.tree, name, info.of_agent(name)) for name in self.tree["agents"]}
        if learns:
            self.memory = build(self.tree["memory"], Memory)
            context = AgentContext(
                "agent", self.memory, info.observation_spaces, info.agent_action_space, torch.device("cpu"), 0,
                Profiler(),
            )  # fmt: skip
            self.agents = {"agent": build(self.tree["agents"]["agent"], AgentBase, context=context)}
        self.explorer = build(
            self.tree["explorer"]["train"], Explorer, mode="train", agents=self.agents, environment=spec, info=info,
            seed=0, profiler=Profiler(), tree=self.tree,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.explorer.close()

    def learn(self, chunk) -> dict[str, torch.Tensor]:
        """Learn from a chunk. Returns: the weights before that."""
        agent = self.agents["agent"]
        before = {key: tensor.clone() for key, tensor in agent.policy.state_dict().items()}
        self.memory.store(chunk)
        agent.update()
        return before


def differing(ours, theirs) -> list[str]:
    """Keys of two chunks whose arrays are not the same bits."""
    assert ours.keys() == theirs.keys()
    return [key for key in ours if ours[key].tobytes() != theirs[key].tobytes()]


@pytest.mark.parametrize(
    "panel",
    [
        {},
        {"model_name": "Pendulum-v1", "num_workers": 3, "num_processes": 2, "rnd_coef": 0.5, **NORMALISED},
        {**RECURRENT, "share_core": True},
        {"model_name": "Senses-v0", "from_module": "tests.support.senses", "observation_path": None,
         "episode_infos": {"power": "last"}},
        {"model_name": "Forbidding-v0", "from_module": "tests.support.senses", "use_action_mask": True},
        {"params": "params.ppo_mpe", "model_name": "tests/roster", "from_module": "tests.support.parallel",
         "players": {"x": ["a", "c"], "y": ["b"]}, "observation_path": None},
        {"params": "params.a2c_classic", "n_steps": 5},
    ],
    ids=["classic", "normalised, in processes", "recurrent", "images", "masked", "several agents", "a2c"],
)  # fmt: skip
def test_without_learning_chunks_and_figures_are_those_of_a_plain_explorer(panel):
    with Setting(is_ahead=False, **panel) as plain, Setting(is_ahead=True, **panel) as ahead:
        for _ in range(4):
            chunk = plain.explorer.update()
            assert differing(chunk, ahead.explorer.update()) == []
            assert chunk["/masks"].any()
            theirs, ours = plain.explorer, ahead.explorer
            assert (ours.frames, ours.n_episode) == (theirs.frames, theirs.n_episode)
            assert ours.take_episodes() == theirs.take_episodes()
            assert ours.metrics() == theirs.metrics()
            assert str(ours.statistics()) == str(theirs.statistics())


def test_each_chunk_comes_from_the_weights_with_which_the_one_before_was_delivered():
    with Setting(is_ahead=True, learns=True, lr=0.02, anneal_lr=False, n_update=4) as setting:
        agent, weights, errors = setting.agents["agent"], [], []  # errors of each chunk, by each of the weights
        chunks = [setting.explorer.update()]
        for _ in range(4):
            weights.append(setting.learn(chunks[-1]))
            chunks.append(setting.explorer.update())
        weights.append({key: tensor.clone() for key, tensor in agent.policy.state_dict().items()})
        for chunk in chunks:
            rows = chunk["/masks"][:, :-1, 0]
            seen = torch.tensor(chunk["/observations/agent"][:, :-1][rows])
            actions = torch.tensor(chunk["/agents/agent/actions"][:, :-1][rows])
            stored = chunk["/agents/agent/artifacts/action_log_p"][:, :-1][rows]
            errors.append([])
            for each in weights:
                agent.policy.load_state_dict(each)
                with torch.no_grad():
                    errors[-1].append(float(np.abs(agent.policy(seen, actions).log_p.numpy() - stored).max()))
        # weights[k] are those before learning from chunks[k]; the first two chunks have the first ones.
        assert [int(np.argmin(each)) for each in errors] == [0, 0, 1, 2, 3]
        assert max(map(min, errors)) < 1e-5
        assert min(sorted(each)[1] for each in errors) > 1e-3


def test_no_timing_changes_a_number():
    panel = {"model_name": "Dawdle-v0", "from_module": "tests.support.environments", **NORMALISED}
    chunks, weights = [[], []], []
    for run, delay_s in enumerate((0.0, 0.2)):  # a chunk takes 0.1 s: one is waited for, the other waits
        with Setting(is_ahead=True, learns=True, n_update=2, **panel) as setting:
            for _ in range(4):
                chunks[run].append(setting.explorer.update())
                setting.learn(chunks[run][-1])
                time.sleep(random.SystemRandom().uniform(0, delay_s))
            weights.append(torch.cat([p.flatten() for p in setting.agents["agent"].policy.parameters()]))
    assert [differing(*pair) for pair in zip(*chunks, strict=True)] == [[]] * 4
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("epoch", "params", "changes"),
    [
        (2, MUJOCO, {"model_name": "Pendulum-v1", "num_workers": 3, "num_processes": 2, "num_mini_batches": 4,
                     "rnd_coef": 0.1}),
        (1, CLASSIC, RECURRENT | NOISE),
        (0, A2C, {"n_steps": 5, "num_workers": 3}),
    ],
    ids=["normalised, in processes", "recurrent", "a2c"],
)  # fmt: skip
def test_a_resumed_run_is_bit_identical(tmp_path, epoch, params, changes):
    panel = tiny(number_epochs=3, ahead=True, **changes)
    assert train(tmp_path, "straight", params, panel) == 0
    assert train(tmp_path, "stopped", params, panel, "--repeal", '{"/runner/max_iter": 2}') == 75
    checkpoint = tmp_path / f"stopped/checkpoints/checkpoint-{epoch}"
    assert main(["--resume", str(checkpoint), "--log-level", "3", "--repeal", '{"/runner/max_iter": null}']) == 0
    different, total = compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))
    assert different == []
    assert total > 100


def test_verify_resume_proves_it_with_kills_within_a_cycle(capfd):
    panel = tiny(epoch_size=16, n_update=2, num_workers=3, ahead=True, tell_progress=True, model_name="Pupil-v0",
                 from_module="tests.support.scripted", episode_infos={"steps": "sum"}, **NORMALISED)  # fmt: skip
    assert main(["--params", CLASSIC, "--verify-resume", "2", "--device", "cpu", "--cpanel", panel]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


def test_statistics_that_it_begins_with_reach_the_other_process():
    panel = {**NOISE, **NORMALISED}
    with Setting(is_ahead=False, **panel) as other:
        first = other.explorer.update()
        statistics = other.explorer.statistics()
    with Setting(is_ahead=False, **panel) as plain, Setting(is_ahead=True, **panel) as ahead:
        for setting in (plain, ahead):
            setting.explorer.load_statistics(statistics)
        chunk = ahead.explorer.update()
        assert differing(plain.explorer.update(), chunk) == []
        assert "/observations/agent" in differing(first, chunk)


def test_closing_does_not_wait_for_the_chunk_under_way():
    slow = {"model_name": "Slow-v0", "env_kwargs": {"seconds": 0.05}, "from_module": "tests.support.environments"}
    with Setting(is_ahead=True, num_workers=2, n_steps=50, **slow) as setting:  # 5 s
        setting.explorer.update()
        began = time.monotonic()
        setting.explorer.close()
        assert time.monotonic() - began < 3
    assert not multiprocessing.active_children()


MINE = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
from digideep.agent.ppo import PPO
from params import ppo_classic
class Learner(PPO):
    pass
class Cart(CartPoleEnv):
    pass
cpanel = ppo_classic.cpanel | {"model_name": "Cart-v0", "from_module": "ahead_of_mine"}
if "Cart-v0" not in gymnasium.registry:
    gymnasium.register("Cart-v0", Cart, max_episode_steps=50)
def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    tree["agents"]["agent"]["class"] = Learner
    return tree
"""


def test_agents_and_environments_of_a_file_elsewhere_are_found_there(tmp_path, monkeypatch):
    (tmp_path / "ahead_of_mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path, "s", "ahead_of_mine.py", tiny(number_epochs=1, ahead=True, test_activate=False)) == 0


def start(*arguments: str) -> psutil.Popen:
    """The program in a process of its own."""
    argv = command(*arguments, "--no-monitor-cpu", "--no-monitor-gpu", "--quiet")
    return psutil.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip


def wait_for(condition, limit_s: float = 120.0):
    """Wait until it is true. Returns: what it returned."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def collecting(program: psutil.Popen) -> psutil.Process | None:
    """The process that collects: it leads a process group, as its own workers do, who have no children."""
    leaders = [each for each in program.children(recursive=True) if os.getpgid(each.pid) == each.pid]
    return next((each for each in leaders if each.children()), None)


@pytest.fixture
def running(tmp_path):
    """A long run, after its first epoch, and its session."""
    session = tmp_path / "s"
    panel = tiny(number_epochs=5000, ahead=True, num_workers=2, num_processes=2, test_activate=False)
    program = start("--params", CLASSIC, "--cpanel", panel, "--session-path", str(tmp_path), "--session-name", "s")
    try:
        wait_for(lambda: (session / "checkpoints/checkpoint-2").exists() or program.poll() is not None)
        assert program.poll() is None, program.stdout.read()
        yield program, session
    finally:
        for process in [*program.children(recursive=True), program] if program.is_running() else []:
            process.kill()
        program.wait()
        program.stdout.close()


def test_nobody_is_left_when_the_program_is_killed(running):
    program, _ = running
    descendants = program.children(recursive=True)
    assert collecting(program) in descendants
    assert len(descendants) >= 4  # its two workers, and what starts processes
    program.kill()
    program.wait()
    wait_for(lambda: not any(each.is_running() and each.status() != "zombie" for each in descendants), 15)


def test_the_death_of_the_process_that_collects_ends_the_run_with_one_line_and_the_checkpoint_unharmed(running):
    program, session = running
    descendants = program.children(recursive=True)
    collecting(program).kill()
    output = program.communicate(timeout=60)[0]
    wait_for(lambda: not any(each.is_running() and each.status() != "zombie" for each in descendants), 15)
    assert program.returncode == 1
    assert "the process of the workers of explorer 'train' died with exit code -9 in 'collect'" in output
    assert "Traceback" not in output
    assert main(["--resume", str(session), "--quiet", "--stop-after", "1"]) == 75


def test_ctrl_c_ends_it_after_the_cycle_with_a_checkpoint(running):
    program, session = running
    os.kill(program.pid, signal.SIGINT)
    collecting(program).send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    assert program.returncode == 75
    assert main(["--resume", str(session), "--quiet", "--stop-after", "1"]) == 75


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raise", "worker 0 .*failed: RuntimeError: the gripper is stuck"),
        ("die", "the process of the workers of explorer 'train' died with exit code 7 in 'collect'"),
        ("hang", "the workers of explorer 'train' gave no answer to 'collect' for 4 s and were stopped"),
        ("nan reward", "reward of worker 0 in explorer 'train' is not finite"),
    ],
)
def test_what_goes_wrong_there_is_told_as_ever(tmp_path, capsys, kind, message):
    panel = tiny(model_name="Trouble-v0", from_module="tests.support.environments", test_activate=False, ahead=True,
                 env_kwargs={"kind": kind, "at": 40}, worker_timeout_s=1.0)  # fmt: skip
    began = time.monotonic()
    assert train(tmp_path, "s", CLASSIC, panel) == 1
    assert time.monotonic() - began < 60
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if re.search(message, line)], lines
    report = (tmp_path / "s/report.log").read_text()
    assert ("the gripper is stuck" in report) == (kind == "raise")


@pytest.mark.parametrize(
    ("params", "changes", "repeal", "message"),
    [
        (CLASSIC, {"ahead": 1}, {}, "ahead"),
        (CLASSIC, {"ahead": True}, {"/explorer/train/overlap": True}, "ahead and overlap exclude each other"),
        (str(ROOT / "params/pqn_classic.py"), {}, {"/explorer/train/class": "digideep.pipeline.ahead.AheadExplorer"},
         "agent 'agent' is PQN, with action_generator of its own. Leave ahead at false."),
        (str(ROOT / "params/dqn_classic.py"), {}, {"/explorer/train/class": "digideep.pipeline.ahead.AheadExplorer"},
         "agent 'agent' is DQN"),
        (str(ROOT / "params/dqn_classic.py"), {"ahead": True}, {}, "Replay methods have overlap."),
        (CLASSIC, {}, {"/explorer/test/class": "digideep.pipeline.ahead.AheadExplorer"}, "only 'train' can"),
        (CLASSIC, {"ahead": True, "backend": "envpool", "model_name": "Blackjack-v1"}, {}, "backend"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, capsys, params, changes, repeal, message):
    panel = json.dumps({"number_epochs": 1, "compile": "off"} | changes)
    argv = ["--params", params, "--cpanel", panel, "--repeal", json.dumps(repeal), "--session-path", str(tmp_path)]
    assert main([*argv, "--session-name", "s"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert list(Path(tmp_path).iterdir()) == []


class Hesitating(PPO):
    """Acts by more than its policy."""

    def choose(self, *args):
        return super().choose(*args)


def test_an_agent_that_chooses_in_its_own_way_is_refused():
    agent = Hesitating.__new__(Hesitating)
    with pytest.raises(UsageError, match="agent 'one' is Hesitating, with choose of its own"):
        AheadExplorer("train", {"one": agent}, None, None, 0, None, {}, None, num_workers=1)


def test_several_ranks_are_refused():
    with pytest.raises(UsageError, match="ahead is for a run in one process, and here are 2 ranks"):
        AheadExplorer("train", {}, None, None, 0, None, {}, Ranks(0, 2), num_workers=1)


def test_it_cannot_begin_anew():
    with Setting(is_ahead=True) as setting, pytest.raises(UsageError, match="collects ahead and cannot begin anew"):
        setting.explorer.reseed("anew")
