"""Policies for replay methods that remember: a core stands between the observations and the layers of the others.

They learn from sequences: a burn-in warms the core's state up, and what it makes of the rows after that takes the place
of observations. So the losses of the methods need not know of it.
"""

from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from digideep.parameters.component import Description, describe
from digideep.policy.base import Choice
from digideep.policy.cell_passes import take_rows
from digideep.policy.cells import make_core
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.encoders import Encoder, encode, make_trunk
from digideep.policy.observations import Observations, ObservationSpace
from digideep.utility.errors import UsageError


class Sequences(NamedTuple):
    """B moments of S sequences, and how they have come about: stands for B observations."""

    before: Observations | None  # float32 (S * P, D), or path -> (S * P, ...), the burn-in; None without one
    observations: Observations  # likewise (S * T, ...), the rows after it, one sequence after the other
    states: Tensor  # float32 (S, state_size), before the first row
    keep: Tensor  # float32 (S, P + T), 0 where the state is zeroed before the row is consumed, else 1
    rows: Tensor  # int64 (B,), which of the S * T rows are meant


class Remembered(NamedTuple):
    """Stands for B observations that a core has consumed already."""

    features: Tensor  # float32 (B, core_size)


class RecurrentEncoder(Encoder):
    """Encodes observations, and remembers the ones before: they go through an encoder, if there is one, into a core.

    Args:
        observation_space: a one-dimensional Box, or spaces by path.
        generator: draws the weights.
        cell: "gru" or "lstm".
        core_size: units of the core.
        encoder: description of what comes before the core, see `make_encoder`; None decides by the spaces.

    Attributes:
        state_size: numbers that its state takes.
        place: where they stand in the state of the policy.
    """

    def __init__(
        self, observation_space: ObservationSpace, generator: torch.Generator, *,
        cell: str = "gru", core_size: int = 64, encoder: Description | None = None,
    ):  # fmt: skip
        super().__init__()
        self.trunk, size = make_trunk(observation_space, generator, encoder)
        self.core = make_core(cell, 1, size, core_size, generator)
        self.out_features, self.state_size = core_size, self.core.state_size
        self.place = slice(0, self.state_size)

    def forward(self, seen: Sequences | Remembered) -> Tensor:
        """Encode what stands for B observations. No gradient reaches the rows of the burn-in.

        Source: Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
        Section 3: burn-in.

        Returns:
            float32 (B, core_size).
        """
        if isinstance(seen, Remembered):
            return seen.features
        state, features = seen.states[:, self.place], encode(self.trunk, seen.observations)
        length = len(features) // len(state)  # T
        if seen.before is not None:
            with torch.no_grad():
                _, state = self.core(encode(self.trunk, seen.before)[None], state, seen.keep[:, :-length])
        outputs: Tensor = self.core(features[None], state, seen.keep[:, -length:])[0]
        return take_rows(outputs[0], seen.rows)

    def step(self, observations: Observations, state: Tensor | None) -> tuple[Any, Tensor]:
        """Consume one observation of each of B workers.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            state: float32 (B, state_size of the policy), before them.

        Returns:
            What stands for the observations, and its own state after them, (B, state_size).
        """
        assert state is not None
        outputs, state = self.core.step(encode(self.trunk, observations)[None], state[:, self.place])
        return Remembered(outputs[0]), state


class RecurrentActionValues(ActionValues):
    """For DQN: observations -> encoder of images -> GRU or LSTM -> the layers of `ActionValues`.

    Differs from Kapturowski et al. 2019: the core sees observations alone, no former action and reward.

    Args:
        observation_space, action_space, generator: as in `ActionValues`.
        cell: "gru" or "lstm".
        core_size: units of the core.
        hidden_sizes: of the layers after it; may be empty.
        encoder: as in `ActionValues`.
        parameters: of `ActionValues`.
    """

    def __init__(
        self, observation_space: ObservationSpace, action_space: gym.Space[Any], generator: torch.Generator, *,
        cell: str = "gru", core_size: int = 64, encoder: Description | None = None, **parameters: Any,
    ):  # fmt: skip
        core = describe(RecurrentEncoder, cell=cell, core_size=core_size, encoder=encoder)
        super().__init__(observation_space, action_space, generator, encoder=core, **parameters)
        assert isinstance(self.encoder, RecurrentEncoder)
        self.state_size = self.encoder.state_size

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `ActionValues`."""
        assert isinstance(self.encoder, RecurrentEncoder)
        seen, state = self.encoder.step(observations, state)
        return super().act(seen, allowed=allowed)._replace(state=state)


class RecurrentGaussianPolicy(SquashedGaussianPolicy):
    """For SAC: observations -> encoder of images -> GRU or LSTM -> the layers of `SquashedGaussianPolicy`.

    The actor has a core of its own, and the critics have one that they share. Source: Ni et al. 2022, arXiv:2110.05038,
    Section 4: separate ones learn where a shared one does not. The critics' core sees observations, and their layers
    the action that is judged beside its output. Differs from Ni et al.: no former action and reward.

    The state is that of both cores, the actor's first, float32 (B, state_size): acting keeps the critics' state too, so
    that replayed sequences begin with it as with the actor's, and the values of a policy that plays are at hand.

    Args:
        observation_space, action_space, generator: as in `ContinuousPolicy`.
        cell: "gru" or "lstm".
        core_size: units of each core.
        hidden_sizes: of the layers after it.
        encoder: as in `ContinuousPolicy`.
        parameters: of `ContinuousPolicy`.
    """

    def __init__(
        self, observation_space: ObservationSpace, action_space: gym.Space[Any], generator: torch.Generator, *,
        cell: str = "gru", core_size: int = 64, encoder: Description | None = None, **parameters: Any,
    ):  # fmt: skip
        ways = {"critic_observation_space": "critic_observation_path", "shared_features": "shared_features"}
        for name, key in ways.items():
            if parameters.get(name) is not None:
                raise UsageError(
                    f"{key} cannot be used with a policy of replay that remembers. Leave it out, or recurrent."
                )
        core = describe(RecurrentEncoder, cell=cell, core_size=core_size, encoder=encoder)
        super().__init__(observation_space, action_space, generator, encoder=core, **parameters)
        actor, critics = self._memories()
        self.state_size = actor.state_size + critics.state_size
        critics.place = slice(actor.state_size, self.state_size)

    def _memories(self) -> tuple[Any, Any]:
        return self.actor.encoder, self.critics.encoder

    def _step(self, observations: Observations, state: Tensor | None) -> tuple[Any, Any, Tensor]:
        """Consume observations. Returns: what stands for them for actor and critics, and the state after them."""
        of_actor, of_critics = (memory.step(observations, state) for memory in self._memories())
        return of_actor[0], of_critics[0], torch.cat([of_actor[1], of_critics[1]], -1)

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """See `ContinuousPolicy`."""
        seen, _, state = self._step(observations, state)
        return Choice(self.actor.act(seen, generator, deterministic), state=state)

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """See `ContinuousPolicy`."""
        seen, judged, state = self._step(observations, state)
        actions = self.actor.act(seen, deterministic=True)
        return Choice(actions, value=self.least_value(judged, actions), state=state)
