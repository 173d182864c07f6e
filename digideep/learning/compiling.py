"""Compiling of gradient steps: when it pays, and how a compiled function costs next to nothing to call."""

import logging
import random
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from digideep.learning import kept_steps
from digideep.learning.optimizers import Optimizer
from digideep.parameters.checks import require

# Compiling takes 5 to 25 s and saves about 0.4 ms a step on small networks: it is repaid from here on.
_STEPS_THAT_REPAY_COMPILING = 60_000
# The saving grows with the network: 10 ms a step of PPO through NatureCNN, of 1.7 million, in fp32 and in bf16.
_PARAMETERS_THAT_DOUBLE_THE_SAVING = 70_000


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A function or method that is compiled when it is called with arguments of a new shape, or with another flag.

    The compiler would check before every call that nothing has changed of all that the function reads: a sixth of a
    small step. Here only the arguments are looked at; the rest is an agent's own, and stays what it is.

    Args:
        function: of tensors on one device, and flags.
        device: that device.
    """
    kept_steps.cache_directory()  # of which the compiler hears, too
    owner = (function.__self__,) if hasattr(function, "__self__") else ()
    plain = getattr(function, "__func__", function)
    known: dict[Any, Callable[..., Any]] = {}

    def call(*args: Any) -> Any:
        signature = _signature(args)
        if signature not in known:
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


def _compile(function: Callable[..., Any], args: tuple[Any, ...], device: torch.device) -> Callable[..., Any]:
    """The compiled function for arguments like these, without checks where torch can do that (2.9).

    On the CPU it is what an earlier run has kept, if there is that.
    """
    is_kept = device.type == "cpu"
    if is_kept and (found := kept_steps.find(function, args)) is not None:
        return found
    logging.getLogger("digideep").info("Compiling the gradient step: usually 5 to 30 s.")
    notes = kept_steps.Notes()
    options: dict[str, Any] = {"guard_filter_fn": notes.take_checks}
    backend = _backend(device, notes)
    unchecked = torch.compile(function, dynamic=False, fullgraph=True, options=options, backend=backend)
    try:
        fast: Any = unchecked.aot_compile((args, {}))  # type: ignore[attr-defined]
        fast.disable_guard_check()
        notes.take_compiled(fast)
    except Exception as err:  # it is fresh, and refuses a lot
        logging.getLogger("digideep").debug("Checks before each step stay: %s", " ".join(str(err).split()))
        return torch.compile(function, dynamic=False, fullgraph=True)
    return kept_steps.keep(function, args, fast, notes) if is_kept else fast


def _backend(device: torch.device, notes: kept_steps.Notes) -> Callable[..., Any]:
    """torch's own compiler, which finds what it has compiled in earlier runs (`python -m benchmarks.startup`)."""
    options: dict[str, Any] = {
        # Kernels called from C++: a DQN step of 64-64 takes 132 us, not 164.
        "cpp_wrapper": device.type == "cpu",
        # Else it first compiles a program, to see whether it can compile for this processor: 3 s.
        "cpp.vec_isa_ok": True,
    }

    def backend(graph: Any, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx  # takes a second, which only those who compile wait for

        notes.take_graph(graph)
        graph._backend_id = None  # a random name, without which equal functions are equal to the compiler's cache
        state = random.getstate()
        # The cache draws a name for each function that it cannot tell from others, such as those with our operators.
        # The seed of a run would draw the name of another run's.
        random.seed()
        try:
            return compile_fx(graph, inputs, config_patches=options)
        finally:
            random.setstate(state)

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


def pays_to_compile(
    compile: str, rule: Optimizer, planned_steps: int, device: torch.device, num_parameters: int = 0
) -> bool:
    """Whether to compile.

    Args:
        compile: "auto", "on" or "off"; "auto" where the plan repays it.
        rule: of the step.
        planned_steps: of the whole run.
        device: of the parameters.
        num_parameters: that a step changes.
    """
    require(compile in ("auto", "on", "off"), "compile", compile, "one of auto, on, off")
    if not rule.can_be_compiled:
        require(compile != "on", "compile", compile, f"auto or off with {type(rule).__name__}")
        return False
    saving = planned_steps * (1 + num_parameters / _PARAMETERS_THAT_DOUBLE_THE_SAVING)
    return compile == "on" or (compile == "auto" and saving >= _STEPS_THAT_REPAY_COMPILING and _has_compiler(device))


def _has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work here."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 0)
    # What it compiles includes Python's own headers, which many systems keep in a package of their own.
    has_headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    return has_headers and any(shutil.which(name) for name in ("g++", "clang++", "cl"))
