"""What an environment has to keep to, so that a run of it is right and can be resumed exactly; `play --check` asks.

Each check runs the environment itself, under seeds and random actions, and says in words what it saw.
"""

import contextlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from digideep.environment.closing import close_environment
from digideep.environment.contract import NotAsDeclared, ObservationJudge, check_info, check_reset, read_outcome
from digideep.environment.infos import write_info
from digideep.environment.making.make_environment import (
    EnvironmentInfo,
    EnvironmentSpec,
    inspect_environment,
    make_environment,
)
from digideep.environment.making.parallel_games import ParallelAdapter
from digideep.environment.random_actions import random_chooser
from digideep.environment.spaces import observation_reader
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.workers import VectorEnvironment, WorkerGroup, WorkerPlan
from digideep.utility.seeding import make_generator
from digideep.utility.user_code import in_words, is_ours

_TIMEOUT_S = 300.0
_FOR_RESUME = ("first episode", "seeding", "re-living here", "re-living elsewhere")


class Verdict(NamedTuple):
    """What came of one point. `is_ok` is None where there is something to know, but nothing wrong."""

    point: str
    is_ok: bool | None
    detail: str


@dataclass
class Recording:
    """What happened under a seed and a sequence of random actions, at most one episode.

    Attributes:
        observations: path -> array, of the reset and of each step.
        rewards, ends: of each step; an end is (terminated, truncated).
        complaints: what would stop a run.
        remarks: the first thing that is not as the environment declares it, but does no harm.
    """

    observations: list[dict[str, np.ndarray]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def difference(self, other: "Recording") -> str | None:
        """Where two recordings part; None if they are the same to the last bit."""
        for step, (ours, theirs) in enumerate(zip(self.observations, other.observations, strict=False)):
            for path, array in ours.items():
                if not np.array_equal(array, theirs[path], equal_nan=array.dtype.kind == "f"):
                    return f"observation {path} differs at step {step}"
            if step and (self.rewards[step - 1], self.ends[step - 1]) != (
                other.rewards[step - 1],
                other.ends[step - 1],
            ):
                return f"the reward or the end differs at step {step}"
        return None if len(self.rewards) == len(other.rewards) else "one of the two episodes is longer"


def record(environment: gym.Env, info: EnvironmentInfo, seed: int, steps: int) -> Recording:
    """Run an environment, and judge what it gives as its run would.

    Args:
        environment: also a used one.
        info: of it.
        seed: of reset and actions.
        steps: at most so many.

    Raises:
        NotAsDeclared: if it gives something else than it declares.
    """
    recording = Recording()
    choose = random_chooser(environment, info, make_generator(seed, "check"))
    readers = {path: observation_reader(environment.observation_space, path) for path in info.observation_spaces}
    judge, rows = ObservationJudge(environment.observation_space, next(iter(readers))), StepBuffers(info, 1, np.zeros)

    def note(observation: Any, given: Any) -> None:
        judge.read(observation, rows.observations, 0)
        found = judge.check(rows.observations)
        if found is not None:
            raise found[1]
        check_info(given)
        for path, array in rows.infos.items():
            write_info(array, 0, path[1:], given)
        if not recording.remarks and (strayed := _outside(environment, observation)):
            recording.remarks.append(
                f"{strayed} after {len(recording.rewards)} steps lies outside of its space, in bounds or dtype: it is "
                "taken as it is"
            )
        arrays = {path: np.array(read(observation)) for path, read in readers.items()}
        for path, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                recording.complaints.append(f"observation {path} is not finite after {len(recording.rewards)} steps")
        recording.observations.append(arrays)

    try:
        observation, given = check_reset(environment.reset(seed=seed))
        note(observation, given)
        is_over = False
        while not is_over and len(recording.rewards) < steps:
            observation, earned, terminated, truncated, given = environment.step(choose(given))
            reward, terminated, truncated = read_outcome(earned, terminated, truncated)
            is_over = terminated or truncated
            recording.rewards.append(reward)
            recording.ends.append((terminated, truncated))
            note(observation, given)
    except NotAsDeclared as err:
        raise NotAsDeclared(f"after {len(recording.rewards)} steps it gave {err}") from err
    return recording


def _outside(environment: gym.Env, observation: Any) -> str | None:
    """What lies outside of its space; None if all is well."""
    inner = environment.unwrapped
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Casting input x to numpy array")  # a number where an array () is expected
        if not isinstance(inner, ParallelAdapter):
            space = environment.observation_space
            given = np.asarray(observation) if isinstance(space, gym.spaces.Box) else None
            form = (
                ""
                if given is None
                else f" ({given.dtype}{list(given.shape)}, declared {space.dtype}{list(space.shape or ())})"
            )
            return None if space.contains(observation) else f"the observation{form}"
        game, seen = inner.environment, inner.newest[0]
        strayed = [str(player) for player in seen if not game.observation_space(player).contains(seen[player])]
    return f"the observation of player {', '.join(strayed)}" if strayed else None


class _Trial:
    """An environment under examination: made once, and recorded once as the measure for the rest."""

    def __init__(self, spec: EnvironmentSpec, seed: int, steps: int):
        self.spec, self.seed, self.steps = spec, seed, steps
        self.info = inspect_environment(spec)
        self.environment = make_environment(spec)

    @cached_property
    def first(self) -> Recording:
        return record(self.environment, self.info, self.seed, self.steps)

    def again(self, seed: int | None = None) -> Recording:
        return record(self.environment, self.info, self.seed if seed is None else seed, self.steps)


def _gymnasium(trial: _Trial) -> tuple[bool | None, str]:
    """gymnasium's own checker on the bare environment."""
    environment = make_environment(trial.spec).unwrapped
    return _ask(lambda: check_env(environment, skip_render_check=True, skip_close_check=True), environment)


def _pettingzoo(trial: _Trial) -> tuple[bool | None, str]:
    """PettingZoo's own test of the bare environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, at the import
        from pettingzoo.test import parallel_api_test

    adapter = make_environment(trial.spec).unwrapped
    assert isinstance(adapter, ParallelAdapter)
    adapter.reset(seed=trial.seed)
    if any("action_mask" in (info or {}) for info in adapter.newest[1].values()):
        adapter.close()
        return None, "not asked: it knows nothing of action masks in infos, and takes any action"
    for player in adapter.environment.possible_agents:
        adapter.environment.action_space(player).seed(trial.seed)
    return _ask(lambda: parallel_api_test(adapter.environment, num_cycles=trial.steps), adapter)


def _ask(checker: Callable[[], Any], environment: gym.Env) -> tuple[bool | None, str]:
    """Let somebody else's checker run, and close the environment. Returns: what it raised, or its warnings."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(None):
        warnings.simplefilter("always")
        try:
            checker()
        except BaseException as err:  # it asserts, and environments raise what they like
            if is_ours(err):
                raise
            return False, in_words(err)
        finally:
            close_environment(environment, "the environment")
    remarks = {" ".join(str(w.message).replace("\x1b[33mWARN: ", "").replace("\x1b[0m", "").split()) for w in caught}
    remarks = {remark for remark in remarks if "infinity. This is probably too" not in remark}  # digideep minds none
    return (None, "; ".join(sorted(remarks))) if remarks else (True, "nothing to complain about")


def _spaces(trial: _Trial) -> tuple[bool | None, str]:
    """Observations, rewards and ends are what the environment declares."""
    if trial.first.complaints:
        return False, "; ".join(dict.fromkeys(trial.first.complaints))
    if trial.first.remarks:
        return None, "; ".join(dict.fromkeys(trial.first.remarks))
    seen = "; ".join(_declared(info, name) for name, info in (trial.info.agents or {"": trial.info}).items())
    return True, f"{len(trial.first.rewards)} steps as declared: {seen}"


def _declared(info: EnvironmentInfo, name: str) -> str:
    """What somebody sees and does, in words."""
    shapes = [f"{path} {space.dtype}{list(space.shape or ())}" for path, space in info.observation_spaces.items()]
    return f"{f'{name} sees ' if name else ''}{', '.join(shapes)}; actions {info.action_space}"


def _seeding(trial: _Trial) -> tuple[bool | None, str]:
    """A seed decides the first observation, and another seed gives another one."""
    starts = []
    for seed in (trial.seed, trial.seed, trial.seed + 1):
        observation, _ = trial.environment.reset(seed=seed)
        starts.append(Recording([_arrays(trial, observation)]))
    if starts[0].difference(starts[1]):
        return False, f"two resets with the seed {trial.seed} begin differently"
    if trial.first.difference(trial.again(trial.seed + 1)) is None:
        return None, "another seed makes no difference: all episodes are the same"
    return True, "a seed decides how an episode begins" + (
        "" if starts[0].difference(starts[2]) else "; all episodes begin alike")  # fmt: skip


def _arrays(trial: _Trial, observation: Any) -> dict[str, np.ndarray]:
    space = trial.environment.observation_space
    return {path: np.array(observation_reader(space, path)(observation)) for path in trial.info.observation_spaces}


def _here(trial: _Trial) -> tuple[bool | None, str]:
    """An episode can be re-lived in an environment that has been used since."""
    where = trial.first.difference(trial.again())
    if where:
        return False, f"the same seed and actions lead elsewhere: {where}"
    return True, f"{len(trial.first.rewards)} steps repeat themselves to the last bit"


def _elsewhere(trial: _Trial) -> tuple[bool | None, str]:
    """An episode can be re-lived in another process, in the way that a resumed run does it."""
    plan = WorkerPlan(trial.spec, trial.seed, "check")
    here = WorkerGroup(plan, range(1), StepBuffers(trial.info, 1, np.zeros), trial.info)
    (worker,) = here.workers
    try:
        here.reset()
        choose = random_chooser(worker.environment, trial.info, make_generator(trial.seed, "check"))
        for _ in range(trial.steps):
            here.rows.actions[0] = choose(worker.info)
            here.step()
            if worker.is_ended:
                break
        state = here.state_dict()
    finally:
        here.close()
    there = VectorEnvironment(plan, trial.info, 1, 1, _TIMEOUT_S)
    try:
        strayed = there.load_state_dict(state)
    finally:
        there.close()
    if strayed:
        return False, "another process that repeats seed and actions sees another observation"
    return True, "another process comes to the same observation"


def _ends(trial: _Trial) -> tuple[bool | None, str]:
    """Episodes end, and a time limit is a truncation."""
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
        {"PettingZoo's test": _pettingzoo} if trial.info.agents else {"gymnasium's checker": _gymnasium}
    )
    verdicts = []
    try:
        try:
            points = theirs | (_POINTS if trial.first else {})
        except BaseException as err:  # an environment may raise anything
            if is_ours(err):
                raise
            points = theirs
            words = str(err) if isinstance(err, NotAsDeclared) else in_words(err)
            verdicts.append(Verdict("first episode", False, words))
        for point, examine in points.items():
            try:
                verdicts.append(Verdict(point, *examine(trial)))
            except BaseException as err:
                if is_ours(err):
                    raise
                verdicts.append(Verdict(point, False, in_words(err)))
    finally:
        close_environment(trial.environment, spec.name)
    return verdicts


