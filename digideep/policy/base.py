"""The contract of policies."""

from typing import NamedTuple

from torch import Tensor, nn

from digideep.parameters.component import Component
from digideep.policy.observations import Observations
from digideep.utility.errors import UsageError


class Choice(NamedTuple):
    """What a policy chooses for B observations."""

    actions: Tensor  # int64 (B,) or (B, A), or float32 (B, A)
    value: Tensor | None = None  # float32 (B,), what it expects from there on
    state: Tensor | None = None  # float32 (B, state_size), what it remembers afterwards


class PolicyBase(nn.Module, Component):
    """Maps observations to actions. Owns networks; knows nothing of losses, optimizers or memories.

    Policies take their run-time arguments by these names: `observation_space` (a one-dimensional Box; spaces by path
    where there are images), `action_space` (of the agent, see `environment.spaces.agent_action_space`) and `generator`
    (a torch generator on the CPU that draws the weights).

    Attributes:
        state_size: numbers that the policy remembers of one worker from row to row; 0 if it is not recurrent.
    """

    state_size = 0

    def mode(self, observations: Observations, *, state: Tensor | None = None, allowed: Tensor | None = None) -> Choice:
        """Choose the actions that the policy prefers, without exploration. Exported files do what this does.

        Args:
            observations: float32 (B, D), or path -> (B, ...).
            state: float32 (B, state_size), before these observations; None if the policy is not recurrent.
            allowed: bool (B, choices), the action mask; None allows everything.

        Raises:
            UsageError: if a policy does not say it.
        """
        raise UsageError(
            f"{type(self).__name__} has no method 'mode', which says what it does without exploration. Give it "
            "one, see digideep.policy.base.PolicyBase."
        )

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())
