"""What the log says around a run: what agents see, what will not be learned, and how to go on afterwards."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

from digideep.agent.base import AgentBase
from digideep.environment.explorer import Explorer
from digideep.environment.normalizers import VecNormalizeObs

_log = logging.getLogger("digideep")


def log_sight(agents: Mapping[str, AgentBase], explorer: Explorer) -> None:
    """Log for each agent which observations it sees, and how they are scaled. Args: agents: by name."""
    for name, agent in agents.items():
        wrappers = explorer.seats[name].wrappers
        normalised = {path for each in wrappers if isinstance(each, VecNormalizeObs) for path in each.paths}
        paths = [path for path in agent.observation_paths if path in normalised]
        addition = f"; normalised: {', '.join(paths)}" if paths else ""
        _log.info("agent '%s' sees %s%s", name, agent.sight(), addition)


def doubts(agents: Mapping[str, AgentBase]) -> list[str]:
    """Return a line for each agent that will learn nothing within the plan. Args: agents: by name."""
    found = {name: agent.doubt() for name, agent in agents.items()}
    return [f"Agent '{name}' learns NOTHING: {doubt}." for name, doubt in found.items() if doubt is not None]


def farewell(headline: str, path: Path | None, *, is_finished: bool) -> str:
    """Return the last screen: where the session is, and how to go on with it.

    Args:
        path: of the session; None if nothing was written.
        is_finished: the plan was met; otherwise the session can be resumed as it is.
    """
    if path is None:
        return headline
    more = " --repeal '{\"/runner/n_epochs\": N}'" if is_finished else ""
    quoted = shlex.quote(str(path))
    lines = {
        "session": path,
        "resume": f"python main.py --resume {quoted}{more}",
        "play": f"python main.py --play --load-checkpoint {quoted}",
        "report": f"python -m digideep.post.report {quoted}",
        "plot": f"python -m digideep.post.plotter -r {shlex.quote(str(path.parent))} -i {shlex.quote(path.name)}",
    }
    return "\n".join([headline, *(f"  {name:<8} {text}" for name, text in lines.items())])
