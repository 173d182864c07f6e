"""A parallel game as one gymnasium environment, which workers step, record and re-live like any other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, check_info, check_reset, read_number, read_truth, summary
from digideep.environment.infos import (
    Templates,
    find_info,
    info_template,
    missing_info,
    sees_action_mask,
    without_action_mask,
)
from digideep.environment.joint_actions import JointReader, RandomActions, columns_of, require_exact, width
from digideep.environment.making.players import PlayerArrays, PlayerGroup, assign_players
from digideep.environment.spaces import ACTION_MASK, agent_action_space, mask_size
from digideep.utility.errors import UsageError


def _of(values: Any, player: Any, what: str) -> Any:
    """Return a player's value. Raises: NotAsDeclared: if there is none."""
    if not isinstance(values, Mapping) or player not in values:
        raise NotAsDeclared(f"player '{player}' no {what}, though it was there")
    return values[player]


class ParallelAdapter(gym.Env):
    """A `ParallelEnv` as one gymnasium environment, so that workers step, record and re-live it like any other.

    The observation is a nested dictionary: for each agent what its players see and what has happened to them, one row
    a player. `/<agent>/observations/<path>`; `/masks`, False where the player has left or has not come yet; `/rewards`;
    `/terminations`; `/returns`, float64, of the episode so far. The reward is the sum over all players. The episode is
    over when nobody is left. A player that has left keeps its last observation. The info holds `<agent>/<key>` for each
    of `info_keys` that a player has, one row a player, zero for those who do not have it.

    Args:
        environment: a `ParallelEnv`.
        players: see `assign_players`.
        key: path of an observation that is no Dict.
        max_episode_steps: time limit in steps, a truncation of all who are there; None for none.
        render_mode: that it was made with.
        info_keys: what is kept of the players' infos. "action_mask" is also taken out of observations that hold one.

    Attributes:
        groups: the players of each agent.
        columns: where the actions of each agent's players lie in the action.
        newest: observations and infos of the players, as the environment gave them last.
        last_infos: of the players that have left since the episode began: the info of their last step.
    """

    def __init__(
        self,
        environment: Any,
        players: Mapping[str, Sequence[str | int]],
        key: str,
        max_episode_steps: int | None,
        render_mode: str | None,
        info_keys: Sequence[str] = (),
    ):
        self.environment, self.max_episode_steps, self.render_mode = environment, max_episode_steps, render_mode
        self.metadata, self.info_keys = dict(environment.metadata), list(info_keys)
        self.groups = assign_players(environment, players)
        hiding = set()  # agents whose players see a mask that is no observation here
        if ACTION_MASK in self.info_keys:
            hiding = {agent for agent, group in self.groups.items() if sees_action_mask(group.observation_space)}
            for agent, group in self.groups.items():
                self.groups[agent] = group._replace(observation_space=without_action_mask(group.observation_space))
        self._ids = {str(player): player for player in environment.possible_agents}
        self._arrays = {agent: PlayerArrays(group, key, agent in hiding) for agent, group in self.groups.items()}
        flat = {f"/{a}{path}": array for a, arrays in self._arrays.items() for path, array in arrays.arrays.items()}
        self.flat_spaces: dict[str, gym.Space] = {path: _box(array) for path, array in flat.items()}
        self.observation_space = _nest(self.flat_spaces, gym.spaces.Dict)
        self._observation = _nest(flat, dict)
        # One vector: the players' actions one after the other, in the order of the agents and of their players.
        spaces = {name: group.action_space for group in self.groups.values() for name in group.players}
        for space in spaces.values():
            require_exact(space, np.float64)
        self._reader, places = JointReader(spaces), dict(zip(spaces, columns_of(spaces.values()), strict=True))
        ends = {agent: (places[group.players[0]], places[group.players[-1]]) for agent, group in self.groups.items()}
        self.columns = {agent: slice(first.start, last.stop) for agent, (first, last) in ends.items()}
        # float64 holds every float32, and integers up to 2**53
        self.action_space = _box(np.zeros(sum(map(width, spaces.values()))))
        self.newest: tuple[Mapping[Any, Any], Mapping[Any, Any]] = ({}, {})
        self.last_infos: dict[str, Mapping[str, Any]] = {}
        self._left: dict[str, int] = {}  # in which step each of those left

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. All randomness comes from `seed`."""
        super().reset(seed=seed)
        observations, infos = check_reset(self.environment.reset(seed=seed, options=options))
        self._note(observations, infos)
        self._steps, self.last_infos, self._left, present = 0, {}, {}, self._present()
        if not present:
            raise NotAsDeclared("nobody to play: no agents after a reset")
        for arrays in self._arrays.values():
            arrays.clear()
            for index, name in enumerate(arrays.group.players):
                if self._ids[name] in present:
                    arrays.read(index, _of(observations, self._ids[name], "observation"))
                    arrays.masks[index] = True
            arrays.check()
        return self._observation, self._infos()

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step of all players. Args: action: float64, of all players; those who have left are ignored."""
        chosen = self._reader.one(action)
        actions = {player: chosen[str(player)] for player in self.environment.agents}
        observations, rewards, terminations, truncations, infos = self.environment.step(actions)
        self._note(observations, infos)
        self._steps += 1
        is_over = self.max_episode_steps is not None and self._steps >= self.max_episode_steps
        present, total, has_truncated = self._present(), 0.0, False
        for arrays in self._arrays.values():
            for index, name in enumerate(arrays.group.players):
                player, was_there = self._ids[name], bool(arrays.masks[index])
                reward, has_terminated, was_cut = 0.0, False, False
                if was_there:
                    reward = read_number(_of(rewards, player, "reward"), f"player '{name}' a reward")
                    has_terminated = read_truth(_of(terminations, player, "termination"), f"termination of '{name}'")
                    was_cut = read_truth(_of(truncations, player, "truncation"), f"truncation of '{name}'")
                stays = player in present and not is_over and not has_terminated and not was_cut
                if player in observations:
                    arrays.read(index, observations[player])
                elif stays or (was_there and not has_terminated):
                    raise NotAsDeclared(f"player '{name}' no observation, though it did not terminate either")
                arrays.rewards[index], arrays.terminations[index], arrays.masks[index] = reward, has_terminated, stays
                arrays.returns[index] += reward
                total += reward
                if was_there and not stays:
                    has_truncated |= not has_terminated
                    self.last_infos[name], self._left[name] = self._info_of(name), self._steps
            arrays.check()
        is_over = not any(arrays.masks.any() for arrays in self._arrays.values())
        if not is_over:
            self._check_ends(present, terminations, truncations)
        return self._observation, total, is_over and not has_truncated, is_over and has_truncated, self._infos()

    def _note(self, observations: Any, infos: Any) -> None:
        """Keep the newest observations and infos; both are dictionaries by player."""
        if not isinstance(observations, Mapping):
            raise NotAsDeclared(f"observations that are no dictionary by player: {summary(observations)}")
        check_info(infos)
        self.newest = observations, infos

    def _present(self) -> set[Any]:
        """Return the players that are there now."""
        present = set(self.environment.agents)
        if unknown := present - set(self._ids.values()):
            raise NotAsDeclared(f"agents that possible_agents does not have: {', '.join(map(str, unknown))}")
        return present

    def _check_ends(self, present: set[Any], terminations: Mapping[Any, Any], truncations: Mapping[Any, Any]) -> None:
        """Refuse a player that is still there though it has ended, while others go on: it would come back to life."""
        for player in present:
            if terminations.get(player, False) or truncations.get(player, False):
                raise NotAsDeclared(f"player '{player}' an end, but keeps it in agents while others go on")

    def _info_of(self, name: str) -> Mapping[str, Any]:
        """Return a player's newest info; an empty one if it has none, or has left before the newest step."""
        info = self.newest[1].get(self._ids[name])
        is_there = self._left.get(name, self._steps) == self._steps
        return info if is_there and isinstance(info, Mapping) else {}

    def player_infos(self) -> list[Mapping[str, Any]]:
        """Return the newest info of each player, one agent's after the other's."""
        return [self._info_of(name) for group in self.groups.values() for name in group.players]

    def _infos(self) -> dict[str, np.ndarray]:
        """Return the newest infos: "<agent>/<key>" -> (players, ...), where at least one of them has it."""
        kept: dict[str, np.ndarray] = {}
        for key in self.info_keys:
            for agent, group in self.groups.items():
                values = [self._info(self._ids[name], key) for name in group.players]
                found = [np.asarray(value) for value in values if value is not None]
                if len({array.shape for array in found}) > 1:
                    shapes = ", ".join(str(array.shape) for array in found)
                    raise ValueError(f"info['{key}'] of the players of agent '{agent}' has different shapes: {shapes}")
                if found:
                    kept[f"{agent}/{key}"] = np.stack([np.zeros_like(found[0]) if v is None else v for v in values])
        return kept

    def _info(self, player: Any, key: str) -> Any:
        """Return a value of a player's newest info, or None. An action mask may be in its observation, too."""
        observations, infos = self.newest
        found, seen = find_info(infos.get(player) or {}, key), observations.get(player)
        return seen.get(key) if found is None and key == ACTION_MASK and isinstance(seen, Mapping) else found

    def info_templates(self) -> dict[str, Templates]:
        """Learn the shapes of infos from a reset, and from a first step for those that are not there.

        Returns:
            By agent: zeros of what one player has, by path. An agent whose players have not got a key lacks it.

        Raises:
            UsageError: if nobody has a key, or it holds no numbers.
        """
        if not self.info_keys:
            return {agent: {} for agent in self.groups}
        _, found = self.reset(seed=0)
        known = {name for info in self.newest[1].values() for name in info or {}}
        if len(found) < len(self.groups) * len(self.info_keys):
            found = {**self.step(self.sample(np.random.default_rng(0)))[4], **found}
            known |= {name for info in self.newest[1].values() for name in info or {}}
        for key in self.info_keys:
            if not any(f"{agent}/{key}" in found for agent in self.groups):
                raise UsageError(missing_info("the players'", key, known))
        return {
            agent: {
                f"/{k}": info_template(k, found[f"{agent}/{k}"][0]) for k in self.info_keys if f"{agent}/{k}" in found
            }
            for agent in self.groups
        }

    def sample(self, generator: np.random.Generator) -> np.ndarray:
        """Draw actions of all players, among those that their action masks allow, as `step` takes them."""
        drawn = []
        for group in self.groups.values():
            allowed = self._allowed(group, mask_size(agent_action_space(group.action_space)))
            drawn.append(RandomActions(group.action_space)(generator, len(group.players), allowed).reshape(-1))
        return np.concatenate(drawn, dtype=np.float64)

    def _allowed(self, group: PlayerGroup, size: int | None) -> np.ndarray | None:
        """Return the newest action masks of an agent's players: bool (P, size), true for those who have none."""
        if size is None:
            return None
        masks = [self._info(self._ids[name], ACTION_MASK) for name in group.players]
        return np.stack([np.ones(size, np.bool_) if np.shape(m) != (size,) else np.asarray(m) != 0 for m in masks])

    def render(self) -> Any:
        """Draw as the environment does."""
        return self.environment.render()

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()


def _box(array: np.ndarray) -> gym.spaces.Box:
    """Return the space of all arrays like this one."""
    if array.dtype.kind == "f":
        return gym.spaces.Box(-np.inf, np.inf, array.shape, array.dtype.type)
    limits = (0, 1) if array.dtype == np.bool_ else (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    return gym.spaces.Box(*limits, array.shape, array.dtype.type)


def _nest(flat: Mapping[str, Any], branch: Callable[[dict], Any]) -> Any:
    """Nest dictionaries by paths. Where one goes on from the end of another, it stays a name with slashes."""
    children: dict[str, dict[str, Any]] = {}
    for path, value in flat.items():
        first, _, rest = path.lstrip("/").partition("/")
        children.setdefault(first, {})[rest] = value
    nested: dict[str, Any] = {}
    for name, inner in children.items():
        if "" in inner:
            nested |= {f"{name}/{rest}" if rest else name: value for rest, value in inner.items()}
        else:
            nested[name] = _nest(inner, branch)
    return branch(nested)
