"""Frames per second of SAC on HalfCheetah-v5 beside stable-baselines3, in alternating runs.

Both with one environment, networks 256-256, batches of 256 and one gradient step per frame. What is timed is the loop
alone, with a gradient step for each frame: start-up, random frames and compiling are over before the clock starts.
stable-baselines3 lives in an environment of its own, see `--peers`.
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
BEFORE, TIMED = 1_200, 2_000  # frames

OURS = """
import json, time
from digideep.pipeline.arguments import parse_arguments
from digideep.pipeline.runner import make_runner
from digideep.pipeline.session import Session

cpanel = json.dumps(dict(compile="on", warm_start=1000, num_threads={threads}))
args = ["--params", "params/sac_mujoco.py", "--dry-run", "--log-level", "3", "--cpanel", cpanel]
runner = make_runner(Session(parse_arguments(args)))
for _ in range({before}):
    runner.train_cycle()
start = time.perf_counter()
for _ in range({timed}):
    runner.train_cycle()
print({timed} / (time.perf_counter() - start))
"""

THEIRS = """
import time
import torch
torch.set_num_threads({threads})
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

class Clock(BaseCallback):
    def _on_step(self):
        if self.num_timesteps == {before}:
            self.start = time.perf_counter()
        return True

clock = Clock()
model = SAC("MlpPolicy", "HalfCheetah-v5", learning_starts=1000, device="cpu")
model.learn({before} + {timed}, callback=clock)
print({timed} / (time.perf_counter() - clock.start))
"""


def measure(python: str, code: str, threads: int) -> float:
    """Frames per second of one process."""
    for name, value in (("before", BEFORE), ("timed", TIMED), ("threads", threads)):
        code = code.replace(f"{{{name}}}", str(value))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
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
        f"{name}, {threads} thread{'s' if threads > 1 else ''}": (python, code, threads)
        for threads in (1, 2)
        for name, python, code in (("digideep", sys.executable, OURS), ("stable-baselines3", args.peers, THEIRS))
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(args.runs):
        for name, contender in contenders.items():
            speeds[name].append(measure(*contender))
            print(f"{index + 1}. {name}: {speeds[name][-1]:,.1f} frames/s", flush=True)
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians of {args.runs}")
    for name, values in speeds.items():
        print(f"| {name} | {statistics.median(values):,.1f} | {min(values):,.1f} to {max(values):,.1f} |")
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
