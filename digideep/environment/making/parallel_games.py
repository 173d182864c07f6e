"""Games of several players by name: those of packages with PettingZoo's parallel API, and those of a user."""

import pkgutil
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.importing import import_outside_sessions

_INSTALL = "pip install 'digideep[multiagent]'"
# The only packages whose modules a name leads to: what a session's files name is never imported beyond them.
_NAME = re.compile(r"(mpe2|pettingzoo)((?:/[A-Za-z]\w*)+)")
_registered: dict[str, Callable[..., Any]] = {}


def register_parallel(name: str, make: Callable[..., Any]) -> None:
    """Let parameter files name an environment of your own; `from_module` imports the module that calls this.

    Args:
        name: such as "mine/tag_v0".
        make: from keyword arguments, `render_mode` among them, to a PettingZoo `ParallelEnv`.
    """
    _registered[name] = make


def is_parallel(name: str) -> bool:
    """True if a name is one of an environment with PettingZoo's parallel API, as far as the name tells."""
    return name in _registered or _NAME.fullmatch(name) is not None


def make_parallel(name: str, kwargs: Mapping[str, Any], render_mode: str | None) -> Any:
    """Make an environment with PettingZoo's parallel API.

    Args:
        name: "mpe2/simple_spread_v3", "pettingzoo/sisl/pursuit_v5" or one that was registered.
        kwargs: of its constructor.
        render_mode: as in gymnasium.

    Raises:
        UsageError: if there is none, or it cannot be made.
    """
    with warnings.catch_warnings():
        # Of the packages that PettingZoo builds on, at their import: nothing that a user can do something about.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            make = _registered.get(name) or _find(name)
            # Some take no render_mode; those that do have None as their default.
            return make(**kwargs) if render_mode is None else make(**kwargs, render_mode=render_mode)
        except ImportError as err:
            raise UsageError(f"Environment '{name}' needs a package that is missing ({err}): {_INSTALL}.") from err
        except UsageError:
            raise
        except Exception as err:  # constructors refuse arguments with all kinds of errors
            reason = f"{type(err).__name__}: {' '.join(str(err).split())}"
            raise UsageError(f"Environment '{name}' cannot be made with {dict(kwargs)}: {reason}") from err


def parallel_names() -> list[str]:
    """Return the names of all environments: those that were registered, and those of the packages.

    Raises:
        ImportError: if they are not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import mpe2
        import pettingzoo
    names = [
        f"mpe2/{module.name}" for module in pkgutil.iter_modules(mpe2.__path__) if re.search(r"_v\d+$", module.name)
    ]
    return [*_registered, *names, *_named_ids(pettingzoo)]


def _named_ids(package: Any) -> dict[str, str]:
    """Return PettingZoo's parallel environments: name -> the id in its registry, which it has since 1.27."""
    return {f"pettingzoo/{id.replace('-v', '_v')}": id for id in getattr(package, "parallel_registry", ())}


def _find(name: str) -> Callable[..., Any]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(
            f"Unknown environment '{name}'. With players, expected a name such as mpe2/simple_spread_v3 or "
            "pettingzoo/sisl/pursuit_v5, or one that from_module registers."
        )
    package = import_outside_sessions(match[1])
    if hasattr(package, "parallel_registry"):  # of PettingZoo 1.27: it asks for the registry instead of the module
        known = _named_ids(package)
        if name not in known:
            raise UsageError(
                f"There is no parallel environment '{name}'; games of turns are not supported. "
                f"{did_you_mean(name, known)}"
            )
        return lambda **kwargs: package.make("parallel", known[name], **kwargs)
    path = f"{match[1]}{match[2].replace('/', '.')}"
    try:
        module = import_outside_sessions(path)
    except ModuleNotFoundError as err:
        if err.name is None or not path.startswith(err.name) or err.name == match[1]:
            raise
        raise UsageError(f"Unknown environment '{name}': there is no module {path}.") from err
    if not hasattr(module, "parallel_env"):
        raise UsageError(f"'{name}' has no parallel API, which is needed: games of turns are not supported.")
    return module.parallel_env
