"""Random actions, and recordings of episodes under them, judged as a run would judge them."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, ObservationJudge, check_info, check_reset, read_outcome
from digideep.environment.infos import write_info
from digideep.environment.joint_actions import RandomActions
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import ACTION_MASK, mask_size
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.utility.seeding import make_generator

Chooser = Callable[[Mapping[str, Any]], Any]


def random_chooser(environment: gym.Env, info: EnvironmentInfo, generator: np.random.Generator) -> Chooser:
    """Return a function that draws actions from the whole range.

    Args:
        environment: whose `step` takes the actions.
        info: of it.
        generator: owned by the caller.

    Returns:
        A function from the newest info to an action, among those that its "action_mask" allows, if it has one.
    """
    inner = environment.unwrapped
    if isinstance(inner, ParallelAdapter):
        return lambda newest_info: inner.sample(generator)
    space, size = info.action_space, mask_size(info.agent_action_space)
    draw = RandomActions(space)

    def choose(newest_info: Mapping[str, Any]) -> Any:
        mask = None if size is None else newest_info.get(ACTION_MASK)
        allowed = None if mask is None or np.shape(mask) != (size,) else np.asarray(mask)[None] != 0
        action = np.asarray(draw(generator, 1, allowed)[0], space.dtype)  # of several entries: float64
        return action.item() if isinstance(space, gym.spaces.Discrete) else action

    return choose


@dataclass
class Recording:
    """What happened under a seed and a sequence of random actions, at most one episode."""

    observations: list[dict[str, np.ndarray]] = field(default_factory=list)  # of the reset and of each step, by path
    rewards: list[float] = field(default_factory=list)  # of each step
    ends: list[tuple[bool, bool]] = field(default_factory=list)  # of each step: terminated, truncated
    complaints: list[str] = field(default_factory=list)  # what would stop a run
    remarks: list[str] = field(default_factory=list)  # the first thing that is not as declared, but does no harm

    def difference(self, other: "Recording") -> str | None:
        """Return where two recordings part; None if they are the same to the last bit."""
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
    judge = ObservationJudge(environment.observation_space, next(iter(info.observation_spaces)))
    buffers = StepBuffers(info, 1, np.zeros)

    def note(observation: Any, newest_info: Any) -> None:
        judge.read(observation, buffers.observations, 0)
        found = judge.check(buffers.observations)
        if found is not None:
            raise found[1]
        check_info(newest_info)
        for path, array in buffers.infos.items():
            write_info(array, 0, path[1:], newest_info)
        if not recording.remarks and (outside := _outside(environment, observation)):
            recording.remarks.append(
                f"{outside} after {len(recording.rewards)} steps lies outside of its space, in bounds or dtype: it is "
                "taken as it is"
            )
        arrays = {path: np.array(array[0]) for path, array in buffers.observations.items()}
        for path, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                recording.complaints.append(f"observation {path} is not finite after {len(recording.rewards)} steps")
        recording.observations.append(arrays)

    try:
        observation, newest_info = check_reset(environment.reset(seed=seed))
        note(observation, newest_info)
        is_over = False
        while not is_over and len(recording.rewards) < steps:
            observation, *outcome, newest_info = environment.step(choose(newest_info))
            reward, terminated, truncated = read_outcome(*outcome)
            is_over = terminated or truncated
            recording.rewards.append(reward)
            recording.ends.append((terminated, truncated))
            note(observation, newest_info)
    except NotAsDeclared as err:
        raise NotAsDeclared(f"after {len(recording.rewards)} steps it gave {err}") from err
    return recording


def _outside(environment: gym.Env, observation: Any) -> str | None:
    """Return what lies outside of its space in words; None if nothing does."""
    inner = environment.unwrapped
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Casting input x to numpy array")  # a number where an array () is expected
        if isinstance(inner, ParallelAdapter):
            game, seen = inner.environment, inner.newest[0]
            players = [str(player) for player in seen if not game.observation_space(player).contains(seen[player])]
            return f"the observation of player {', '.join(players)}" if players else None
        space = environment.observation_space
        if space.contains(observation):
            return None
        if not isinstance(space, gym.spaces.Box):
            return "the observation"
        array = np.asarray(observation)
        return f"the observation ({array.dtype}{list(array.shape)}, declared {space.dtype}{list(space.shape)})"
