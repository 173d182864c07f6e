"""One step of gradient descent on flat parameters: loss, gradient, clipping and optimizer as one function.

All parameters of a module are views of one flat tensor. So clipping and the optimizer act on one tensor instead of
dozens, and where it pays the whole step is compiled into one call. An agent's file stays its mathematics: it hands over
a loss as a pure function.
"""

import logging
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from digideep.utility.checks import require, require_between
from digideep.utility.component import Component

Loss = Callable[..., tuple[Tensor, Tensor]]

# Compiling takes 5 to 25 s and saves about 0.4 ms a step on small networks: it is repaid from here on.
_STEPS_THAT_REPAY_COMPILING = 60_000


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
        eps: added to the root of the latter.
    """

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
        require_between("beta1", beta1, 0, 0.999999)
        require_between("beta2", beta2, 0, 0.999999)
        require_between("eps", eps)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Both means, and the number of steps."""
        return {"mean": torch.zeros_like(flat), "square": torch.zeros_like(flat), "step": flat.new_zeros(())}

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """One step against the gradient."""
        mean, square, step = state["mean"], state["square"], state["step"]
        step.add_(1)
        mean.lerp_(gradient, 1 - self.beta1)
        square.lerp_(gradient * gradient, 1 - self.beta2)
        root = (square / (1 - self.beta2**step)).sqrt_().add_(self.eps)
        flat.sub_(mean / root * (lr / (1 - self.beta1**step)))


def flatten_parameters(module: nn.Module) -> Tensor:
    """Move all parameters of a module into one flat tensor, of which they become views.

    Returns:
        float32 (P,), in the order of `module.parameters()`; changing it changes the module.
    """
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    for parameter, view in zip(module.parameters(), _split(module, flat).values(), strict=True):
        parameter.data = view
    return flat


def _split(module: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Views of a flat tensor, by parameter name."""
    parameters = dict(module.named_parameters())
    parts = flat.split([parameter.numel() for parameter in parameters.values()])
    return {name: part.view(p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)}


class GradientStep:
    """Minimises a loss of a module by one step per call.

    Args:
        module: whose parameters change; they become views of `self.flat`.
        loss: `loss(call, *tensors) -> (scalar, metrics)`, pure; `call` stands for the module. metrics: a detached 1-D
            tensor of whatever is worth knowing.
        optimizer: applied to the flat parameters.
        max_grad_norm: the gradient's norm is clipped to this; None for no clipping.
        compile: "on", "off", or "auto" for on if a compiler is there and `planned_steps` repay it. The choice depends
            on the plan of the whole run, so that a resumed run makes it again.
        planned_steps: gradient steps of the whole run.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        max_grad_norm: float | None = None,
        compile: str = "off",
        planned_steps: int = 0,
    ):
        require(compile in ("auto", "on", "off"), "compile", compile, "one of auto, on, off")
        if max_grad_norm is not None:
            require_between("max_grad_norm", max_grad_norm)
        self.module, self.loss, self.optimizer, self.max_grad_norm = module, loss, optimizer, max_grad_norm
        self.flat = flatten_parameters(module)
        self.state = optimizer.init(self.flat)
        self._lr = self.flat.new_zeros(())
        self._gradient = torch.zeros_like(self.flat)
        for parameter, view in zip(module.parameters(), _split(module, self._gradient).values(), strict=True):
            parameter.grad = view
        self.is_compiled = compile == "on" or (
            compile == "auto" and planned_steps >= _STEPS_THAT_REPAY_COMPILING and _has_compiler(self.flat.device)
        )
        self._step = torch.compile(self._functional, dynamic=False) if self.is_compiled else self._eager
        self._is_fresh = True

    def __call__(self, lr: float, *tensors: Any) -> Tensor:
        """Take one step.

        Args:
            lr: learning rate.
            tensors: what the loss takes; shapes must not change from call to call if compiled.

        Returns:
            The loss's metrics, (K,).
        """
        if self.is_compiled and self._is_fresh:
            logging.getLogger("digideep").info("Compiling the gradient step: 5 to 30 s.")
        self._is_fresh = False
        self._lr.fill_(lr)
        return self._step(*tensors)

    def _functional(self, *tensors: Any) -> Tensor:
        """The step as a function of the flat parameters, for the compiler."""

        def loss_of(flat: Tensor) -> tuple[Tensor, Tensor]:
            parameters = _split(self.module, flat)
            return self.loss(lambda *args: torch.func.functional_call(self.module, parameters, args), *tensors)

        gradient, (_, metrics) = torch.func.grad_and_value(loss_of, has_aux=True)(self.flat)
        self._gradient.copy_(gradient)  # the parameters' `grad`, which dashboards show
        self._apply(gradient)
        return metrics

    def _eager(self, *tensors: Any) -> Tensor:
        """The same step through the module itself, which costs less than a functional call when nothing is compiled."""
        self._gradient.zero_()
        loss, metrics = self.loss(self.module, *tensors)
        loss.backward()  # adds to the parameters' gradients, which are views of the flat one
        with torch.no_grad():
            self._apply(self._gradient)
        return metrics

    def _apply(self, gradient: Tensor) -> None:
        if self.max_grad_norm is not None:
            gradient = gradient * (self.max_grad_norm / (gradient.norm() + 1e-6)).clamp(max=1.0)
        self.optimizer.step(self.flat, gradient, self.state, self._lr)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state; the parameters belong to the module."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])


def _has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work here."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 0)
    return any(shutil.which(name) for name in ("g++", "clang++", "cl"))
