"""Frames per second of collection alone, 8 Humanoid-v5 with random actions: `python -m benchmarks.collection`.

Ours is what `explorer["train"].update()` delivers, chunks written, with `num_processes` 0 (the main process), 1 and 2;
beside it gymnasium's SyncVectorEnv and AsyncVectorEnv, which only step. Each in a process of its own, all of which stay
while they take turns of a second: machines become faster and slower from one minute to the next. With "policy" a 64-64
network chooses the actions, as in PPO; a half-step at an episode's end counts as a frame for all. Two SyncVectorEnv at
once, which never wait for each other, show what two processes can do at most.
"""

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.measuring import ROOT, Parser, machine, positive, spread, update_table

_NUM, _STEPS = 8, 64
_PANEL = {"model_name": "Humanoid-v5", "num_workers": _NUM, "n_steps": _STEPS, "compile": "off"}
_OURS = {
    f"digideep, {kind}num_processes {processes}": (params, changes | {"num_processes": processes})
    for kind, params, changes in (
        ("", "params/sac_mujoco.py", {"warm_start": 512, "memory_size_in_chunks": 2}),
        ("policy, ", "params/ppo_mujoco.py", {"num_mini_batches": 8}),
    )
    for processes in (0, 1, 2)
}
_PEERS = {"gymnasium, SyncVectorEnv": "sync", "gymnasium, AsyncVectorEnv": "async"}
COLLECTORS = (*_OURS, *_PEERS)
TEAMS = {name: (name,) for name in COLLECTORS} | {
    "gymnasium, two SyncVectorEnv at once": ("gymnasium, SyncVectorEnv",) * 2
}
_HEADER = ("collector", "frames/s, median", "range", "to one process", "to the main process", "to AsyncVectorEnv")


def timed(step: Callable[[], int], seconds: float) -> float:
    """Frames per second. Args: step: collects, and returns how many frames."""
    frames, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        frames += step()
    return frames / taken


def serve(collector: str, seconds: float) -> None:
    """Print frames per second, as JSON, for each line that comes in."""
    step, close = _make_peer(_PEERS[collector]) if collector in _PEERS else _make_ours(collector)
    step()  # makes the first episodes
    try:
        for _ in sys.stdin:
            print(json.dumps(timed(step, seconds)), flush=True)
    finally:
        close()


def _make_ours(collector: str) -> tuple[Callable[[], int], Callable[[], None]]:
    from digideep.pipeline.arguments import parse_arguments
    from digideep.pipeline.restoring import make_runner
    from digideep.pipeline.session import Session

    params, changes = _OURS[collector]
    argv = ["--params", params, "--cpanel", json.dumps(_PANEL | changes), "--dry-run", "--quiet"]
    runner = make_runner(Session(parse_arguments(argv)))
    explorer = runner.explorer["train"]
    explorer.warm_start = sys.maxsize  # SAC's random actions never end

    def step() -> int:
        explorer.update()
        return _STEPS * _NUM

    return step, runner.close


def _make_peer(mode: str) -> tuple[Callable[[], int], Callable[[], None]]:
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

    return step, envs.close


class Collector:
    """A collector in a process of its own, which rests until it is asked."""

    def __init__(self, name: str, seconds: float):
        command = [sys.executable, "-m", "benchmarks.collection", "--seconds", str(seconds), "--serve", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def begin(self) -> None:
        """Begin a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> float:
        """Frames per second of the turn. Raises: RuntimeError: if the process has ended, for reasons that it told."""
        assert self._process.stdout is not None
        line = next((line for line in self._process.stdout if line[:1].isdigit()), None)  # others are the program's
        if line is None:
            raise RuntimeError(f"A collector has ended with exit code {self._process.wait()}.")
        return json.loads(line)

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(team: list[Collector]) -> float:
    """Frames per second of a turn that all take together."""
    for collector in team:
        collector.begin()
    return sum(collector.finish() for collector in team)


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
    parser = Parser("collection", __doc__, runs=15)
    parser.add_argument("--seconds", type=positive, default=1, help="of one turn (1)")
    parser.add_argument("--serve", choices=COLLECTORS, metavar="NAME", help="be that collector: measure for each line")
    args = parser.parse_args(argv)
    if args.serve:
        serve(args.serve, args.seconds)
        return 0
    teams = {title: [Collector(name, args.seconds) for name in names] for title, names in TEAMS.items()}
    speeds: dict[str, list[float]] = {title: [] for title in teams}
    try:
        for team in teams.values():
            measure(team)  # until it has started
        for index in range(args.runs):
            for title, team in teams.items():
                speeds[title].append(measure(team))
                print(f"  {index + 1}. {title}: {speeds[title][-1]:,.0f} frames/s", flush=True)
    finally:
        for collector in itertools.chain(*teams.values()):
            collector.close()
    note = f"`python -m benchmarks.collection --runs {args.runs} --seconds {args.seconds}` on {machine()}"
    args.results.write_text(update_table(args.results.read_text(), "collection", _HEADER, table(speeds), note=note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
