"""What the log says around a run: what agents see, what will not be learned, and how to go on afterwards."""

import logging
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from digideep.agent.base import AgentBase
from digideep.environment.explorer import Explorer
from digideep.environment.normalizers import VecNormalizeObs
from digideep.memory.generic import MAIN, Memory
from digideep.parameters.tree import Tree
from digideep.pipeline.continuing import plan_of
from digideep.utility.files import as_typed
from digideep.utility.importing import SESSIONS
from digideep.utility.ranks import Ranks

_log = logging.getLogger("digideep")


def log_start(
    tree: Tree, agents: Mapping[str, AgentBase], explorer: Explorer, memories: Mapping[str, Memory]
) -> None:  # fmt: skip
    """Log how long the run is; for each agent what it sees, how that is scaled, and the sizes of its networks.

    Args:
        tree: the parameter tree.
        agents: by name.
        explorer: of the training.
        memories: by name.
    """
    plan, runner = plan_of(tree), tree["runner"]
    epochs, cycles = (f"{runner[f'n_{what}s']} {what}{'s' * (runner[f'n_{what}s'] > 1)}" for what in ("epoch", "cycle"))
    _log.info(
        "plan: %s of %s of %s%d x %d frames: %s frames; a memory of %s transitions",
        epochs, cycles, f"{plan.num_ranks} ranks x " if plan.num_ranks > 1 else "", plan.num_workers, plan.n_steps,
        f"{plan.frames:,}",
        f"{_transitions(memories[MAIN], plan.num_workers):,}",
    )  # fmt: skip
    for name, memory in memories.items():
        for source, own in tree["explorer"].items() if name != MAIN else ():
            if own.get("memory") == name:
                size = f"{_transitions(memory, own['num_workers']):,}"
                _log.info("memory '%s' holds %s transitions of explorer '%s'", name, size, source)
    for name, agent in agents.items():
        wrappers = explorer.seats[name].wrappers
        normalised = {path for each in wrappers if isinstance(each, VecNormalizeObs) for path in each.paths}
        paths = [path for path in agent.observation_paths if path in normalised]
        addition = f"; normalised: {', '.join(paths)}" if paths else ""
        sight = agent.sight().removesuffix(" as given") if paths else agent.sight()
        _log.info("agent '%s' sees %s%s", name, sight, addition)
        sizes = _sizes(agent.policy) if isinstance(agent.policy, torch.nn.Module) else {}
        if sizes:
            parts = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
            _log.info("agent '%s' has %s parameters: %s", name, f"{sum(sizes.values()):,}", parts)


def _transitions(memory: Memory, num_workers: int) -> int:
    """Return how many steps the memories of all ranks hold. Args: num_workers: of the explorer that fills it."""
    return memory.ring.num_steps * (memory.num_workers or num_workers) * memory.num_ranks


def _sizes(policy: torch.nn.Module) -> dict[str, int]:
    """Return the number of parameters of each network of a policy by name; of what is no network, by its own."""
    sizes: dict[str, int] = {}
    for name, parameter in policy.named_parameters():
        network = name.split(".")[0]
        sizes[network] = sizes.get(network, 0) + parameter.numel()
    return sizes


def log_divergence(name: str, workers: list[int]) -> None:
    """Warn of an environment that was resumed and is not where it was. Args: name: its; workers: that it is in."""
    _log.warning(
        "%s does not repeat itself: re-living episodes of workers %s led elsewhere. This resume is not exact.",
        name, workers,
    )  # fmt: skip


def doubts(agents: Mapping[str, AgentBase]) -> list[str]:
    """Return a line for each agent that will learn nothing within the plan. Args: agents: by name."""
    found = {name: agent.doubt() for name, agent in agents.items()}
    return [f"Agent '{name}' learns NOTHING: {doubt}." for name, doubt in found.items() if doubt is not None]


def farewell(headline: str, path: Path | None, ranks: Ranks, *, is_finished: bool) -> str:
    """Return the last screen: where the session is, and how to go on with it.

    Args:
        path: of the session; None if nothing was written.
        ranks: that trained it, as many of which go on with it.
        is_finished: the plan was met; otherwise the session can be resumed as it is.
    """
    if path is None:
        return headline
    is_script = Path(sys.argv[0]).name == "main.py" and Path(sys.argv[0]).parent.name != "digideep"
    program = "python main.py" if is_script else "digideep"
    start = program
    if ranks.size > 1:
        machines = f" --nnodes {ranks.size // ranks.local_size}" if ranks.size > ranks.local_size else ""
        what = "main.py" if is_script else "--no-python digideep"
        start = f"torchrun{machines} --nproc-per-node {ranks.local_size} {what}"
    is_near = path.parent == Path.cwd() / SESSIONS  # its name is enough
    session = shlex.quote(path.name if is_near else str(as_typed(path)))
    place = "" if is_near else f" -r {shlex.quote(str(as_typed(path.parent)))}"
    lines = {
        "session": as_typed(path),
        "resume": f"{start} resume {session}{' --total-frames N' if is_finished else ''}",
        "play": f"{program} play {session}",
        "report": f"{program} report {session}",
        "plot": f"{program} plot{place} -i {shlex.quote(path.name)}",
    }
    return "\n".join([headline, *(f"  {name:<8} {text}" for name, text in lines.items())])
