"""What a checkpoint costs: bytes written and seconds for k new transitions, with ever more of them stored.

The memory is that of HalfCheetah-v5 and one worker (98 bytes a transition). `python benchmarks/checkpoint_cost.py`
"""

import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from digideep.memory.generic import Memory
from digideep.memory.ring import Chunk
from digideep.pipeline.segments import SegmentStore

STORED, NEW, LENGTH = (10_000, 100_000, 1_000_000), (100, 1_000, 10_000), 100


def make_chunk(generator: np.random.Generator) -> Chunk:
    """`LENGTH` random steps."""
    shape = (1, LENGTH + 1)
    return {
        "/observations/agent": generator.standard_normal((*shape, 17), np.float32),
        "/masks": np.ones((*shape, 1), bool),
        "/agents/agent/actions": generator.standard_normal((*shape, 6), np.float32),
        "/rewards": generator.standard_normal((*shape, 1), np.float32),
        "/terminations": np.zeros((*shape, 1), bool),
    }


def written(directory: Path, before: set[str]) -> int:
    """Bytes of the files that were not there before."""
    return sum(path.stat().st_size for path in directory.iterdir() if path.name not in before)


def main() -> None:
    """Fill a memory of a million transitions step by step; save after each k new ones."""
    generator = np.random.default_rng(0)
    memory = Memory(chunk_sample_len=LENGTH, buffer_chunk_len=STORED[-1] // LENGTH)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("| stored | new | bytes written | bytes per new transition | ms |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as base:
        directory = Path(base) / "memory"
        store = SegmentStore(directory)
        for stored in STORED:
            while memory.ring.n_chunks * LENGTH < stored:
                memory.store(make_chunk(generator))
            store.append(memory)
            for new in NEW:
                for _ in range(new // LENGTH):
                    memory.store(make_chunk(generator))
                before = {path.name for path in directory.iterdir()}
                start = time.perf_counter()
                store.append(memory)
                seconds, size = time.perf_counter() - start, written(directory, before)
                print(f"| {stored:,} | {new:,} | {size:,} | {size / new:.1f} | {1000 * seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
