"""The contract of policies."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from digideep.parameters.component import Component, asks_for
from digideep.policy.observations import Observations
from digideep.utility.errors import UsageError


class Choice(NamedTuple):
    """What a policy chooses for B observations; None for what it does not say."""

    actions: Tensor  # int64 (B,) or (B, A), or float32 (B, A)
    log_p: Tensor | None = None  # float32 (B,), of these actions
    value: Tensor | None = None  # float32 (B,), what it expects from there on
    state: Tensor | None = None  # float32 (B, state_size), what it remembers afterwards


class ArrayChoice(NamedTuple):
    """A `Choice` in arrays."""

    actions: np.ndarray
    log_p: np.ndarray | None = None
    value: np.ndarray | None = None
    state: np.ndarray | None = None


class Evaluation(NamedTuple):
    """What a loss needs to know of B actions that were taken."""

    log_p: Tensor  # float32 (B,), of the actions
    entropy: Tensor  # float32 (B,), of the distributions over actions, in nats
    value: Tensor  # float32 (B,), of the observations


# (observations (B, D), generator of the noise, deterministic) -> what `act` would choose
FastAct = Callable[[np.ndarray, torch.Generator, bool], ArrayChoice]


def require_critics(cls: Any) -> None:
    """Refuse a policy whose critics cannot see something of their own. Args: cls: named by a description."""
    if isinstance(cls, type) and not asks_for(cls, "critic_observation_space"):
        raise UsageError(
            f"critic_observation_path is for policies whose critics stand beside an actor; {cls.__name__} has none of "
            "its own. Leave it out, or take PPO, A2C, SAC, TQC, CrossQ, TD3 or DDPG without recurrence."
        )


class PolicyBase(nn.Module, Component):
    """Maps observations to actions. Owns networks; knows nothing of losses, optimizers or memories.

    A subclass implements `act`; what else it needs (`forward` and `value`, an `actor`, `critics`) is said by the agent
    that learns it. Policies take their run-time arguments by these names: `observation_space` (a one-dimensional Box;
    spaces by path where there are images), `action_space` (of the agent, see `environment.spaces.agent_action_space`)
    and `generator` (a torch generator on the CPU that draws the weights); one whose critics may see what the actor does
    not asks for `critic_observation_space` too, and is given `Views` to learn from.

    Attributes:
        state_size: numbers that the policy remembers of one worker from row to row; 0 if it is not recurrent.
        gives_value: True if `act` gives the observation's value too, since it costs next to nothing.
        is_encoder_shared: True if the actor reads what the critics' encoder makes of observations.
    """

    state_size = 0
    is_encoder_shared = False
    gives_value = False

    def act(
        self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None,
        generator: torch.Generator | None = None, deterministic: bool = False,
    ) -> Choice:  # fmt: skip
        """Choose actions.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            state: float32 (B, state_size), before these observations; None if the policy is not recurrent.
            allowed: bool (B, choices), the action mask; None allows everything.
            generator: draws the sample, if there is one; untouched if deterministic.
            deterministic: take the actions that the policy prefers, without exploration.

        Raises:
            UsageError: if a policy does not say how.
        """
        raise UsageError(
            f"{type(self).__name__} has no method 'act', which chooses its actions. Give it one, see "
            "digideep.policy.base.PolicyBase."
        )

    def fast_act(self) -> FastAct | None:
        """Return another way to do what `act` does, in numpy on a few rows; None if there is none.

        It is asked for once the parameters have their place in memory. A subclass that overrides `act` has none, unless
        it overrides this as well: see `acting.fast_act_of`.
        """
        return None

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """Choose as `act` does without exploration, and give the value if there is one. Exported files do this.

        Arguments as in `act`.
        """
        return self.act(observations, state=state, allowed=allowed, deterministic=True)
