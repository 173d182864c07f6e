"""An explorer that collects the next chunk, in a process of its own, while agents learn from this one."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from digideep.agent.base import AgentBase
from digideep.agent.on_policy import OnPolicyAgent
from digideep.environment.episode_infos import Episode
from digideep.environment.explorer import Explorer
from digideep.environment.explorer_base import ExplorerBase
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.senses import Chunk
from digideep.environment.stepping.served_process import START_S, ServedProcess, start_context
from digideep.parameters.tree import Tree, from_plain, to_plain
from digideep.pipeline.building import build_actor
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import NonFiniteError, StoppedError, UsageError
from digideep.utility.process_state import configure_torch, globals_state, set_globals_state
from digideep.utility.ranks import Ranks
from digideep.utility.seeding import seed_globals

_PATIENCE_S = 3.0  # beyond `worker_timeout_s`, after which worker processes are given up by their own explorer
_FOREVER_S = 1e6  # re-living episodes has no limit, as it has none within one process

_log = logging.getLogger("digideep")


class AheadExplorer(Explorer):
    """Delivers chunks that an `Explorer` in a process of its own collects while agents learn.

    The policy that acts lags by one chunk: chunk k + 1 is collected with the weights that the agents had when chunk k
    was delivered, before they learned from it. The first two are collected with the first weights. No timing changes
    that, and `state_dict` waits for the chunk under way, so that resume is exact.

    What it shows (frames, episodes, statistics of normalisers) is as of the chunk that was delivered last. The other
    process acts on the CPU, by one thread. Parameters are those of `Explorer`.

    Args:
        mode: "train". agents: that learn. environment, info, seed, profiler, ranks: as of `Explorer`.
        tree: the parameter tree, of which the other process builds agents of its own.

    Raises:
        UsageError: if agents do not act by their policy alone, or there are several ranks.
    """

    def __init__(
        self, mode: str, agents: Mapping[str, AgentBase], environment: EnvironmentSpec, info: EnvironmentInfo,
        seed: int, profiler: Profiler, tree: Tree, ranks: Ranks | None = None,
        *,
        num_workers: int, n_steps: int | None = None, worker_timeout_s: float = 300.0, overlap: bool = False,
        memory: str | None = None, **parameters: Any,
    ):  # fmt: skip
        _check(mode, agents, ranks or Ranks(), overlap=overlap)
        # Not Explorer's constructor, which makes the environments here. The seats have the wrappers that data sets,
        # further explorers and tests look at.
        ExplorerBase.__init__(
            self, mode, agents, environment, info, seed, profiler, ranks, num_workers, n_steps, memory
        )
        self._agents = agents
        self._metrics: dict[str, float] = {}
        self._next: dict[str, Any] | None = None  # what comes with the next chunk, if it is here already
        self._has_begun = self._is_under_way = False
        self._patience_s = worker_timeout_s + _PATIENCE_S
        context = start_context()
        self._shared = context.RawArray("q", 2)  # steps so far, and whether to stop
        self._process = ServedProcess(
            context, f"the workers of explorer '{mode}'", _Collection, to_plain(tree), mode, environment, info, seed,
            self._shared, kept=(UsageError, NonFiniteError),
        )  # fmt: skip
        try:
            self._process.receive(worker_timeout_s + START_S)
        except BaseException:
            self.close()
            raise

    def update(self) -> Chunk:
        """Let the next chunk be begun, and deliver this one. See `Explorer`."""
        with self.profiler(self.mode):
            if not self._has_begun:
                self._begin({name: seat.state_dict() for name, seat in self.seats.items()})
            self._await_chunk()
            record, self._next = self._next, None
            self._begin()
        assert record is not None
        self._show(record)
        self._finished += [Episode(*episode) for episode in record["episodes"]]
        self._metrics = record["metrics"]
        chunk: Chunk = record["chunk"]
        return chunk

    def _begin(self, seats: dict[str, Any] | None = None) -> None:
        """Let a chunk be collected with the weights of now. Args: seats: what their wrappers begin with."""
        weights = {name: _arrays(agent.policy.state_dict()) for name, agent in self._agents.items()}
        self._process.send("collect", weights, self.planned_frames, seats)
        self._has_begun = self._is_under_way = True

    def _await_chunk(self) -> None:
        """Wait for the chunk that is under way, if one is."""
        if self._is_under_way:
            self._next = self._process.receive(self._patience_s, lambda: int(self._shared[0]))
            self._is_under_way = False
            for level, text in self._next.pop("logs"):
                _log.log(level, "%s", text)

    def _ask(self, request: str, *args: Any, timeout_s: float) -> Any:
        self._await_chunk()
        self._process.send(request, *args)
        return self._process.receive(timeout_s)

    def _show(self, record: Mapping[str, Any]) -> None:
        """Take over counters and seats."""
        self.steps, self.n_episode = record["steps"], record["n_episode"]
        for name, seat in self.seats.items():
            seat.load_state_dict(record["seats"][name])

    def reset(self) -> None:
        """Refuse: the episodes of the next chunk have begun."""
        raise UsageError(f"The explorer '{self.mode}' collects ahead and cannot begin anew. Leave ahead at false.")

    def reseed(self, *purpose: str | int) -> None:
        """Refuse, as `reset` does."""
        self.reset()

    def metrics(self) -> dict[str, float]:
        """See `Explorer`."""
        metrics, self._metrics = self._metrics, {}
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return what is shown, the chunk that comes next, and the other process's state after that."""
        collection = self._ask("state_dict", timeout_s=self._patience_s)
        return {
            "steps": self.steps,
            "n_episode": self.n_episode,
            "finished": [list(episode) for episode in self._finished],
            "seats": {name: seat.state_dict() for name, seat in self.seats.items()},
            "next": self._next,
            "collection": collection,
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Continue where `state_dict` left off. Returns: see `Explorer`."""
        diverged: list[int] = self._ask("load_state_dict", state["collection"], timeout_s=_FOREVER_S)
        self._show(state)
        self._finished = [Episode(*episode) for episode in state["finished"]]
        self._next = state["next"]
        self._has_begun = self._next is not None
        return diverged

    def close(self) -> None:
        """Close the environments and end the other process, which leaves the chunk that is under way."""
        self._shared[1] = 1
        self._process.begin_closing()
        self._process.close()


_ACTING = ("action_generator", "choose", "observe", "allowed", "reset_hidden_state")  # what acting runs through


def _check(mode: str, agents: Mapping[str, AgentBase], ranks: Ranks, *, overlap: bool) -> None:
    """Refuse what does not fit."""
    leave = "Leave ahead at false."
    if mode != "train":
        raise UsageError(f"The explorer '{mode}' cannot collect ahead: only 'train' can. {leave}")
    if ranks.size > 1:
        raise UsageError(f"ahead is for a run in one process, and here are {ranks.size} ranks. {leave}")
    if overlap:
        raise UsageError("ahead and overlap exclude each other: leave one of them at false.")
    for name, agent in agents.items():
        # It has no other state than that of its generator, and no weights but those of its policy.
        for method in _ACTING:
            if getattr(type(agent), method, None) is not getattr(OnPolicyAgent, method):
                raise UsageError(
                    f"ahead is for agents that act by their policy alone, as those of PPO and A2C; agent '{name}' is "
                    f"{type(agent).__name__}, with {method} of its own. {leave} Replay methods have overlap."
                )


class _Collection:
    """What the other process does: an `Explorer` with agents that only act.

    Args:
        plain: the parameter tree.
        shared: int64 (2,), steps so far, and whether to stop.
        mode, environment, info, seed: as of `Explorer`.
    """

    def __init__(
        self, plain: Tree, mode: str, environment: EnvironmentSpec, info: EnvironmentInfo, seed: int, shared: Any
    ):
        seed_globals(seed)
        configure_torch(1, is_deterministic=True)
        self._logs = _Logs()
        tree = from_plain(plain)
        self._agents = {name: build_actor(tree, name, info.of_agent(name)) for name in tree["agents"]}
        parameters = {key: value for key, value in tree["explorer"][mode].items() if key != "class"}
        self._explorer = Explorer(
            mode, self._agents, environment, info, seed, Profiler(0), ranks=_Pulse(shared), **parameters
        )

    def collect(
        self, weights: dict[str, dict[str, np.ndarray]], planned_frames: int, seats: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Collect a chunk. Args: weights: by agent and name; seats: what their wrappers begin with, if it is the first.

        Returns:
            The chunk, and all that `AheadExplorer` shows once it has delivered it.
        """
        explorer = self._explorer
        for name, agent in self._agents.items():
            agent.policy.load_state_dict({key: torch.from_numpy(array) for key, array in weights[name].items()})
        for name, state in (seats or {}).items():
            explorer.seats[name].load_state_dict(state)
        explorer.planned_frames = planned_frames
        chunk = explorer.update()
        return {
            "chunk": chunk,
            "steps": explorer.steps,
            "n_episode": explorer.n_episode,
            "episodes": [list(episode) for episode in explorer.take_episodes()],
            "seats": {name: seat.state_dict() for name, seat in explorer.seats.items()},
            "metrics": explorer.metrics(),
            "logs": self._logs.take(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the explorer's state, and that of all generators."""
        return {
            "explorer": self._explorer.state_dict(),
            "agents": {name: agent.generator.get_state().numpy() for name, agent in self._agents.items()},
            "globals": (state := globals_state()) | {"torch": state["torch"].numpy()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Continue where `state_dict` left off. Returns: see `Explorer`."""
        diverged = self._explorer.load_state_dict(state["explorer"])
        for name, agent in self._agents.items():
            agent.generator.set_state(torch.from_numpy(state["agents"][name]))
        set_globals_state(state["globals"] | {"torch": torch.from_numpy(state["globals"]["torch"])})
        return diverged

    def close(self) -> list[str]:
        """Close the environments. Returns: what went wrong, one line each."""
        self._explorer.close()
        return [text for level, text in self._logs.take() if level >= logging.WARNING]


class _Pulse(Ranks):
    """One rank, whose steps the process that waits for it can see; which can tell it to stop.

    Args:
        shared: int64 (2,), steps so far, and whether to stop.
    """

    def __init__(self, shared: Any):
        self._shared = shared
        super().__init__()

    @property
    def steps(self) -> int:
        """Steps so far."""
        return int(self._shared[0])

    @steps.setter
    def steps(self, number: int) -> None:
        self._shared[0] = number
        if self._shared[1]:
            raise StoppedError("Nobody waits for this chunk any more.")


class _Logs(logging.Handler):
    """Keeps what is logged here for the process that writes the logs."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[tuple[int, str]] = []
        _log.addHandler(self)
        _log.setLevel(logging.INFO)
        _log.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep level and text."""
        self._records.append((record.levelno, record.getMessage()))

    def take(self) -> list[tuple[int, str]]:
        """Return what was logged since the last call."""
        records, self._records = self._records, []
        return records


def _arrays(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {key: tensor.numpy(force=True) for key, tensor in state.items()}
