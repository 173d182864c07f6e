"""Networks that follow a learner's slowly."""

import copy
from typing import Any

from torch import Tensor, nn

from digideep.learning.gradient_step import FlatModule, GradientStep, kept_buffers
from digideep.parameters.checks import require_between


class TargetNetwork:
    """A copy of a learner's network that follows it slowly, or is renewed from time to time.

    Buffers, such as running statistics, are copied with each update: a mean of means over time would lag twice. Dropout
    works in it as in the learner, as Hiraoka et al. 2022, arXiv:2110.02034, Algorithm 2 has it.

    Args:
        step: of the network to follow.
        polyak_factor: share of the new parameters in an update, in (0, 1]; 1 copies them.

    Attributes:
        flat: float32 (P,), the parameters.
        network: the copy, callable.
    """

    def __init__(self, step: GradientStep, polyak_factor: float):
        require_between("polyak_factor", polyak_factor, 1e-9, 1)
        self._source, self._polyak_factor = step, polyak_factor
        self.flat = step.flat.clone()
        self.network = FlatModule(copy.deepcopy(step.module), self.flat)
        for part in self.network.module.modules():
            part.train(isinstance(part, nn.Dropout))
        self._buffers, self._new_buffers = (kept_buffers(each) for each in (self.network.module, step.module))

    @property
    def averaged(self) -> list[Tensor]:
        """What has to be the same on all ranks; see `GradientStep`."""
        return [self.flat]

    def renew(self) -> None:
        """Become a copy of the learner again."""
        self.flat.copy_(self._source.flat)
        self._copy_buffers()

    def update(self) -> None:
        """Follow by one step."""
        self.flat.lerp_(self._source.flat, self._polyak_factor)
        self._copy_buffers()

    def _copy_buffers(self) -> None:
        for name, buffer in self._buffers.items():
            buffer.copy_(self._new_buffers[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters, and the buffers by name."""
        return {"flat": self.flat, "buffers": self._buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self.flat.copy_(state["flat"])
        for name, buffer in self._buffers.items():
            buffer.copy_(state["buffers"][name])
