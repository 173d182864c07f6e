"""What exported files are compared with: what the session's policy did, in episodes and all over the space."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.environment.joint_actions import nested
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.spaces import mask_bounds, sample_actions
from digideep.post.policy import Policy
from digideep.utility.errors import UsageError
from digideep.utility.seeding import derive_seed

_BATCHES = ((16, 1), (35, 7))  # rows that are compared, and by how many at once; beside all of them
# Of numbered actions, the share that may differ: two that are worth the same but for rounding.
_TIES = 0.01
_FAR = 30.0  # standard deviations from what was seen, where a space has no bounds
_LARGE = 1e4  # bounds beyond it count as none

Arrays = list[np.ndarray]
Run = Callable[[Arrays], Arrays]


class Samples(NamedTuple):
    """What a policy was given and what it made of it, as inputs and outputs of a file."""

    inputs: Arrays
    outputs: Arrays
    tolerance: float  # of actions, relative to their range in the environment


def play(policies: dict[str, Policy], environment: gym.Env, name: str, count: int) -> tuple[Samples, np.ndarray | None]:
    """Play whole episodes without exploration and note what one of the agents saw and did.

    Args:
        count: of observations, at least; the last episode is played to its end, unless it is as long again.

    Returns:
        What was noted, and an action mask as the environment gave it, if it gives one.
    """
    noted: list[tuple[Arrays, Arrays]] = []
    mask, total, is_over = None, 0, True
    seed: int | None = derive_seed(0, "export") % 2**31
    while total < (count if is_over else 2 * count):
        if is_over:
            observation, info = environment.reset(seed=seed)
            seed = None
            for policy in policies.values():
                policy.reset()
        actions = {}
        for agent, policy in policies.items():
            seen, own_info, present = _of_agent(environment, agent, observation, info)
            before = policy.hidden_state
            actions[agent] = policy(seen, own_info)
            if agent == name:
                mask = np.asarray(own_info["action_mask"]) if policy.agent.use_action_mask else None
                rows = np.flatnonzero(present)
                noted.append(_note(policy, seen, mask, before, actions[agent], rows))
                total += len(rows)
        observation, _, terminated, truncated, info = _take_step(environment, policies, actions)
        is_over = terminated or truncated
    inputs, outputs = ([np.concatenate(each) for each in zip(*side, strict=True)] for side in zip(*noted, strict=True))
    return Samples(inputs, outputs, 1e-5), None if mask is None else mask.reshape(-1, mask.shape[-1])[0]


def _of_agent(environment: gym.Env, name: str, observation: Any, info: dict) -> tuple[Any, dict, np.ndarray]:
    """Return observations and infos of an agent, a row for each of its players, and which players are present."""
    if not isinstance(environment, ParallelAdapter):
        return observation, info, np.ones(1, np.bool_)
    own_info = {key.removeprefix(f"{name}/"): value for key, value in info.items() if key.startswith(f"{name}/")}
    present = observation[name]["masks"].copy()
    if "action_mask" in own_info:  # who is not there may do nothing, and is asked all the same
        mask = own_info["action_mask"]
        own_info["action_mask"] = np.where(present[:, None], mask, 1).astype(mask.dtype)
    return observation[name]["observations"], own_info, present


def _take_step(environment: gym.Env, policies: dict[str, Policy], actions: dict[str, Any]) -> Any:
    """Take a step with the actions of all agents."""
    if isinstance(environment, JoinedActions):
        entries = {path: value for name in actions for path, value in policies[name].flat(actions[name]).items()}
        return environment.env.step(nested(environment.declared, entries))
    if not isinstance(environment, ParallelAdapter):
        return environment.step(next(iter(actions.values())))
    vector = [np.asarray(actions[name], np.float64).reshape(-1) for name in environment.groups]
    return environment.step(np.concatenate(vector))


def _note(
    policy: Policy, seen: Any, mask: np.ndarray | None, before: np.ndarray | None, action: Any, rows: np.ndarray
) -> tuple[Arrays, Arrays]:
    raw = policy.raw(seen)
    inputs, chosen = [raw[path] for path in policy.agent.observation_paths], policy.flat(action)
    outputs = [np.asarray(chosen[path], space.dtype) for path, space in policy.entries.items()]
    if not policy.players:
        outputs, mask = [each[None] for each in outputs], None if mask is None else mask[None]
    if mask is not None:
        inputs.append(mask)
    if before is not None and policy.hidden_state is not None:
        inputs.append(before)
        outputs.append(policy.hidden_state)
    return [array[rows].copy() for array in inputs], [array[rows].copy() for array in outputs]


def scatter(policy: Policy, seen: Samples, count: int) -> Samples:
    """Ask a policy about observations from all over their space, corners included, with any mask and hidden state.

    Where a space has no bounds, or immense ones, the observations go far beyond those that were seen.
    """
    generator, info = np.random.default_rng(0), policy.info
    rest = list(seen.inputs[len(policy.agent.observation_paths) :])
    observations = {}
    for path, space in info.observation_spaces.items():
        known = None
        if path in policy.agent.observation_paths:
            known = seen.inputs[policy.agent.observation_paths.index(path)]
        observations[path] = _anywhere(space, known, count, generator)
    inputs = [observations[path] for path in policy.agent.observation_paths]
    policy.reset()
    step_info = {path[1:]: np.zeros((count, *zero.shape), zero.dtype) for path, zero in info.infos.items()}
    if policy.agent.use_action_mask:
        space, like = info.agent_action_space, rest.pop(0)
        mask = generator.random((count, like.shape[1])) < 0.5
        possible = sample_actions(space, generator, count).reshape(count, -1)
        np.put_along_axis(mask, possible + mask_bounds(space), True, 1)
        step_info["action_mask"] = mask.astype(like.dtype)
        inputs.append(step_info["action_mask"])
    if rest:
        policy.hidden_state = generator.uniform(-1, 1, (count, rest[0].shape[1])).astype(np.float32)
        inputs.append(policy.hidden_state)
    by_name = {path[1:]: array for path, array in observations.items()}  # which are read as nested ones are
    chosen = policy.flat(policy(by_name, step_info))
    outputs = [np.asarray(chosen[path]) for path in policy.entries]
    if policy.hidden_state is not None:
        outputs.append(policy.hidden_state)
    return Samples(inputs, outputs, 1e-4)  # large numbers round more coarsely


def _anywhere(space: gym.Space, seen: np.ndarray | None, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw observations (count, ...): one half evenly, the other from corners."""
    if not isinstance(space, gym.spaces.Box) or seen is None:
        space.seed(0)
        return np.stack([space.sample() for _ in range(count)])
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    centre, reach = seen.mean(0, dtype=np.float64), _FAR * (seen.std(0, dtype=np.float64) + 0.01)
    low = np.where(low > -_LARGE, low, np.maximum(centre - reach, low))
    high = np.where(high < _LARGE, high, np.minimum(centre + reach, high))
    share = generator.random((count, *space.shape))
    share[count // 2 :] = np.round(share[count // 2 :])
    drawn = low + (high - low) * share
    return np.clip(drawn if space.dtype.kind == "f" else np.round(drawn), low, high).astype(space.dtype)


def difference(expected: np.ndarray, found: np.ndarray, space: gym.Space | None) -> float:
    """Return how far actions are from each other; NaN if one of them is not a number.

    Args:
        expected: (B, ...). found: likewise.
        space: of the environment's actions; None for hidden states.

    Returns:
        The largest deviation, relative to the range of actions. Of integers, the share of rows that differ: in a Box by
        more than a rounding step of float32 would.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    one, other = expected.astype(np.float64) / 2, found.astype(np.float64) / 2
    half: Any = 1.0
    if isinstance(space, gym.spaces.Box):  # in halves: the width of the largest Box is no number
        half = space.high.astype(np.float64) / 2 - space.low.astype(np.float64) / 2
    size = np.where(np.isfinite(half), np.maximum(half, np.finfo(np.float32).tiny), 1 + np.abs(expected))
    far = np.abs(one - other) / size
    if expected.dtype.kind == "f":
        return float(np.max(far))
    return float((far > (1e-5 if isinstance(space, gym.spaces.Box) else 0)).reshape(len(far), -1).any(1).mean())


def largest_difference(run: Run, samples: Samples, spaces: list[gym.Space]) -> float:
    """Run a file on all samples, by one, by seven and all at once. Returns: the largest `difference` of actions.

    Args:
        spaces: of the actions, the first outputs.

    Raises:
        UsageError: if it is too large, or not a number.
    """
    largest, total = 0.0, len(samples.inputs[0])
    for count, size in (*_BATCHES, (total, total)):
        starts = range(0, min(count, total), size)
        batches = [run([array[start : start + size] for array in samples.inputs]) for start in starts]
        for index, expected in enumerate(samples.outputs):
            found = np.concatenate([outputs[index] for outputs in batches])
            is_action = index < len(spaces)
            far = difference(expected[: len(found)], found, spaces[index] if is_action else None)
            is_numbered = expected.dtype.kind != "f"
            limit = max(_TIES, 1 / len(found)) if is_numbered else samples.tolerance
            if not far <= limit:  # also where it is not a number
                what = "on {:.2g} of the observations" if is_numbered else "by {:.2g} of the range"
                raise UsageError(
                    f"The exported policy's {'actions' if is_action else 'hidden state'} differ from the session's "
                    f"{what.format(far)}; {limit:.2g} is allowed. Nothing was written. Use loader.policy."
                )
            largest = max(largest, far if is_action else 0.0)
    return largest
