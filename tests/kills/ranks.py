"""Runs of two ranks of which one, or all, or torchrun is killed, and which are resumed: `python -m tests.kills.ranks`.

Beside one that nobody disturbs, as `tests.kills.harness` says of runs in one process.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from digideep.utility.own_files import DONE
from tests.kills.harness import Victim, differences, kill_and_resume
from tests.kills.methods import METHODS
from tests.support.helpers import ROOT

TARGETS = ("rank 0", "rank 1", "all ranks", "torchrun", "rank 1 stopped")
PHASES = ("first save", "resuming", "training", "saving", "testing", "ending")
NAMES = ("ppo", "ppo recurrent", "ppo, normalised, in processes", "sac", "dqn, prioritised, from two memories")
_END_S = 60.0  # within which all is over


class RankVictim(Victim):
    """A session of two ranks. Attributes: targets: who is killed, in turn; slowest_s: from a kill to the end of all."""

    targets: list[str]
    slowest_s = 0.0

    def begin(self, arguments: list[str], environment: dict[str, str]) -> Any:
        """See `Victim`."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "main.py",
                 *arguments],
                cwd=ROOT, env={**os.environ, **environment}, start_new_session=True, stdout=output, stderr=output,
            )  # fmt: skip

    def end(self, aim: str | None) -> int | None:
        """See `Victim`. torchrun ends with 1, whatever a rank ends with."""
        existed, was_done = self.session.exists(), (self.session / DONE).exists()
        code = super().end(aim)
        if code == 1 and was_done:
            return 3
        return 2 if code == 1 and not existed and aim is None else code

    def _ranks(self) -> list[psutil.Process]:
        try:
            found = psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []
        ranks = []
        for process in found:
            try:
                if (number := process.environ().get("RANK")) is not None:
                    ranks.append((int(number), process))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return [process for _, process in sorted(ranks, key=lambda pair: pair[0])]

    def _is_held(self) -> bool:
        lock = str(self.session / "running.lock")
        for process in self._ranks()[:1]:
            try:
                return any(os.readlink(each) == lock for each in Path(f"/proc/{process.pid}/fd").iterdir())
            except OSError:
                return False
        return False

    def _kill(self) -> int:
        self._was_held = self._is_held()
        target, ranks = self.targets.pop(0) if self.targets else "all ranks", self._ranks()
        everybody = [*ranks, *(child for rank in ranks for child in rank.children(recursive=True))]
        began = time.monotonic()
        self.killed = target
        if target == "torchrun" or len(ranks) < 2:
            self._process.kill()
        elif target == "all ranks":
            for rank in ranks:
                rank.kill()
        else:
            ranks[int(target.split()[1])].send_signal(signal.SIGSTOP if "stopped" in target else signal.SIGKILL)
        self._process.wait(_END_S)
        _, left = psutil.wait_procs(everybody, max(_END_S - (time.monotonic() - began), 0))
        assert not left, f"{target} was killed, and after {_END_S:.0f} s there are still {left}"
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return -signal.SIGKILL


def different(straight: Victim, killed: Victim) -> list[str]:
    """Return what differs that should not.

    Ranks that have lost torchrun leave what a stop does: a checkpoint within an epoch, so that segments are cut
    elsewhere (their content is compared), and a profile of a part.
    """
    return [line for line in differences(straight, killed) if not re.search("segment-|prolog.json|Traceback", line)]


def main() -> int:
    """The command. Returns: 1 if a run that was killed ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.ranks", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="kills, spread over the methods (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--only", default="", metavar="NAME", help="methods whose name has this in it")
    args = parser.parse_args()
    names = [name for name in NAMES if args.only in name]
    is_right, total = True, 0
    for index, name in enumerate(names):
        draw = random.Random(f"{args.seed} {name}")
        wanted = args.n // len(names) + (index < args.n % len(names))
        with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
            base = Path(directory).resolve()
            straight = RankVictim(METHODS[name], base / "straight", draw)
            straight.targets = []
            wrong = kill_and_resume(straight, []).wrong
            victim = RankVictim(METHODS[name], base / "killed", draw)
            victim.targets = [TARGETS[(total + number) % len(TARGETS)] for number in range(wanted)]
            aims = sorted(draw.choices(PHASES, k=wanted), key=PHASES.index)
            told = list(zip(aims, victim.targets, strict=True))
            outcome = kill_and_resume(victim, aims) if not wrong else None
            if outcome is not None:
                wrong = outcome.wrong or different(straight, victim)
            kills = sum(outcome.kills.values()) if outcome is not None else 0
        total += wanted
        is_right &= not wrong
        print(
            f"{name}: {kills} kills {json.dumps(told)}, all over within {victim.slowest_s:.1f} s, "
            f"bit-identical: {'NO' if wrong else 'yes'}", *(f"    {line}" for line in wrong), sep="\n", flush=True,
        )  # fmt: skip
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
