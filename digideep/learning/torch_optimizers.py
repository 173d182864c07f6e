"""torch's own optimizers around flat parameters."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from digideep.learning.optimizers import Optimizer
from digideep.parameters.checks import shown
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError

_BEGUN = "is_begun"  # of a state, beside torch's own keys
_REFUSED = {
    "LBFGS": "it computes the loss several times a step",
    "Muon": "it acts on matrices, and parameters are one vector here",
    "SparseAdam": "it needs sparse gradients",
}


_OFFERED = sorted(
    name for name, each in vars(torch.optim).items()
    if isinstance(each, type) and issubclass(each, torch.optim.Optimizer) and each is not torch.optim.Optimizer
)  # fmt: skip


class TorchOptimizer(Optimizer):
    """One of `torch.optim`, by its name: slower than those of `digideep.learning.optimizers`, and never compiled.

    A file can name nothing but torch's own: the name is looked up there.

    Args:
        name: of a class in torch.optim, such as "NAdam".
        parameters: of its constructor, besides the parameters and `lr`; lists stand for tuples.

    Raises:
        UsageError: if there is none of that name, it needs more than a gradient, or does not take the parameters.
    """

    can_be_compiled = False

    def __init__(self, *, name: str, parameters: dict[str, Any] | None = None):
        if name not in _OFFERED:
            hint = did_you_mean(name, set(_OFFERED) - set(_REFUSED))
            raise UsageError(f"TorchOptimizer: name must be one of torch.optim, got '{name}'. {hint}")
        if name in _REFUSED:
            raise UsageError(f"TorchOptimizer: {name} cannot stand here: {_REFUSED[name]}. Take another one.")
        self._class = getattr(torch.optim, name)
        given = {key: tuple(each) if isinstance(each, list) else each for key, each in (parameters or {}).items()}
        known = {key: each.default for key, each in inspect.signature(self._class).parameters.items()
                 if key not in ("params", "lr")}  # fmt: skip
        for key, value in given.items():
            if key not in known:
                raise UsageError(f"TorchOptimizer: {name} has no parameter '{key}'. {did_you_mean(key, known)}")
            if isinstance(known[key], bool) and not isinstance(value, bool):
                raise UsageError(f"TorchOptimizer: {key} of {name} must be true or false, got {shown(value)}.")
            if key in ("capturable", "differentiable") and value:
                raise UsageError(f"TorchOptimizer: {key} cannot be true: its steps are not compiled. Leave it out.")
        self._parameters = given
        # An optimizer for each vector of parameters, for as long as that lives.
        self._optimizers: Any = WeakTensorKeyDictionary()
        self.init(torch.zeros(2))

    def init(self, flat: Tensor) -> dict[str, Tensor]:
        """Return what torch will keep, as zeros, and whether it keeps it yet: it begins with its first step."""
        trial = nn.Parameter(torch.zeros_like(flat))
        trial.grad = torch.zeros_like(flat)
        optimizer = self._make(trial)
        try:
            optimizer.step()
        except Exception as err:  # of parameters that torch looks at when it needs them
            raise self._refusal(err) from err
        kept = {name: torch.zeros_like(value) for name, value in optimizer.state[trial].items() if value is not None}
        return {_BEGUN: torch.zeros(()), **kept}

    def _make(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        try:
            optimizer: torch.optim.Optimizer = self._class([parameter], lr=1.0, **self._parameters)
        except Exception as err:
            raise self._refusal(err) from err
        return optimizer

    def _refusal(self, err: Exception) -> UsageError:
        words = " ".join(str(err).split()) or type(err).__name__
        return UsageError(f"TorchOptimizer: {self._class.__name__} refuses {self._parameters}: {words}.")

    def step(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        if flat not in self._optimizers:
            self._optimizers[flat] = self._make(nn.Parameter(flat))  # in the same memory
        optimizer = self._optimizers[flat]
        (group,) = optimizer.param_groups
        (parameter,) = group["params"]
        group["lr"], parameter.grad = float(lr), gradient
        optimizer.state[parameter] = {name: state[name] for name in state if name != _BEGUN} if state[_BEGUN] else {}
        optimizer.step()
        for name, value in optimizer.state[parameter].items():
            if value is not None and value is not state[name]:  # torch has made it anew
                state[name].copy_(value)
        state[_BEGUN].fill_(1)
