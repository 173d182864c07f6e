"""A group whose launcher and whose children are killed at random, beside one that nobody disturbs.

`python -m tests.kills.groups`
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from digideep.launch.child import STOP_S
from digideep.launch.group import open_group
from tests.kills.harness import differences
from tests.support.helpers import CLASSIC, ROOT

# A run takes some seconds, and saves and tests all the time.
PANEL = {"number_epochs": 25, "epoch_size": 2, "num_workers": 2, "n_steps": 32, "n_update": 4, "test_interval": 5,
         "test_win_size": 4, "save_interval": 1, "keep_checkpoints": 3, "compile": "off"}  # fmt: skip
SEEDS, JOBS = 4, 2
_LIMIT_S = 600  # of a whole group

# Starts the program: its arguments, a file for its output -> a process like one of `subprocess`.
Launch = Callable[[list[str], Path], Any]


def start(arguments: list[str], output: Path) -> subprocess.Popen:
    """Start the program as a process of its own."""
    with output.open("ab") as stream:
        command = [sys.executable, "main.py", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True, env=environment
        )


class Tormented:
    """A group whose processes are killed.

    Args:
        path: of the group.
        launch: starts a launcher.
        draw: of the moments, and of who is killed.
        pause_s: from the start of sessions to a kill, at most.
        changes: of the control panel.
        seeds: how many.
    """

    victims: tuple[str, ...] = ("launchers", "children")

    def __init__(
        self, path: Path, launch: Launch, draw: random.Random, pause_s: float = 8.0, changes: dict | None = None,
        seeds: int = SEEDS,
    ):  # fmt: skip
        self.path, self.output = path, path.with_suffix(".output")
        self.kills: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._launch, self._draw, self._pause_s = launch, draw, pause_s
        self._arguments = [
            "group", CLASSIC, "--seeds", str(seeds), "--jobs", str(JOBS), "--retries", "1000", "--name", path.name,
            "--session-path", str(path.parent), "--cpanel", json.dumps(PANEL | (changes or {})),
            "--no-monitor-gpu", "--no-monitor-cpu", "--device", "cpu",
        ]  # fmt: skip
        self._orphans: list[psutil.Process] = []

    def run(self, wanted: int) -> None:
        """Start it as often as it takes to end, and kill so many of its processes meanwhile."""
        launcher, began = self._launch(self._arguments, self.output), time.monotonic()
        code = None
        while code is None:
            who = self._draw.choice(self.victims) if self.kills.total() < wanted else None
            code = self._wait(launcher, who)
            if code is None and time.monotonic() > began + _LIMIT_S:
                launcher.kill()
                self.wrong.append("it does not come to an end")
                break
            if code is None and who is not None:
                launcher = self._kill(launcher, who)
        if code not in (0, None):
            said = self.output.read_text().strip().splitlines() or ["nothing"]
            self.wrong.append(f"the launcher ended with {code} and said: {said[-1]}")
        _, alive = psutil.wait_procs(self._orphans, timeout=STOP_S + 10)
        self.wrong += [f"process {orphan.pid} has outlived its launcher" for orphan in alive]

    def _wait(self, launcher: Any, who: str | None) -> int | None:
        """Wait for the launcher's end, or the next kill. Returns: its exit code; None if it is time to kill.

        Args:
            who: is killed, most often when sessions are being run; None for nobody.
        """
        has_begun = who == "launchers" and self._draw.random() < 0.2
        pause_s, ends = self._draw.uniform(0, self._pause_s), time.monotonic() + _LIMIT_S
        while (code := launcher.poll()) is None and time.monotonic() < ends:
            has_begun = has_begun or self._has_begun(launcher)
            if who is not None and has_begun:
                ends = min(ends, time.monotonic() + pause_s)
            time.sleep(0.02)
        return code

    def _has_begun(self, launcher: Any) -> bool:
        """True if sessions are being run."""
        return bool(psutil.Process(launcher.pid).children())

    def _kill(self, launcher: Any, who: str) -> Any:
        """Kill the launcher or one of its children. Returns: the launcher that goes on."""
        children = psutil.Process(launcher.pid).children()
        waits = self._draw.random() < 0.5  # else the next launcher comes while sessions of this one still stop
        share = self._draw.random()  # drawn in any case: who is killed next does not depend on the time
        if who == "children" and children:
            with contextlib.suppress(psutil.NoSuchProcess):
                children[int(share * len(children))].kill()
                self.kills[who] += 1
        if who == "children":
            return launcher
        launcher.kill()
        launcher.wait()
        self.kills[who] += 1
        self._orphans += children
        if waits:
            psutil.wait_procs(self._orphans, timeout=STOP_S + 10)
        return self._launch(self._arguments, self.output)


def compare(straight: Path, killed: Path) -> Iterator[str]:
    """What is not the same in two groups that came to their end."""
    for name in open_group(straight).runs:
        pair = [
            SimpleNamespace(session=group / name, output=group / "output" / f"{name}.log")
            for group in (straight, killed)
        ]
        yield from (f"{name}: {each}" for each in differences(*pair))  # type: ignore[arg-type]


def main() -> int:
    """The command. Returns: 1 if a group that was disturbed ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.groups", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="kills (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    draw, kills, groups, wrong = random.Random(args.seed), Counter[str](), 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
        base = Path(directory).resolve()
        straight = Tormented(base / "straight", start, draw)
        straight.run(0)
        wrong += straight.wrong
        while kills.total() < args.n and not wrong:
            killed = Tormented(base / f"killed-{groups}", start, draw)
            killed.run(args.n - kills.total())
            groups, kills = groups + 1, kills + killed.kills
            wrong += killed.wrong or compare(straight.path, killed.path)
    counts = ", ".join(f"{kills[who]} {who}" for who in ("launchers", "children"))
    print(f"killed {counts}; {groups} groups of {SEEDS} sessions; bit-identical, no orphan: {'NO' if wrong else 'yes'}")
    print(*(f"    {line}" for line in wrong), sep="\n", end="")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
