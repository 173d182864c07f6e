"""Compiled steps of earlier runs on the CPU, called without the compiler.

The compiler is 1,700 modules, 190 MB and two seconds of imports away, and it traces a function anew before it finds in
its cache what it made of it. That is a library with one entry. A record beside the library says which tensors the entry
takes, and all that the compiler looked at: the sources that it read, and the values that it took for constant. While
all of that is as it was, the entry is called directly.
"""

import getpass
import hashlib
import importlib.util
import inspect
import json
import logging
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import torch
from torch import Tensor

from digideep.learning.gradient_step import Metrics
from digideep.learning.traced_values import (
    are_same,
    arranger,
    can_change,
    facts_at,
    getter,
    holdings,
    modules_at,
    signature,
)
from digideep.utility.errors import UsageError
from digideep.utility.files import open_regular

_ENTRY = "inductor_entry_cpp"
# In the source of a library: it needs the compiler at each call, or talks to other ranks.
_CALLS_OUT = ("custom_op_wrapper", "c10d_functional")
_TAKES = re.compile(r"steal_from_raw_handles_to_raii_handles\(input_handles, (\d+)\)")
_GIVES = re.compile(r"output_handles\[(\d+)\] = ")
_SUFFIX = ".so"  # of a record's library
_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_MOST_BYTES = 2**26  # of a record, and of a library
_log = logging.getLogger("digideep")
_STARTED = psutil.Process().create_time()
# What decides how a step is compiled, and when it is the same: a record by other sources of these is passed over.
_MAKERS = hashlib.sha256(
    b"".join(
        Path(__file__).with_name(f"{name}.py").read_bytes() for name in ("compiling", "kept_steps", "traced_values")
    )
).hexdigest()
Step = Callable[..., tuple[Metrics, Tensor]]


class Notes:
    """What the compiler looks at while it compiles a function.

    Attributes:
        tensors: the paths of those that it takes, in its order.
        read: paths of all that it looked at.
        constant: paths of those of which it took the value.
        modules: whose code it read, by name.
        library: what it has made; None if that is not one library.
    """

    def __init__(self) -> None:
        self.tensors: list[str] = []
        self.read: list[str] = []
        self.constant: list[str] = []
        self.modules: list[str] = []
        self.library: ModuleType | None = None
        self._known = set(sys.modules)

    def take_graph(self, graph: Any) -> None:
        """Note the tensors. Args: graph: a torch.fx.GraphModule that the compiler has traced."""
        self.tensors = [node._dynamo_source.name for node in graph.graph.nodes if node.op == "placeholder"]

    def take_checks(self, checks: Any) -> list[bool]:
        """Note what the compiler would check before each call. Returns: False for each: it need not."""
        self.read = sorted({check.name for check in checks})
        self.constant = [check.name for check in checks if check.guard_type in ("CONSTANT_MATCH", "EQUALS_MATCH")]
        return [False] * len(checks)

    def take_compiled(self, compiled: Any) -> None:
        """Note the rest. Args: compiled: a function that torch has compiled ahead of its first call."""
        self.modules = sorted({source.module for source in compiled._artifacts.source_info.inlined_sources})
        made = [name for name in sys.modules if name.endswith(f".{_ENTRY}") and name not in self._known]
        self.library = sys.modules[made[0]] if len(made) == 1 else None


def find(function: Callable[..., Any], args: tuple[Any, ...]) -> Step | None:
    """Return what an earlier run has compiled of a function; None if there is nothing, or if anything has changed.

    Args:
        function: returns metrics and a tensor.
        args: all of its arguments; those of later calls have their shapes and flags.
    """
    try:
        for path in sorted(_place(function, args).glob("*.json")) if _may_keep(function) else ():
            if (found := _read(path, function, args)) is not None:
                return found
    except OSError as err:
        _log.debug("No compiled steps can be looked for: %s", err)
    return None


