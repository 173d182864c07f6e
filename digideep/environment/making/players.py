"""Who plays whom: the players of a parallel game, or the entries of an action; and what players have at a moment."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, ObservationJudge
from digideep.environment.infos import take_action_mask
from digideep.environment.spaces import observation_spaces
from digideep.parameters.checks import shown
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError


class PlayerGroup(NamedTuple):
    """The players of one agent."""

    players: tuple[str, ...]  # their names, in the environment's order
    observation_space: gym.Space  # of each of them
    action_space: gym.Space  # likewise


def assign_players(environment: Any, players: Mapping[str, Sequence[str | int]]) -> dict[str, PlayerGroup]:
    """Give every player of an environment to an agent.

    Args:
        environment: a `ParallelEnv`.
        players: see `assign`.

    Raises:
        UsageError: see `assign`; or if one agent's players have different spaces, or players cannot be told apart by
            their names.
    """
    names = {str(player): player for player in environment.possible_agents}
    if len(names) < len(environment.possible_agents) or not all(name.isprintable() for name in names):
        raise UsageError(f"Players need printable names that differ, got {shown(environment.possible_agents)}.")
    groups = {}
    for agent, mine in assign(players, names).items():
        spaces = [(environment.observation_space(names[n]), environment.action_space(names[n])) for n in mine]
        for name, other in zip(mine, spaces, strict=True):
            if other != spaces[0]:
                raise UsageError(
                    f"players: '{mine[0]}' and '{name}' of agent '{agent}' have different spaces ({spaces[0]}, "
                    f"{other}). Give each an agent of its own."
                )
        groups[agent] = PlayerGroup(mine, *spaces[0])
    return groups


def assign(
    players: Mapping[str, Sequence[str | int]], names: Collection[str], what: str = "player"
) -> dict[str, tuple[str, ...]]:
    """Give everybody to an agent, each to exactly one.

    Args:
        players: agent -> names, or patterns such as "agent_*". A name that is a number may be given as one.
        names: of all there are.
        what: they are, for messages: players, or the entries of an action.

    Returns:
        Agent -> names, in the order of `names`.

    Raises:
        UsageError: if one has no agent or several, or an agent has none.
    """
    if not all(name.isprintable() for name in names):
        raise UsageError(f"players: each {what} needs a printable name, got {shown(list(names))}.")
    owners: dict[str, str] = {}
    groups = {}
    for agent, patterns in players.items():
        if not isinstance(patterns, (list, tuple)):
            raise UsageError(f"players of agent '{agent}' must be a list of names, got {shown(patterns)}.")
        meant = {pattern: _matching(str(pattern), names) for pattern in patterns}
        mine = [name for name in names if any(name in matching for matching in meant.values())]
        for pattern, matching in meant.items():
            if not matching:
                below = [name for name in names if name.startswith(f"{pattern}/")]
                hint = f"Did you mean '{pattern}/*'?" if below else did_you_mean(str(pattern), names)
                raise UsageError(f"players: there is no {what} '{pattern}'. {hint}")
        if not mine:
            raise UsageError(f"players: agent '{agent}' plays nobody. Known: {', '.join(names)}.")
        for name in mine:
            if name in owners:
                raise UsageError(f"players: '{name}' is played by both '{owners[name]}' and '{agent}'. Choose one.")
            owners[name] = agent
        groups[agent] = tuple(mine)
    alone = [name for name in names if name not in owners]
    if alone:
        raise UsageError(f"players: nobody plays {', '.join(alone)}. Name an agent for each {what}.")
    return groups


def _matching(pattern: str, names: Collection[str]) -> list[str]:
    """Return the name that is the same as the pattern, or else those that match it."""
    return [pattern] if pattern in names else [name for name in names if fnmatchcase(name, pattern)]


class PlayerArrays:
    """Holds what the players of one agent have at this moment, one row a player, in `arrays` by path."""

    def __init__(self, group: PlayerGroup, key: str, hides_mask: bool):
        self.group, self._hides_mask, num = group, hides_mask, len(group.players)
        spaces = observation_spaces(group.observation_space, key)
        self._judge = ObservationJudge(group.observation_space, key)
        self.observations = {path: np.zeros((num, *(space.shape or ())), space.dtype) for path, space in spaces.items()}
        self.masks, self.terminations = np.zeros(num, np.bool_), np.zeros(num, np.bool_)
        self.rewards, self.returns = np.zeros(num, np.float32), np.zeros(num, np.float64)
        self.arrays = {f"/observations{path}": array for path, array in self.observations.items()}
        self.arrays |= {"/masks": self.masks, "/terminations": self.terminations}
        self.arrays |= {"/rewards": self.rewards, "/returns": self.returns}

    def clear(self) -> None:
        """Forget the last episode."""
        for array in self.arrays.values():
            array[...] = 0

    def read(self, index: int, observation: Any) -> None:
        """Read what a player sees. Raises: NotAsDeclared: if it is not what its space says."""
        try:
            if self._hides_mask:
                observation, _ = take_action_mask(observation)
            self._judge.read(observation, self.observations, index)
        except NotAsDeclared as err:
            raise NotAsDeclared(f"player '{self.group.players[index]}' {err}") from err

    def check(self) -> None:
        """Refuse observations beyond their ranges. Raises: NotAsDeclared: naming the player."""
        found = self._judge.check(self.observations)
        if found is not None:
            raise NotAsDeclared(f"player '{self.group.players[found[0]]}' {found[1]}") from found[1]
