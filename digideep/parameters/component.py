"""Components: what a parameter tree may name, how it is described, checked and built; see docs/parameters.md.

Arguments before the `*` of a constructor exist only at run time (spaces, device, generators) and are injected by name;
keyword-only ones are parameters. A parameter may be null where its annotation says `| None`, or its default is None.
A constructor that ends in `**parameters` hands them to the next one in the method resolution order. What a subclass
names itself hides what its parents name.
"""

import inspect
from functools import cache
from typing import Any, NamedTuple, TypeVar

from digideep.parameters.checks import shown
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.values import Description, fit_value, is_described
from digideep.utility.errors import UsageError
from digideep.utility.importing import import_named, is_standard_library

__all__ = ["ENABLED", "Component", "Description", "Parameter", "asks_for", "build", "check_parameters", "describe",
           "dotted_name", "parameters_of", "resolve"]  # fmt: skip
T = TypeVar("T")
ENABLED = "enabled"  # beside the parameters of a wrapper in a stack: whether it stands there; see `describe_wrapper`


class Component:
    """Marks a class that a parameter tree may name. Only subclasses are ever built from a file."""


def describe(cls: type[Component], **parameters: Any) -> Description:
    """Describe a component by its class and its parameters.

    Raises:
        UsageError: if a parameter is unknown or has the wrong type, or a required one is missing.
    """
    check_parameters(cls, parameters)
    return {"class": cls, **parameters}


class Parameter(NamedTuple):
    """A keyword-only argument of a constructor."""

    annotation: Any
    default: Any
    is_required: bool

    def fit(self, name: str, value: Any) -> Any:
        """Check a value by the annotation, see `fit_value`."""
        if value is None and self.default is None:
            return None
        return fit_value(name, value, self.annotation)


def parameters_of(cls: type[Component]) -> dict[str, Parameter]:
    """Return the parameters of a component by name, its own before those of its parents; refuse any other class."""
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise UsageError(f"{shown(cls)} is no digideep component. Derive it from one of digideep's base classes.")
    return _signature(cls)  # type: ignore[arg-type]  # a quirk of mypy's: classes are hashable


@cache
def _signature(cls: type) -> dict[str, Parameter]:
    return {
        name: Parameter(
            Any if argument.annotation is argument.empty or isinstance(argument.annotation, str)
            else argument.annotation,
            argument.default,
            argument.default is argument.empty,
        )
        for name, argument in _arguments(cls).items()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY
    }  # fmt: skip


@cache
def _arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Return a constructor's arguments by name: its own, then the next one's if it ends in `**parameters`."""
    found: dict[str, inspect.Parameter] = {}
    for constructor in (vars(each)["__init__"] for each in cls.__mro__[:-1] if "__init__" in vars(each)):
        try:
            _, *arguments = inspect.signature(constructor, eval_str=True).parameters.values()
        except NameError:  # an annotation of names that only a type checker sees
            _, *arguments = inspect.signature(constructor).parameters.values()
        for argument in arguments:
            if argument.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
                found.setdefault(argument.name, argument)
        if all(argument.kind is not inspect.Parameter.VAR_KEYWORD for argument in arguments):
            break
    return found


def check_parameters(cls: type[Component], parameters: dict[str, Any]) -> None:
    """Refuse parameters that are not those of a component, see `parameters_of`, of the wrong type, or not complete."""
    known = parameters_of(cls)
    for name, value in parameters.items():
        if name not in known:
            raise UsageError(f"{cls.__name__} has no parameter '{name}'. {did_you_mean(name, known)}")
        known[name].fit(f"{cls.__name__}: {name}", value)
    missing = [name for name, parameter in known.items() if parameter.is_required and name not in parameters]
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
    if not is_described(description):
        raise UsageError(f"A described {base.__name__} is expected, got {shown(description)}.")
    cls, parameters = description["class"], {key: value for key, value in description.items() if key != "class"}
    check_parameters(cls, parameters)
    if not issubclass(cls, base):
        raise UsageError(f"{dotted_name(cls)} cannot stand here: a {base.__name__} is expected.")
    left = [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
    if left:
        raise UsageError(f"{dotted_name(cls)} cannot stand here: it leaves to its subclasses what {left[0]} does.")
    for name, argument in _arguments(cls).items():
        if argument.default is argument.empty and name not in runtime and name not in parameters:
            given = ", ".join(f"'{each}'" for each in runtime) or "nothing"
            raise UsageError(f"{dotted_name(cls)} cannot stand here: it asks for '{name}', and is given {given}.")
    wanted = [name for name in _arguments(cls) if name in runtime and asks_for(cls, name)]
    component: T = cls(**{name: runtime[name] for name in wanted}, **parameters)
    return component


def asks_for(cls: type, name: str) -> bool:
    """True if a component's constructor takes a run-time value of this name."""
    return name in _arguments(cls) and name not in parameters_of(cls)


def dotted_name(cls: type) -> str:
    """Return the importable name of a class."""
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