def _read(path: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> Step | None:
    """Return the step of a record; None if it is of no use."""
    try:
        text = _content(path)
        record = json.loads(text)
        if _digest(text) != path.stem or _what_changed(record, function, args) is not None:
            return None
        if hashlib.sha256(_content(path.with_suffix(_SUFFIX))).hexdigest() != record["library"]:
            return None
        return _caller(_load(path.with_suffix(_SUFFIX)), record, function)
    except Exception as err:  # whatever lies there
        _log.debug("%s is of no use: %s", path, " ".join(str(err).split()))
        return None


def keep(function: Callable[..., Any], args: tuple[Any, ...], compiled: Step, notes: Notes) -> Step:
    """Keep what has been compiled for later runs, if it can be called directly and then does the same to the bit.

    Args:
        function, args: see `find`.
        compiled: the compiled function.
        notes: of the compiler.

    Returns:
        The quickest way to call it.
    """
    try:
        return _keep(function, args, compiled, notes)
    except Exception as err:  # all of it stands on what torch does not promise
        _log.debug("A compiled step is not kept: %s", " ".join(str(err).split()))
        return compiled


def cache_directory() -> Path:
    """Return where the compiler keeps what it makes: a directory for each instruction set.

    Its cache asks for the source only: source written for vectors of 512 bits is found again on a processor, or under
    an ATEN_CPU_CAPABILITY, with 256, and computes garbage there.

    Raises:
        UsageError: if it cannot be made.
    """
    try:
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    # The default is the compiler's own, which imports all of it to say so.
    directory = Path(os.environ.get(_CACHE) or Path(tempfile.gettempdir(), f"torchinductor_{user}"))
    instructions = torch.backends.cpu.get_cpu_capability()
    if directory.name != instructions:
        directory /= instructions
        os.environ[_CACHE] = str(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UsageError(
            f"The compiler cannot make the directory {directory}: {err.strerror}. Let {_CACHE} name one that it can "
            "make, or set compile=off."
        ) from err
    return directory


def _keep(function: Callable[..., Any], args: tuple[Any, ...], compiled: Step, notes: Notes) -> Step:
    if not _may_keep(function) or notes.library is None or notes.library.__file__ is None:
        raise LookupError("it is not one library, or caches are switched off")
    library = Path(notes.library.__file__)
    source = library.with_suffix(".cpp").read_text(encoding="utf-8")
    if any(name in source for name in _CALLS_OUT):
        raise LookupError("it calls operations that are written in Python, or other ranks")
    # The library does not count what it is given: constants of the compiler's, and results that are left out, shift it.
    if _TAKES.findall(source) != [str(len(notes.tensors))] or set(_GIVES.findall(source)) != {"0", "1"}:
        raise LookupError("it takes other tensors than the function, or does not give metrics and a tensor")
    values = arranger(function)(args)
    tensors = [getter(path)(values) for path in notes.tensors]
    before, generator = [tensor.clone() for tensor in tensors], torch.get_rng_state()
    held = holdings(notes.read, values)

    def try_out(step: Callable[..., Any]) -> tuple[Any, list[Tensor]]:
        """Take a step, and take it back. Returns: its results, and all tensors that it had changed."""
        try:
            results = step(*args)
            return results, [*(tensor.clone() for tensor in tensors), torch.get_rng_state()]
        finally:
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
            torch.set_rng_state(generator)

    (metrics, other), changed = try_out(compiled)
    is_pure = are_same(held, holdings(notes.read, values))
    if not is_pure or not isinstance(metrics, Metrics) or not isinstance(other, Tensor):
        raise LookupError("it does more than to compute metrics and a tensor")
    read = [path for path in notes.read if can_change(path)]
    sources = {name: _hash_of(name) for name in {*notes.modules, *modules_at(read, values)} if _is_followed(name)}
    content = library.read_bytes()
    record: dict[str, Any] = {
        "tensors": notes.tensors, "names": metrics.names, "read": facts_at(read, values), "modules": sources,
        "library": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    if unknown := [path for path in notes.constant if can_change(path) and path not in record["read"]]:
        raise LookupError(f"{unknown[0]} cannot be followed")
    if unknown := [name for name, digest in sources.items() if digest is None]:
        raise LookupError(f"{unknown[0]} has no source file, or one that has changed since the program started")
    direct = _caller(notes.library, record, function)
    (again, other_again), changed_again = try_out(direct)
    pairs = zip([metrics.values, other, *changed], [again.values, other_again, *changed_again], strict=True)
    if not all(torch.equal(one, another) for one, another in pairs):
        raise LookupError("called directly it does something else")
    text = json.dumps(record, indent=1).encode()
    if (difference := _what_changed(json.loads(text), function, args)) is not None:
        raise LookupError(f"{difference} cannot be compared")
    path = _place(function, args) / f"{_digest(text)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path.with_suffix(_SUFFIX), content)
    _write(path, text)
    return direct


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _may_keep(function: Callable[..., Any]) -> bool:
    """True if a function has a name and a source, and nobody has told the compiler to keep nothing."""
    return inspect.isfunction(function) and os.environ.get("TORCHINDUCTOR_FORCE_DISABLE_CACHES") != "1"


def _place(function: Callable[..., Any], args: tuple[Any, ...]) -> Path:
    """Return the directory of the records of a function for arguments like these, on this machine as it is."""
    torch_says = (torch.__version__, torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype(),
                  torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())  # fmt: skip
    options = sorted(item for item in os.environ.items() if item[0].startswith("TORCH") and item[0] != _CACHE)
    asked = (platform.python_version(), function.__module__, function.__qualname__, signature(args))
    return cache_directory() / "digideep" / _digest(repr((torch_says, options, asked, _MAKERS)).encode())


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]


def _what_changed(record: Mapping[str, Any], function: Callable[..., Any], args: tuple[Any, ...]) -> str | None:
    """Return what is not as it was when a record was made; None if everything is."""
    changed = [name for name, digest in record["modules"].items() if _hash_of(name) != digest]
    found = facts_at(record["read"], arranger(function)(args))
    changed += [path for path, fact in record["read"].items() if found.get(path) != fact]
    return changed[0] if changed else None


def _is_followed(name: str) -> bool:
    """False for what torch's and Python's versions say: torch, and modules that are not written in Python."""
    file = getattr(sys.modules.get(name), "__file__", None)
    is_compiled = name in sys.builtin_module_names or (file is not None and not file.endswith(".py"))
    return name.partition(".")[0] not in ("torch", "pybind11_builtins") and not is_compiled


def _hash_of(name: str) -> str | None:
    """Return the digest of the source of a module.

    Returns:
        None if it is not imported, has no file, or one that may have changed since the module was imported.
    """
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return None
    stat = Path(file).stat()
    if max(stat.st_mtime, stat.st_ctime) > _STARTED:  # a copy may keep the time of another file
        return None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _caller(library: ModuleType, record: Mapping[str, Any], function: Callable[..., Any]) -> Step:
    """Return what calls the entry of a library as a record says."""
    getters, arrange = [getter(path) for path in record["tensors"]], arranger(function)
    run, names = getattr(library, _ENTRY), tuple(record["names"])
    to_handles = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors
    to_tensors = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs

    def call(*args: Any) -> tuple[Metrics, Tensor]:
        values = arrange(args)
        reported, other = to_tensors(run(to_handles([get(values) for get in getters])))
        return Metrics(names, reported), other

    return call


def _content(path: Path) -> bytes:
    """Return the content of a file of this user's: in a directory for temporary files others can write, too."""
    with open_regular(path, follows_links=False) as file:
        if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
            raise PermissionError(f"{path} is another user's")
        return file.read(_MOST_BYTES)


def _load(path: Path) -> ModuleType:
    """Load a library that the compiler has made, as it does itself."""
    address = torch._C._dynamo.guards._torchinductor_pyobject_tensor_data_ptr  # type: ignore[attr-defined]
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(address)
    name = f"{path.stem}.{_ENTRY}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no library")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]
