"""What several tests share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from digideep.agent.context import AgentContext
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.telemetry.profiler import Profiler

ROOT = Path(__file__).parents[2]
CLASSIC, MUJOCO = str(ROOT / "params/ppo_classic.py"), str(ROOT / "params/ppo_mujoco.py")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]  # that this machine has
TINY = {"number_epochs": 3, "epoch_size": 2, "num_workers": 2, "n_steps": 32, "test_interval": 2, "test_win_size": 2,
        "save_interval": 1, "compile": "off"}  # fmt: skip


def tiny(**changes) -> str:
    """`--cpanel` of a run that takes a second."""
    return json.dumps(TINY | changes)


def command(*arguments: str) -> list[str]:
    """The program as a process of its own."""
    return [sys.executable, "-m", "digideep.main", *arguments]


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the program to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT, env=environment, **options)


class Scripted:
    """An agent for the Explorer that plays given actions; it notes what it was asked."""

    acts_in_parts, takes_warm_start = False, True

    def __init__(self, actions, hidden_size: int | None = None):
        self.actions, self.hidden_size, self.asked = np.asarray(actions), hidden_size, []

    def reset_hidden_state(self, num_workers):
        return None if self.hidden_size is None else np.zeros((num_workers, self.hidden_size), np.float32)

    def action_generator(self, observations, hidden_state, masks, deterministic):
        self.asked.append(({path: array.copy() for path, array in observations.items()}, masks.copy(), deterministic))
        choice = {"actions": self.actions[: len(masks)].copy()}
        if hidden_state is not None:
            choice["hidden_state"] = hidden_state + 1
        return choice


def make_explorer(
    name: str, agent, *, mode="train", seed=0, wrappers=(), norm_wrappers=(), env_kwargs=None, limit=None,
    episode_infos=None, tell_progress=False, steps_per_seed=0, **parameters
):  # fmt: skip
    """An Explorer of one of the small environments."""
    spec = EnvironmentSpec(
        name=name,
        from_module="tests.support.environments",
        kwargs=env_kwargs or {},
        max_episode_steps=limit,
        vect_wrappers=list(wrappers),
        norm_wrappers=list(norm_wrappers),
        episode_infos=episode_infos or {},
        tell_progress=tell_progress,
        steps_per_seed=steps_per_seed,
    )
    parameters = {"num_workers": 2, "n_steps": 4} | parameters
    return Explorer(mode, {"agent": agent}, spec, inspect_environment(spec), seed, Profiler(), **parameters)


def make_context(observation_space, action_space, memory=None, seed=0, infos=None, device="cpu") -> AgentContext:
    """What an agent is given. The observation space may be several, by path."""
    spaces = observation_space if isinstance(observation_space, dict) else {"/agent": observation_space}
    return AgentContext("agent", memory, spaces, action_space, torch.device(device), seed, Profiler(), infos or {})


class NeverWaiting(TorchDispatchMode):
    """Within it, an operation fails whose result a program could only know after waiting for the device."""

    WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.name().split(".")[0] not in self.WAITS, f"{function.name()} waits for the device"
        return function(*args, **(kwargs or {}))
