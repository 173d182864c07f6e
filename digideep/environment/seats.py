"""A seat: what one agent has in all workers of an Explorer at a moment."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.normalizers import VectorWrapper
from digideep.environment.spaces import ACTION_MASK, ActionScaler, check_action_mask, has_action_mask, sample_actions
from digideep.environment.stepping.step_buffers import ChunkBuilder, PlayerBuffers, StepBuffers
from digideep.parameters.component import build
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks

Chunk = dict[str, np.ndarray]


class Actor(Protocol):
    """What an Explorer needs of an agent."""

    acts_in_parts: bool

    @property
    def takes_warm_start(self) -> bool:
        """True if random actions at the start of a run may take the place of the agent's own."""

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """Choose an action for each worker; see `AgentBase.action_generator`."""

    def reset_hidden_state(self, num_workers: int) -> np.ndarray | None:
        """Return the state before a first observation; see `AgentBase.reset_hidden_state`."""


class Seat:
    """Where one agent sees, acts and is rewarded; loops over workers are the Explorer's.

    A row is a worker. In a parallel game it is a player: player after player in each worker.

    Args:
        name: of the agent.
        agent: who sits there.
        info: what the agent has of the environment.
        num_workers: of the explorer.
        wrappers: around the seat's observations and rewards.

    Attributes:
        num_rows: R, workers times players.
        masks: bool (R,), False where the row's episode is over.
        hidden_state: float32 (R, H), the state before the next observation is consumed; None if the agent has none.
    """

    def __init__(self, name: str, agent: Actor, info: EnvironmentInfo, num_workers: int, wrappers: list[VectorWrapper]):
        self.name, self.agent, self.info, self.wrappers = name, agent, info, wrappers
        self.num_rows = num_workers * max(len(info.players), 1)
        self.masks = np.zeros(self.num_rows, np.bool_)
        self.hidden_state: np.ndarray | None = None
        self._observations: Chunk = {}
        self._infos: Chunk = {}
        self._scale = ActionScaler(info.action_space)
        self._has_action_mask = has_action_mask(info.agent_action_space, info.infos)
        self._is_bare = False  # the agent is known to choose actions and nothing else
        self._own = f"/agents/{name}"
        prefix = self._own if info.players else ""
        self._prefix, self._masks_key = prefix, f"{prefix}/masks"
        self._rewards_key, self._terminations_key = f"{prefix}/rewards", f"{prefix}/terminations"

    def view(self, buffers: StepBuffers) -> StepBuffers:
        """Return the seat's rows of a part of the workers' buffers."""
        return PlayerBuffers(buffers, self.name, self.info) if self.info.players else buffers

    def begin(self, buffers: StepBuffers) -> None:
        """Take the first observations of new episodes. Args: buffers: the seat's, of all workers."""
        if isinstance(buffers, PlayerBuffers):
            buffers.update_presence(np.zeros(self.num_rows, np.bool_))
        observations = buffers.observations
        for wrapper in self.wrappers:
            observations = wrapper.reset(buffers, observations)
        self.masks = ~buffers.ended
        self.hidden_state = self.agent.reset_hidden_state(self.num_rows)
        self._keep(observations, buffers.infos)

    def _keep(self, observations: Chunk, infos: Chunk) -> None:
        """Copy the arrays that hold observations and infos from now on."""
        self._observations = {path: np.array(array) for path, array in observations.items()}
        self._infos = {path: np.array(array) for path, array in infos.items()}
        # Of each array: its key in a chunk, and in what the agent is shown.
        self._seen = [(f"{self._prefix}/observations{p}", p, array) for p, array in self._observations.items()]
        self._seen += [(f"{self._prefix}/infos{p}", f"/infos{p}", array) for p, array in self._infos.items()]

    def look(self, part: slice) -> tuple[Chunk, Chunk]:
        """Return what is known before an action is chosen, as views.

        Args:
            part: of the rows.

        Returns:
            The entries of the chunk's row, and what the agent is shown.
        """
        row, shown = {}, {}
        for key, path, array in self._seen:
            row[key] = shown[path] = array[part]
        row[self._masks_key] = self.masks[part, None]
        return row, shown

    def act(self, buffers: StepBuffers, deterministic: bool, generator: np.random.Generator | None) -> Chunk:
        """Choose actions for a part of the rows, and write them, scaled, where the workers read them.

        Args:
            buffers: the seat's, of that part.
            deterministic: take the policy's mode instead of a sample.
            generator: of random actions, for an agent that takes a warm start; None after that.

        Returns:
            The entries of the chunk's row up to the action.
        """
        part, space, allowed = buffers.workers, self.info.agent_action_space, None
        masks = self.masks[part]
        row, shown = self.look(part)
        if self._has_action_mask:
            players = self.info.players or ("",)
            first_worker = part.start // len(players)
            allowed = check_action_mask(space, self._infos[f"/{ACTION_MASK}"][part], masks, first_worker, players)
        random, choice = None, {}
        if generator is not None and self.agent.takes_warm_start:
            random = sample_actions(space, generator, len(masks), allowed)
        before = None if self.hidden_state is None else self.hidden_state[part]
        if random is None or not self._is_bare:
            # Without exploration nothing is drawn, so that looking at what an agent delivers changes no number.
            choice = self.agent.action_generator(shown, before, masks, deterministic or random is not None)
            self._is_bare = random is not None and choice.keys() <= {"actions"}
        actions = row[f"{self._own}/actions"] = choice["actions"] if random is None else random
        if before is not None:
            row[f"{self._own}/hidden_state"] = before.copy()
            before[...] = choice["hidden_state"]
        for key, value in choice.get("artifacts", {}).items():
            row[f"{self._own}/artifacts/{key}"] = value
        buffers.actions[...] = self._scale(actions).reshape(buffers.actions.shape)
        return row

    def take_in(self, buffers: StepBuffers) -> Chunk:
        """Wrap the outcome of a step, and keep it.

        Args:
            buffers: the seat's, of the part that was stepped.

        Returns:
            The entries of the chunk's row that follow the action.
        """
        part = buffers.workers
        moved = self.masks[part]
        if isinstance(buffers, PlayerBuffers):
            buffers.update_presence(moved)
        observations, rewards = buffers.observations, buffers.rewards
        for wrapper in self.wrappers:
            observations, rewards = wrapper.step(buffers, observations, rewards, moved)
        for path, array in observations.items():
            self._observations[path][part] = array
        for path, array in buffers.infos.items():
            self._infos[path][part] = array
        if self.hidden_state is not None and not moved.all():
            self.hidden_state[part][~moved] = 0
        np.logical_not(buffers.ended, out=moved)
        return {self._rewards_key: rewards[:, None], self._terminations_key: buffers.terminations[:, None]}

    def player_returns(self, buffers: StepBuffers, worker: int) -> dict[str, float]:
        """Return the players' sums of rewards of an episode. Args: worker: its index in the part of `buffers`."""
        players = self.info.players
        first = worker * len(players)
        return dict(zip(players, buffers.returns[first : first + len(players)].tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return observations, infos, masks, hidden state and normalisers."""
        return {
            "observations": {path: array.copy() for path, array in self._observations.items()},
            "infos": {path: array.copy() for path, array in self._infos.items()},
            "masks": self.masks.copy(),
            "hidden_state": None if self.hidden_state is None else self.hidden_state.copy(),
            "wrappers": {str(index): wrapper.state_dict() for index, wrapper in enumerate(self.wrappers)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._keep(state["observations"], state["infos"])
        self.masks = np.array(state["masks"])
        self.hidden_state = None if state["hidden_state"] is None else np.array(state["hidden_state"])
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_state_dict(state["wrappers"][str(index)])

    def merge(self, ranks: Ranks) -> None:
        """Let the normalisers take in what those of other ranks have learned."""
        for wrapper in self.wrappers if ranks.size > 1 else ():
            wrapper.merge(ranks)

    def statistics(self) -> dict[str, Any]:
        """Return what the normalisers have learned, by position."""
        return {str(index): wrapper.statistics() for index, wrapper in enumerate(self.wrappers)}

    def load_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what the normalisers of another explorer's seat have learned."""
        for index, wrapper in enumerate(self.wrappers):
            wrapper.load_statistics(statistics[str(index)])


class Part:
    """Workers that are stepped together, and the step that they are taking.

    Attributes:
        buffers: of these workers.
        seated: each seat, with its view of the buffers.
        floats: what may not be finite: in words, and the array.
        row: of the chunk, where the step under way belongs; None if none is.
        has_arrived: True if that step has been waited for, but not taken in.
    """

    def __init__(self, buffers: StepBuffers, seats: Iterable[Seat]):
        self.buffers, self.seated = buffers, [(seat, seat.view(buffers)) for seat in seats]
        arrays = {"reward": buffers.rewards} | {f"observation {p}": array for p, array in buffers.observations.items()}
        self.floats = [(what, array) for what, array in arrays.items() if array.dtype.kind == "f"]
        self.row: int | None = None
        self.has_arrived = False

    def write(self, builder: ChunkBuilder, index: int, rows: list[Chunk]) -> None:
        """Write entries of each seat into row `index` of a chunk."""
        for (seat, view), row in zip(self.seated, rows, strict=True):
            builder.write(index, view.workers, seat.num_rows, row)


def seat_agents(
    agents: Mapping[str, Actor], environment: EnvironmentSpec, info: EnvironmentInfo, mode: str, num_workers: int,
    **known: Any,
) -> dict[str, Seat]:  # fmt: skip
    """Make a seat for each agent of an environment: for the only one, or for each that `players` names.

    Args:
        agents: by name.
        environment: its `vect_wrappers` are made for each seat, so that statistics are those of one agent.
        info: of the environment.
        mode: of the explorer.
        num_workers: of the explorer.
        known: what else wrappers may ask for, by name.

    Raises:
        UsageError: if an agent of the game is missing, or one action space has not exactly one agent.
    """
    if not info.agents and len(agents) != 1:
        raise UsageError(
            f"{len(agents)} agents for one action space: expected exactly one. Got {sorted(agents)}. "
            "Several need players under env: see docs/several_agents.md."
        )
    seats: dict[str, Seat] = {}
    for name, own in (info.agents or dict.fromkeys(agents, info)).items():
        if name not in agents:
            raise UsageError(f"players names an agent '{name}' that there is not. {did_you_mean(name, agents)}")
        wrappers = [
            build(
                description, VectorWrapper, mode=mode, num_workers=num_workers * max(len(own.players), 1),
                observation_spaces=own.observation_spaces, **known,
            )
            for description in environment.vect_wrappers
        ]  # fmt: skip
        seats[name] = Seat(name, agents[name], own, num_workers, wrappers)
    return seats
