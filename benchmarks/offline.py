"""Records a medium policy, and learns from that alone: behaviour cloning and TD3+BC, by their returns.

    python -m benchmarks.offline pendulum [--seeds 3] [--steps 5000]
    python -m benchmarks.offline cheetah --steps 100000

PPO is stopped at a checkpoint of medium quality, whose actions are recorded with its exploration. Every figure but that
of the data set is a mean over 100 episodes without exploration. Files go to `--directory`; what is there already is not
made again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Task(NamedTuple):
    """What is learned, from whom."""

    environment: str
    recipe: str  # of the policy that is recorded
    panel: list[str]
    frames: int
    checkpoint: str
    episodes: int
    offline: list[str]


TASKS = {
    "pendulum": Task(
        "Pendulum-v1", "params.ppo_classic", ["gamma=0.9", "gae_lambda=0.95", "lr=0.001", "anneal_lr=false"],
        120_000, "checkpoint-3", 100, ["gamma=0.95"],
    ),
    "cheetah": Task("HalfCheetah-v5", "params.ppo_mujoco", [], 301_056, "checkpoint-10", 100, []),
}  # fmt: skip
QUIET = ("--quiet", "--no-monitor-cpu", "--no-monitor-gpu")


class Program:
    """Runs commands of Digideep in a directory, each once. Args: directory: of sessions and data sets."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._variables = {**os.environ, "MINARI_DATASETS_PATH": str(directory.resolve() / "datasets")}

    def run(self, *arguments: str) -> str:
        """Run one to its end. Returns: what it printed."""
        command = [sys.executable, "-m", "digideep.main", *arguments]
        done = subprocess.run(
            command, cwd=self.directory, env=self._variables, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def train(self, name: str, recipe: str, frames: int, panel: list[str]) -> None:
        """Train a session, or go on with one that was interrupted, unless it has finished."""
        session = self.directory / "digideep_sessions" / name
        if not session.exists():
            length = ("--session-name", name, "--total-frames", str(frames))
            self.run("train", recipe, *length, *QUIET, "--set", *panel)
        elif not (session / "done.lock").exists():
            self.run("resume", name, *QUIET)

    def evaluate(self, name: str) -> float:
        """Return the mean of 100 episodes without exploration, the same ones for all."""
        return float(json.loads(self.run("evaluate", name, "--episodes", "100", "--seed", "1", "--json"))["mean"])


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline", description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=tuple(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5000, help="gradient steps (5000)")
    parser.add_argument("--directory", type=Path, default=Path("offline"))
    args = parser.parse_args(argv)
    task, program, dataset = TASKS[args.task], Program(args.directory), f"{args.task}/medium-v0"
    teacher = f"{args.task}-teacher"
    keep = ["save_interval=1", "keep_checkpoints=null", "test_activate=false", f"model_name={task.environment}"]
    program.train(teacher, task.recipe, task.frames, [*task.panel, *keep])
    if not (args.directory / "datasets" / dataset).exists():
        how = ("--checkpoint", task.checkpoint, "--stochastic", "--episodes", str(task.episodes), "--seed", "1000")
        print(program.run("record", teacher, "--id", dataset, *how), flush=True)
    session = args.directory / "digideep_sessions" / teacher / "checkpoints" / task.checkpoint
    print(f"recording policy: {program.evaluate(str(session.resolve())):,.1f}", flush=True)
    for method, alpha in (("BC", 0.0), ("TD3+BC", 2.5)):
        returns = []
        for seed in range(args.seeds):
            name = f"{args.task}-{method}-{seed}"
            own = [f"model_name={task.environment}", f"dataset={dataset}", f"bc_alpha={alpha}", f"seed={seed}"]
            program.train(name, "params.td3_bc", args.steps, [*own, *task.offline, "test_activate=false"])
            returns.append(program.evaluate(name))
            print(f"{method}, seed {seed}: {returns[-1]:,.1f}", flush=True)
        print(f"{method}: mean {statistics.fmean(returns):,.1f}", flush=True)


if __name__ == "__main__":
    main()
