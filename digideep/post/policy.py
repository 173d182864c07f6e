"""A trained policy by itself: from raw observations to environment actions, as `--play` does it."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from digideep.agent.base import ACTION_MASK
from digideep.agent.scripted import ScriptedAgent
from digideep.environment.contract import NotAsDeclared, ObservationJudge, summary
from digideep.environment.hidden_states import copy_of, forget
from digideep.environment.infos import find_info
from digideep.environment.joint_actions import JointReader, action_entries, action_scaler, entries_of, flat, nested
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.normalizers import Arrays, VectorWrapper
from digideep.environment.spaces import check_action_mask
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.parameters.component import build
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.tree import from_plain
from digideep.pipeline.building import build_actor
from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.user_code import in_words


class Policy:
    """The policy of one agent of a checkpoint, for one environment or for a batch of them.

    It does what an Explorer does in mode "eval", with the same wrappers, agent and action scaler. So its actions are
    those of `--play`, bit by bit if the batches are as large.

    Args:
        state: of a checkpoint.
        device: where it computes.
        agent: which one; None for the only one.

    Attributes:
        spec: of the environment. info: its spaces. agent: with the weights of the checkpoint. name: the agent's.
        hidden_state: float32 (B, H), what a recurrent policy remembers of the episodes so far, or what a scripted agent
            does; None for others. It may be read, kept and set.

    Raises:
        UsageError: if there is no such agent, or there are several.
        CheckpointError: if the state does not fit the environment or the agent.
    """

    def __init__(self, state: dict[str, Any], device: str = "cpu", agent: str | None = None):
        tree = from_plain(state["params"])
        self.spec: EnvironmentSpec = build(tree["env"], EnvironmentSpec)
        names = list(tree["agents"]) if agent is not None else learners(state["params"]["agents"])
        self.name = choose_agent(names, agent)
        self.info = inspect_environment(self.spec).of_agent(self.name)
        spaces = self.info.observation_spaces.items()
        self._judges = {path: ObservationJudge(space, path) for path, space in spaces}
        self.agent = build_actor(tree, self.name, self.info, device=device, n_frames=_frames(state, tree))
        try:
            self.agent.load_state_dict(state["agents"][self.name])
            self._statistics = state["statistics"][self.name]
            self._resize(1)
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as err:
            raise CheckpointError(
                f"The checkpoint does not fit this version of digideep ({in_words(err)}). Play it with --play --frozen."
            ) from err
        self._scale_actions = action_scaler(self.info.action_space)
        self._read_actions = JointReader(self.entries)

    @property
    def players(self) -> tuple[str, ...]:
        """Whom the agent plays, where there are several; each is a row of its own."""
        return self.info.players

    @property
    def entries(self) -> dict[str, gym.Space]:
        """What the agent chooses: path -> space, of a Dict or a Tuple; an action of another kind stands under ""."""
        if self.info.declared_action_space is not None:
            return action_entries(self.info.declared_action_space)
        spaces = entries_of(self.info.action_space)
        return dict(zip(self.info.entries or spaces, spaces.values(), strict=True))

    def flat(self, actions: Any) -> dict[str, Any]:
        """Return what a call returns by path, as `entries` has the spaces."""
        if self.info.declared_action_space is not None:
            return flat(self.info.declared_action_space, actions)
        return actions if isinstance(actions, dict) else {next(iter(self.entries)): actions}

    def _resize(self, size: int) -> None:
        """Begin episodes of another number of environments."""
        self._rows = StepBuffers(self.info, size, np.zeros)
        self._is_first = np.ones(size, np.bool_)
        self.hidden_state: Any = self.agent.reset_hidden_state(size)
        spaces = self.info.observation_spaces
        self.wrappers: list[VectorWrapper] = [
            build(wrapper, VectorWrapper, mode="eval", num_workers=size, observation_spaces=spaces)
            for wrapper in self.spec.vect_wrappers
        ]
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_statistics(self._statistics[str(index)])

    def reset(self, ended: np.ndarray | None = None) -> None:
        """Forget the episode so far: the next observation is the first of another one.

        Args:
            ended: bool (B,), of a batch, where that is so; None for all, and the next batch may have another size.
        """
        if ended is None:
            self._resize(len(self._is_first))
            return
        self._is_first |= ended
        self.hidden_state = copy_of(self.hidden_state)
        if self.hidden_state is not None:
            forget(self.hidden_state, self._is_first)

    def raw(self, observation: Any) -> dict[str, np.ndarray]:
        """Return raw observations by path: (B, ...), a single one as B = 1; refuse what the spaces do not say."""
        return self._read(observation)[0]

    def _read(self, observation: Any) -> tuple[dict[str, np.ndarray], bool]:
        """See `raw`. Returns: the arrays, and True if they are a batch."""
        arrays: dict[str, np.ndarray] = {}
        is_batch: bool | None = None
        for path, space in self.info.observation_spaces.items():
            try:
                value = read_observation(observation, path)
            except (KeyError, IndexError) as err:
                raise UsageError(f"The observation has no array {path}. Expected {space}.") from err
            shape, judge = tuple(space.shape or ()), self._judges[path]
            try:
                is_many = np.shape(value) != shape and np.shape(value)[1:] == shape
                rows = value if is_many else [value]
                array = arrays[path] = np.empty((len(rows), *shape), space.dtype)
                with np.errstate(over="ignore"):
                    for index, row in enumerate(rows):
                        judge.read(row, arrays, index)
                is_seen = array.dtype.kind == "f" and path in self.agent.observation_paths
                is_wrong = judge.check(arrays) is not None or (is_seen and not np.isfinite(array).all())
                if is_wrong or is_batch not in (None, is_many):
                    raise NotAsDeclared(path)
            except ValueError as err:
                raise UsageError(
                    f"The observation {path} is {summary(value)}. Expected {space}, or a batch of them, as all others."
                ) from err
            is_batch = is_many
        if len({len(array) for array in arrays.values()}) != 1:
            raise UsageError(f"Batches have different sizes: { {path: len(array) for path, array in arrays.items()} }.")
        return arrays, bool(is_batch)

    def _see(self, observation: Any, info: Mapping[str, Any] | None, *, is_step: bool) -> tuple[Arrays, bool]:
        """Return what the agent sees, after all wrappers, with infos under `/infos`; and True if it is a batch.

        Args:
            is_step: the episodes move on; False only looks.
        """
        seen, is_batch = self._read(observation)
        self._adapt(len(next(iter(seen.values()))))
        rows, wrappers = self._rows, self.wrappers if is_step else copy.deepcopy(self.wrappers)
        for path, array in rows.infos.items():
            value = find_info(info or {}, path[1:])
            if value is None and path == "/action_mask" and isinstance(observation, Mapping):
                value = observation.get("action_mask")
            is_needed = is_step or self.agent.value_needs_mask
            if value is None and path == "/action_mask" and self.agent.use_action_mask and is_needed:
                raise UsageError("This policy uses an action mask: give the info that came with the observation, too.")
            value = (
                np.zeros_like(array) if value is None else np.asarray(value) if is_batch else np.asarray(value)[None]
            )
            if value.shape != array.shape:
                raise UsageError(f"info['{path[1:]}'] has the shape {value.shape}, expected {array.shape}.")
            array[...] = value
        for path, array in seen.items():
            rows.observations[path][...] = array
        for wrapper in wrappers:
            if self._is_first.all():
                seen = wrapper.reset(rows, seen)
            else:
                seen, _ = wrapper.step(rows, seen, rows.rewards.copy(), ~self._is_first)
        return {**seen, **{f"/infos{path}": array.copy() for path, array in rows.infos.items()}}, is_batch

    def _adapt(self, size: int) -> None:
        """Take batches of another size, if no episode that is remembered is lost by it."""
        if size == len(self._is_first):
            return
        state = self.hidden_state
        if state is not None and not self._is_first.all():
            raise UsageError(
                f"The policy remembers {len(self._is_first)} episodes, got {size} observations. Call reset() where "
                "other episodes begin."
            )
        self._resize(size)
        if isinstance(state, np.ndarray) and len(state) == size:
            self.hidden_state = state

    def __call__(self, observation: Any, info: Mapping[str, Any] | None = None, *, deterministic: bool = True) -> Any:
        """Choose an action, or one for each of a batch of environments.

        A recurrent policy remembers from call to call; see `reset` and `hidden_state`.

        Args:
            observation: as the environment gives it: an array, or a dictionary or tuple of them; or arrays (B, ...).
            info: of the same step; needed where the agent uses an action mask. Of a batch, arrays (B, ...).
            deterministic: take the policy's mode. False explores as in training: by a sample, by noise, or by epsilon
                as it was by then; it draws from the generators of the checkpoint.

        Returns:
            One action for the environment's `step`: an array, a number where actions are numbered, or the Dict or Tuple
            that the environment declares; or with arrays (B, ...). One of several agents that share an action chooses
            its entry of that; if it has several, a dictionary of them by path.

        Raises:
            UsageError: if the observation is not what the environment's spaces say, not finite, or without its mask.
        """
        seen, is_batch = self._see(observation, info, is_step=True)
        acting = np.ones(len(self._is_first), np.bool_)
        if self.agent.use_action_mask:
            check_action_mask(self.info.agent_action_space, seen[ACTION_MASK], acting)
        choice = self.agent.action_generator(seen, self.hidden_state, acting, deterministic)
        self.hidden_state = choice.get("hidden_state", self.hidden_state)
        self._is_first[:] = False
        actions = self._rows.actions
        actions[...] = self._scale_actions(choice["actions"])
        if self.info.declared_action_space is not None or isinstance(self.info.action_space, gym.spaces.Dict):
            entries = self._read_actions.many(actions) if is_batch else self._read_actions.one(actions[0])
            declared = self.info.declared_action_space
            return entries if declared is None else nested(declared, entries)
        if is_batch:
            return actions.copy()
        return actions[0].item() if isinstance(self.info.action_space, gym.spaces.Discrete) else np.array(actions[0])

    def value(self, observation: Any, info: Mapping[str, Any] | None = None) -> np.ndarray | float:
        """Return the value of an observation, in the unit in which the policy learned: discounted, of wrapped rewards.

        Nothing moves on by it: `hidden_state` stays.

        Args:
            observation: as for a call.
            info: likewise; of a policy with an action mask, only DQN's value depends on it.

        Returns:
            A number, or float32 (B,) of a batch: PPO's value function, DQN's value of the best allowed action, the
            least that a critic of DDPG, TD3 or SAC says of the policy's own action.

        Raises:
            UsageError: if the policy has no values, the observation is not what the environment's spaces say, or a mask
                that the value depends on is missing.
        """
        agent = self.agent
        if agent.policy is None:
            raise UsageError(f"Agent '{self.name}' has no values: {type(agent).__name__} acts by rules of its own.")
        seen, is_batch = self._see(observation, info, is_step=False)
        allowed = agent.allowed(seen) if agent.value_needs_mask else None
        with torch.inference_mode():
            choice = agent.policy.mode(
                agent.observe(seen),
                state=None if self.hidden_state is None else agent.to_tensor(self.hidden_state),
                allowed=None if allowed is None else agent.to_tensor(allowed),
            )
        if choice.value is None:
            raise UsageError(f"{type(agent.policy).__name__} has no values.")
        values = choice.value.numpy(force=True)
        return values if is_batch else float(values[0])


def learners(agents: Mapping[str, Any]) -> list[str]:
    """Return the names of those described agents that have a policy; of all if none has. Args: agents: plain."""
    classes = {name: each["class"] for name, each in from_plain(dict(agents)).items()}
    return [name for name, cls in classes.items() if not issubclass(cls, ScriptedAgent)] or list(classes)


def choose_agent(names: list[str], name: str | None) -> str:
    """Return the name of the agent that is meant. Raises: UsageError: if that is none, or not clear."""
    if name is None and len(names) > 1:
        raise UsageError(f"There are the agents {', '.join(names)}. Name one of them, such as agent='{names[0]}'.")
    if name is not None and name not in names:
        raise UsageError(f"There is no agent '{name}'. {did_you_mean(name, names)}")
    return names[0] if name is None else name


def _frames(state: dict[str, Any], tree: dict[str, Any]) -> int:
    """Return the number of frames that had been collected by the checkpoint."""
    progress, train = state["runner"], tree["explorer"]["train"]
    steps = train["n_steps"] * train["num_workers"] * tree["runner"].get("num_ranks", 1)
    return (progress["i_epoch"] * tree["runner"]["n_cycles"] + progress["i_cycle"]) * steps


def read_observation(observation: Any, path: str) -> Any:
    """Return the array under `path` in an observation of an unknown space.

    Raises:
        KeyError: if there is none.
    """
    if not isinstance(observation, (Mapping, tuple)):
        return observation
    for found in _arrays_at(observation, path):
        return found
    raise KeyError(path)


def _arrays_at(value: Any, path: str) -> Iterator[Any]:
    """Yield what a path leads to. Names may hold slashes, so several ways into the observation are tried."""
    if not isinstance(value, (Mapping, tuple)):
        if not path:
            yield value
        return
    for name in value if isinstance(value, Mapping) else range(len(value)):
        if path == f"/{name}" or path.startswith(f"/{name}/"):
            yield from _arrays_at(value[name], path[len(f"/{name}") :])
