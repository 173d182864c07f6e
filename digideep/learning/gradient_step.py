"""One step of gradient descent on flat parameters: loss, gradient, clipping and optimizer as one function.

All parameters of a module are views of one flat tensor. So clipping and the optimizer act on one tensor instead of
dozens, a target network follows by one operation, and where it pays a method's whole step is compiled into one call.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from digideep.learning.optimizers import Optimizer
from digideep.parameters.checks import require_between
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks

Loss = Callable[..., tuple[Tensor, Any]]


class Metrics(NamedTuple):
    """What a step reports of itself, detached, in one tensor: adding it up over steps is one operation."""

    names: tuple[str, ...]
    values: Tensor  # float32 (K,)


def pack(metrics: dict[str, Tensor]) -> Metrics:
    """Join named metrics. Args: metrics: by name, 0-dimensional.

    Raises:
        UsageError: for what is no such tensor.
    """
    for name, value in metrics.items():
        if not isinstance(value, Tensor) or value.dim():
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"The metric '{name}' of a loss must be a 0-dimensional tensor, got {found}.")
    return Metrics(tuple(metrics), torch.stack(list(metrics.values())).detach())


class Means:
    """Means of metrics over steps, added up on the device that computes them. A step need not report all of them."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}

    def add(self, metrics: Metrics) -> None:
        """Take in what one step reports."""
        total, count = self._sums.get(metrics.names, (None, 0))
        self._sums[metrics.names] = (metrics.values if total is None else total + metrics.values, count + 1)

    def take(self) -> dict[str, float]:
        """Return the mean of each metric over the steps that reported it, by name; waits for the device."""
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for names, (values, count) in self._sums.items():
            for name, value in zip(names, values.tolist(), strict=True):
                totals[name] = totals.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + count
        return {name: total / counts[name] for name, total in totals.items()}


def flatten_parameters(module: nn.Module) -> Tensor:
    """Move all parameters of a module into one flat tensor, of which they become views.

    What takes no gradient, such as layers that are given and not learned, becomes a buffer, unless that is everything.

    Returns:
        float32 (P,), in the order of `module.parameters()`; changing it changes the module.
    """
    learns = any(parameter.requires_grad for parameter in module.parameters())
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if learns and not parameter.requires_grad:
                delattr(part, name)
                part.register_buffer(name, parameter.detach())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    _lay(module, flat)
    return flat


