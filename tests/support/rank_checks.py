"""What two connected ranks check of each other: `python -m tests.support.rank_checks`, started twice by `run_ranks`.

Each check runs in both ranks, and fails by an assertion in either.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from contextlib import closing
from socket import socket

import numpy as np
import pytest
import torch
from torch import nn

from digideep.agent.trajectories import shuffled_minibatches
from digideep.environment.running_statistics import RunningMeanStd, merge
from digideep.learning.compiling import compiled
from digideep.learning.gradient_step import GradientStep, average
from digideep.learning.optimizers import Adam
from digideep.memory.replay import Replay
from digideep.pipeline.beginning import require_ranks
from digideep.pipeline.rank_watch import RankWatch
from digideep.telemetry.monitor import Statistic
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks
from tests.support.helpers import ROOT

CPU = torch.device("cpu")


def free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rank_variables(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a rank, without its own store."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}


def start_ranks(*arguments: str) -> list[subprocess.Popen]:
    """Start this module as two ranks."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.rank_checks", *arguments], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), **rank_variables(rank, 2, port)},
        )
        for rank in range(2)
    ]  # fmt: skip


def run_ranks() -> list[dict[str, str]]:
    """Run all checks in two ranks. Returns: of each rank, what each check said: "" if all is well."""
    processes = start_ranks()
    try:
        return [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    finally:
        for process in processes:  # one that failed leaves the other waiting
            process.kill()


def sums_and_notes_are_those_of_all_ranks(ranks: Ranks) -> None:
    assert ranks.sum(torch.tensor([1.0, ranks.rank])).tolist() == [2.0, 1.0]
    assert ranks.gather_arrays(np.array([ranks.rank, 7])).tolist() == [[0, 7], [1, 7]]
    assert ranks.gather({"é": [ranks.rank, None, 0.1]}) == [{"é": [0, None, 0.1]}, {"é": [1, None, 0.1]}]
    assert ranks.gather("of the first" if ranks.is_first else None) == ["of the first", None]
    assert ranks.gather(None) == [None, None]
    assert ranks.told_by_first(f"rank {ranks.rank}") == "rank 0"
    assert ranks.largest(5 + ranks.rank) == 6
    assert sum(ranks.gather(ranks.share(7))) == 7
    assert ranks.seed(3) != ranks.gather(ranks.seed(3))[1 - ranks.rank]


def ranks_that_were_started_with_different_parameters_are_refused(ranks: Ranks) -> None:
    tree = {"runner": {"num_ranks": 2}, "agents": {"a": {"lr": 1e-3, "sizes": [64, 64]}}}
    require_ranks(tree, ranks, None)
    theirs = tree if ranks.is_first else tree | {"agents": {"a": {"lr": 1e-3, "sizes": [32]}}}
    with pytest.raises(UsageError, match=r"^Rank 1 has \[32\] under /agents/a/sizes, rank 0 \[64, 64\]: "):
        require_ranks(theirs, ranks, None)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def _loss(call, inputs, targets):
    return (call(inputs) - targets).square().mean(), {}


def _plain_loss(call, inputs, targets):  # without what differs between a batch and its parts
    return (call(inputs).sum(-1, keepdim=True) - targets).square().mean(), {}


def steps_on_parts_of_a_batch_are_the_step_on_the_whole(ranks: Ranks) -> None:
    generator = torch.Generator().manual_seed(5)
    inputs, targets = torch.randn(12, 3, generator=generator), torch.randn(12, 1, generator=generator)
    sizes = [4, 8]
    own = slice(0, 4) if ranks.is_first else slice(4, 12)
    for fast in (False, True):
        torch.manual_seed(1)
        layer = nn.Linear(3, 2)
        alone = GradientStep(nn.Linear(3, 2), _plain_loss, Adam(), max_grad_norm=0.1, lr=0.05)
        together = GradientStep(layer, _plain_loss, Adam(), max_grad_norm=0.1, lr=0.05)
        alone.flat.copy_(together.flat)
        together.spread(ranks)
        together.set_share(sizes[ranks.rank] / 12)
        take = compiled(together.__call__, CPU) if fast else together
        for _ in range(3):
            alone(inputs, targets)
            take(inputs[own], targets[own])
        assert torch.allclose(alone.flat, together.flat, atol=1e-6), (fast, alone.flat, together.flat)
        parts = ranks.gather(together.flat.tolist())
        assert parts[0] == parts[1]


def running_statistics_of_a_network_are_the_same_on_all_ranks(ranks: Ranks) -> None:
    step = GradientStep(_network(), _loss, Adam(), lr=0.01)
    step.spread(ranks)
    inputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(ranks.rank))
    for _ in range(2):
        step(inputs, torch.zeros(6, 1))
    own = [tensor.tolist() for tensor in (*step.module.state_dict().values(), step.flat)]
    ours, theirs = ranks.gather(own)
    assert ours == theirs


