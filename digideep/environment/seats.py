"""A seat: what one agent has in all workers of an Explorer at a moment."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from digideep.environment.hidden_states import (
    HiddenState,
    check_hidden_state,
    copy_of,
    entries,
    forget,
    replace,
    rows_of,
)
from digideep.environment.joint_actions import action_scaler, sample_joint
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.normalizers import VectorWrapper
from digideep.environment.senses import Chunk, Senses
from digideep.environment.spaces import ACTION_MASK, check_action_mask, has_action_mask
from digideep.environment.stepping.step_buffers import ChunkBuilder, PlayerBuffers, StepBuffers
from digideep.parameters.component import build
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError


class Actor(Protocol):
    """What an Explorer needs of an agent."""

    acts_in_parts: bool

    @property
    def takes_warm_start(self) -> bool:
        """True if random actions at the start of a run may take the place of the agent's own."""

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: Any,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """Choose an action for each worker; see `AgentBase.action_generator`."""

    def reset_hidden_state(self, num_workers: int) -> Any:
        """Return the state before a first observation; see `AgentBase.reset_hidden_state`."""


class Seat:
    """Where one agent acts; what it sees and earns there are the `senses`. Loops over workers are the Explorer's.

    A row is a worker. In a parallel game it is a player: player after player in each worker.

    Args:
        name: of the agent.
        agent: who sits there.
        info: what the agent has of the environment.
        senses: of the seat alone, or shared by all agents of an environment.
        leads: it is the first seat with these senses, which delivers their entries of a chunk.

    Attributes:
        num_rows: R, workers times players.
        hidden_state: float32 (R, H), or arrays (R, ...) by name, the state before the next observation is consumed;
            None if the agent has none.
    """

    def __init__(self, name: str, agent: Actor, info: EnvironmentInfo, senses: Senses, leads: bool):
        self.name, self.agent, self.info, self.senses, self.leads = name, agent, info, senses, leads
        self.num_rows = senses.num_rows
        self.hidden_state: HiddenState | None = None
        self._scale = action_scaler(info.action_space)
        self._has_action_mask = has_action_mask(info.agent_action_space, info.infos)
        self._is_bare = False  # the agent is known to choose actions and nothing else
        self._own = f"/agents/{name}"

    @property
    def wrappers(self) -> list[VectorWrapper]:
        """The wrappers around what the agent sees and earns."""
        return self.senses.wrappers

    def view(self, buffers: StepBuffers) -> StepBuffers:
        """Return what the seat has of a part of the workers' buffers: rows of players, or columns of the actions."""
        if self.info.players:
            return PlayerBuffers(buffers, self.name, self.info)
        return buffers if self.info.columns == slice(None) else buffers.seat(self.info.columns)

    def begin(self, buffers: StepBuffers) -> None:
        """Take the first observations of new episodes. Args: buffers: the seat's, of all workers."""
        if self.leads:
            self.senses.begin(buffers)
        self.hidden_state = check_hidden_state(self.agent.reset_hidden_state(self.num_rows), self.num_rows, self.name)

    def look(self, part: slice) -> Chunk:
        """Return the entries of a half-step's row in a chunk. Args: part: of the rows."""
        return self.senses.look(part)[0] if self.leads else {}

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
        masks = self.senses.masks[part]
        seen, shown = self.senses.look(part)
        row = seen if self.leads else {}
        if self._has_action_mask:
            players = self.info.players or ("",)
            first_worker = part.start // len(players)
            allowed = check_action_mask(space, self.senses.infos[f"/{ACTION_MASK}"][part], masks, first_worker, players)
        random, choice = None, {}
        if generator is not None and self.agent.takes_warm_start:
            random = sample_joint(space, generator, len(masks), allowed)
        before = rows_of(self.hidden_state, part)
        if random is None or not self._is_bare:
            # Without exploration nothing is drawn, so that looking at what an agent delivers changes no number.
            choice = self.agent.action_generator(shown, before, masks, deterministic or random is not None)
            self._is_bare = random is not None and choice.keys() <= {"actions"}
        actions = row[f"{self._own}/actions"] = choice["actions"] if random is None else random
        if before is not None:
            row |= entries(f"{self._own}/hidden_state", before)
            replace(before, choice.get("hidden_state"), self.name)
            forget(before, ~masks)  # a new episode follows
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
        return self.senses.take_in(buffers) if self.leads else {}

    def player_returns(self, buffers: StepBuffers, worker: int) -> dict[str, float]:
        """Return the players' sums of rewards of an episode. Args: worker: its index in the part of `buffers`."""
        players = self.info.players
        first = worker * len(players)
        return dict(zip(players, buffers.returns[first : first + len(players)].tolist(), strict=True))

    def metrics(self) -> dict[str, float]:
        """Return what wrappers log of the steps since the last call, by path; in a game the agent's name ends it."""
        end = f"/{self.name}" if self.info.players else ""
        return {f"{path}{end}": value for path, value in self.senses.metrics().items()} if self.leads else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the hidden state, and with the first seat of its senses those."""
        return {**(self.senses.state_dict() if self.leads else {}), "hidden_state": copy_of(self.hidden_state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        if self.leads:
            self.senses.load_state_dict(state)
        self.hidden_state = copy_of(state["hidden_state"])

    def follow(self, other: "Seat") -> None:
        """Take over what the normalisers of another explorer's seat have learned, scales of rewards included."""
        for own, theirs in zip(self.wrappers, other.wrappers, strict=True):
            own.follow(theirs)


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
        environment: its `vect_wrappers` are made for each agent of a parallel game, so that statistics are those of one
            agent; and once where agents share what they see.
        info: of the environment.
        mode: of the explorer.
        num_workers: of the explorer.
        known: what else wrappers may ask for, by name.

    Raises:
        UsageError: if an agent of the environment is missing, or one action space has not exactly one agent.
    """
    if not info.agents and len(agents) != 1:
        raise UsageError(
            f"{len(agents)} agents for one action space: expected exactly one. Got {sorted(agents)}. "
            "Several need players under env: see docs/several_agents.md."
        )
    seats: dict[str, Seat] = {}
    shared: Senses | None = None
    for name, own in (info.agents or dict.fromkeys(agents, info)).items():
        if name not in agents:
            raise UsageError(f"players names an agent '{name}' that there is not. {did_you_mean(name, agents)}")
        senses, num_rows = shared, num_workers * max(len(own.players), 1)
        if senses is None:
            wrappers = [
                build(
                    description, VectorWrapper, mode=mode, num_workers=num_rows,
                    observation_spaces=own.observation_spaces, **known,
                )
                for description in environment.vect_wrappers
            ]  # fmt: skip
            senses = Senses(f"/agents/{name}" if own.players else "", num_rows, wrappers)
        seats[name] = Seat(name, agents[name], own, senses, leads=senses is not shared)
        shared = None if own.players else senses
    return seats
