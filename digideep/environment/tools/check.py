"""The checks of `play --check`: will a run of an environment be right, and can it be resumed exactly?

Each check runs the environment itself, under seeds and random actions, and reports in words what it saw.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from digideep.environment.closing import close_environment
from digideep.environment.contract import NotAsDeclared
from digideep.environment.making.film import Pictures
from digideep.environment.making.make_environment import (
    EnvironmentInfo,
    EnvironmentSpec,
    inspect_environment,
    make_environment,
)
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import ACTION_MASK
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.vector_environment import VectorEnvironment
from digideep.environment.stepping.worker import WorkerPlan
from digideep.environment.stepping.worker_group import WorkerGroup
from digideep.environment.tools.recording import Recording, random_chooser, record
from digideep.utility.seeding import make_generator
from digideep.utility.user_code import words_unless_ours

_TIMEOUT_S = 300.0
_FOR_RESUME = ("first episode", "seeding", "re-living here", "re-living elsewhere")


class Verdict(NamedTuple):
    """The result of one check. `is_ok` is None where there is something to know, but nothing wrong."""

    point: str
    is_ok: bool | None
    detail: str


_ENOUGH = 20  # steps of an episode


class _Trial:
    """An environment under examination: made once, and recorded once as the measure for the rest."""

    def __init__(self, spec: EnvironmentSpec, seed: int, steps: int):
        self.spec, self.seed, self.steps = spec, seed, steps
        self.info = inspect_environment(spec)
        self.environment = make_environment(spec)

    @cached_property
    def first(self) -> Recording:
        found = record(self.environment, self.info, self.seed, self.steps)
        for seed in range(self.seed + 1, self.seed + 10):  # an episode that ends at once shows little
            if len(found.rewards) >= min(_ENOUGH, self.steps):
                break
            other = record(self.environment, self.info, seed, self.steps)
            if len(other.rewards) > len(found.rewards):
                self.seed, found = seed, other
        return found

    def again(self, seed: int | None = None) -> Recording:
        return record(self.environment, self.info, self.seed if seed is None else seed, self.steps)


def _gymnasium(trial: _Trial) -> tuple[bool | None, str]:
    """Run gymnasium's own checker on the bare environment."""
    environment = make_environment(trial.spec).unwrapped
    return _ask(lambda: check_env(environment, skip_render_check=True, skip_close_check=True), environment)


def _pettingzoo(trial: _Trial) -> tuple[bool | None, str]:
    """Run PettingZoo's own test of the bare environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, at the import
        from pettingzoo.test import parallel_api_test

    adapter = make_environment(trial.spec).unwrapped
    assert isinstance(adapter, ParallelAdapter)
    adapter.reset(seed=trial.seed)
    if any(ACTION_MASK in (info or {}) for info in adapter.newest[1].values()):
        adapter.close()
        return None, "not asked: it knows nothing of action masks in infos, and takes any action"
    for player in adapter.environment.possible_agents:
        adapter.environment.action_space(player).seed(trial.seed)
    return _ask(lambda: parallel_api_test(adapter.environment, num_cycles=trial.steps), adapter)


def _ask(checker: Callable[[], Any], environment: gym.Env) -> tuple[bool | None, str]:
    """Run somebody else's checker, and close the environment. Returns: what it raised, or its warnings."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(None):
        warnings.simplefilter("always")
        try:
            checker()
        except BaseException as err:  # it asserts, and environments raise what they like
            return False, words_unless_ours(err)
        finally:
            close_environment(environment, "the environment")
    remarks = {" ".join(str(w.message).replace("\x1b[33mWARN: ", "").replace("\x1b[0m", "").split()) for w in caught}
    remarks = {remark for remark in remarks if "infinity. This is probably too" not in remark}  # digideep minds none
    return (None, "; ".join(sorted(remarks))) if remarks else (True, "nothing to complain about")


