"""What watching costs: `python -m benchmarks.monitoring_cost [--pairs 5]`. Run nothing else meanwhile.

The same training runs with all monitoring on (machine statistics, TensorBoard, visdom) and with all of it off, in
turns.
A run's speed is taken between its first and its last epoch line in `varlog.json`: without start and compilation.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_OFF = ["--quiet", "--no-monitor-cpu", "--no-monitor-gpu"]
_ON = ["--tensorboard", "--visdom", "--visdom-port", "18197"]


def speed(base: Path, name: str, params: str, cpanel: str, watch: list[str]) -> float:
    """Frames per second of one run."""
    command = [sys.executable, "-m", "digideep.main", "--params", params, "--cpanel", cpanel]
    command += ["--session-path", str(base), "--session-name", name, *watch]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line)["meta"] for line in (base / name / "varlog.json").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    return (last["frame"] - first["frame"]) / (last["clock"] - first["clock"])


def main() -> int:
    """Print each pair and the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring_cost", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--params", default="params/ppo_mujoco.py")
    parser.add_argument("--cpanel", default='{"number_epochs": 15, "test_activate": false}')
    args = parser.parse_args()
    off, on = [], []
    with tempfile.TemporaryDirectory(prefix="digideep-cost-") as directory:
        for pair in range(args.pairs):
            # Each goes first every other time: what warms up or slows down the machine hits both.
            for kind in ("off", "on") if pair % 2 == 0 else ("on", "off"):
                figures, watch = (off, _OFF) if kind == "off" else (on, _ON)
                figures.append(speed(Path(directory), f"{kind}_{pair}", args.params, args.cpanel, watch))
            print(f"pair {pair + 1}: off {off[-1]:,.0f}, on {on[-1]:,.0f} frames/s", flush=True)
    cost = 1 - statistics.median(b / a for a, b in zip(off, on, strict=True))
    print(f"medians: off {statistics.median(off):,.0f}, on {statistics.median(on):,.0f} frames/s")
    print(f"watching costs {100 * cost:.1f} % of the frames/s (median over pairs)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
