"""Optimizers of flat parameters, in place and by tensor operations only, so that they can be compiled."""

import math

import torch
from torch import Tensor

from digideep.parameters.checks import require_between
from digideep.parameters.component import Component


class Optimizer(Component):
    """Changes flat parameters by their gradient, in place, with tensor operations only (so that it can be compiled)."""

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """The optimizer's own state for parameters of this size."""
        raise NotImplementedError

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """Args: flat, gradient: float32 (P,); state: from `init`; lr: 0-dimensional."""
        raise NotImplementedError


class Adam(Optimizer):
    """Source: Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1.

    Args:
        beta1: decay of the gradient's mean, in [0, 1).
        beta2: decay of its square's mean, in [0, 1).
        eps: added to the root of the latter, in [1e-16, 1]. Usual: 1e-8 to 1e-3.
    """

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
        require_between("beta1", beta1, 0, 0.999999)
        require_between("beta2", beta2, 0, 0.999999)
        require_between("eps", eps, 1e-16, 1)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Both means, the number of steps, and what the next step multiplies them with to correct their start at 0."""
        state = {"mean": torch.zeros_like(flat), "square": torch.zeros_like(flat)}
        state |= {"step": flat.new_zeros(()), "corrections": flat.new_zeros(2)}
        self._correct(state)
        return state

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """One step against the gradient."""
        mean, square, (mean_factor, root_factor) = state["mean"], state["square"], state["corrections"]
        mean.lerp_(gradient, 1 - self.beta1)
        square.lerp_(gradient * gradient, 1 - self.beta2)
        flat.sub_(mean * (lr * mean_factor) / (square.sqrt() * root_factor + self.eps))
        self._correct(state)

    def _correct(self, state: dict[str, Tensor]) -> None:
        # For the step to come: a compiler would compute the powers of this one for every eight parameters anew.
        step, corrections = state["step"], state["corrections"]
        step.add_(1)
        corrections[0] = -1 / torch.expm1(step * math.log(self.beta1)) if self.beta1 else 1.0
        corrections[1] = (-torch.expm1(step * math.log(self.beta2))).rsqrt() if self.beta2 else 1.0
