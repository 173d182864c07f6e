"""Frames per second of PPO on HalfCheetah-v5 beside stable-baselines3, in alternating runs: `make bench`.

Both train with the same hyperparameters and networks: 4 environments x 512 steps, 10 epochs, minibatches of 64, two
64-64 tanh networks, observations and rewards normalised. What is timed is the loop alone: start-up and compiling are
over, in both, before the clock starts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UPDATES_BEFORE, UPDATES_TIMED = 2, 10

OURS = """
import json, time
import torch
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.runner import make_runner
from digideep.pipeline.session import Session

before, timed = {before}, {timed}
cpanel = json.dumps(dict(compile="on", value_loss_coef=0.5, normalize_advantages=True, log_std_init=0.0))
args = ["--params", "params/ppo_mujoco.py", "--dry-run", "--log-level", "3", "--cpanel", cpanel]
runner = make_runner(Session(parse_arguments(args)))
for _ in range(before):
    runner.train_cycle()
start = time.perf_counter()
for _ in range(timed):
    runner.train_cycle()
print(timed * 2048 / (time.perf_counter() - start))
"""

THEIRS = """
import time
import torch
torch.set_num_threads({threads})
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

before, timed = {before}, {timed}
class Clock(BaseCallback):
    rollouts = 0
    def _on_rollout_start(self):
        if self.rollouts == before:
            self.start = time.perf_counter()
        self.rollouts += 1
    def _on_step(self):
        return True

clock = Clock()
envs = VecNormalize(make_vec_env("HalfCheetah-v5", 4))
model = PPO("MlpPolicy", envs, n_steps=512, batch_size=64, n_epochs=10, device="cpu")
model.learn((before + timed) * 2048, callback=clock)
print(timed * 2048 / (time.perf_counter() - clock.start))
"""


def measure(python: str, code: str, **values: int) -> float:
    """Frames per second of one process."""
    code = code.replace("{before}", str(UPDATES_BEFORE)).replace("{timed}", str(UPDATES_TIMED))
    for name, value in values.items():
        code = code.replace(f"{{{name}}}", str(value))
    done = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Alternate, take medians, write a table and the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--peers", default=str(ROOT / ".venv-bench/bin/python"), help="python with stable-baselines3")
    args = parser.parse_args()
    contenders = {
        "digideep": lambda: measure(sys.executable, OURS),
        "stable-baselines3, 1 thread": lambda: measure(args.peers, THEIRS, threads=1),
        "stable-baselines3, 2 threads": lambda: measure(args.peers, THEIRS, threads=2),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(args.runs):
        for name, contender in contenders.items():
            speeds[name].append(contender())
            print(f"{index + 1}. {name}: {speeds[name][-1]:,.0f} frames/s", flush=True)
    ours = statistics.median(speeds["digideep"])
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians of {args.runs}")
    for name, values in speeds.items():
        median = statistics.median(values)
        print(f"| {name} | {median:,.0f} | {min(values):,.0f} to {max(values):,.0f} | {ours / median:.2f} |")
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
