"""The memories and agents that a parameter tree describes, built and introduced to each other."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import torch

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext
from digideep.environment.explorer import Explorer
from digideep.environment.making.goals import EnvironmentGoals
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.memory.generic import MAIN, AgentMemoryView, Memory
from digideep.parameters.component import build
from digideep.parameters.tree import Tree
from digideep.pipeline.continuing import memories_of, plan_of
from digideep.pipeline.segments import memory_directory
from digideep.pipeline.session import Session
from digideep.pipeline.tree_checks import memory_path
from digideep.telemetry.profiler import Profiler
from digideep.utility.errors import UsageError
from digideep.utility.process_state import unchanged_globals


def build_memories(session: Session, tree: Tree) -> dict[str, Memory]:
    """Build this rank's memories by name. Args: tree: with classes, from `from_plain`."""
    memories = {}
    for name, description in memories_of(tree).items():
        rank = session.ranks.rank
        ring = None if session.path is None else memory_directory(session.path, rank, name) / "ring"
        memories[name] = build(description, Memory, directory=ring)
        memories[name].num_ranks = session.ranks.size
    return memories


def require_room(memories: Mapping[str, Memory], tree: Tree, info: EnvironmentInfo, num_ranks: int) -> None:
    """Refuse memories that do not fit together, before the first step. Args: num_ranks: on this machine."""
    taken = {False: 0, True: 0}  # in RAM and on disk
    for name, memory in memories.items():
        source = next((each for each in tree["explorer"].values() if each.get("memory") == name), None)
        if name == MAIN:
            source, size = tree["explorer"]["train"], "memory_size_in_chunks"
        else:
            size = f"{memory_path(tree, name)}/buffer_chunk_len"
        if source is not None:
            row_bytes = info.row_bytes(memory.stacks) * num_ranks
            others = taken[memory.on_disk]
            taken[memory.on_disk] += memory.require_room(source["num_workers"], row_bytes, size=size, others=others)


def check_chunks(explorers: Mapping[str, Explorer], memories: Mapping[str, Memory], tree: Tree) -> None:
    """Refuse explorers whose chunks are not those of the memories that they fill."""
    for name, explorer in explorers.items():
        target = MAIN if name == "train" else explorer.memory
        if target is None:
            continue
        length, expected = explorer.n_steps, memories[target].ring.chunk_sample_len
        if length != expected:
            path = f"{memory_path(tree, target)}/chunk_sample_len"
            raise UsageError(f"/explorer/{name}/n_steps is {length}, but {path} {expected}: make them equal.")


def build_agents(
    session: Session, tree: Tree, info: EnvironmentInfo, memories: Mapping[str, Memory], process: ExitStack, *,
    seed: int,
) -> dict[str, AgentBase]:  # fmt: skip
    """Build the agents of a parameter tree by name.

    Args:
        tree: with classes, from `from_plain`.
        process: closes what they are given when the run ends.
    """
    goals = EnvironmentGoals(_learned_environment(tree), unchanged_globals)
    process.callback(goals.close)
    agents = {}
    for name, description in tree["agents"].items():
        own = info.of_agent(name)
        num_players = len(own.players)
        seen = {
            each: AgentMemoryView(memory, name, num_players) if own.players else memory
            for each, memory in memories.items()
        }
        context = AgentContext(
            name, seen[MAIN], own.observation_spaces, own.agent_action_space, session.device, seed, session.profiler,
            own.infos, plan_of(tree, max(num_players, 1)), session.ranks, seen, goals,
        )  # fmt: skip
        agents[name] = build(description, AgentBase, context=context)
    return agents


def build_actor(tree: Tree, name: str, info: EnvironmentInfo, *, device: str = "cpu", n_frames: int = 0) -> AgentBase:
    """Build an agent that only acts, by itself: it has no memory to learn from.

    Args:
        tree: with classes, from `from_plain`.
        info: what the agent has of the environment.
        n_frames: collected so far, which schedules of exploration go by.
    """
    memory = SimpleNamespace(n_frames=n_frames)  # all that acting asks a memory for
    context = AgentContext(
        name, memory, info.observation_spaces, info.agent_action_space,
        torch.device(device), tree["runner"].get("seed", 0), Profiler(0), info.infos,
        memories=dict.fromkeys(memories_of(tree), memory),
    )  # fmt: skip
    return build(tree["agents"][name], AgentBase, context=context)


def _learned_environment(tree: Tree) -> EnvironmentSpec:
    """Return what the train explorer runs. Args: tree: with classes, from `from_plain`."""
    spec = build(tree["env"], EnvironmentSpec)
    return replace(spec, kwargs={**spec.kwargs, **(tree["explorer"]["train"].get("extra_env_kwargs") or {})})
