"""The branches of a parameter tree: checked before anything is made, and the agents that are built of them."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext
from digideep.environment.explorer import Explorer
from digideep.environment.explorer_limits import check_explorer
from digideep.environment.making.goals import EnvironmentGoals
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.memory.generic import AgentMemoryView, Memory
from digideep.parameters.checks import require, shown
from digideep.parameters.component import Component, build, dotted_name, parameters_of
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.tree import Tree
from digideep.parameters.values import is_described
from digideep.pipeline.continuing import plan_of
from digideep.pipeline.segments import memory_directory
from digideep.pipeline.session import Session
from digideep.utility.errors import UsageError
from digideep.utility.process_state import unchanged_globals


def check_tree(tree: Any, runner: type[Component]) -> None:
    """Refuse a tree that lacks a branch, has one that nothing reads, or describes something else there.

    Args:
        tree: with classes, from `from_plain`.
        runner: the base class of what turns the loop.
    """
    _check_branch("", tree, ("runner", "env", "explorer", "memory", "agents"))
    _check_branch("/explorer", tree["explorer"], ("train", "test", "eval"))
    _check_branch("/agents", tree["agents"], tree["agents"] or ())  # whether there must be one, the explorers know
    for name in tree["agents"]:
        is_plain = name.strip() == name and name.isprintable() and "/" not in name and name not in ("", ".", "..")
        require(is_plain, "The name of an agent", name, "a plain word: it becomes a part of paths")
    bases: dict[str, type[Component]] = {"/runner": runner, "/env": EnvironmentSpec, "/memory": Memory}
    bases |= {f"/explorer/{name}": Explorer for name in tree["explorer"]}
    bases |= {f"/agents/{name}": AgentBase for name in tree["agents"]}
    for path, base in bases.items():
        node = tree
        for key in path[1:].split("/", 1):
            node = node[key]
        if not is_described(node) or not issubclass(node["class"], base):
            is_several = isinstance(node, dict) and node and all(map(is_described, node.values()))
            several = f"several: {', '.join(node)}" if is_several else shown(node)
            got = dotted_name(node["class"]) if is_described(node) else several
            raise UsageError(f"{path} of the parameter tree must describe one {base.__name__}, got {got}.")
        if isinstance(node, dict) and issubclass(base, Explorer):
            _check_explorer(path, {name: value for name, value in node.items() if name != "class"})


def _check_branch(path: str, branch: Any, names: Iterable[str]) -> None:
    if not isinstance(branch, dict):
        expected = ", ".join(names) or "agents"
        raise UsageError(f"{path or 'The parameter tree'} must be a dictionary of {expected}, got {shown(branch)}.")
    for name in names:
        if name not in branch:
            missing = name if not path else f"{path}/{name}"
            raise UsageError(f"The parameter tree has no '{missing}'. gen_params must return it.")
    for name in branch:
        if name not in names:
            raise UsageError(
                f"Nothing reads '{path}/{name}' of the parameter tree. Leave it out. {did_you_mean(name, names)}"
            )


def _check_explorer(path: str, parameters: dict[str, Any]) -> None:
    """Refuse what an explorer cannot run with, also one that is built later, or does not do for its purpose."""
    try:
        defaults = {name: each.default for name, each in parameters_of(Explorer).items()}
        check_explorer(**(defaults | parameters))
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err
    is_training = path == "/explorer/train"
    needed, other = ("n_steps", "n_episodes") if is_training else ("n_episodes", "n_steps")
    if parameters.get(needed) is None:
        raise UsageError(f"{path}/{needed} must be given: {'training' if is_training else 'a test'} counts by it.")
    if is_training:
        if parameters.get(other) is not None:
            raise UsageError(f"{path}/{other} must be null, got {parameters[other]}: each chunk has n_steps.")
        require(parameters.get("keep_trajectory", True), f"{path}/keep_trajectory", False, "true: agents learn from it")


def build_memory(session: Session, tree: Tree) -> Memory:
    """Build this rank's memory. Args: tree: with classes, from `from_plain`."""
    ring = None if session.path is None else memory_directory(session.path, session.ranks.rank) / "ring"
    memory = build(tree["memory"], Memory, directory=ring)
    memory.num_ranks = session.ranks.size
    return memory


def check_chunks(explorer: Explorer, memory: Memory) -> None:
    """Refuse an explorer whose chunks are not those of the memory."""
    length, expected = explorer.n_steps, memory.ring.chunk_sample_len
    if length != expected:
        raise UsageError(
            f"/explorer/train/n_steps is {length}, but /memory/chunk_sample_len {expected}: make them equal."
        )


def build_agents(
    session: Session, tree: Tree, info: EnvironmentInfo, memory: Memory, process: ExitStack, *, seed: int
) -> dict[str, AgentBase]:
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
        context = AgentContext(
            name, AgentMemoryView(memory, name, num_players) if own.players else memory, own.observation_spaces,
            own.agent_action_space, session.device, seed, session.profiler, own.infos,
            plan_of(tree, max(num_players, 1)), session.ranks, goals,
        )  # fmt: skip
        agents[name] = build(description, AgentBase, context=context)
    return agents


def _learned_environment(tree: Tree) -> EnvironmentSpec:
    """Return what the train explorer runs. Args: tree: with classes, from `from_plain`."""
    spec = build(tree["env"], EnvironmentSpec)
    return replace(spec, kwargs={**spec.kwargs, **(tree["explorer"]["train"].get("extra_env_kwargs") or {})})