def _spaces(trial: _Trial) -> tuple[bool | None, str]:
    """Check that observations, rewards and ends are what the environment declares."""
    if trial.first.complaints:
        return False, "; ".join(dict.fromkeys(trial.first.complaints))
    if trial.first.remarks:
        return None, "; ".join(dict.fromkeys(trial.first.remarks))
    seen = "; ".join(_declared(info, name) for name, info in (trial.info.agents or {"": trial.info}).items())
    return True, f"{len(trial.first.rewards)} steps as declared: {seen}"


def _declared(info: EnvironmentInfo, name: str) -> str:
    """Return observations and actions in words."""
    shapes = [f"{path} {space.dtype}{list(space.shape or ())}" for path, space in info.observation_spaces.items()]
    return f"{f'{name} sees ' if name else ''}{', '.join(shapes)}; actions {info.action_space}"


def _seeding(trial: _Trial) -> tuple[bool | None, str]:
    """Check that a seed decides the first observation, and another seed gives another one."""
    seeds = trial.seed, trial.seed, trial.seed + 1
    starts = [record(trial.environment, trial.info, seed, 0) for seed in seeds]
    if starts[0].difference(starts[1]):
        return False, f"two resets with the seed {trial.seed} begin differently"
    if trial.first.difference(trial.again(trial.seed + 1)) is None:
        return None, "another seed makes no difference: all episodes are the same"
    return True, "a seed decides how an episode begins" + (
        "" if starts[0].difference(starts[2]) else "; all episodes begin alike")  # fmt: skip


def _here(trial: _Trial) -> tuple[bool | None, str]:
    """Check that an episode can be re-lived in an environment that has been used since."""
    where = trial.first.difference(trial.again())
    if where:
        return False, f"the same seed and actions lead elsewhere: {where}"
    return True, f"{len(trial.first.rewards)} steps repeat themselves to the last bit"


def _elsewhere(trial: _Trial) -> tuple[bool | None, str]:
    """Check that an episode can be re-lived in another process, in the way that a resumed run does it."""
    plan = WorkerPlan(trial.spec, trial.seed, "check")
    here = WorkerGroup(plan, range(1), StepBuffers(trial.info, 1, np.zeros), trial.info)
    (worker,) = here.workers
    try:
        here.reset()
        choose = random_chooser(worker.environment, trial.info, make_generator(trial.seed, "check"))
        for _ in range(trial.steps):
            here.buffers.actions[0] = choose(worker.info)
            here.step()
            if worker.is_ended:
                break
        state = here.state_dict()
    finally:
        here.close()
    there = VectorEnvironment(plan, trial.info, 1, 1, _TIMEOUT_S)
    try:
        diverged = there.load_state_dict(state)
    finally:
        there.close()
    if diverged:
        return False, "another process that repeats seed and actions sees another observation"
    return True, "another process comes to the same observation"


def _ends(trial: _Trial) -> tuple[bool | None, str]:
    """Check that episodes end, and that a time limit is a truncation."""
    steps, limit = len(trial.first.rewards), trial.info.max_episode_steps
    terminated, truncated = trial.first.ends[-1]
    if truncated and not terminated:
        return True, f"truncated after {steps} steps" + (f", its time limit is {limit}" if limit else "")
    if terminated and limit == steps:
        return None, f"terminated at its time limit of {limit} steps: if that is no terminal state, it is a truncation"
    if terminated:
        return True, f"terminated after {steps} steps" + (f"; its time limit is {limit}" if limit else "")
    if limit is None:
        return False, f"no end within {steps} steps and no time limit: tests could run forever. Give max_episode_steps"
    return True, f"no end within {steps} steps; its time limit is {limit}"


_Point = Callable[[_Trial], tuple[bool | None, str]]
_POINTS: dict[str, _Point] = {
    "spaces and types": _spaces,
    "seeding": _seeding,
    "re-living here": _here,
    "re-living elsewhere": _elsewhere,
    "ends": _ends,
}


