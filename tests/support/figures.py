"""What the program computes, so that a refactoring can show that it changes nothing.

`python -m tests.support.figures --write before.json` trains each parameter file for a few epochs on tiny sizes, eagerly
and compiled, in this process and in two others, and writes the sha256 of every array of the last checkpoint, by key.
`--compare before.json` does so again and lists what differs. Figures hold for one machine and one set of versions.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
_COMMON = {"number_epochs": 2, "num_workers": 2, "num_threads": 1, "test_interval": 1, "test_win_size": 1, "seed": 3}
_PPO = {"epoch_size": 2, "n_steps": 16, "num_mini_batches": 2}
_REPLAY = {"epoch_size": 12, "warm_start": 8, "batch_size": 8}
_PIXELS = _REPLAY | {"env_kwargs": {"time_limit": 0.4}, "screen_size": 24, "memory_size": 1000}
_FILES = {
    "ppo_classic": _PPO, "ppo_mujoco": _PPO, "ppo_dmc": _PPO, "ppo_atari": _PPO, "ppo_mpe": _PPO,
    "sac_classic": _REPLAY, "sacv1_classic": _REPLAY, "sac_mujoco": _REPLAY, "sac_dmc": _REPLAY, "sac_fetch": _REPLAY,
    "sac_drq": _PIXELS, "ddpg_drqv2": _PIXELS, "dqn_drq": _REPLAY,
    "td3_mujoco": _REPLAY, "ddpg_classic": _REPLAY, "dqn_classic": _REPLAY, "dqn_atari": _REPLAY,
    "a2c_classic": _PPO, "pqn_classic": _PPO, "tqc_classic": _REPLAY, "crossq_classic": _REPLAY,
    "sac_discrete_classic": _REPLAY, "qr_dqn_classic": _REPLAY, "droq_mujoco": _REPLAY,
}  # fmt: skip
_SEQUENCES = {"recurrent": True, "sequence_length": 4, "burn_in": 2}
# What the files leave at its default.
_MORE = {
    "ppo_classic": {
        "gru": {"recurrent": True, "cell": "gru"},
        "lstm": {"recurrent": True, "cell": "lstm", "share_core": True},
        "ahead": {"ahead": True},
    },
    "dqn_classic": {"priorities": {"prioritized": True, "n_step_return": 3}, "lstm": _SEQUENCES | {"cell": "lstm"}},
    "sac_classic": {"overlap": {"overlap": True}, "gru": _SEQUENCES},
}


class Training(NamedTuple):
    """One training: a parameter file and what differs from it."""

    title: str
    file: str
    cpanel: dict


def trainings(only: str = "") -> list[Training]:
    """All of them whose title holds `only`."""
    found = []
    for file, sizes in _FILES.items():
        variants = {"": {}, ", compiled": {"compile": "on"}, ", 2 processes": {"num_processes": 2}}
        variants |= {f", {name}": changes for name, changes in _MORE.get(file, {}).items()}
        for name, changes in variants.items():
            found.append(Training(f"{file}{name}", file, _COMMON | sizes | {"compile": "off"} | changes))
    return [training for training in found if only in training.title]


def figures(training: Training) -> dict[str, str]:
    """Key -> sha256 of each array of the last checkpoint; {"refused": the line} for what does not start."""
    with tempfile.TemporaryDirectory() as base:
        command = [sys.executable, "-m", "digideep.main", "--params", str(ROOT / f"params/{training.file}.py"),
                   "--cpanel", json.dumps(training.cpanel), "--session-path", base, "--session-name", "s",
                   "--device", "cpu", "--quiet"]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode == 2:
            return {"refused": done.stderr.strip().splitlines()[-1]}
        if done.returncode:
            raise RuntimeError(f"{training.title} ended with {done.returncode}:\n{done.stderr}")
        last = max(Path(base, "s/checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        arrays = load_file(last / "states.safetensors")
        return {
            key: hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:16]
            for key, array in sorted(arrays.items())
        }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What has another content, another name, came or went, one line each."""
    lines = [f"{key}: another content" for key in before.keys() & after.keys() if before[key] != after[key]]
    gone = {key: before[key] for key in before.keys() - after.keys()}
    came = {key: after[key] for key in after.keys() - before.keys()}
    left = Counter(came.values()) - Counter(gone.values())
    for key, content in gone.items():
        names = [name for name, other in came.items() if other == content]
        lines.append(f"{key}: {'now ' + ' or '.join(names) if names else 'gone'}")
    return sorted(lines + [f"{key}: new" for key, content in came.items() if left[content]])


def main() -> int:
    """The command. Returns: 1 if a content differs, or an array came or went."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.figures", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="trainings whose title has this in it")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", type=Path, metavar="FILE")
    which.add_argument("--compare", type=Path, metavar="FILE")
    args = parser.parse_args()
    known = json.loads(args.compare.read_text()) if args.compare else {}
    found, is_other = {}, False
    for training in trainings(args.only):
        found[training.title] = figures(training)
        lines = differences(known.get(training.title, {}), found[training.title]) if args.compare else []
        is_other |= any(": now " not in line for line in lines)
        print(f"{training.title}: {len(found[training.title])} arrays", *lines, sep="\n  ", flush=True)
    if args.write:
        args.write.write_text(json.dumps(found, indent=1))
    return int(is_other)


if __name__ == "__main__":
    sys.exit(main())
