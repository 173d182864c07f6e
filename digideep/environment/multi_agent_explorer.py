"""The Explorer of several agents in one environment."""

from typing import Any

import numpy as np

from digideep.environment.explorer import Chunk, Episode, Explorer
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.normalizers import VectorWrapper
from digideep.environment.spaces import ActionScaler, check_action_mask, has_action_mask
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError


class SeatRows(StepBuffers):
    """What wrappers look at: the rows of one agent, its players one after the other in each worker.

    Attributes as in `StepBuffers`, of the agent's players; `ended` where a player is not there.
    """

    def __init__(self, workers: slice, ended: np.ndarray, is_stale: np.ndarray | None):
        self.workers, self.ended, self.is_stale = workers, ended, is_stale


class AgentSeat:
    """What one agent sees and does: its rows of all workers, player after player in each worker.

    Args:
        name: of the agent.
        info: what it has of the environment.
        num_workers: N of the explorer.
        wrappers: around its rows.
        offset: where its actions begin in the vector of all actions.
    """

    def __init__(self, name: str, info: EnvironmentInfo, num_workers: int, wrappers: list[VectorWrapper], offset: int):
        self.name, self.info, self.wrappers = name, info, wrappers
        self.num_players = len(info.players)
        self.masks = np.zeros(num_workers * self.num_players, np.bool_)
        self.observations: dict[str, np.ndarray] = {}
        self.edge = ActionScaler(info.action_space)
        self.has_action_mask = has_action_mask(info.agent_action_space, info.infos)
        self._size = int(np.prod(info.action_space.shape or ()))
        self.columns = slice(offset, offset + self._size * self.num_players)

    def rows(self, workers: slice) -> slice:
        """The agent's rows of some workers."""
        return slice(workers.start * self.num_players, workers.stop * self.num_players)

    def _own(self, arrays: dict[str, np.ndarray], path: str) -> np.ndarray:
        """What the workers have under a path of this agent: views (n, P, ...) -> (n * P, ...)."""
        array = arrays[f"/{self.name}{path}"]
        return array.reshape(-1, *array.shape[2:])

    def _seen(self, observations: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {path: self._own(observations, f"/observations{path}") for path in self.info.observation_spaces}

    def begin(self, observations: dict[str, np.ndarray]) -> None:
        """Take in the first observations of new episodes. Args: observations: of all workers."""
        seen, self.masks = self._seen(observations), self._own(observations, "/masks").copy()
        rows = SeatRows(slice(0, len(self.masks)), ~self.masks, None if self.masks.all() else ~self.masks)
        for wrapper in self.wrappers:
            seen = wrapper.reset(rows, seen)
        self.observations = {path: array.copy() for path, array in seen.items()}

    def take_in(self, part: StepBuffers) -> tuple[Chunk, np.ndarray]:
        """Wrap what a step brought.

        Returns:
            The agent's entries of the chunk's row, and which of its rows moved: bool (n * P,).
        """
        workers = self.rows(part.workers)
        moved, masks = self.masks[workers].copy(), self._own(part.observations, "/masks")
        seen, rewards = self._seen(part.observations), self._own(part.observations, "/rewards")
        stale = ~(moved | masks)
        rows = SeatRows(workers, ~masks, stale if stale.any() else None)
        for wrapper in self.wrappers:
            seen, rewards = wrapper.step(rows, seen, rewards, moved)
        for path, array in seen.items():
            self.observations[path][workers] = array
        self.masks[workers] = masks
        terminations = self._own(part.observations, "/terminations")
        entries = {"rewards": rewards, "terminations": terminations}
        return {f"/agents/{self.name}/{key}": array[:, None] for key, array in entries.items()}, moved

    def seen(self, workers: slice, infos: dict[str, np.ndarray]) -> tuple[Chunk, Chunk]:
        """What the agent's rows of some workers see, and what their infos say. Args: infos: of all workers."""
        rows = self.rows(workers)
        said = {path: self._own(infos, path)[rows] for path in self.info.infos}
        return {path: array[rows] for path, array in self.observations.items()}, said

    def before(self, workers: slice, infos: dict[str, np.ndarray]) -> Chunk:
        """The agent's entries of the chunk's row that are known before an action is chosen. Args: as in `seen`."""
        own, (observations, said) = f"/agents/{self.name}", self.seen(workers, infos)
        row = {f"{own}/observations{path}": array for path, array in observations.items()}
        row |= {f"{own}/infos{path}": array for path, array in said.items()}
        row[f"{own}/masks"] = self.masks[self.rows(workers), None]
        return row

    def place(self, actions: np.ndarray, vector: np.ndarray) -> None:
        """Write the agent's actions (n * P, ...), at the environment's edge, into the vector of all actions (n, A)."""
        vector[:, self.columns] = self.edge(actions).reshape(len(vector), -1)


class MultiAgentExplorer(Explorer):
    """Turns environments with several players, and the agents that play them, into trajectories.

    Each agent has rows of its own: its players in all workers. A chunk holds `/masks` (num_workers, ...), and for each
    agent under `/agents/<name>` the keys that an agent alone would have: `observations/<path>`, `masks`, `rewards`,
    `terminations`, `infos/<key>`, `actions`, `artifacts/<x>`, of shape (num_workers * players, n_steps + 1, ...). A
    player that has left, while others go on, has rows with a mask of False until the episode is over for all. Wrappers
    are made for each agent, so that statistics are those of the players that share it. Frames are steps of the
    environment.

    Arguments as in `Explorer`.
    """

    def _seat_agents(self, environment: EnvironmentSpec) -> None:
        if not self.info.agents:
            raise UsageError(
                "MultiAgentExplorer needs an environment with several players: say under env which agent plays which "
                'of them, such as players={"agent": ["*"]}.'
            )
        for name in self.info.agents:
            if name not in self.agents:
                raise UsageError(
                    f"players names an agent '{name}' that there is not. {did_you_mean(name, self.agents)}"
                )
        self.wrappers, self._edge, self.seats, offset = [], lambda actions: actions, {}, 0
        for name, info in self.info.agents.items():
            wrappers = self._make_wrappers(environment, info, self.num_workers * len(info.players))
            self.seats[name] = AgentSeat(name, info, self.num_workers, wrappers, offset)
            offset = self.seats[name].columns.stop

    def _begin(self, observations: dict[str, np.ndarray]) -> None:
        for name, seat in self.seats.items():
            seat.begin(observations)
            self.hidden_state[name] = self.agents[name].reset_hidden_state(len(seat.masks))
        self.observations = self._all_observations()
        self.infos = {path: array.copy() for path, array in self.envs.rows.infos.items()}

    def _all_observations(self) -> dict[str, np.ndarray]:
        return {f"/{n}{path}": array for n, seat in self.seats.items() for path, array in seat.observations.items()}

    def _before(self, workers: slice) -> Chunk:
        row = {"/masks": self.masks[workers, None]}
        for seat in self.seats.values():
            row |= seat.before(workers, self.infos)
        return row

    def _act(self, workers: slice) -> tuple[Chunk, np.ndarray]:
        row: Chunk = {}
        vector = np.empty((len(self.masks[workers]), *(self.info.action_space.shape or ())))
        for name, seat in self.seats.items():
            rows, space, allowed = seat.rows(workers), seat.info.agent_action_space, None
            observations, infos = seat.seen(workers, self.infos)
            if seat.has_action_mask:
                allowed = check_action_mask(
                    space, infos["/action_mask"], seat.masks[rows], workers.start, seat.info.players
                )
            observations |= {f"/infos{path}": array for path, array in infos.items()}
            chosen, actions = self._choose(name, rows, observations, seat.masks[rows], space, allowed)
            row |= chosen
            seat.place(actions, vector)
        return row, vector

    def _take_in(self, part: StepBuffers) -> Chunk:
        self._check(part)
        after: Chunk = {}
        for path, array in part.infos.items():
            self.infos[path][part.workers] = array
        for name, seat in self.seats.items():
            entries, moved = seat.take_in(part)
            after |= entries
            hidden_state = self.hidden_state[name]
            if hidden_state is not None and not moved.all():
                hidden_state[seat.rows(part.workers)][~moved] = 0
        return after

    def _episode(self, part: StepBuffers, row: int) -> Episode:
        returns = {
            player: float(value)
            for name, seat in self.seats.items()
            for player, value in zip(seat.info.players, part.observations[f"/{name}/returns"][row], strict=True)
        }
        return super()._episode(part, row)._replace(player_returns=returns)

    def statistics(self) -> dict[str, Any]:
        """What the normalisers have learned, by agent and position."""
        return {
            name: {str(index): wrapper.statistics() for index, wrapper in enumerate(seat.wrappers)}
            for name, seat in self.seats.items()
        }

    def load_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what another explorer's normalisers have learned."""
        for name, seat in self.seats.items():
            for index, wrapper in enumerate(seat.wrappers):
                wrapper.load_statistics(statistics[name][str(index)])

    def state_dict(self) -> dict[str, Any]:
        """As in `Explorer`, and each agent's masks and normalisers."""
        seats = {
            name: {
                "masks": seat.masks.copy(),
                "wrappers": {str(index): wrapper.state_dict() for index, wrapper in enumerate(seat.wrappers)},
            }
            for name, seat in self.seats.items()
        }
        return {**super().state_dict(), "seats": seats}

    def load_state_dict(self, state: dict[str, Any]) -> list[int]:
        """Continue where `state_dict` left off; see `Explorer`."""
        strayed = super().load_state_dict(state)
        for name, seat in self.seats.items():
            seat.masks = np.array(state["seats"][name]["masks"])
            if self.observations:
                seat.observations = {path: self.observations[f"/{name}{path}"] for path in seat.info.observation_spaces}
            for index, wrapper in enumerate(seat.wrappers):
                wrapper.load_state_dict(state["seats"][name]["wrappers"][str(index)])
        return strayed