def check_environment(spec: EnvironmentSpec, seed: int = 0, steps: int = 1024) -> list[Verdict]:
    """Examine an environment, wrappers included.

    Args:
        spec: which one.
        seed: of what is tried.
        steps: at most so many of an episode.

    Raises:
        UsageError: if it cannot be made or its spaces are not supported.
    """
    trial = _Trial(spec, seed, steps)
    theirs: dict[str, _Point] = (
        {"PettingZoo's test": _pettingzoo} if trial.info.all_players else {"gymnasium's checker": _gymnasium}
    )
    verdicts = []
    try:
        try:
            points = theirs | (_POINTS if trial.first else {})
        except BaseException as err:  # an environment may raise anything
            points = theirs
            words = str(err) if isinstance(err, NotAsDeclared) else words_unless_ours(err)
            verdicts.append(Verdict("first episode", False, words))
        for point, examine in points.items():
            try:
                verdicts.append(Verdict(point, *examine(trial)))
            except BaseException as err:
                verdicts.append(Verdict(point, False, words_unless_ours(err)))
    finally:
        close_environment(trial.environment, spec.name)
    return verdicts


def why_no_video(spec: EnvironmentSpec) -> str | None:
    """Try to draw one image. Returns: what is wrong, None if nothing is."""
    environment = None
    # A viewer of gymnasium's that could be built by half only complains when it is deleted.
    hook, sys.unraisablehook = sys.unraisablehook, lambda complaint: None
    try:
        environment = make_environment(spec, render_mode="rgb_array")
        environment.reset(seed=0)
        return None if Pictures().take(environment.render()) is not None else "render() gives no picture"
    except BaseException as err:  # drivers and optional packages fail in their own ways
        return words_unless_ours(err)
    finally:
        if environment is not None:
            close_environment(environment, spec.name)
        environment = None  # deleted here, not after the next line
        sys.unraisablehook = hook


def why_no_exact_resume(verdicts: list[Verdict]) -> list[str]:
    """Return the details that speak against exact resume; none if it will hold."""
    return [verdict.detail for verdict in verdicts if verdict.point in _FOR_RESUME and verdict.is_ok is False]


def repeats_itself(spec: EnvironmentSpec, info: EnvironmentInfo, seed: int = 0, steps: int = 5) -> bool | None:
    """True if one seed leads to the same in two environments and in a used one. None if they raise."""
    recordings = []
    try:
        for times in (1, 2):
            environment = make_environment(spec)
            try:
                recordings += [record(environment, info, seed, steps) for _ in range(times)]
            finally:
                close_environment(environment, spec.name)
    except BaseException as err:  # the run itself will say so, with worker and step
        logging.getLogger("digideep").debug("The environment could not be tried: %s", words_unless_ours(err))
        return None
    first, *others = recordings
    return all(first.difference(other) is None for other in others)


def report_abilities(
    spec: EnvironmentSpec, info: EnvironmentInfo, *, backend: str = "gymnasium", num_processes: int = 0,
    is_ahead: bool = False, **others: Any,
) -> None:  # fmt: skip
    """Log one line on what an environment can do: exact resume, what steps it, its time limit, how it is drawn.

    It is a warning if a resume cannot be exact though it should be.

    Args:
        spec: of the environment.
        info: of the environment.
        backend: what steps it.
        num_processes: of its workers.
        is_ahead: a process of its own collects, while this one learns.
        others: parameters of the explorer that have no say in this.
    """
    repeats = repeats_itself(spec, info) if backend == "gymnasium" else None
    resume = {True: "yes", False: "NO, it does not repeat itself", None: "unknown, it could not be tried"}[repeats]
    place = "in a process of its own" if is_ahead else "in this process"
    if num_processes:
        place = f"in {num_processes} process{'es' if num_processes > 1 else ''}"
    if backend != "gymnasium":
        resume, place = "no, its episodes restart", f"by {backend}"
    limit = "no time limit" if info.max_episode_steps is None else f"time limit {info.max_episode_steps:,} steps"
    drawn = ", ".join(info.render_modes) or "nothing"
    level = logging.WARNING if repeats is False else logging.INFO
    message = "%s: exact resume: %s; stepped %s; %s; renders %s"
    logging.getLogger("digideep").log(level, message, spec.name, resume, place, limit, drawn)
