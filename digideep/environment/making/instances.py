"""All instances of an environment have the same spaces."""

from collections.abc import Iterable

import gymnasium as gym

from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import ObservationSpaces, observation_spaces
from digideep.utility.errors import WorkerError


def check_instance(environment: gym.Env, spec: EnvironmentSpec, info: EnvironmentInfo, rank: int) -> None:
    """Refuse a worker's environment with other spaces than those that agents and arrays were made for.

    Raises:
        WorkerError: naming the first that differs.
    """
    inner = environment.unwrapped
    own = _named_spaces(
        (name, observation_spaces(part.observation_space, spec.observation_key), part.action_space)
        for name, part in (inner.groups if isinstance(inner, ParallelAdapter) else {"": environment}).items()
    )
    known = _named_spaces(
        (name, part.observation_spaces, part.action_space) for name, part in (info.agents or {"": info}).items()
    )
    for what in {**known, **own}:
        if own.get(what) != known.get(what):
            raise WorkerError(
                f"worker {rank}: this instance of {spec.name} has the {what} {own.get(what)}, another one "
                f"{known.get(what)}. All instances must have the same spaces: correct the environment."
            )


def _named_spaces(parts: Iterable[tuple[str, ObservationSpaces, gym.Space]]) -> dict[str, gym.Space]:
    """Return spaces by what they are of, in words. Args: parts: agent, or "" for the only one, and its spaces."""
    named: dict[str, gym.Space] = {}
    for agent, observations, actions in parts:
        of = f" of agent '{agent}'" if agent else ""
        named |= {f"observations {path}{of}": space for path, space in observations.items()}
        named[f"actions{of}"] = actions
    return named