def why_no_exact_resume(verdicts: list[Verdict]) -> list[str]:
    """The details that speak against exact resume; none if it will hold."""
    return [verdict.detail for verdict in verdicts if verdict.point in _FOR_RESUME and verdict.is_ok is False]


def repeats_itself(spec: EnvironmentSpec, info: EnvironmentInfo, seed: int = 0, steps: int = 5) -> bool | None:
    """A quick look whether one seed leads to the same: in two environments, and in a used one. None if they raise."""
    recordings = []
    try:
        for times in (1, 2):
            environment = make_environment(spec)
            try:
                recordings += [record(environment, info, seed, steps) for _ in range(times)]
            finally:
                close_environment(environment, spec.name)
    except BaseException as err:  # the run itself will say so, with worker and step
        if is_ours(err):
            raise
        logging.getLogger("digideep").debug("The environment could not be tried: %s", in_words(err))
        return None
    first, *others = recordings
    return all(first.difference(other) is None for other in others)


def report_abilities(
    spec: EnvironmentSpec, info: EnvironmentInfo, *, backend: str = "gymnasium", num_processes: int = 0, **others: Any
) -> None:
    """Log one line on what an environment can do: exact resume, what steps it, its time limit, how it is drawn.

    It is a warning if a resume cannot be exact though it should be.

    Args:
        spec: of the environment.
        info: of the environment.
        backend: what steps it.
        num_processes: of its workers.
        others: parameters of the explorer that have no say in this.
    """
    repeats = repeats_itself(spec, info) if backend == "gymnasium" else None
    resume = {True: "yes", False: "NO, it does not repeat itself", None: "unknown, it could not be tried"}[repeats]
    place = (
        "in this process" if num_processes == 0 else f"in {num_processes} process{'es' if num_processes > 1 else ''}"
    )
    if backend != "gymnasium":
        resume, place = "no, its episodes restart", f"by {backend}"
    limit = "no time limit" if info.max_episode_steps is None else f"time limit {info.max_episode_steps:,} steps"
    drawn = ", ".join(info.render_modes) or "nothing"
    level = logging.WARNING if repeats is False else logging.INFO
    line = "%s: exact resume: %s; stepped %s; %s; renders %s"
    logging.getLogger("digideep").log(level, line, spec.name, resume, place, limit, drawn)
