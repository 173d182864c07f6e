"""What may differ between a checkpoint and the run that goes on with it, in place or in a new session."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from digideep.agent.base import AgentBase
from digideep.environment.explorer import Explorer
from digideep.memory.generic import MAIN
from digideep.parameters.tree import leaves
from digideep.utility.errors import UsageError
from digideep.utility.plan import Plan
from digideep.utility.user_code import in_words

# Paths of a parameter tree on which the content of a checkpoint depends.
_FIXED = re.compile(
    r"/runner/n_cycles"
    r"|/env/players.*"
    r"|/env/vect_wrappers(/\d+/class)?"
    r"|/explorer/(?!(test|eval)/)[^/]+/(class|num_workers|n_steps|backend|overlap|memory)"
    r"|/memory(/[^/]+)?/(class|chunk_sample_len|buffer_chunk_len|keys|stacks|data).*"
    r"|/agents/[^/]+/(class|observation_path|use_action_mask)(/.*)?"
    r"|/agents/[^/]+/policy/(?!precision$).*"
    r"|/agents/[^/]+/(sampler|noise|optimizer)/class"
    r"|/agents/[^/]+/sampler/priorities((/[^/]+)?/class)?"
)
# Parameters of a policy that do not change what its weights compute.
_FREE = ("precision", "log_std_init")
_ABSENT = "nothing"


def memories_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parameter tree says of memories, by name: one alone is the main one."""
    branch = tree["memory"]
    is_several = (
        isinstance(branch, dict) and "class" not in branch and all(isinstance(e, dict) for e in branch.values())
    )
    return branch if is_several and branch else {MAIN: branch}


def plan_of(tree: Mapping[str, Any], num_players: int = 1) -> Plan:
    """Return the plan of a parameter tree. Args: num_players: of the agent in each environment."""
    runner, train = tree["runner"], tree["explorer"]["train"]
    cycles = runner["n_epochs"] * runner["n_cycles"]
    return Plan(cycles, train.get("n_steps") or 0, train["num_workers"], num_players, runner.get("num_ranks", 1))


