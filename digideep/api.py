"""Digideep from Python: `import digideep`, then `train`, `resume`, `load` and `evaluate`.

They do what the command line does, by the same code: a run that is started here is a session like any other, with the
same bits in it. Each may be called from any thread, by one at a time; in the main one, Ctrl-C stops a run with a
checkpoint.
"""

import argparse
import io
import threading
import traceback
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any

import torch

from digideep.parameters.checks import shown
from digideep.parameters.control_panel import is_recipe
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.arguments import Arguments, check_combination
from digideep.pipeline.flags import PARAMS, SESSION, SWITCH, flags_among
from digideep.pipeline.restoring import make_runner
from digideep.pipeline.session import Session
from digideep.pipeline.stop_signals import StopSignals
from digideep.pipeline.verbs import VERBS
from digideep.post.loader import Loader
from digideep.telemetry.writers import EpochFigures
from digideep.utility.errors import Interruption, UsageError
from digideep.utility.files import read_json
from digideep.utility.process_state import left_as_it_was

_one_at_a_time = threading.RLock()  # a callback may well evaluate

OnEpoch = Callable[[EpochFigures], Any]
Where = str | Path | Loader


def train(
    params: str | Path | ModuleType | Mapping[str, Any], *, cpanel: dict[str, Any] | None = None,
    repeal: dict[str, Any] | None = None, on_epoch: OnEpoch | None = None, **flags: Any,
) -> Loader:  # fmt: skip
    """Train agents in a new session.

    Args:
        params: a parameter file, as a path or a dotted name such as "params.ppo_classic"; a module that is imported; a
            dictionary with "cpanel" and "gen_params"; or a parameter tree, as `gen_params` returns it.
        cpanel: values of the control panel to change.
        repeal: values of the parameter tree to change, by path.
        on_epoch: called with the `EpochFigures` of each epoch; `figures.means["/return/train"]` is one of them. What
            returns False stops the run, which can be resumed. What it raises ends the run.
        flags: of `digideep train --help`, with underscores: total_frames, session_name, session_path, quiet, device,
            load_checkpoint, tensorboard and so on.

    Returns:
        The session. Its `status` is "done", or "stopped" if the run was stopped before its end.

    Raises:
        UsageError: if something keeps the run from starting: nothing is created then.
        KeyboardInterrupt: for Ctrl-C before the run has begun, or a second one.
    """
    name, recipe = _recipe(params)
    if flags.get("load_checkpoint") is not None:
        flags["load_checkpoint"] = _directory(flags["load_checkpoint"])
    given = _given("train", flags)
    args = Arguments(params=name, cpanel=_values("cpanel", cpanel), repeal=_values("repeal", repeal), **given)
    return _train(args, recipe, on_epoch)


def resume(
    session: Where, *, repeal: dict[str, Any] | None = None, on_epoch: OnEpoch | None = None, **flags: Any
) -> Loader:
    """Go on with a session in place, exactly where it stopped.

    Args:
        session: its directory, or its name in ./digideep_sessions.
        repeal: values of the parameter tree to change, by path.
        on_epoch: as for `train`.
        flags: of `digideep resume --help`, such as total_frames, which makes the plan longer.

    Returns:
        The session.

    Raises:
        FinishedError: if there is nothing left to do.
        UsageError: if something else keeps the run from starting.
    """
    given = _given("resume", flags)
    args = Arguments(resume=True, load_checkpoint=_directory(session), repeal=_values("repeal", repeal), **given)
    return _train(args, None, on_epoch)


def load(session: Where) -> Loader:
    """Open a session to read it: parameters, logs, policy, environment. Args: session: as for `resume`."""
    return session if isinstance(session, Loader) else Loader(_directory(session))


