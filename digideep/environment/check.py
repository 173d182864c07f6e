"""What an environment has to keep to, so that a run of it is right and can be resumed exactly; `play --check` asks.

Each check runs the environment itself, under seeds and random actions, and says in words what it saw.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from digideep.environment.make_environment import (
    EnvironmentInfo,
    EnvironmentSpec,
    inspect_environment,
    make_environment,
)
from digideep.environment.spaces import ActionEdge, observation_reader, sample_actions
from digideep.environment.workers import VectorEnvironment, WorkerPlan
from digideep.utility.seeding import make_generator

_TIMEOUT_S = 300.0
_FOR_RESUME = ("seeding", "re-living here", "re-living elsewhere")


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
        complaints: what was not as the environment declares it.
    """

    observations: list[dict[str, np.ndarray]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

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
    """Run an environment. Args: environment: also a used one. info: of it. seed: of reset and actions."""
    recording = Recording()
    generator, edge = make_generator(seed, "check"), ActionEdge(info.action_space)
    readers = {path: observation_reader(environment.observation_space, path) for path in info.observation_spaces}

    def note(observation: Any) -> None:
        if len(recording.complaints) < 3 and not environment.observation_space.contains(observation):
            recording.complaints.append(
                f"the observation after {len(recording.rewards)} steps lies outside of its space, in bounds, shape or "
                "dtype"
            )
        arrays = {path: np.array(read(observation)) for path, read in readers.items()}
        for path, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                recording.complaints.append(f"observation {path} is not finite after {len(recording.rewards)} steps")
        recording.observations.append(arrays)

    note(environment.reset(seed=seed)[0])
    for _ in range(steps):
        action = edge(sample_actions(info.agent_action_space, generator, 1))[0]
        observation, given, terminated, truncated, _ = environment.step(action)
        reward: Any = given
        if not np.isscalar(reward) and np.shape(reward) != ():
            recording.complaints.append(
                f"a reward is {type(reward).__name__} of shape {np.shape(reward)}, not a number"
            )
        if not all(isinstance(end, (bool, np.bool_)) for end in (terminated, truncated)):
            recording.complaints.append(f"ends are {type(terminated).__name__}, {type(truncated).__name__}, not bool")
        recording.rewards.append(float(reward))
        recording.ends.append((bool(terminated), bool(truncated)))
        note(observation)
        if terminated or truncated:
            break
    return recording


class _Trial:
    """An environment under examination: made once, and recorded once as the measure for the rest."""

    def __init__(self, spec: EnvironmentSpec, seed: int, steps: int):
        self.spec, self.seed, self.steps = spec, seed, steps
        self.info = inspect_environment(spec)
        self.environment = make_environment(spec)
        self.first = record(self.environment, self.info, seed, steps)

    def again(self, seed: int | None = None) -> Recording:
        return record(self.environment, self.info, self.seed if seed is None else seed, self.steps)


def _gymnasium(trial: _Trial) -> tuple[bool | None, str]:
    """gymnasium's own checker on the bare environment."""
    environment = make_environment(trial.spec).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(environment, skip_render_check=True, skip_close_check=True)
        except Exception as err:  # it asserts, and environments raise what they like
            return False, " ".join(f"{type(err).__name__}: {err}".split())
        finally:
            environment.close()
    remarks = {" ".join(str(w.message).replace("\x1b[33mWARN: ", "").replace("\x1b[0m", "").split()) for w in caught}
    remarks = {remark for remark in remarks if "infinity. This is probably too" not in remark}  # digideep minds none
    return (None, "; ".join(sorted(remarks))) if remarks else (True, "nothing to complain about")


def _spaces(trial: _Trial) -> tuple[bool | None, str]:
    """Observations, rewards and ends are what the environment declares."""
    if trial.first.complaints:
        return False, "; ".join(dict.fromkeys(trial.first.complaints))
    shapes = [f"{path} {space.dtype}{list(space.shape or ())}" for path, space in trial.info.observation_spaces.items()]
    return True, f"{len(trial.first.rewards)} steps as declared: {', '.join(shapes)}; actions {trial.info.action_space}"


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
    here = VectorEnvironment(plan, trial.info, 1, 0, _TIMEOUT_S)
    try:
        here.reset()
        generator, edge = make_generator(trial.seed, "check"), ActionEdge(trial.info.action_space)
        for _ in range(trial.steps):
            here.send(here.rows, edge(sample_actions(trial.info.agent_action_space, generator, 1)))
            here.receive(here.rows)
            if here.rows.ended.any():
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


_POINTS: dict[str, Callable[[_Trial], tuple[bool | None, str]]] = {
    "gymnasium's checker": _gymnasium,
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
    verdicts = []
    try:
        for point, examine in _POINTS.items():
            try:
                verdicts.append(Verdict(point, *examine(trial)))
            except Exception as err:  # an environment may raise anything
                verdicts.append(Verdict(point, False, " ".join(f"{type(err).__name__}: {err}".split())))
    finally:
        trial.environment.close()
    return verdicts


def why_no_exact_resume(verdicts: list[Verdict]) -> list[str]:
    """The details that speak against exact resume; none if it will hold."""
    return [verdict.detail for verdict in verdicts if verdict.point in _FOR_RESUME and verdict.is_ok is False]


def repeats_itself(spec: EnvironmentSpec, info: EnvironmentInfo, seed: int = 0, steps: int = 5) -> bool | None:
    """A quick look whether two environments under one seed do the same. Returns: None if they raise."""
    recordings = []
    try:
        for _ in range(2):
            environment = make_environment(spec)
            try:
                recordings.append(record(environment, info, seed, steps))
            finally:
                environment.close()
    except Exception as err:  # the run itself will say so, with worker and step
        logging.getLogger("digideep").debug("The environment could not be tried: %s: %s", type(err).__name__, err)
        return None
    return recordings[0].difference(recordings[1]) is None


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
