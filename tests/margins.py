"""What learns within seconds, and how far its test's bounds lie from what other seeds and processors give.

`python -m tests.margins` runs each of these trainings under several seeds, each instruction set that torch knows on
this machine, and one and two threads. It prints how many standard deviations lie between the mean and the nearer bound.
`--fault` puts a fault in first: then a bound has to be missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import torch

from tests.support.helpers import ROOT

CARTPOLE = {"n_steps": 32, "num_mini_batches": 1, "n_update": 20, "lr": 1e-3, "number_epochs": 2, "epoch_size": 100}
MEETING = {"model_name": "tests/meeting", "from_module": "tests.support.parallel", "number_epochs": 1, "epoch_size": 40,
           "num_workers": 8, "n_steps": 10, "num_mini_batches": 2, "n_update": 4, "lr": 0.01}  # fmt: skip
APART = {"players": {"one": ["first"], "other": ["second"]}, "env_kwargs": {"is_alike": False}}
SHARED = {"players": {"both": ["*"]}, "env_kwargs": {"is_alike": True}}
RECALL = {"model_name": "Recall-v0", "from_module": "tests.support.environments", "env_kwargs": {"delay": 5},
          "number_epochs": 1, "epoch_size": 16, "lr": 1e-3}  # fmt: skip
SIGNS = {"model_name": "Recall-v0", "from_module": "tests.support.environments", "env_kwargs": {"delay": 5},
         "number_epochs": 1, "epoch_size": 64, "n_steps": 16, "warm_start": 500, "epsilon_frames": 1500,
         "gradient_steps_per_frame": 0.25, "batch_size": 64, "target_update_interval": 25, "lr": 3e-3,
         "hidden_sizes": [32], "core_size": 32, "sequence_length": 8, "burn_in": 2}  # fmt: skip
LEANINGS = SIGNS | {"env_kwargs": {"delay": 3, "is_continuous": True}, "lr_critic": 3e-3, "lr_actor": 3e-3,
                    "alpha": 0.02, "automatic_entropy_tuning": False, "polyak_factor": 0.05, "num_workers": 4,
                    "target_update_interval": 1, "epoch_size": 48}  # fmt: skip
for _key in ("epsilon_frames", "lr"):
    del LEANINGS[_key]
TREADMILL = {
    "model_name": "Treadmill-v0",
    "from_module": "tests.support.environments",
    "gamma": 0.9,
    "number_epochs": 1,
}
ON_POLICY = {**TREADMILL, "epoch_size": 20, "n_steps": 32, "lr": 0.01}
OFF_POLICY = {**TREADMILL, "warm_start": 200, "hidden_sizes": [32, 32], "memory_size_in_chunks": 1000}
VALUES = {**OFF_POLICY, "epoch_size": 60, "batch_size": 32, "epsilon_frames": 3000, "target_update_interval": 20,
          "lr": 5e-3}  # fmt: skip
CONTINUOUS = {**OFF_POLICY, "env_kwargs": {"is_continuous": True}, "epoch_size": 1000, "batch_size": 64,
              "polyak_factor": 0.2, "lr_critic": 1e-2, "lr_actor": 1e-3}  # fmt: skip


CORRIDOR = {"model_name": "Corridor-v0", "from_module": "tests.support.environments", "number_epochs": 1,
            "epoch_size": 60, "n_steps": 64, "n_update": 4, "lr": 1e-3, "normalize_advantages": False}  # fmt: skip


class Training(NamedTuple):
    """A run of seconds, and the bounds of the mean return of its last 100 training episodes."""

    params: str
    panel: dict
    least: float = -np.inf
    most: float = np.inf


TRAININGS = {
    "ppo-cartpole": Training("ppo_classic", CARTPOLE, least=250),
    "dqn-cartpole": Training("dqn_classic", {"number_epochs": 3, "hidden_sizes": [64, 64]}, least=100),
    # At random 3.75; 5 where they agree on the wrong place; 10 at best.
    "ppo-two-players": Training("ppo_mpe", MEETING | APART, least=9),
    "ppo-shared-players": Training("ppo_mpe", MEETING | SHARED, least=9),
    "ppo-remembers": Training("ppo_classic", RECALL | {"recurrent": True}, least=0.9),
    "ppo-without-memory": Training("ppo_classic", RECALL, least=0.3, most=0.7),
    # At random, one episode in 70,000 comes to the end, where the only reward is; there are some 380. Normalised
    # advantages would drive the policy somewhere without any reward, and now and then to the end.
    "ppo-finds-by-novelty": Training("ppo_classic", CORRIDOR | {"rnd_coef": 0.1}, least=0.8),
    "ppo-finds-nothing": Training("ppo_classic", CORRIDOR, most=0.05),
    "dqn-remembers": Training("dqn_classic", SIGNS | {"recurrent": True}, least=0.9),
    "dqn-without-memory": Training("dqn_classic", SIGNS, least=0.3, most=0.7),
    "sac-remembers": Training("sac_classic", LEANINGS | {"recurrent": True}, least=0.8),
    "sac-without-memory": Training("sac_classic", LEANINGS, least=0.3, most=0.7),
    # To go on is worth 0.2 / (1 - 0.9) = 2, if a time limit is no end; to leave is worth 0.3.
    "ppo-treadmill": Training("ppo_classic", ON_POLICY, most=0.25),
    "dqn-treadmill": Training("dqn_classic", VALUES, most=0.25),
    "sac-treadmill": Training(
        "sac_classic", CONTINUOUS | {"alpha": 0.05, "automatic_entropy_tuning": False}, most=0.25
    ),
    "ddpg-treadmill": Training("ddpg_classic", CONTINUOUS, most=0.25),
    "td3-treadmill": Training("td3_mujoco", CONTINUOUS | {"noise_std": 0.2}, most=0.25),
}


def final_return(base: Path, params: str, **cpanel) -> float:
    """Train with a recipe, given by name or path. Returns: the mean return of the last 100 training episodes."""
    from digideep.main import main
    from digideep.pipeline.checkpoint import list_checkpoints

    params = params if params.endswith(".py") else str(ROOT / f"params/{params}.py")
    argv = ["--params", params, "--cpanel", json.dumps(cpanel), "--log-level", "3", "--no-monitor-cpu"]
    assert main([*argv, "--session-path", str(base), "--session-name", "s"]) == 0
    state = json.loads((list_checkpoints(base / "s/checkpoints")[-1] / "runner.json").read_text())
    return fmean(state["runner"]["recent_returns"])


def outcome(name: str, base: Path, **changes) -> float:
    """Run one of the trainings."""
    training = TRAININGS[name]
    return final_return(base, training.params, **training.panel, compile="off", test_activate=False, **changes)


# ------------------------------------------------------------------ how wide the margins are


def _take_truncations_for_terminations() -> None:
    from digideep.memory.generic import Memory

    store = Memory.store

    def faulty(self, chunk):
        for key in [key for key in chunk if key.endswith("/terminations")]:
            masks = chunk[key.replace("/terminations", "/masks")]
            chunk[key][:, :-1] |= masks[:, :-1] & ~masks[:, 1:]
        store(self, chunk)

    Memory.store = faulty


def _flip_advantages() -> None:
    from digideep.agent import on_policy

    right = on_policy.generalized_advantages

    def faulty(*args, **parameters):
        return -right(*args, **parameters)

    on_policy.generalized_advantages = faulty


FAULTS: dict[str, Callable[[], None]] = {
    "truncation": _take_truncations_for_terminations,
    "sign": _flip_advantages,
}


def _measure(names: list[str], seeds: int, threads: int, fault: str | None) -> None:
    """In a process of its own, whose environment says which instructions torch uses."""
    if fault is not None:
        FAULTS[fault]()
    for name in names:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as base:
                print(json.dumps([name, outcome(name, Path(base), seed=seed, num_threads=threads)]), flush=True)


def _capabilities() -> list[str]:
    best = torch.backends.cpu.get_cpu_capability().lower()
    return ["default", *(["avx2"] if best in ("avx2", "avx512") else []), *(["avx512"] if best == "avx512" else [])]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TRAININGS)}; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fault", choices=tuple(FAULTS))
    parser.add_argument("--capabilities", nargs="+", default=_capabilities())
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.names or list(TRAININGS)
    if args.measure:
        _measure(names, args.seeds, args.threads[0], args.fault)
        return
    found: dict[str, list[float]] = {name: [] for name in names}
    for capability in args.capabilities:
        for threads in args.threads:
            command = [sys.executable, "-m", "tests.margins", *names, "--measure", "--seeds", str(args.seeds)]
            command += ["--threads", str(threads), *(["--fault", args.fault] if args.fault else [])]
            variables = {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
            lines = subprocess.run(
                command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
            ).stdout.splitlines()
            for name, value in (json.loads(line) for line in lines if line.startswith("[")):
                found[name].append(value)
    row = "{:<20}{:>6}{:>9}{:>9}{:>9}{:>9}{:>14}{:>14}"
    print(row.format("training", "runs", "mean", "std", "least", "most", "bounds", "margin / std"))
    for name, values in found.items():
        training, mean, spread = TRAININGS[name], fmean(values), stdev(values)
        margin = min(mean - training.least, training.most - mean) / max(spread, 1e-9)
        figures = [f"{figure:.2f}" for figure in (mean, spread, min(values), max(values))]
        bounds = f"{training.least:g} to {training.most:g}"
        print(row.format(name, len(values), *figures, bounds, f"{margin:.1f}"))


if __name__ == "__main__":
    main()
