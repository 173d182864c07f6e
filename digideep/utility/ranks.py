"""The ranks of a run: processes that `torchrun` starts, and that train one run together.

A run in one process has one rank, for which everything here is free and changes nothing.
"""

import itertools
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from digideep.utility.errors import UsageError
from digideep.utility.seeding import derive_seed
from digideep.utility.shared_sums import SharedSlots

if TYPE_CHECKING:  # worker processes do without torch
    import torch

_ORDERED = ("x86_64", "i686")  # processors on which whoever sees a flag sees what was written before it
_NUMBERS = itertools.count()
_MOST = 100_000  # ranks, of which nobody has more
_MEET_S = 60.0  # for all ranks to have started
_FOREVER = timedelta(days=7)  # a rank that is lost is noticed by `RankWatch`, not by a collective that takes long


class Ranks:
    """What a rank asks the others. All ranks call the same methods in the same order.

    Args:
        rank: of this process, in [0, size).
        size: ranks of the run.
        local_rank: of this process among those of its machine.
        local_size: ranks on this machine.
        restarts: how often torchrun has started the ranks anew.

    Attributes:
        steps: counts what this rank simulates, so that somebody can see that it goes on.
        is_waiting: True while this rank does nothing but wait for others, or what it does may take long.
        store: where ranks leave notes for each other; None before `connect`, and where there is one rank.
        check: called while this rank waits for others; it may raise, since one of them is lost.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1, restarts: int = 0):
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size
        self.restarts, self.steps, self.is_waiting = restarts, 0, True
        self.store: Any = None
        self.check: Callable[[], None] = lambda: None
        self._slots: SharedSlots | None = None  # of ranks on one machine and on CPUs
        self._distributed: Any = None  # the module, once the ranks have met

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Ranks":
        """Return the ranks that torchrun's environment variables tell of; one where there are none.

        Raises:
            UsageError: if they contradict each other.
        """
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= variables.keys():
            return cls()
        found = {}
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"),
                              ("TORCHELASTIC_RESTART_COUNT", "0"), ("MASTER_PORT", "0")):  # fmt: skip
            text = variables.get(name, default)
            if not (text.isascii() and text.isdigit()):
                raise UsageError(f"The environment variable {name} is {text!r:.50}, expected a whole number: {_ADVICE}")
            found[name] = int(text)
        rank, size, local_rank, local_size, restarts, port = found.values()
        for name, value, most in (("MASTER_PORT", port, 65_535), ("WORLD_SIZE", size, _MOST)):
            if value > most:
                raise UsageError(f"The environment variable {name} is {value}, expected at most {most}: {_ADVICE}")
        if not size or not local_size:
            raise UsageError(f"WORLD_SIZE is {size}, LOCAL_WORLD_SIZE {local_size}, expected at least 1: {_ADVICE}")
        for name, value, limit in (("RANK", rank, size), ("LOCAL_RANK", local_rank, local_size)):
            if value >= limit:
                raise UsageError(f"The environment variable {name} is {value}, expected less than {limit}: {_ADVICE}")
        return cls(rank, size, local_rank, local_size, restarts)

    @property
    def is_first(self) -> bool:
        """True for rank 0, which alone writes logs and talks to people."""
        return self.rank == 0

    @property
    def prefix(self) -> str:
        """Which rank says what follows; nothing where there is one."""
        return f"rank {self.rank}: " if self.size > 1 else ""

    def seed(self, seed: int) -> int:
        """Return what a run's seed becomes for what each rank draws for itself; rank 0 keeps it."""
        return seed if self.is_first else derive_seed(seed, "rank", self.rank)

    def share(self, number: int) -> int:
        """Return this rank's part of a whole number of things that are shared out as evenly as can be."""
        return number // self.size + (self.rank < number % self.size)

    def device(self, device: "torch.device") -> "torch.device":
        """Return where this rank computes: of CUDA devices that are not named, the one of its number.

        Raises:
            UsageError: if there are fewer devices than ranks on this machine.
        """
        if self.size == 1 or device.type != "cuda" or device.index is not None:
            return device
        import torch

        number = torch.cuda.device_count()
        if self.local_rank >= number:
            raise UsageError(
                f"{self.local_size} ranks on this machine need as many CUDA devices, torch finds {number}. Start fewer "
                "with --nproc-per-node, or give --device cpu."
            )
        return torch.device("cuda", self.local_rank)

    # ------------------------------------------------------------------ connecting

    def open_store(self) -> Any:
        """Connect with the server that torchrun, or rank 0, keeps for notes. Raises: UsageError: if that fails."""
        from torch.distributed import DistNetworkError, DistStoreError, PrefixStore, TCPStore

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        serves = self.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and self.store is None
        try:
            store = TCPStore(host, port, None, serves, timedelta(seconds=_MEET_S), wait_for_workers=False)
        except (DistNetworkError, DistStoreError, ValueError) as err:
            what = "offer the ranks a meeting place" if serves else "reach the other ranks"
            raise UsageError(
                f"Rank {self.rank} cannot {what} at {host}:{port} (MASTER_ADDR, MASTER_PORT): "
                f"{str(err).splitlines()[0]:.100}. Choose a free port, and see that torchrun runs."
            ) from err
        self._whole_run = PrefixStore("digideep", store)  # also of what was before a restart
        return PrefixStore(f"digideep/{self.restarts}", store)

    def connect(self, device: "torch.device") -> None:
        """Meet the other ranks. Args: device: where this rank computes.

        Raises:
            UsageError: if they do not come.
        """
        if self.size == 1:
            return
        import torch
        import torch.distributed as distributed
        from torch.distributed import _functional_collectives

        self.store = self.open_store()
        self.store.set(f"here/{self.rank}", "")
        try:
            self.store.wait([f"here/{rank}" for rank in range(self.size)], timedelta(seconds=_MEET_S))
        except distributed.DistStoreError as err:
            missing = [str(rank) for rank in range(self.size) if not self.store.check([f"here/{rank}"])]
            raise UsageError(
                f"Rank{'s' * (len(missing) > 1)} {', '.join(missing)} of {self.size} did not come within "
                f"{_MEET_S:.0f} s. Start as many as WORLD_SIZE says."
            ) from err
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group(
            backend, store=self.store, rank=self.rank, world_size=self.size, timeout=_FOREVER
        )
        self._torch: Any = torch
        self._distributed = distributed
        self._functional: Any = _functional_collectives
        can_share = hasattr(os, "memfd_create") and platform.machine() in _ORDERED
        if can_share and device.type == "cpu" and self.local_size == self.size:
            self._slots = SharedSlots(self.rank, self.size, self._tell, lambda: self.check())
            self._add_up_compiled = self._make_operator()

    def close(self) -> None:
        """Leave the others. Safe to call again."""
        if self._distributed is not None:
            self._distributed.destroy_process_group()
        self.store = self._distributed = None

    def leave_behind(self, name: str, text: str) -> None:
        """Note something for the ranks that torchrun may start in the places of these."""
        if self.size > 1 and self.is_first:
            self._whole_run.set(name, text)

    def left_behind(self, name: str) -> str | None:
        """Return what ranks before these have noted; None if they have not."""
        found: bytes | None = self._whole_run.get(name) if self._whole_run.check([name]) else None
        return None if found is None else found.decode()

    # ------------------------------------------------------------------ asking

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Note that this rank waits for others within the context, or does what may take long, such as compiling."""
        before, self.is_waiting = self.is_waiting, True
        try:
            yield
        finally:
            self.is_waiting = before

    def sum(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """Return the sum over all ranks, the same bits on each. Args: tensor: of one shape everywhere; may be changed.

        It can be a part of a function that is being compiled.
        """
        if self.size == 1:
            return tensor
        if self._torch.compiler.is_compiling():
            if self._slots is not None and tensor.device.type == "cpu":
                return self._add_up_compiled(tensor)
            total: torch.Tensor = self._functional.all_reduce(tensor, "sum", self._distributed.group.WORLD)
            return total
        if self._slots is not None and tensor.device.type == "cpu":
            return self._add_up(tensor)
        with self.waiting():
            self._distributed.all_reduce(tensor)
        return tensor

    def _tell(self, value: Any) -> Any:
        """Return the JSON value of rank 0, without what is shared with it: that is being made."""
        slots, self._slots = self._slots, None
        try:
            return self.told_by_first(value)
        finally:
            self._slots = slots

    def _add_up(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """Return the sum over the ranks of this machine, rank by rank: the same bits on each."""
        assert self._slots is not None
        with self.waiting():
            parts = self._torch.from_numpy(self._slots.exchange(tensor.contiguous().numpy()))
        total: torch.Tensor = parts[0] + parts[1]
        for part in parts[2:]:
            total += part
        return total

    def _make_operator(self) -> Any:
        """Return `_add_up` for code that is being compiled: an operator that the compiler does not look into."""
        name = f"digideep::add_up_{next(_NUMBERS)}"
        operator = self._torch.library.custom_op(
            name, self._add_up, mutates_args=(), schema="(Tensor tensor) -> Tensor"
        )
        operator.register_fake(self._torch.empty_like)
        return operator

    def largest(self, number: int) -> int:
        """Return the largest of the ranks' whole numbers."""
        return max(self.gather(number)) if self.size > 1 else number

    def gather_arrays(self, array: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, (size, ...). Args: array: of one shape and dtype everywhere."""
        if self.size == 1:
            return array[None]
        if self._slots is not None:
            with self.waiting():
                return self._slots.exchange(np.ascontiguousarray(array)).copy()
        own = self._torch.from_numpy(np.array(array))
        others = [self._torch.empty_like(own) for _ in range(self.size)]
        with self.waiting():
            self._distributed.all_gather(others, own)
        gathered: np.ndarray = self._torch.stack(others).numpy()
        return gathered

    def gather(self, value: Any) -> list[Any]:
        """Return the JSON values of all ranks, by rank. Where all are None, that costs one small message."""
        if self.size == 1:
            return [value]
        data = b"" if value is None else json.dumps(value).encode()
        sizes = self.gather_arrays(np.array([len(data)], np.int64))[:, 0]
        if not sizes.any():
            return [None] * self.size
        padded = np.frombuffer(data.ljust(int(sizes.max()), b" "), np.uint8)
        texts = self.gather_arrays(padded)
        return [json.loads(bytes(text[:size])) if size else None for text, size in zip(texts, sizes, strict=True)]

    def meet(self) -> None:
        """Wait until all ranks have come here."""
        if self.size > 1:
            self.gather(None)

    def told_by_first(self, value: Any) -> Any:
        """Return the JSON value of rank 0, whatever the others say."""
        return self.gather(value if self.is_first else None)[0]


def is_of_torchrun(variable: str) -> bool:
    """True if an environment variable tells a rank who it is: what it starts itself must not believe to be that."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return variable in names or variable.startswith(("TORCHELASTIC_", "GROUP_", "ROLE_"))


_ADVICE = "start the ranks with torchrun."