def evaluate(
    session: Where, episodes: int = 10, *, seed: int | None = None, checkpoint: str | int | None = None,
    videos: bool = False, device: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Play episodes without exploration, as `digideep evaluate` does; the session keeps the result.

    Args:
        session: as for `resume`.
        episodes: at least 1.
        seed: of the episodes; None takes the run's. The same seed gives the same episodes.
        checkpoint: its name, such as "best", or its epoch; None takes the newest valid one.
        videos: record them.
        device: where the policy computes.

    Returns:
        What `--json` prints: "mean", "std", "min", "max", "quantiles", "returns", "lengths" and more.

    Raises:
        UsageError: if something keeps it from starting.
    """
    path = Path(_directory(session))
    if checkpoint is not None:
        path = (
            path / "checkpoints" / (f"checkpoint-{checkpoint}" if isinstance(checkpoint, Integral) else str(checkpoint))
        )
    given = _given("evaluate", {"episodes": episodes, "seed": seed, "device": device})
    render = "video" if _read("videos", videos, SWITCH) else "none"
    args = Arguments(play=True, load_checkpoint=str(path), render=render, quiet=True, **given)
    found: dict[str, Any] = read_json(_run(args, output=io.StringIO()) / "evaluation.json", dict)
    return found


def _given(verb: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return flags of a verb as the command line reads them; None is one that is not given.

    Raises:
        UsageError: for what is no flag of the verb, has no meaning here, or has a value that the flag does not take.
    """
    known = {
        name.replace("-", "_"): options
        for group in flags_among(VERBS[verb].flags).values()
        for name, (_, options) in group.items()
        if name not in ("set", "cpanel", "repeal", "dry-run", "custom", "create-session-only")
    }
    for name in flags:
        if name not in known:
            raise UsageError(f"{verb}() has no argument '{name}'. {did_you_mean(name, known)}")
    return {name: _read(name, value, known[name]) for name, value in flags.items() if value is not None}


def _read(name: str, value: Any, options: Mapping[str, Any]) -> Any:
    """Return a value as a flag reads it. Args: options: of argparse."""
    if "action" in options:
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be True or False, got {shown(value)}.")
        return value
    if "nargs" in options:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{name} must be a list, got {shown(value)}.")
        return [_read(name, each, {}) for each in value]
    if isinstance(value, bool) or not isinstance(value, (str, Path, Integral, torch.device)):
        raise UsageError(f"{name} cannot be {shown(value)}.")
    try:
        found = options.get("type", str)(str(value))
    except (argparse.ArgumentTypeError, ValueError) as err:
        raise UsageError(f"{name}: {err}.") from err
    if found not in options.get("choices", [found]):
        raise UsageError(f"{name} must be one of {', '.join(map(str, options['choices']))}, got {shown(value)}.")
    return found


def _values(name: str, values: Any) -> dict[str, Any]:
    """Return values by names or paths."""
    if not isinstance(values, (Mapping, NoneType)) or not all(isinstance(key, str) for key in values or ()):
        raise UsageError(f"{name} must be a dictionary whose keys are strings, got {shown(values)}.")
    return dict(values or {})


def _recipe(params: str | Path | ModuleType | Mapping[str, Any]) -> tuple[str, ModuleType | None]:
    """Return the name of a recipe, and the recipe where it is more than that."""
    if isinstance(params, (str, Path)):
        return _read("params", params, PARAMS), None
    recipe: Any = params
    if isinstance(params, Mapping):
        recipe = ModuleType("dictionary")
        is_tree = not {"cpanel", "gen_params"} & set(params)
        recipe.__dict__.update({"cpanel": {}, "gen_params": lambda cpanel: dict(params)} if is_tree else params)
    if not (isinstance(recipe, ModuleType) and is_recipe(recipe)):
        raise UsageError(
            f"params must be a file's name, or a module or dictionary with a dictionary 'cpanel' and a function "
            f"'gen_params(cpanel)', or a parameter tree, got {shown(params)}."
        )
    return recipe.__name__, recipe


def _directory(session: Where) -> str:
    return str(session.path) if isinstance(session, Loader) else str(_read("session", session, SESSION))


def _train(args: Arguments, recipe: ModuleType | None, on_epoch: OnEpoch | None) -> Loader:
    if not (on_epoch is None or callable(on_epoch)):
        raise UsageError(f"on_epoch must be a function, got {shown(on_epoch)}.")
    return Loader(_run(args, recipe=recipe, on_epoch=on_epoch))


def _run(args: Arguments, **options: Any) -> Path:
    """Do what the arguments say. Returns: the directory that was made for it, or of the session that went on."""
    check_combination(args)
    if not _one_at_a_time.acquire(blocking=False):
        raise UsageError(
            "Another thread of this process has a run going on: they would share global random numbers and settings of "
            "torch. Wait for it, or use processes."
        )
    signals, session = StopSignals(), None
    signals.install()
    try:
        signals.release()
        with left_as_it_was():
            session = Session(args, signals, **options)
            runner = make_runner(session)
            try:
                signals.hold()
                session.open(runner)
                runner.start()
            finally:
                runner.close()
    except Interruption as err:
        raise KeyboardInterrupt(str(err)) from err
    except Exception as err:
        if session is not None:
            session.report_failure(traceback.format_exc())
            session.watch.fail(err)
        raise
    finally:
        if session is not None:
            session.close()
        signals.restore()
        _one_at_a_time.release()
    assert session.path is not None
    return session.path
