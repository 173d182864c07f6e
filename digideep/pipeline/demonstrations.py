"""What a run has before its first frame: memories that begin with a data set, and agents that learn from them."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from digideep.agent.base import AgentBase
from digideep.agent.behaviour_cloning import BehaviourCloning
from digideep.environment.dataset_rows import as_chunk
from digideep.environment.datasets import DataSet, LoadedData
from digideep.environment.explorer import Explorer
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.seats import Seat
from digideep.environment.spaces import observation_spaces
from digideep.memory.generic import MAIN, Memory
from digideep.parameters.component import build
from digideep.pipeline.continuing import space_difference
from digideep.telemetry.monitor import Monitor
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks

_log = logging.getLogger("digideep")


def fill_memories(
    memories: Mapping[str, Memory], explorers: Mapping[str, Explorer], agents: Mapping[str, AgentBase],
    environment: EnvironmentSpec, ranks: Ranks, *, is_offline: bool,
) -> None:  # fmt: skip
    """Let the memories of a new run begin with their data sets.

    Args:
        memories: by name.
        explorers: by name. The wrappers of "train" learn from what they change.
        agents: by name.
        environment: of the run.
        ranks: that have a share of each data set.
        is_offline: the train explorer never stores anything.

    Raises:
        UsageError: if a data set cannot be read, is not of this environment, or lacks what would be stored beside it.
    """
    feeders = {MAIN: explorers["train"]} | {str(each.memory): each for each in explorers.values() if each.memory}
    seats = explorers["train"].seats
    for name, memory in memories.items():
        if memory.data is None:
            continue
        first, *others = seats.values()
        if others or first.info.players:
            who = ", ".join(first.info.players or seats)
            raise UsageError(f"A data set, as memory '{name}' has, holds what one agent does. Here are several: {who}.")
        recording = build(memory.data, DataSet).load()
        _check_spaces(recording, first.info, environment)
        length, workers = memory.ring.chunk_sample_len, feeders[name].num_workers if name in feeders else 1
        key = environment.observation_key
        chunk, figures = as_chunk(recording, first, key, num_workers=workers, length=length, ranks=ranks)
        _check_keys(name, chunk, first, agents, is_fed=name in feeders and not is_offline)
        memory.fill(chunk, {"name": recording.name, **figures, "sha256": recording.files})
        if recording.environment not in (None, environment.name):
            _log.warning("%s was recorded in %s, and this is %s, of the same spaces.",
                         recording.name, recording.environment, environment.name)  # fmt: skip
        _log.info("memory '%s' begins with %s: %s episodes, %s frames, mean return %s",
                  name, recording.name, f"{figures['episodes']:,}", f"{figures['frames']:,}",
                  f"{figures['return']:,.2f}")  # fmt: skip


def _check_spaces(recording: LoadedData, info: EnvironmentInfo, environment: EnvironmentSpec) -> None:
    """Refuse a data set of other spaces."""
    actions = recording.action_space
    try:
        seen = observation_spaces(recording.observation_space, environment.observation_key)
        theirs = EnvironmentInfo(seen, actions, actions, None, ()).to_plain()
    except UsageError as err:
        raise UsageError(f"The data set {recording.name} cannot be learned from: {err}") from err
    declared = info.action_space if info.declared_action_space is None else info.declared_action_space
    ours = {"observations": info.to_plain()["observations"], "actions": repr(declared)}
    if (difference := space_difference(theirs, ours)) is not None:
        raise UsageError(f"The data set {recording.name} is none of {environment.name}: {difference}.")


def _check_keys(
    memory: str, chunk: Mapping[str, Any], seat: Seat, agents: Mapping[str, AgentBase], *, is_fed: bool
) -> None:
    """Refuse a data set that lacks what an explorer stores in the same memory, or what an agent learns from there."""
    needed = [f"/infos{path}" for path in seat.info.infos] if is_fed else []
    agent = agents[seat.name]
    sampler = getattr(agent, "sampler", None)
    if memory in getattr(sampler, "memory_names", (MAIN,)):
        needed += agent.needed_keys
        if getattr(sampler, "hindsight", None) is not None:
            needed += [f"/infos{path}" for path in seat.info.infos]  # compute_reward may ask for any of them
    for key in needed:
        if key not in chunk:
            remedy = "Give the data set a memory of its own" if is_fed else "Do without it, or without the data set"
            raise UsageError(f"A data set has no {key}, which memory '{memory}' needs. {remedy}.")


def check_pretraining(agents: Mapping[str, AgentBase]) -> None:
    """Refuse agents that would be pretrained on nothing."""
    for part in _pretrainings(agents).values():
        part.check()


def pretrain(agents: Mapping[str, AgentBase], monitor: Monitor, should_stop: Callable[[], bool]) -> None:
    """Let agents learn what they are to know before the first frame, unless the run is to stop meanwhile."""
    for name, part in _pretrainings(agents).items():
        part.run(partial(monitor.record, f"/pretraining/{name}"), should_stop)


def pretraining_steps(agents: Mapping[str, AgentBase]) -> int:
    """Return the gradient steps of pretraining so far."""
    return sum(part.n_done for part in _pretrainings(agents).values())


def _pretrainings(agents: Mapping[str, AgentBase]) -> dict[str, BehaviourCloning]:
    parts = {name: agent.parts.get("pretraining") for name, agent in agents.items()}
    return {name: part for name, part in parts.items() if isinstance(part, BehaviourCloning)}
