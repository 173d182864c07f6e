"""What a Runner, a network or an environment of a user's own can count on, and what a caller in Python can."""

import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.main import main
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.checkpoint import list_checkpoints, read_checkpoint
from digideep.pipeline.restoring import make_runner
from digideep.pipeline.runner import Runner
from digideep.pipeline.session import Session
from digideep.pipeline.verify import compare_checkpoints
from digideep.post.loader import Loader
from digideep.telemetry.profiler import Profiler
from tests.pipeline.test_resume import last, train
from tests.support.helpers import CLASSIC, ROOT, Scripted, tiny

QUIET = ("--log-level", "3", "--no-monitor-cpu", "--no-monitor-gpu")

JOBS = """
from digideep.pipeline.runner import Runner
from params import ppo_classic

cpanel = ppo_classic.cpanel


class Jobs(Runner):
    def custom(self):
        for _ in range(2):
            self.train_cycle()
            self.note_episodes()
            self.save()
        self.i_epoch += 1
        self.test()
        self.log()
        self.save()
        return 0


class Epoch(Runner):
    def custom(self):
        for _ in range(self.n_cycles):
            self.train_cycle()
            self.note_episodes()
        self.end_epoch()
        return 0


def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    return tree | {"runner": tree["runner"] | {"class": Epoch if cpanel["seed"] == 1 else Jobs}}
"""

GLOBAL = """
import random

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from digideep.learning.gradient_step import GradientStep
from digideep.agent.base import AgentBase
from digideep.parameters.component import describe
from params import ppo_classic

cpanel = ppo_classic.cpanel


class Careless(AgentBase):
    \"\"\"Draws from the global generators: its weights, its actions, and what it does between them.\"\"\"

    def __init__(self, context):
        super().__init__(context)
        self.policy = nn.Linear(4, 2)

    def action_generator(self, observations, hidden_state, masks, deterministic):
        return {"actions": torch.randint(2, (len(masks),)).numpy()}

    def update(self):
        with torch.no_grad():
            self.policy.bias.add_(torch.randn(2) + random.random() + np.random.standard_normal(2).sum())
        return {"bias": self.policy.bias[0].item()}


def gen_params(cpanel):
    return ppo_classic.gen_params(cpanel) | {"agents": {"agent": describe(Careless)}}
"""

