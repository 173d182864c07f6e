"""Frames per second of collection alone, 8 Humanoid-v5 with random actions: `python -m benchmarks.collection`.

Ours is what `explorer["train"].update()` delivers, chunks written, with `num_processes` 0 (the main process), 1 and 2;
beside it gymnasium's SyncVectorEnv and AsyncVectorEnv, which only step. Each in a fresh process, in turns. With
"policy" a 64-64 network chooses the actions, as in PPO; a half-step at an episode's end counts as a frame for all.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.measuring import Parser, machine, positive, run, spread, update_table

_NUM, _STEPS = 8, 64
_PANEL = {"model_name": "Humanoid-v5", "num_workers": _NUM, "n_steps": _STEPS, "compile": "off"}
_OURS = {
    f"digideep, {kind}num_processes {processes}": (params, changes | {"num_processes": processes})
    for kind, params, changes in (
        # Random actions go on for as long as the warm start.
        ("", "params/sac_mujoco.py", {"warm_start": 10**9, "memory_size_in_chunks": 2}),
        ("policy, ", "params/ppo_mujoco.py", {"num_mini_batches": 8}),
    )
    for processes in (0, 1, 2)
}
_PEERS = {"gymnasium, SyncVectorEnv": "sync", "gymnasium, AsyncVectorEnv": "async"}
COLLECTORS = (*_OURS, *_PEERS)
_HEADER = ("collector", "frames/s, median", "range", "to one process", "to the main process", "to AsyncVectorEnv")


def timed(step: Callable[[], int], seconds: float) -> float:
    """Frames per second. Args: step: collects, and returns how many frames."""
    step()  # makes the first episodes
    frames, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        frames += step()
    return frames / taken


def measure(collector: str, seconds: float) -> float:
    """Frames per second in this process."""
    return _measure_peer(_PEERS[collector], seconds) if collector in _PEERS else _measure_ours(collector, seconds)


def _measure_ours(collector: str, seconds: float) -> float:
    from digideep.pipeline.arguments import parse_arguments
    from digideep.pipeline.runner import make_runner
    from digideep.pipeline.session import Session

    params, changes = _OURS[collector]
    argv = ["--params", params, "--cpanel", json.dumps(_PANEL | changes), "--dry-run", "--quiet"]
    runner = make_runner(Session(parse_arguments(argv)))

    def step() -> int:
        runner.explorer["train"].update()
        return _STEPS * _NUM

    try:
        return timed(step, seconds)
    finally:
        runner.close()


def _measure_peer(mode: str, seconds: float) -> float:
    import gymnasium
    import numpy as np

    envs = gymnasium.make_vec("Humanoid-v5", num_envs=_NUM, vectorization_mode=mode)
    low, high = envs.action_space.low, envs.action_space.high
    generator = np.random.default_rng(0)
    envs.reset(seed=0)

    def step() -> int:
        for _ in range(_STEPS):
            envs.step(generator.uniform(low, high).astype(np.float32))
        return _STEPS * _NUM

    try:
        return timed(step, seconds)
    finally:
        envs.close()


def table(speeds: dict[str, list[float]]) -> list[list[str]]:
    """Rows of the results; policies are compared with policies."""
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    rows = []
    for name, values in speeds.items():
        kind = "digideep, policy, " if "policy" in name else "digideep, "
        bases = (f"{kind}num_processes 1", f"{kind}num_processes 0", "gymnasium, AsyncVectorEnv")
        ratios = ["" if base == name else f"{medians[name] / medians[base]:.2f}" for base in bases]
        rows.append([name, *spread(values), *ratios])
    return rows


def main(argv: list[str] | None = None) -> int:
    """Measure in turns, write the table."""
    parser = Parser("collection", __doc__)
    parser.add_argument("--seconds", type=positive, default=5, help="of one run (5)")
    parser.add_argument("--measure", choices=COLLECTORS, metavar="NAME", help="one run in this process, as JSON")
    args = parser.parse_args(argv)
    if args.measure:
        print(json.dumps(measure(args.measure, args.seconds)))
        return 0
    command = [sys.executable, "-m", "benchmarks.collection", "--seconds", str(args.seconds), "--measure"]
    speeds: dict[str, list[float]] = {name: [] for name in COLLECTORS}
    for index in range(args.runs):
        for name in COLLECTORS:
            speeds[name].append(json.loads(run([*command, name]).stdout.splitlines()[-1]))
            print(f"  {index + 1}. {name}: {speeds[name][-1]:,.0f} frames/s", flush=True)
    note = f"`python -m benchmarks.collection --runs {args.runs} --seconds {args.seconds}` on {machine()}"
    args.results.write_text(update_table(args.results.read_text(), "collection", _HEADER, table(speeds), note=note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
