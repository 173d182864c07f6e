"""Networks that follow a learner's slowly."""

import copy

from digideep.learning.gradient_step import FlatModule, GradientStep
from digideep.parameters.checks import require_between


class TargetNetwork:
    """A target network: a copy of a learner's that follows it slowly, or is renewed from time to time.

    Args:
        step: of the network to follow.
        polyak_factor: share of the new parameters in an update, in (0, 1]; 1 copies them.
    """

    def __init__(self, step: GradientStep, polyak_factor: float):
        require_between("polyak_factor", polyak_factor, 1e-9, 1)
        self._source, self._polyak_factor = step.flat, polyak_factor
        self.flat = step.flat.clone()
        self.network = FlatModule(copy.deepcopy(step.module), self.flat)

    def renew(self) -> None:
        """Be a copy of the learner again."""
        self.flat.copy_(self._source)

    def update(self) -> None:
        """Follow by one step."""
        self.flat.lerp_(self._source, self._polyak_factor)