DRAWING = """
import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Drawing(gym.Env):
    observation_space, action_space = Box(-9, 9, (2,), np.float32), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        observation = np.random.uniform(-1, 1, 2).astype(np.float32)
        return observation, float(np.random.rand()), np.random.rand() < 0.1, False, {}


if "Drawing-v0" not in gym.registry:
    gym.register("Drawing-v0", Drawing)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory of a user's own, in which the program runs."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, text in (("own_jobs", JOBS), ("own_globals", GLOBAL), ("own_drawing", DRAWING)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_custom_job_trains_logs_tests_and_saves_and_can_be_resumed(project):
    panel = tiny(number_epochs=2, test_activate=False)
    assert train(project, "s", "own_jobs.py", panel) == 0
    assert main(["--custom", "--load-checkpoint", str(project / "s"), "--session-name", "job", *QUIET]) == 0
    job = project / "s/customs/job"
    state = read_checkpoint(job / "checkpoints/checkpoint-3")[0]
    assert state["agents"]["agent"]["n_updates"] == 6
    assert [path.name for path in list_checkpoints(job / "checkpoints")] == ["checkpoint-2", "checkpoint-3"]
    assert read_checkpoint(job / "checkpoints/checkpoint-2")[0]["agents"]["agent"]["n_updates"] == 6
    assert '"/return/test"' in (job / "varlog.json").read_text()
    assert main(["--resume", str(job), "--repeal", '{"/runner/n_epochs": 4}', *QUIET]) == 0
    assert [path.name for path in list_checkpoints(project / "s/checkpoints")][-1] == "checkpoint-2"


def test_what_a_custom_job_has_trained_is_saved_at_its_end(project):
    panel = tiny(save_interval=5, test_activate=False)
    repeal = json.dumps({"/runner/class": "own_jobs.Epoch"})
    argv = ["--custom", "--params", "own_jobs.py", "--cpanel", panel, "--repeal", repeal, "--session-name", "j"]
    assert main([*argv, *QUIET]) == 0
    assert [path.name for path in list_checkpoints(project / "digideep_sessions/j/checkpoints")] == ["checkpoint-1"]


def test_a_custom_job_needs_no_checkpoint(project):
    assert main(["--custom", "--params", "own_jobs.py", "--cpanel", tiny(), "--session-name", "j", *QUIET]) == 0
    assert read_checkpoint(project / "digideep_sessions/j/checkpoints/checkpoint-1")[0]["runner"]["i_epoch"] == 1


def test_an_epoch_of_a_custom_job_has_one_number_and_one_test_return_everywhere(project, capsys):
    panel = tiny(number_epochs=1, seed=1, test_interval=1)
    assert main(["--custom", "--params", "own_jobs.py", "--cpanel", panel, "--session-name", "j", *QUIET[2:]]) == 0
    line = json.loads((project / "digideep_sessions/j/varlog.json").read_text().splitlines()[0])
    printed = capsys.readouterr().out.splitlines()[-1].split()
    assert (printed[0], line["meta"]["epoch"]) == ("1", 1)
    state = read_checkpoint(project / "digideep_sessions/j/checkpoints/checkpoint-1")[0]["runner"]
    assert state["i_epoch"] == 1
    assert float(printed[4].replace(",", "")) == pytest.approx(state["test_return"], abs=0.01)


def test_networks_of_torchs_own_initialisation_repeat_and_resume(project):
    panel = tiny(number_epochs=3, num_workers=3)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert train(project, "straight", "own_globals.py", panel) == 0
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    assert train(project, "stopped", "own_globals.py", panel, "--repeal", '{"/runner/max_iter": 1}') == 75
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    assert main(["--resume", str(project / "stopped"), "--repeal", '{"/runner/max_iter": null}', *QUIET]) == 0
    different, total = compare_checkpoints(last(project, "straight"), last(project, "stopped"))
    assert different == []
    assert total > 50
    assert train(project, "other", "own_globals.py", tiny(number_epochs=3, num_workers=3, seed=1)) == 0
    different, _ = compare_checkpoints(last(project, "straight"), last(project, "other"))
    assert "/agents/agent/policy/weight" in different


def test_an_environment_with_global_generators_repeats_by_its_seed_and_is_said_not_to_resume(project, caplog):
    changes = {"model_name": "Drawing-v0", "from_module": "own_drawing", "num_workers": 3, "number_epochs": 1}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        np.random.seed(None)
        assert train(project, name, CLASSIC, tiny(**changes, seed=seed)) == 0
    assert compare_checkpoints(last(project, "first"), last(project, "again"))[0] == []
    assert compare_checkpoints(last(project, "first"), last(project, "other"))[0] != []
    assert caplog.text.count("exact resume: NO") == 3


def test_worker_processes_seed_their_global_generators(project):
    spec = EnvironmentSpec(name="Drawing-v0", from_module="own_drawing")
    info, chunks = inspect_environment(spec), []
    for _ in range(2):
        explorer = Explorer("train", {"agent": Scripted([0, 0])}, spec, info, 0, Profiler(), num_workers=2,
                            num_processes=1, n_steps=20)  # fmt: skip
        chunks.append(explorer.update()["/observations/agent"])
        explorer.close()
    np.testing.assert_array_equal(*chunks)


def process_state() -> dict:
    names = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC")
    return {
        "mode": torch.get_deterministic_debug_mode(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "threads": torch.get_num_threads(),
        "variables": {name: os.environ.get(name) for name in names},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
    }


@pytest.mark.parametrize("changes", [{}, {"number_epochs": 0}, {"model_name": "Nothing-v0"}])
def test_a_run_leaves_its_callers_process_as_it_was(tmp_path, monkeypatch, changes):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.delenv("TORCHINDUCTOR_DETERMINISTIC", raising=False)
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(3), torch.set_deterministic_debug_mode("default")
    try:
        before = process_state()
        assert train(tmp_path, "s", CLASSIC, tiny(**changes)) == (2 if changes else 0)
        assert process_state() == before
    finally:
        torch.set_num_threads(threads), torch.set_deterministic_debug_mode(mode)


def test_a_closed_runner_leaves_its_process_as_it_was(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    argv = ["--params", CLASSIC, "--cpanel", tiny(num_threads=2), "--dry-run", *QUIET]
    session = Session(parse_arguments(argv))
    before = process_state()
    runner = make_runner(session)
    try:
        runner.train_cycle()
        during = process_state()
    finally:
        runner.close()
        session.close()
    assert (during["threads"], during["mode"]) == (2, 2)
    assert process_state() == before


def test_numbers_of_processes_that_the_tree_leaves_open_are_chosen_before_the_runner_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr("digideep.pipeline.restoring.choose_num_processes", lambda spec, info, workers, cores: 1)
    built = []
    monkeypatch.setattr(Runner, "override", lambda self: built.append([self.tree, self.session.tree]))
    assert train(tmp_path, "s", CLASSIC, tiny(num_processes=None, number_epochs=1, test_activate=False)) == 0
    for tree in (*built[0], Loader(tmp_path / "s").params, read_checkpoint(last(tmp_path, "s"))[0]["params"]):
        assert [tree["explorer"][name]["num_processes"] for name in ("train", "test")] == [1, 1]


def test_a_run_in_a_thread_is_the_run_in_the_main_thread(tmp_path: Path):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(train(tmp_path, "thread", CLASSIC, tiny())))
    thread.start()
    thread.join()
    assert codes == [0]
    assert train(tmp_path, "main", CLASSIC, tiny()) == 0
    assert compare_checkpoints(last(tmp_path, "main"), last(tmp_path, "thread"))[0] == []
