"""The branches of a parameter tree, checked before anything is made."""

from collections.abc import Iterable, Mapping
from typing import Any

from digideep.agent.base import AgentBase
from digideep.environment.explorer import Explorer
from digideep.environment.explorer_limits import check_explorer
from digideep.environment.making.make_environment import EnvironmentSpec
from digideep.memory.generic import MAIN, Memory
from digideep.parameters.checks import require, shown
from digideep.parameters.component import Component, dotted_name, parameters_of
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.values import is_described
from digideep.pipeline.continuing import memories_of
from digideep.pipeline.segments import is_memory_name
from digideep.utility.errors import UsageError

_EXPLORERS = ("train", "test", "eval")  # which a Runner runs itself


def memory_path(tree: Mapping[str, Any], name: str) -> str:
    """Return where a tree describes a memory."""
    return f"/memory/{name}" if memories_of(tree) is tree["memory"] else "/memory"


def check_tree(tree: Any, runner: type[Component]) -> None:
    """Refuse a tree that lacks a branch, has one that nothing reads, or describes something else there.

    Args:
        tree: with classes, from `from_plain`.
        runner: the base class of what turns the loop.
    """
    _check_branch("", tree, ("runner", "env", "explorer", "memory", "agents"))
    _check_one("/runner", tree["runner"], runner)
    is_own = tree["runner"]["class"] is not runner  # whose cycle may run further explorers
    others = tree["explorer"] if is_own and isinstance(tree["explorer"], dict) else ()
    _check_branch("/explorer", tree["explorer"], _EXPLORERS, others)
    _check_branch("/agents", tree["agents"], tree["agents"] or ())  # whether there must be one, the explorers know
    for name in tree["agents"]:
        is_plain = name.strip() == name and name.isprintable() and "/" not in name and name not in ("", ".", "..")
        require(is_plain, "The name of an agent", name, "a plain word: it becomes a part of paths")
    _check_one("/env", tree["env"], EnvironmentSpec)
    memories = memories_of(tree)
    if memories is tree["memory"]:
        _check_branch("/memory", memories, (MAIN,), memories)
    for name, memory in memories.items():
        expected = "letters, digits, _ and -, other than ring, rank-… and segment-…: it becomes a directory"
        require(is_memory_name(name), "The name of a memory", name, expected)
        _check_one(memory_path(tree, name), memory, Memory)
    for name, explorer in tree["explorer"].items():
        is_plain = is_memory_name(name) and name != "recent"  # /return/recent is something else
        require(is_plain, "The name of an explorer", name, "letters, digits, _ and -, and not recent")
        _check_one(f"/explorer/{name}", explorer, Explorer)
        _check_explorer(name, {key: value for key, value in explorer.items() if key != "class"}, memories)
    for name, agent in tree["agents"].items():
        _check_one(f"/agents/{name}", agent, AgentBase)
    _check_sources(tree)


def _check_one(path: str, node: Any, base: type[Component]) -> None:
    """Refuse a node that does not describe one component of a kind."""
    if is_described(node) and issubclass(node["class"], base):
        return
    is_several = isinstance(node, dict) and node and all(map(is_described, node.values()))
    several = f"several: {', '.join(node)}" if is_several else shown(node)
    got = dotted_name(node["class"]) if is_described(node) else several
    raise UsageError(f"{path} of the parameter tree must describe one {base.__name__}, got {got}.")


def _check_branch(path: str, branch: Any, names: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse a branch without one of its names, or with what is none. Args: others: that may be there, too."""
    if not isinstance(branch, dict):
        expected = ", ".join(names) or "agents"
        raise UsageError(f"{path or 'The parameter tree'} must be a dictionary of {expected}, got {shown(branch)}.")
    for name in names:
        if name not in branch:
            missing = name if not path else f"{path}/{name}"
            raise UsageError(f"The parameter tree has no '{missing}'. gen_params must return it.")
    for name in branch:
        if name not in names and name not in others:
            way = "Leave it out."
            if path == "/explorer":
                way = "Leave it out, or name a Runner under 'runner' whose train_cycle calls collect for it."
            raise UsageError(f"Nothing reads '{path}/{name}' of the parameter tree. {way} {did_you_mean(name, names)}")


def _check_explorer(name: str, parameters: dict[str, Any], memories: Mapping[str, Any]) -> None:
    """Refuse what an explorer cannot run with, also one that is built later, or does not do for its purpose."""
    path = f"/explorer/{name}"
    try:
        defaults = {name: each.default for name, each in parameters_of(Explorer).items()}
        check_explorer(**(defaults | parameters))
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err
    target = parameters.get("memory")
    if target is not None and target not in memories:
        raise UsageError(f"{path}/memory is '{target}', and there is no such memory. {did_you_mean(target, memories)}")
    if name in _EXPLORERS:
        own = MAIN if name == "train" else None
        require(target in (own, None), f"{path}/memory", target, f"{own or 'null'}, or left out")
    else:
        require(target != MAIN, f"{path}/memory", target, "another one: the explorer 'train' fills it")
    is_training = name == "train" or target is not None
    if name not in _EXPLORERS and not is_training:
        return
    needed, other = ("n_steps", "n_episodes") if is_training else ("n_episodes", "n_steps")
    if parameters.get(needed) is None:
        raise UsageError(f"{path}/{needed} must be given: {'training' if is_training else 'a test'} counts by it.")
    if is_training:
        if parameters.get(other) is not None:
            raise UsageError(f"{path}/{other} must be null, got {parameters[other]}: each chunk has n_steps.")
        require(parameters.get("keep_trajectory", True), f"{path}/keep_trajectory", False, "true: agents learn from it")
    if target is not None and name != "train":
        is_new = parameters.get("do_reset", False)
        require(not is_new, f"{path}/do_reset", True, "false: in a memory, each chunk continues the one before")


def _check_sources(tree: Mapping[str, Any]) -> None:
    """Refuse a memory that nothing fills, or more than one explorer."""
    for memory, description in memories_of(tree).items():
        sources = [name for name, explorer in tree["explorer"].items() if explorer.get("memory") == memory]
        if len(sources) > 1:
            raise UsageError(f"{' and '.join(sources)} under /explorer fill the memory '{memory}': give each its own.")
        if memory != MAIN and not sources and description.get("data") is None:
            raise UsageError(
                f"Nothing fills '/memory/{memory}' of the parameter tree. Leave it out, or name it as the parameter "
                "'memory' of a further explorer."
            )
