"""What successive halving finds beside random search at equal frames: PPO on CartPole, over several seeds of the sweep.

Both draw from the same ranges. Halving makes 24 trials and stops most of them early; random search spends as many
frames on trials that all run to their end. What each calls best is then trained with fresh seeds, and compared.
`python -m benchmarks.sweep`
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import Parser, machine, run, update_table

_SPACE = {
    "lr": {"low": 1e-5, "high": 3e-2, "log": True}, "gamma": {"choices": [0.9, 0.95, 0.98, 0.99, 0.999]},
    "gae_lambda": {"choices": [0.8, 0.95, 1.0]}, "n_steps": {"choices": [16, 32, 64, 128]},
    "n_update": {"low": 1, "high": 20, "log": True}, "num_mini_batches": {"choices": [1, 2, 4, 8]},
    "clip_param": {"low": 0.05, "high": 0.4}, "entropy_coef": {"low": 1e-5, "high": 1e-1, "log": True},
    "hidden_sizes": {"choices": [[16], [64, 64], [256, 256]]},
}  # fmt: skip
_EPOCHS, _EPOCH_FRAMES = 24, 1_024  # of a run; too few for CartPole with most values
_PANEL = {"number_epochs": _EPOCHS, "epoch_frames": _EPOCH_FRAMES, "test_win_size": 20, "compile": "off"}
_TRIALS, _WAVE = 24, 12
_OTHER, _FRESH = 100, 1_000  # what random search adds to the seed, to draw other values; the first of the fresh seeds
_METRIC = "/return/test"
_HEADER = ("seed", "halving: trials", "frames", "return of its best", "random search: trials", "frames",
           "return of its best")  # fmt: skip


def sweep(base: Path, seed: int, jobs: int, name: str, *flags: str) -> dict:
    """Search. Returns: its `trials.json`."""
    place = ["--session-path", str(base), "--name", name, "--jobs", str(jobs), "--quiet", "--no-monitor-cpu"]
    panel = json.dumps(_PANEL | {"seed": seed})
    command = ["sweep", "params.ppo_classic", "--search", json.dumps(_SPACE), "--cpanel", panel, "--metric", _METRIC]
    run([sys.executable, "-m", "digideep.main", *command, *place, *flags], OMP_NUM_THREADS="1")
    return json.loads((base / name / "trials.json").read_text())


def frames_of(found: dict) -> int:
    """Frames of training that all trials of a sweep took."""
    epochs = [max(map(int, trial["values"]), default=0) for trial in found["trials"]]
    return sum(epochs) * _EPOCH_FRAMES


def judge(base: Path, name: str, jobs: int, seeds: int) -> float:
    """The mean return in the last test of what a sweep calls best, over fresh seeds."""
    fresh = ",".join(str(_FRESH + number) for number in range(seeds))
    command = [
        "group",
        "params.ppo_classic",
        "--cpanel",
        f"@{base / name}/best.json",
        "--seeds",
        fresh,
        "--jobs",
        str(jobs),
    ]
    place = ["--session-path", str(base), "--name", f"{name}_judged", "--quiet", "--no-monitor-cpu"]
    run([sys.executable, "-m", "digideep.main", *command, *place], OMP_NUM_THREADS="1")
    values = []
    for log in base.glob(f"{name}_judged/*/varlog.json"):
        lines = [json.loads(line)["data"].get(_METRIC) for line in log.read_text().splitlines()]
        last = [data for data in lines if data is not None][-1]
        values.append(last["sum"] / last["num"])
    return statistics.fmean(values)


def main(argv: list[str] | None = None) -> int:
    """Measure, write the table."""
    parser = Parser("sweep", __doc__, runs=5)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="sessions at once (2)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="that judge what was found (5)")
    args = parser.parse_args(argv)
    rows, pairs = [], []
    for seed in range(args.runs):
        with tempfile.TemporaryDirectory(prefix="digideep-bench-") as directory:
            base = Path(directory)
            halving = sweep(base, seed, args.jobs, "halving", "--trials", str(_TRIALS), "--wave", str(_WAVE))
            trials = round(frames_of(halving) / (_EPOCHS * _EPOCH_FRAMES))
            whole = ("--sampler", "random", "--pruner", "none")
            random = sweep(base, seed + _OTHER, args.jobs, "random", "--trials", str(trials), *whole)
            pairs.append([judge(base, name, args.jobs, args.seeds) for name in ("halving", "random")])
        rows.append([str(seed), str(_TRIALS), f"{frames_of(halving):,}", f"{pairs[-1][0]:.0f}", str(trials),
                     f"{frames_of(random):,}", f"{pairs[-1][1]:.0f}"])  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
        ours, theirs = (statistics.fmean(column) for column in zip(*pairs, strict=True))
        means = ["mean", "", "", f"{ours:.0f}", "", "", f"{theirs:.0f}"]
        note = f"`python -m benchmarks.sweep --runs {args.runs} --seeds {args.seeds}` on {machine()}"
        # After each seed, since one takes a quarter of an hour: what is done stays.
        text = update_table(args.results.read_text(), "sweep", _HEADER, [*rows, means], note=note)
        args.results.write_text(text)
    wins = sum(pair[0] > pair[1] for pair in pairs)
    print(f"halving {ours:.0f}, random search {theirs:.0f}; halving found the better in {wins} of {len(pairs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
