"""Components: what a parameter tree may name, how it is described, checked and built.

A description is a plain dictionary: `{"class": PPO, "gamma": 0.99, ...}`. In a parameter file the class is the class
itself; on disk it is its dotted name. Constructors follow one rule: arguments before the `*` exist only at run time
(spaces, device, generators) and are injected by name; keyword-only arguments are parameters and come from the
description. So a description can be checked against the signature the moment it is written.
"""

import inspect
from typing import Any, TypeVar

from digideep.utility.errors import UsageError
from digideep.utility.importing import import_named, is_standard_library
from digideep.utility.suggest import did_you_mean

Description = dict[str, Any]
T = TypeVar("T")


class Component:
    """Marks a class that a parameter tree may name. Only subclasses are ever built from a file."""


def describe(cls: type[Component], **parameters: Any) -> Description:
    """Describe a component by its class and its parameters.

    Raises:
        UsageError: if a parameter is unknown or a required one is missing.
    """
    check_parameters(cls, parameters)
    return {"class": cls, **parameters}


def check_parameters(cls: type[Component], parameters: dict[str, Any]) -> None:
    """Compare parameters with the keyword-only arguments of a class.

    Raises:
        UsageError: if `cls` is no component, a parameter is unknown, or a required one is missing.
    """
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise UsageError(f"{cls!r} is no digideep component. Derive it from one of digideep's base classes.")
    known = {
        name: argument.default
        for name, argument in inspect.signature(cls).parameters.items()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in parameters:
        if name not in known:
            raise UsageError(f"{cls.__name__} has no parameter '{name}'. {did_you_mean(name, known)}")
    missing = [name for name, default in known.items() if default is inspect.Parameter.empty and name not in parameters]
    if missing:
        raise UsageError(f"{cls.__name__} needs the parameter '{missing[0]}', which is not given.")


def build(description: Description, base: type[T], **runtime: Any) -> T:
    """Build a component from its description plus what only exists at run time.

    Args:
        description: the class under "class", its parameters under their names.
        base: the class that the result must be an instance of.
        runtime: run-time values; those that the constructor does not ask for are left out.

    Raises:
        UsageError: if the description does not fit the class or the class does not fit `base`.
    """
    cls, parameters = description["class"], {key: value for key, value in description.items() if key != "class"}
    check_parameters(cls, parameters)
    if not issubclass(cls, base):
        raise UsageError(f"{dotted_name(cls)} cannot stand here: a {base.__name__} is expected.")
    wanted = [
        name
        for name, argument in inspect.signature(cls).parameters.items()
        if argument.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    return cls(**{name: runtime[name] for name in wanted if name in runtime}, **parameters)


def dotted_name(cls: type) -> str:
    """The importable name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def resolve(dotted: str) -> type[Component]:
    """Find the component that a file names.

    Raises:
        UsageError: if there is no such class, it is no component, or its module must not be imported.
    """
    module_name, _, name = dotted.rpartition(".") if isinstance(dotted, str) else ("", "", "")
    refusal = (
        f"'{dotted}' is no digideep component. Expected the dotted name of a class such as digideep.agent.ppo.PPO."
    )
    if not module_name or is_standard_library(module_name):
        raise UsageError(refusal)
    cls = getattr(import_named(module_name, f"The component '{dotted}'"), name, None)
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise UsageError(refusal)
    return cls
