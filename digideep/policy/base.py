"""The contract of policies."""

from torch import nn

from digideep.utility.component import Component


class PolicyBase(nn.Module, Component):
    """Maps observations to actions. Owns networks; knows nothing of losses, optimizers or memories.

    Policies take their run-time arguments by these names: `observation_space` (a one-dimensional Box; spaces by path
    where there are images), `action_space` (of the agent, see `environment.spaces.agent_action_space`) and `generator`
    (a torch generator on the CPU that draws the weights).

    Attributes:
        state_size: numbers that the policy remembers of one worker from row to row; 0 if it is not recurrent.
    """

    state_size = 0

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())
