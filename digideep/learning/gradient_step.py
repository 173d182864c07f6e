"""One step of gradient descent on flat parameters: loss, gradient, clipping and optimizer as one function.

All parameters of a module are views of one flat tensor. So clipping and the optimizer act on one tensor instead of
dozens, a target network follows by one operation, and where it pays the whole step is compiled into one call. An
agent's file stays its mathematics: it hands over a loss as a pure function. Methods that take several steps at once
write them as one function of `GradientStep.take`, `GradientStep.frozen` and `TargetNetwork`, and compile that.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.optimizers import Optimizer
from digideep.parameters.checks import require_between

Loss = Callable[..., tuple[Tensor, Any]]


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


class FlatModule:
    """A module whose parameters are views of a flat tensor; callable, within compiled functions too.

    Args:
        module: its parameters become views, and take no gradient.
        flat: what they are views of, in the order of `module.parameters()`; float32 (P,).
    """

    def __init__(self, module: nn.Module, flat: Tensor):
        self.module, self.flat = module.requires_grad_(False), flat
        for parameter, view in zip(module.parameters(), _split(module, flat).values(), strict=True):
            parameter.data = view

    def __call__(self, *args: Any) -> Any:
        # A compiler must see the one tensor that changes, not its many views.
        if torch.compiler.is_compiling():
            return torch.func.functional_call(self.module, _split(self.module, self.flat), args)
        return self.module(*args)


class GradientStep:
    """Minimises a loss of a module by one step per call.

    Args:
        module: whose parameters change; they become views of `self.flat`.
        loss: `loss(call, *tensors) -> (scalar, metrics)`, pure; `call` stands for the module. metrics: a detached
            tensor or several, of whatever is worth knowing.
        optimizer: applied to the flat parameters.
        max_grad_norm: the gradient's norm is clipped to this, at least 1e-6; None for no clipping.
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
        if max_grad_norm is not None:
            require_between("max_grad_norm (null for no limit)", max_grad_norm, 1e-6)
        self.module, self.loss, self.optimizer, self.max_grad_norm = module, loss, optimizer, max_grad_norm
        self.flat = flatten_parameters(module)
        # The same network as a constant: gradients pass through it to its arguments, none is kept for its parameters.
        self.frozen = FlatModule(copy.deepcopy(module), self.flat)
        self.state = optimizer.init(self.flat)
        self._lr = self.flat.new_zeros(())
        self._gradient = torch.zeros_like(self.flat)
        for parameter, view in zip(module.parameters(), _split(module, self._gradient).values(), strict=True):
            parameter.grad = view
        self.is_compiled = pays_to_compile(compile, planned_steps, self.flat.device, len(self.flat))
        self._step = compiled(self._functional, self.flat.device) if self.is_compiled else self._eager

    def __call__(self, lr: float, *tensors: Any) -> Any:
        """Take one step.

        Args:
            lr: learning rate.
            tensors: what the loss takes; shapes must not change from call to call if compiled.

        Returns:
            The loss's metrics.
        """
        self.set_lr(lr)
        return self._step(*tensors)

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come."""
        self._lr.fill_(lr)

    def take(self, *tensors: Any) -> Any:
        """Take one step as a part of a larger function, which may be compiled as a whole. Returns: the metrics."""
        return self._functional(*tensors) if torch.compiler.is_compiling() else self._eager(*tensors)

    def _functional(self, *tensors: Any) -> Any:
        """The step as a function of the flat parameters, for the compiler."""

        def loss_of(flat: Tensor) -> tuple[Tensor, Any]:
            parameters = _split(self.module, flat)
            return self.loss(lambda *args: torch.func.functional_call(self.module, parameters, args), *tensors)

        gradient, (_, metrics) = torch.func.grad_and_value(loss_of, has_aux=True)(self.flat)
        self._gradient.copy_(gradient)  # the parameters' `grad`, which dashboards show
        self._apply(gradient)
        return metrics

    def _eager(self, *tensors: Any) -> Any:
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