def longer_plan(tree: Mapping[str, Any], total_frames: int) -> dict[str, int]:
    """Return what to override in a tree so that the run has at least so many frames."""
    epoch_frames = plan_of(tree).frames // tree["runner"]["n_epochs"]
    return {"/runner/n_epochs": -(-total_frames // epoch_frames)}


def differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two trees: path -> both values."""
    ours, theirs = (leaves(tree, opens=lambda node: True) for tree in (old, new))
    both = {path: (ours.get(path, _ABSENT), theirs.get(path, _ABSENT)) for path in [*ours, *theirs]}
    return {path: (first, second) for path, (first, second) in both.items() if first != second}


def check_same_spaces(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> None:
    """Refuse an environment whose spaces are not those of a checkpoint. Args: name: of the environment."""
    if (difference := space_difference(old, new)) is not None:
        raise UsageError(
            f"The spaces of {name} are not those of the checkpoint: {difference}. Load it with the environment that it "
            "was trained on."
        )


def space_difference(old: Mapping[str, Any], new: Mapping[str, Any], agent: str = "") -> str | None:
    """Describe the first difference between the spaces of a checkpoint ("there") and an environment ("here"), if any.

    Args:
        old, new: from `EnvironmentInfo.to_plain`.
        agent: whose they are, as an addition to words.
    """
    ours, theirs = old.get("agents", {}), new.get("agents", {})
    if ours.keys() != theirs.keys():
        return f"the agents {_listed(ours)} play there and {_listed(theirs)} here"
    for name in ours:
        if (found := space_difference(ours[name], theirs[name], f" of agent '{name}'")) is not None:
            return found
    before, after = old["observations"], new["observations"]
    if list(before) != list(after):
        return f"the observations{agent} are {_listed(before)} there and {_listed(after)} here"
    for path in before:
        shapes, dtypes, ranges = zip(before[path], after[path], strict=True)
        if shapes[0] != shapes[1]:
            return f"observation {path}{agent} has shape {tuple(shapes[0])} there and {tuple(shapes[1])} here"
        for what, values in (("is", dtypes), ("goes from", ranges)):
            if values[0] != values[1]:
                return f"observation {path}{agent} {what} {values[0]} there and {values[1]} here"
    for key, what in (("actions", "the actions"), ("players", "the players")):
        if old.get(key) != new.get(key):
            return f"{what}{agent} are {old.get(key)} there and {new.get(key)} here"
    return None


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or _ABSENT


def check_same_structure(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to go on with a checkpoint of the plain tree `old` under parameters that its content does not fit."""
    for path, (before, after) in differences(old, new).items():
        if _FIXED.fullmatch(path):
            raise UsageError(
                f"{path} is {before!r} in the checkpoint and cannot become {after!r} when the run is resumed, whose "
                "state depends on it. Leave it, or take the weights to a new session: --params FILE --load-checkpoint "
                "DIR."
            )


def check_plans(agents: Mapping[str, AgentBase]) -> None:
    """Refuse a plan in which an agent learns nothing, or a memory without what it learns from."""
    for name, agent in agents.items():
        for memory in read_memories(agent):
            kept = agent.memories[memory].keys
            missing = [key for key in agent.needed_keys if kept is not None and key not in kept]
            if missing:
                path = "/memory" if len(agent.memories) == 1 else f"/memory/{memory}"
                raise UsageError(
                    f"{path}/keys lacks {missing[0]}, which {type(agent).__name__} of agent '{name}' learns from. Add "
                    "it, or give null, which keeps everything."
                )
        agent.check_plan()


def read_memories(agent: AgentBase) -> list[str]:
    """Return the names of the memories that an agent is known to learn from."""
    return list(getattr(getattr(agent, "sampler", None), "memory_names", [MAIN]))


def unread_memories(agents: Mapping[str, AgentBase], memories: Iterable[str]) -> list[str]:
    """Return the names of the memories that no agent is known to learn from."""
    read = {memory for agent in agents.values() for memory in read_memories(agent)}
    read |= {str(getattr(agent.parts.get("pretraining"), "memory_name", MAIN)) for agent in agents.values()}
    return [name for name in memories if name not in read and name != MAIN]


def load_weights(
    state: Mapping[str, Any], source: Any, tree: Mapping[str, Any], agents: Mapping[str, AgentBase], explorer: Explorer,
    spaces: Mapping[str, Any],
) -> None:  # fmt: skip
    """Let a new run begin with the networks of another one, and with what its normalisers have learned.

    Args:
        state: of the other run's checkpoint.
        source: where it was found, for messages.
        tree: the plain parameter tree of the new run.
        spaces: of its environment, from `EnvironmentInfo.to_plain`.

    Raises:
        UsageError: naming the first difference, if the spaces, the networks or the normalisers are others.
    """
    try:
        if (difference := space_difference(state["spaces"], spaces)) is not None:
            raise UsageError(f"{source} does not fit: {difference}; fine-tuning needs the same spaces.")
        for what, old, new in _networks(state, tree, agents, explorer, spaces):
            for path, (before, after) in differences(old, new).items():
                raise UsageError(
                    f"{source} does not fit: {what}{path} is {before!r} there and {after!r} here. Make them equal with "
                    "--cpanel or --repeal."
                )
        for name, agent in agents.items():
            agent.load_weights(state["agents"][name])
        explorer.load_statistics(state["statistics"])
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"{source} does not fit: {in_words(err)}") from err


def _networks(
    state: Mapping[str, Any], new: Mapping[str, Any], agents: Mapping[str, AgentBase], explorer: Explorer,
    spaces: Mapping[str, Any],
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Yield what the networks and normalisers of both runs must have in common: its name, and both values."""
    old = state["params"]
    yield "agents", sorted(old["agents"]), sorted(new["agents"])
    for name, agent in agents.items():
        before, after = old["agents"][name], new["agents"][name]
        seen = spaces.get("agents", {}).get(name, spaces)["observations"]
        yield f"/agents/{name}/observation_path", _paths(before, seen), agent.observation_paths
        key = "critic_observation_path"
        yield f"/agents/{name}/{key}", before.get(key), after.get(key)
        networks = ({k: v for k, v in each.get("policy", {}).items() if k not in _FREE} for each in (before, after))
        yield f"/agents/{name}/policy", *networks
        weights = state["agents"][name].get("policy", {}), {} if agent.policy is None else agent.policy.state_dict()
        yield f"weights of agent {name}", *map(_shapes, weights)
    wrappers = ([wrapper["class"] for wrapper in tree["env"].get("vect_wrappers", [])] for tree in (old, new))
    yield "/env/vect_wrappers", *wrappers
    yield "statistics", _shapes(state["statistics"]), _shapes(explorer.statistics())


def _paths(agent: Mapping[str, Any], spaces: Mapping[str, Any]) -> list[str]:
    """Return the paths of the observations that an agent of a plain tree sees."""
    paths = agent.get("observation_path", "/agent")
    return list(spaces) if paths is None else [paths] if isinstance(paths, str) else list(paths)


def _shapes(state: Any) -> dict[str, Any]:
    """Return the shapes of the arrays of a nested state, by path."""
    return {path: list(getattr(leaf, "shape", ())) for path, leaf in leaves(state).items()}


def go_on(agents: Mapping[str, AgentBase], how: str | None, done: int, before: int, now: int) -> str | None:
    """Let schedules follow a plan that has changed since the checkpoint.

    Args:
        agents: restored, by name; they know the new plan.
        how: what --schedules says; None where it says nothing.
        done: epochs so far.
        before: epochs that the checkpoint's plan has.
        now: epochs that the new plan has.

    Returns:
        What was done, in a line; None if the plan is the same and nobody asked.
    """
    if how is None and before == now:
        return None
    words = []
    for agent_name, agent in agents.items():
        prefix = f"{agent_name} " if len(agents) > 1 else ""
        for name, (course, clock) in agent.schedules().items():
            if not course.is_constant:
                course.go_on(how or "stretch", clock(), course.planned * before // now)
                words.append(f"{prefix}{name} {course.describe(clock())}")
    what = {"stretch": "stretched over the whole new plan", "keep": "kept as they are", "anew": "begun anew"}
    schedules = f"schedules {what[how or 'stretch']} (--schedules): {', '.join(words)}" if words else "no schedules"
    return f"Plan of {now} epochs ({done} done, {before} planned before); {schedules}."
