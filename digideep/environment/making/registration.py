"""Environments that a user registers: in a module of theirs, or with arguments in the parameter file.

A session's files may name modules and classes, and nothing else: modules are found where Python finds its packages,
never by a path and never in a session, and what is made of a name has to be a subclass of `gymnasium.Env`.
"""

from pathlib import PurePath
from typing import Any

import gymnasium as gym

from digideep.parameters.component import dotted_name
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.importing import import_named

# Of gymnasium's `register`; `vector_entry_point` and `additional_wrappers` would name callables of any kind.
_ARGUMENTS = (
    "id", "entry_point", "kwargs", "max_episode_steps", "reward_threshold", "nondeterministic", "order_enforce",
)  # fmt: skip


def module_name(from_module: str | None) -> str | None:
    """Return the dotted name of a module that a person may give as the path of a file.

    Args:
        from_module: a dotted name, or a path within the current directory that ends in .py.

    Raises:
        UsageError: for a path elsewhere: what a session notes must not be a path, which could lead into the session.
    """
    if from_module is None or not from_module.endswith(".py"):
        return from_module
    parts = PurePath(from_module).with_suffix("").parts
    if not all(part.isidentifier() for part in parts):
        raise UsageError(
            f"from_module '{from_module}' lies outside of the current directory, or is no importable name. Give its "
            "path from here, or put its directory on PYTHONPATH and give the name of the module."
        )
    return ".".join(parts)


def register_user_environments(from_module: str | None, from_params: dict[str, Any] | None) -> None:
    """Let gymnasium know the environments of a user, in this process.

    Args:
        from_module: dotted name of a module that registers them when it is imported.
        from_params: arguments of `gymnasium.register`, with `entry_point` as a class or its dotted name.

    Raises:
        UsageError: if the module cannot be imported or the arguments do not describe an environment.
    """
    if from_module is not None:
        import_named(from_module, f"from_module '{from_module}'")
    if from_params is None:
        return
    for name in from_params:
        if name not in _ARGUMENTS:
            raise UsageError(f"from_params has the unknown key '{name}'. {did_you_mean(name, _ARGUMENTS)}")
    for name in ("id", "entry_point"):
        if name not in from_params:
            raise UsageError(f"from_params needs '{name}', which is not given.")
    arguments = {**from_params, "entry_point": _environment_class(from_params["entry_point"])}
    known = gym.registry.get(from_params["id"])
    if known is not None and known.entry_point is not arguments["entry_point"]:
        raise UsageError(f"from_params: the id '{from_params['id']}' is taken by {known.entry_point}. Choose another.")
    if known is None:
        try:
            gym.register(**arguments)
        except (gym.error.Error, TypeError, ValueError) as err:
            raise UsageError(f"from_params cannot be registered: {' '.join(str(err).split())}") from err


def _environment_class(entry_point: type[gym.Env] | str) -> type[gym.Env]:
    """Return the class that is meant, imported if it is named."""
    if isinstance(entry_point, str):
        place, _, name = entry_point.replace(":", ".").rpartition(".")
        found = getattr(import_named(place, f"entry_point '{entry_point}'"), name, None)
    else:
        found, entry_point = entry_point, getattr(entry_point, "__qualname__", repr(entry_point))
    if not (isinstance(found, type) and issubclass(found, gym.Env)):
        raise UsageError(
            f"entry_point '{entry_point}' is no subclass of gymnasium.Env. Expected a class, or its dotted name."
        )
    if "<locals>" in found.__qualname__ or found.__module__ == "__main__":
        raise UsageError(f"entry_point '{dotted_name(found)}' cannot be found again by its name. Move it to a module.")
    return found
