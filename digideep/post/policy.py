"""A trained policy by itself: from raw observations to environment actions, as `--play` does it."""

from typing import Any

import numpy as np
import torch

from digideep.agent.base import AgentBase, AgentContext
from digideep.environment.infos import write_info
from digideep.environment.make_environment import EnvironmentSpec, inspect_environment
from digideep.environment.normalizers import VectorWrapper
from digideep.environment.rows import Rows
from digideep.environment.spaces import ActionEdge, read_observation
from digideep.memory.generic import Memory
from digideep.parameters.tree import from_plain
from digideep.utility.component import build
from digideep.utility.errors import CheckpointError, UsageError
from digideep.utility.profiler import Profiler


class Policy:
    """The policy of a checkpoint, for one environment at a time.

    It takes the way of an Explorer with one worker in mode "eval": the same wrappers, the same agent, batches of one
    row, the same edge. So its actions are those of `--play`, bit by bit.

    Args:
        state: of a checkpoint.
        device: where it computes.

    Attributes:
        spec: of the environment. info: its spaces. agent: with the weights of the checkpoint.

    Raises:
        CheckpointError: if the state does not fit the environment or the agent.
    """

    def __init__(self, state: dict[str, Any], device: str = "cpu"):
        tree = from_plain(state["params"])
        self.spec: EnvironmentSpec = build(tree["env"], EnvironmentSpec)
        if self.spec.players is not None:
            raise UsageError("A policy by itself is that of one agent; this session trained several. Use --play.")
        self.info = inspect_environment(self.spec)
        (name, description), *_ = tree["agents"].items()
        context = AgentContext(
            name, build(tree["memory"], Memory), self.info.observation_spaces, self.info.agent_action_space,
            torch.device(device), tree["runner"]["seed"], Profiler(0), self.info.infos,
        )  # fmt: skip
        self.agent: AgentBase = build(description, AgentBase, context=context)
        self.wrappers: list[VectorWrapper] = [
            build(
                wrapper,
                VectorWrapper,
                mode="eval",
                num_workers=1,
                observation_spaces=self.info.observation_spaces,
            )
            for wrapper in self.spec.vect_wrappers
        ]
        try:
            self.agent.load_state_dict(state["agents"][name])
            for index, wrapper in enumerate(self.wrappers):
                wrapper.load_statistics(state["statistics"][str(index)])
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as err:
            raise CheckpointError(
                f"The checkpoint does not fit this version of digideep ({type(err).__name__}: "
                f"{' '.join(str(err).split())}). Play it with --play --frozen."
            ) from err
        self._rows = Rows(self.info, 1, np.zeros)
        self._edge = ActionEdge(self.info.action_space)
        self.reset()

    def reset(self) -> None:
        """Forget the episode so far: the next observation is the first of another one."""
        self._is_first = True
        self._hidden_state = self.agent.reset_hidden_state(1)

    def raw(self, observation: Any) -> dict[str, np.ndarray]:
        """An observation as the environment gives it, by path: (1, ...)."""
        for path, array in self._rows.observations.items():
            array[0] = read_observation(observation, path)
        return {path: array.copy() for path, array in self._rows.observations.items()}

    def normalize(self, observation: Any) -> dict[str, np.ndarray]:
        """What the agent sees of an observation, after all wrappers: path -> (1, ...)."""
        seen = self.raw(observation)
        for wrapper in self.wrappers:
            if self._is_first:
                seen = wrapper.reset(self._rows, seen)
            else:
                seen, _ = wrapper.step(self._rows, seen, self._rows.rewards.copy(), np.ones(1, np.bool_))
        self._is_first = False
        return seen

    def __call__(self, observation: Any, info: dict[str, Any] | None = None) -> Any:
        """Choose an action.

        Args:
            observation: one observation as the environment gives it: an array, or a dictionary or tuple of them.
            info: that came with it; needed where the agent uses an action mask.

        Returns:
            One action for its `step`: an array, or a number where actions are numbered.
        """
        if self.agent.use_action_mask and "action_mask" not in (info or {}):
            raise UsageError("This policy uses an action mask: give the info that came with the observation, too.")
        seen = self.normalize(observation)
        for path, array in self._rows.infos.items():
            write_info(array, 0, path[1:], info or {})
            seen[f"/infos{path}"] = array.copy()
        choice = self.agent.action_generator(seen, self._hidden_state, np.ones(1, np.bool_), True)
        self._hidden_state = choice.get("hidden_state", self._hidden_state)
        self._rows.actions[...] = self._edge(choice["actions"])
        action = self._rows.actions[0]
        return action.copy() if isinstance(action, np.ndarray) else action