def averages_of_parameters_are_the_means(ranks: Ranks) -> None:
    tensors = [torch.full((2, 2), float(ranks.rank)), torch.tensor([4.0 * ranks.rank])]
    average(tensors, ranks)
    assert [tensor.tolist() for tensor in tensors] == [[[0.5, 0.5], [0.5, 0.5]], [2.0]]


def normalisers_know_what_all_ranks_saw(ranks: Ranks) -> None:
    rows = np.random.default_rng(0).normal(3, 2, (400, 2))
    pooled, running, reward = RunningMeanStd((2,)), RunningMeanStd((2,)), RunningMeanStd(())
    for part in np.split(rows, 4):
        pooled.update(part)
        running.update(part[ranks.rank :: 2])
        reward.update(part[ranks.rank :: 2, 0])
        merge([running, reward], ranks)
        np.testing.assert_allclose(running.mean, pooled.mean, rtol=1e-9)
        np.testing.assert_allclose(running.var, pooled.var, rtol=1e-9)
        assert abs(running.count - pooled.count) < 1e-6
    ours, theirs = ranks.gather([running.mean.tolist(), running.var.tolist(), running.count, float(reward.var)])
    assert ours == theirs


def a_rank_that_learned_nothing_takes_over_what_others_learned(ranks: Ranks) -> None:
    running = RunningMeanStd((1,))
    if ranks.is_first:
        running.update(np.array([[1.0], [3.0]]))
    merge([running], ranks)
    assert abs(running.mean.item() - 2.0) < 1e-3
    assert abs(running.count - 2) < 1e-3


def statistics_of_the_monitor_add_up(ranks: Ranks) -> None:
    values = [1.0, 5.0, 2.0, 8.0]
    whole, own = Statistic(), Statistic()
    for index, value in enumerate(values):
        whole.add(value)
        if index % 2 == ranks.rank:
            own.add(value)
    first, second = ranks.gather(own.state_dict())
    merged = Statistic()
    merged.merge(first)
    merged.merge(second)
    assert merged.summary().keys() == whole.summary().keys()
    for name, figure in whole.summary().items():
        assert abs(merged.summary()[name] - figure) < 1e-12, name


def a_replayed_batch_is_shared_out(ranks: Ranks) -> None:
    sampler = Replay(ranks=ranks, batch_size=5)
    sizes = ranks.gather(sampler.info["batch_size"])
    shares = ranks.gather(sampler.share)
    assert sizes == [3, 2]
    assert shares == [0.6, 0.4]


def ranks_with_fewer_rows_have_as_many_minibatches(ranks: Ranks) -> None:
    rows = np.arange(10 if ranks.is_first else 4)
    number = ranks.largest(-(-len(rows) // 4))
    order = shuffled_minibatches(rows, 4, np.random.default_rng(0), number)
    assert order.shape == (3, 4)
    assert set(order.ravel()) == set(rows)


CHECKS = {
    name: check
    for name, check in list(globals().items())
    if getattr(check, "__module__", None) == __name__
    and check.__annotations__.get("ranks") is Ranks
    and check.__name__ != "hang_in_one_step"
}


def hang_in_one_step(ranks: Ranks) -> None:
    """Let rank 1 stand still where it should simulate, while rank 0 waits for it."""
    watch = RankWatch(ranks, lambda reason: None)
    watch.patience_s = 1.0
    watch.start()
    try:
        if not ranks.is_first:
            ranks.is_waiting = False
            time.sleep(60)
        ranks.meet()
    except RuntimeError as err:
        print(watch.explain(err), file=sys.stderr)
        sys.exit(1)


def main() -> None:
    ranks, said = Ranks.from_environment(), {}
    ranks.connect(CPU)
    if sys.argv[1:] == ["hang"]:
        return hang_in_one_step(ranks)
    for name, check in CHECKS.items():
        try:
            check(ranks)
            said[name] = ""
        except Exception:
            said[name] = traceback.format_exc()
            break  # the other rank would wait for an answer
    print(json.dumps(said), flush=True)
    return ranks.close()


if __name__ == "__main__":
    main()
