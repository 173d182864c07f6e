"""A group on a Ray cluster whose nodes and launchers are killed, beside one left alone on this machine.

`python -m tests.kills.ray_nodes`
"""

import argparse
import contextlib
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tests.kills.groups import SEEDS, Tormented, compare, start

_STORE_BYTES = 80_000_000


class Nodes:
    """A cluster of processes on this machine: a head without places, and two nodes with one place each."""

    def __init__(self) -> None:
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False},
        )
        self.address: str = self._cluster.address
        self._nodes = [self._add(), self._add()]

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)

    def kill_one(self, draw: random.Random) -> None:
        """Kill a node's processes; another one comes."""
        victim = self._nodes.pop(draw.randrange(len(self._nodes)))
        self._cluster.remove_node(victim, allow_graceful=False)
        self._nodes.append(self._add())

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


class TormentedOnRay(Tormented):
    """A group on a cluster, of which nodes are killed, or the launcher. Args: nodes: the cluster; others: as before."""

    victims = ("nodes", "nodes", "launchers")

    def __init__(self, nodes: Nodes, path: Path, draw: random.Random, **options: Any):
        def launch(arguments: list[str], output: Path) -> Any:
            return start([*arguments, "--on", "ray", "--ray-address", nodes.address], output)

        super().__init__(path, launch, draw, **options)
        self._cluster = nodes

    def _has_begun(self, launcher: Any) -> bool:
        return bool(_processes_of(self.path))

    def _kill(self, launcher: Any, who: str) -> Any:
        """Kill a node, or the launcher. Returns: the launcher that goes on."""
        self.kills[who] += 1
        if who == "nodes":
            self._cluster.kill_one(self._draw)
            return launcher
        launcher.kill()
        launcher.wait()
        self._orphans += _processes_of(self.path)
        return self._launch(self._arguments, self.output)


def _processes_of(group: Path) -> list[psutil.Process]:
    """Return the processes that run sessions of a group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(word.startswith(f"{group}/") for word in process.cmdline()[1:]):
                found.append(process)
    return found


def main() -> int:
    """The command. Returns: 1 if a group on a cluster ended otherwise than the one on this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.ray_nodes", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=10, help="kills (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    draw, kills, groups, wrong = random.Random(args.seed), Counter[str](), 0, list[str]()
    nodes = Nodes()
    try:
        with tempfile.TemporaryDirectory(prefix="digideep-kills-") as directory:
            base = Path(directory).resolve()
            straight = Tormented(base / "straight", start, draw)
            straight.run(0)
            wrong += straight.wrong
            while kills.total() < args.n and not wrong:
                killed = TormentedOnRay(nodes, base / f"killed-{groups}", draw, pause_s=12.0)
                killed.run(args.n - kills.total())
                groups, kills = groups + 1, kills + killed.kills
                wrong += killed.wrong or compare(straight.path, killed.path)
                wrong += [f"process {orphan.pid} is left over" for orphan in _processes_of(killed.path)]
    finally:
        nodes.close()
    counts = ", ".join(f"{kills[who]} {who}" for who in ("nodes", "launchers"))
    print(f"killed {counts}; {groups} groups of {SEEDS} sessions; bit-identical, no orphan: {'NO' if wrong else 'yes'}")
    print(*(f"    {line}" for line in wrong), sep="\n", end="")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
