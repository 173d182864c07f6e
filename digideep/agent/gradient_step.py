"""One step of gradient descent on flat parameters: loss, gradient, clipping and optimizer as one function.

All parameters of a module are views of one flat tensor. So clipping and the optimizer act on one tensor instead of
dozens, a target network follows by one operation, and where it pays the whole step is compiled into one call. An
agent's file stays its mathematics: it hands over a loss as a pure function. Methods that take several steps at once
write them as one function of `GradientStep.take`, `GradientStep.frozen` and `Averager`, and compile that.
"""

import copy
import logging
import math
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from digideep.utility.checks import require, require_between
from digideep.utility.component import Component

Loss = Callable[..., tuple[Tensor, Any]]

# Compiling takes 5 to 25 s and saves about 0.4 ms a step on small networks: it is repaid from here on.
_STEPS_THAT_REPAY_COMPILING = 60_000
# The saving grows with the network: 10 ms a step of PPO through NatureCNN, of 1.7 million, in fp32 and in bf16.
_PARAMETERS_THAT_DOUBLE_THE_SAVING = 70_000


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


class Averager:
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


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A function or method that is compiled when it is called with arguments of a new shape, or with another flag.

    The compiler would check before every call that nothing has changed of all that the function reads: a sixth of a
    small step. Here only the arguments are looked at; the rest is an agent's own, and stays what it is.

    Args:
        function: of tensors on one device, and flags.
        device: that device.
    """
    owner = (function.__self__,) if hasattr(function, "__self__") else ()
    plain = getattr(function, "__func__", function)
    known: dict[Any, Callable[..., Any]] = {}

    def call(*args: Any) -> Any:
        signature = _signature(args)
        if signature not in known:
            if not known:
                logging.getLogger("digideep").info("Compiling the gradient step: 5 to 30 s.")
            fast = _compile(plain, (*owner, *args), device)
            known[signature] = _Recorded(fast) if device.type == "cuda" else fast
        return known[signature](*owner, *args)

    return call


class _Recorded:
    """A function whose kernels are recorded at its second call: later ones copy their arguments and replay them.

    One launch takes the place of hundreds. Source: "CUDA semantics", CUDA graphs, in PyTorch's documentation.

    Args:
        function: of tensors, in tuples and dictionaries too, and of values that stay the same. It reads and changes
            nothing else but tensors that stay where they are in memory.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._leaves: list[Any] | None = None  # the arguments, of which tensors are overwritten by each call
        self._replay: Callable[[], Any] | None = None

    def __call__(self, *args: Any) -> Any:
        leaves, structure = tree_flatten(args)
        if self._leaves is None:
            # What libraries do once, choosing kernels and reserving memory, must be over before kernels are recorded.
            self._leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            return self._function(*args)
        for own, given in zip(self._leaves, leaves, strict=True):
            if isinstance(own, Tensor):
                own.copy_(given)
        if self._replay is None:
            own_args = tree_unflatten(self._leaves, structure)
            self._replay = _record(lambda: self._function(*own_args))
        # The next call overwrites the results.
        return tree_map(lambda each: each.clone() if isinstance(each, Tensor) else each, self._replay())


def _record(function: Callable[[], Any]) -> Callable[[], Any]:
    """Note what a function does on CUDA, without doing it. Returns: what does it; results lie in the same place."""
    try:
        graph = torch.cuda.CUDAGraph()
        # The outer context leads back to the present stream: a recording that fails stays on its own.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),  # other threads may use the device meanwhile
        ):
            results = function()
    except RuntimeError as err:
        reason = " ".join(str(err).split())
        logging.getLogger("digideep").warning("CUDA cannot record the gradient step, which stays slower: %s", reason)
        return function

    def replay() -> Any:
        graph.replay()
        return results

    return replay


def separate_compiled_code() -> None:
    """Let the compiler keep what it compiles in a directory for each instruction set.

    Its cache asks for the source only: source written for vectors of 512 bits is found again on a processor, or under
    an ATEN_CPU_CAPABILITY, with 256, and computes garbage there.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    directory = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or default_cache_dir())
    instructions = torch.backends.cpu.get_cpu_capability()
    if directory.name != instructions:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory / instructions)


def _compile(function: Callable[..., Any], args: tuple[Any, ...], device: torch.device) -> Callable[..., Any]:
    """The compiled function for arguments like these, without checks where torch can do that (2.9)."""
    separate_compiled_code()
    options: dict[str, Any] = {"guard_filter_fn": lambda checks: [False] * len(checks)}
    unchecked = torch.compile(function, dynamic=False, fullgraph=True, options=options, backend=_backend(device))
    try:
        fast = unchecked.aot_compile((args, {}))  # type: ignore[attr-defined]
        fast.disable_guard_check()
    except Exception as err:  # it is fresh, and refuses a lot
        logging.getLogger("digideep").debug("Checks before each step stay: %s", " ".join(str(err).split()))
        return torch.compile(function, dynamic=False, fullgraph=True)
    return fast


def _backend(device: torch.device) -> Callable[..., Any]:
    """torch's own compiler, which finds what it has compiled in earlier runs (`python -m benchmarks.startup`)."""
    options: dict[str, Any] = {
        # Kernels called from C++: a DQN step of 64-64 takes 132 us, not 164.
        "cpp_wrapper": device.type == "cpu",
        # Else it first compiles a program, to see whether it can compile for this processor: 3 s.
        "cpp.vec_isa_ok": True,
    }

    def backend(graph: Any, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx  # takes a second, which only those who compile wait for

        graph._backend_id = None  # a random name, without which equal functions are equal to the compiler's cache
        return compile_fx(graph, inputs, config_patches=options)

    return backend


def _signature(args: Any) -> Any:
    """What a compiled function depends on in its arguments: shapes of tensors, values of flags."""
    if isinstance(args, Tensor):
        return args.shape
    if isinstance(args, tuple):
        return tuple([_signature(each) for each in args])
    if isinstance(args, dict):
        return tuple([_signature(each) for each in args.values()])
    return args if isinstance(args, (bool, int, float, str)) else id(args)


def pays_to_compile(compile: str, planned_steps: int, device: torch.device, num_parameters: int = 0) -> bool:
    """Whether to compile, see the arguments of `GradientStep`. Args: num_parameters: that a step changes."""
    require(compile in ("auto", "on", "off"), "compile", compile, "one of auto, on, off")
    saving = planned_steps * (1 + num_parameters / _PARAMETERS_THAT_DOUBLE_THE_SAVING)
    return compile == "on" or (compile == "auto" and saving >= _STEPS_THAT_REPAY_COMPILING and _has_compiler(device))


def _has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work here."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 0)
    # What it compiles includes Python's own headers, which many systems keep in a package of their own.
    has_headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    return has_headers and any(shutil.which(name) for name in ("g++", "clang++", "cl"))