def _split(module: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Return views of a flat tensor, by parameter name."""
    parameters = dict(module.named_parameters())
    parts = torch.split(flat, [parameter.numel() for parameter in parameters.values()])
    return {name: part.view(p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)}


def _lay(module: nn.Module, flat: Tensor) -> None:
    """Let a module's parameters be views of a flat tensor."""
    for parameter, view in zip(module.parameters(), _split(module, flat).values(), strict=True):
        parameter.data = view


class FlatModule:
    """A module in evaluation mode whose parameters are views of a flat tensor; callable, within compiled code too.

    Args:
        module: its parameters become views, and take no gradient.
        flat: what they are views of, in the order of `module.parameters()`; float32 (P,).
    """

    def __init__(self, module: nn.Module, flat: Tensor):
        self.module, self.flat = module.requires_grad_(False).eval(), flat
        _lay(module, flat)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A compiler must see the one tensor that changes, not its many views.
        if torch.compiler.is_compiling():
            return torch.func.functional_call(self.module, _split(self.module, self.flat), args, kwargs)
        return self.module(*args, **kwargs)


class GradientStep:
    """Minimises a loss of a module by one step per call.

    The module itself acts: it is in evaluation mode, and its parameters take no gradient. A twin learns: it shares
    parameters and buffers (such as running statistics) with the module, and is in training mode.

    Args:
        module: whose parameters change; they become views of `self.flat`.
        loss: `loss(call, *args) -> (scalar, by-products)`, pure; `call` stands for the module. By-products are
            tensors, in dictionaries and tuples: metrics by name, errors of the transitions. The step returns them.
        optimizer: applied to the flat parameters.
        max_grad_norm: the gradient's norm is clipped to this, at least 1e-6; None for no clipping.
        lr: learning rate of the first steps; `set_lr` changes it.

    Attributes:
        flat: float32 (P,), the parameters.
        learner: the twin.
        frozen: the module as a constant: gradients pass through it to its arguments, none is kept for its parameters.
        ranks: whose gradients are added up before clipping; those of one process until an agent registers the step.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        max_grad_norm: float | None = None,
        lr: float = 0.0,
    ):
        if max_grad_norm is not None:
            require_between("max_grad_norm (null for no limit)", max_grad_norm, 1e-6)
        self.module, self.loss, self.optimizer, self.max_grad_norm = module, loss, optimizer, max_grad_norm
        _claim(module)
        self.flat = flatten_parameters(module)
        self.learner = copy.deepcopy(module).requires_grad_(True).train()
        _lay(self.learner, self.flat)
        self._places = _share_buffers(module, self.learner)
        self._buffers = kept_buffers(self.learner)
        unique = {id(parameter): name for name, parameter in self.learner.named_parameters()}
        every = self.learner.named_parameters(remove_duplicate=False)
        self._names = {name: unique[id(parameter)] for name, parameter in every}  # of tied parameters several
        self.frozen = FlatModule(module, self.flat)
        self._gradient = torch.zeros_like(self.flat)
        for each in (module, self.learner):
            for parameter, view in zip(each.parameters(), _split(each, self._gradient).values(), strict=True):
                parameter.grad = view
        self.state = optimizer.init(self.flat)
        self._lr = self.flat.new_full((), lr)
        self.ranks, self._share = Ranks(), self.flat.new_ones(())
        floats = [buffer for buffer in self._buffers.values() if buffer.is_floating_point()]
        self._float_buffers = [buffer for buffer in floats if buffer.device == self.flat.device]

    def spread(self, ranks: Ranks) -> None:
        """Learn from the rows of several ranks: each call takes the same step on all of them."""
        self.ranks = ranks
        self.set_share(1 / ranks.size)

    @property
    def averaged(self) -> list[Tensor]:
        """What has to be the same on all ranks: the parameters, and running statistics."""
        return [self.flat, *self._float_buffers]

    def set_share(self, share: float) -> None:
        """Set the weight of this rank's gradient in the steps to come: its share of the rows. They add up to 1."""
        self._share.fill_(share)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the steps to come."""
        self._lr.fill_(lr)

    def __call__(self, *args: Any) -> Any:
        """Take one step, eagerly or as a part of a larger function that is being compiled.

        Args:
            args: what the loss takes; shapes must not change from call to call if compiled.

        Returns:
            The loss's by-products.
        """
        if torch.compiler.is_compiling():
            gradient, (_, aux) = torch.func.grad_and_value(self._loss_of, has_aux=True)(self.flat, args)
            by_products, buffers = aux
            for name, buffer in self._buffers.items():
                buffer.copy_(buffers[name])
            self._gradient.copy_(gradient)  # the parameters' `grad`, which dashboards show
            self._apply(gradient)
            return by_products
        self._gradient.zero_()
        loss, by_products = self.loss(self.learner, *args)
        torch.autograd.backward(loss)  # adds to the parameters' gradients, which are views of the flat one
        with torch.no_grad():
            for place, name, shared in self._places:
                found = place[name]
                if found is not shared and found is not None:  # it was put there instead of changed in place
                    shared.copy_(found)
                    place[name] = shared
            self._apply(self._gradient)
        return by_products

    def _loss_of(self, flat: Tensor, args: Any) -> tuple[Tensor, tuple[Any, dict[str, Tensor]]]:
        """Compute the loss as a function of the flat parameters, for the compiler. Returns: with the new buffers too.

        A function whose gradient is taken may not change what it does not own, so that it is given copies of buffers.
        """
        parts = _split(self.learner, flat)
        tensors = {alias: parts[name] for alias, name in self._names.items()}
        tensors |= {name: buffer.clone() for name, buffer in self._buffers.items()}

        def call(*args: Any, **kwargs: Any) -> Any:
            # Writes into `tensors` what the module puts in their place.
            return torch.func.functional_call(self.learner, tensors, args, kwargs, tie_weights=False)

        loss, by_products = self.loss(call, *args)
        return loss, (by_products, {name: tensors[name] for name in self._buffers})

    def _apply(self, gradient: Tensor) -> None:
        if self.ranks.size > 1:
            gradient = self._of_all_ranks(gradient)
        if self.max_grad_norm is not None:
            gradient = gradient * (self.max_grad_norm / (gradient.norm() + 1e-6)).clamp(max=1.0)
        self.optimizer.step(self.flat, gradient, self.state, self._lr)

    def _of_all_ranks(self, gradient: Tensor) -> Tensor:
        """Return the mean gradient over the rows of all ranks, by one message, with that of running statistics."""
        parts = [gradient, *(buffer.flatten() for buffer in self._float_buffers)]
        total = self.ranks.sum(torch.cat(parts).mul_(self._share))
        mean, *buffers = torch.split(total, [part.numel() for part in parts])
        for buffer, new in zip(self._float_buffers, buffers, strict=True):
            buffer.copy_(new.view_as(buffer))
        self._gradient.copy_(mean)
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state; the parameters belong to the module."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])


def average(tensors: list[Tensor], ranks: Ranks) -> None:
    """Let tensors on one device become the means over the ranks, by one message."""
    total = ranks.sum(torch.cat([tensor.flatten() for tensor in tensors]) / ranks.size)
    for tensor, new in zip(tensors, torch.split(total, [each.numel() for each in tensors]), strict=True):
        tensor.copy_(new.view_as(tensor))


def _claim(module: nn.Module) -> None:
    """Note that a step moves these parameters.

    Raises:
        UsageError: if another one does: it would go on with parameters that nothing else sees.
    """
    for name, parameter in module.named_parameters():
        if "is_claimed" in vars(parameter):
            raise UsageError(
                f"'{name}' of {type(module).__name__} belongs to another gradient step. What several losses move needs "
                "one module and one step, whose loss is their sum."
            )
        vars(parameter)["is_claimed"] = True  # a copy is not


def _share_buffers(module: nn.Module, twin: nn.Module) -> list[tuple[dict[str, Tensor | None], str, Tensor]]:
    """Let both have the same buffers: what one learns of its data, the other knows.

    Returns:
        Each place of the twin's, the name there and the buffer.
    """
    places = []
    for own, other in zip(module.modules(), twin.modules(), strict=True):
        for name, buffer in own.named_buffers(recurse=False):
            other._buffers[name] = buffer
            places.append((other._buffers, name, buffer))
    return places


def kept_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return the buffers of a module that its state holds, by name: those that change while it learns."""
    kept = module.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in module.named_buffers() if name in kept}
