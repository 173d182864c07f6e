"""Optimizers of flat parameters, in place and by tensor operations only, so that they can be compiled.

The keys of an optimizer's state do not depend on its parameters: each of them may change when a run is resumed.
"""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from digideep.parameters.checks import require, require_between
from digideep.parameters.component import Component

_LARGEST_DECAY = 0.999999  # of a running mean


class Optimizer(Component):
    """Changes flat parameters by their gradient. Its state belongs to whoever calls it.

    Attributes:
        can_be_compiled: whether its step is made of operations on tensors only.
    """

    can_be_compiled = True

    @abstractmethod
    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the optimizer's state before the first step. Args: flat: float32 (P,), whose size and device count."""
        raise NotImplementedError

    @abstractmethod
    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """Take one step against the gradient; change `flat` and `state` in place, and nothing else.

        Args:
            flat: float32 (P,), the parameters.
            gradient: float32 (P,).
            state: from `init`.
            lr: 0-dimensional, the learning rate.
        """
        raise NotImplementedError


class Adam(Optimizer):
    """Adaptive moments. Source: Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1.

    Args:
        beta1: decay of the gradient's mean, in [0, 1).
        beta2: decay of its square's mean, in [0, 1).
        eps: added to the root of the second moment, in [1e-16, 1]. Usual: 1e-8 to 1e-3.
    """

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
        require_between("beta1", beta1, 0, _LARGEST_DECAY)
        require_between("beta2", beta2, 0, _LARGEST_DECAY)
        require_between("eps", eps, 1e-16, 1)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Return both means, the number of the next step, and the factors that correct its means' start at 0."""
        state = {"mean": torch.zeros_like(flat), "square": torch.zeros_like(flat)}
        state |= {"step": flat.new_zeros(()), "corrections": flat.new_zeros(2)}
        self._correct(state)
        return state

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
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


class AdamW(Adam):
    """Adam with weight decay beside the gradient. Source: Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2.

    Differs from the paper, as torch does: the learning rate multiplies the decay too.

    Args:
        weight_decay: share of each parameter that a step at a learning rate of 1 takes away, in [0, 1].
        parameters: of `Adam`.
    """

    def __init__(self, *, weight_decay: float = 0.01, **parameters: Any):
        super().__init__(**parameters)
        require_between("weight_decay", weight_decay, 0, 1)
        self.weight_decay = weight_decay

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        flat.mul_(1 - lr * self.weight_decay)
        super().step(flat, gradient, state, lr)


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square. Source: Tieleman and Hinton 2012, "Lecture 6.5: rmsprop".

    Centred, by their standard deviation: Graves 2013, arXiv:1308.0850, Eq. 38 to 40. Differs from that paper, as torch
    does: `eps` is added to the root, and the learning rate multiplies the velocity.

    Args:
        decay: of the means, in [0, 1). Usual: 0.95 to 0.99.
        eps: added to the root, in [1e-16, 1]. Usual: 1e-8 to 1e-2.
        momentum: decay of the velocity, in [0, 1); 0 for none.
        is_centered: divide by the standard deviation.
        weight_decay: added to the gradient, times the parameters; in [0, 1].
    """

    def __init__(
        self,
        *,
        decay: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        is_centered: bool = False,
        weight_decay: float = 0.0,
    ):
        require_between("decay", decay, 0, _LARGEST_DECAY)
        require_between("eps", eps, 1e-16, 1)
        require_between("momentum", momentum, 0, _LARGEST_DECAY)
        require_between("weight_decay", weight_decay, 0, 1)
        self.decay, self.eps, self.momentum = decay, eps, momentum
        self.is_centered, self.weight_decay = is_centered, weight_decay

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the means of gradients and of their squares, and the velocity."""
        return {name: torch.zeros_like(flat) for name in ("mean", "square", "velocity")}

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        mean, square, velocity = state["mean"], state["square"], state["velocity"]
        if self.weight_decay:
            gradient = gradient.add(flat, alpha=self.weight_decay)
        variance = square.mul_(self.decay).addcmul_(gradient, gradient, value=1 - self.decay)
        if self.is_centered:
            mean.lerp_(gradient, 1 - self.decay)
            variance = square.addcmul(mean, mean, value=-1).clamp(min=0)  # rounding can make it negative
        root = variance.sqrt() + self.eps
        if self.momentum:
            flat.sub_(lr * velocity.mul_(self.momentum).addcdiv_(gradient, root))
        else:
            flat.sub_(lr * gradient / root)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum. Source: Sutskever et al. 2013, "On the importance of initialization
    and momentum in deep learning", Eq. 1 and 2, Nesterov's Eq. 3 and 4.

    Differs from the paper, as torch does: the learning rate multiplies the velocity, not the gradient that joins it.

    Args:
        momentum: decay of the velocity, in [0, 1); 0 for none. Usual: 0.9.
        is_nesterov: follow the gradient beyond the velocity's step; needs momentum.
        weight_decay: added to the gradient, times the parameters; in [0, 1].
    """

    def __init__(self, *, momentum: float = 0.0, is_nesterov: bool = False, weight_decay: float = 0.0):
        require_between("momentum", momentum, 0, _LARGEST_DECAY)
        require(momentum > 0 or not is_nesterov, "momentum", momentum, "above 0 where is_nesterov is true")
        require_between("weight_decay", weight_decay, 0, 1)
        self.momentum, self.is_nesterov, self.weight_decay = momentum, is_nesterov, weight_decay

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the velocity."""
        return {"velocity": torch.zeros_like(flat)}

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        if self.weight_decay:
            gradient = gradient.add(flat, alpha=self.weight_decay)
        if self.momentum:
            velocity = state["velocity"].mul_(self.momentum).add_(gradient)
            gradient = gradient.add(velocity, alpha=self.momentum) if self.is_nesterov else velocity
        flat.sub_(lr * gradient)
