"""Writes policies as files: `python -m digideep.post.export SESSION --format torchscript|onnx|torch.export`.

A file takes what the environment gives and returns what the environment takes: normalisation and the scaling of
actions are inside. Before it is left there, it is loaded again and compared with the session's own policy, on what the
policy sees in the environment and on observations from all over their space. Several agents get a file each.
"""

import argparse
import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import torch

from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import directory_path
from digideep.post.export_check import Arrays, Run, largest_difference, play, scatter
from digideep.post.exported_policy import ExportedPolicy, describe_export
from digideep.post.loader import Loader
from digideep.post.policy import Policy, choose_agent, learners
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.own_files import require_own_output
from digideep.utility.user_code import in_words

SUFFIXES = {"torchscript": ".pt", "onnx": ".onnx", "torch.export": ".pt2"}
DESCRIPTION = "digideep.json"  # what TorchScript and torch.export files hold beside the module
_NUM_OBSERVATIONS = 256  # that are compared: as many of episodes as from all over the space


class Exported(NamedTuple):
    """A file, and how far it is from the session's policy."""

    path: Path
    agent: str
    difference: float  # of actions, relative to their range; of numbered ones, the share that differs


# ------------------------------------------------------------------ formats


def _save_torchscript(module: ExportedPolicy, examples: Any, path: Path, description: dict[str, str]) -> None:
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(module, examples, check_trace=False), optimize_numerics=False)
    torch.jit.save(traced, str(path), _extra_files={DESCRIPTION: json.dumps(description)})


def _save_torch_export(module: ExportedPolicy, examples: Any, path: Path, description: dict[str, str]) -> None:
    program = torch.export.export(module, examples, dynamic_shapes=_any_batch(examples), strict=False)
    torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(description)})


def _save_onnx(module: ExportedPolicy, examples: Any, path: Path, description: dict[str, str]) -> None:
    program: Any = torch.onnx.export(
        module, examples, dynamo=True, dynamic_shapes=_any_batch(examples), verbose=False,
        input_names=[port.name for port in module.inputs], output_names=[port.name for port in module.outputs],
    )  # fmt: skip
    program.model.metadata_props.update(description)
    program.save(str(path), external_data=False)


def _any_batch(examples: Any) -> Any:
    """Return dynamic shapes: the first dimension of each example may be any."""
    return (tuple({0: torch.export.Dim("batch")} for _ in examples),)


def _run_module(module: Any) -> Run:
    def run(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(array) for array in inputs))
        return [tensor.numpy() for tensor in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


_SAVE = {"torchscript": _save_torchscript, "onnx": _save_onnx, "torch.export": _save_torch_export}
_LOAD: dict[str, Callable[[Path], Run]] = {
    "torchscript": lambda path: _run_module(torch.jit.load(str(path))),
    "onnx": _load_onnx,
    "torch.export": lambda path: _run_module(torch.export.load(path).module()),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence exporters, which print progress and announce their own future."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as err:
        raise UsageError(f"--format onnx needs {err.name}, which is missing: pip install 'digideep[export]'.") from err


# ------------------------------------------------------------------ the whole


def export(
    session: Path, format: str, *, checkpoint: str | None = None, output: Path | None = None, agent: str | None = None
) -> list[Exported]:
    """Write policies as files and compare them with the session's own.

    Args:
        format: a key of `SUFFIXES`.
        checkpoint: its name; None takes the newest valid one.
        output: the file; None makes `exports/policy<suffix>` in the session. Of several agents, the name of each is put
            before its suffix.
        agent: one of several; None takes all.

    Raises:
        UsageError: if a package is missing, the format cannot hold the policy, or the file does not do what it does.
    """
    if format == "onnx":
        _require_onnx()
    loader = Loader(session)
    state = loader.state(checkpoint)
    names = list(state["agents"])
    chosen = learners(state["params"]["agents"]) if agent is None else [choose_agent(names, agent)]
    policies = {name: Policy(state, agent=name) for name in names}
    for name in chosen:
        if policies[name].agent.policy is None:
            raise UsageError(
                f"Agent '{name}' has no policy: {type(policies[name].agent).__name__} acts by rules of its own."
            )
    path = output or loader.path / "exports" / f"policy{SUFFIXES[format]}"
    written: list[tuple[Path, Exported]] = []
    with tempfile.TemporaryDirectory() as directory, contextlib.closing(loader.training_environment()) as environment:
        for name in chosen:
            aside = Path(directory) / f"{len(written)}{SUFFIXES[format]}"
            furthest = _export_one(policies, environment, name, format, aside, state["runner"]["i_epoch"])
            stem = path.stem if len(names) == 1 else f"{path.stem}-" + re.sub(r"[^\w.-]", "_", name)
            written.append((aside, Exported(path.with_name(stem + path.suffix), name, furthest)))
        for aside, exported in written:
            if output is None:
                require_own_output(loader.path, exported.path)
            _move(aside, exported.path)
    return [exported for _, exported in written]


def _export_one(
    policies: dict[str, Policy], environment: gym.Env, name: str, format: str, path: Path, epoch: int
) -> float:
    """Write one agent's policy. Returns: how far the file is from it."""
    policy = policies[name]
    space = environment.observation_space
    if isinstance(environment, ParallelAdapter):
        space = environment.groups[name].observation_space
    played, mask = play(policies, environment, name, _NUM_OBSERVATIONS)
    module = ExportedPolicy(policy, space, mask).eval().requires_grad_(False)
    samples = [
        each._replace(inputs=[a.astype(port.dtype) for a, port in zip(each.inputs, module.inputs, strict=True)])
        for each in (played, scatter(policy, played, _NUM_OBSERVATIONS))
    ]
    examples = tuple(torch.from_numpy(array[:8].copy()) for array in samples[1].inputs)
    try:
        with _quiet():
            _SAVE[format](module, examples, path, describe_export(module, policy, epoch))
            run = _LOAD[format](path)
            return max(largest_difference(run, each, list(policy.entries.values())) for each in samples)
    except UsageError:
        raise
    except Exception as err:  # exporters and their runtimes fail in ways of their own
        others = ", ".join(other for other in SUFFIXES if other != format)
        raise UsageError(
            f"{format} cannot hold this policy: {in_words(err)[:300]}. Try {others}, or use loader.policy."
        ) from err


def _move(file: Path, target: Path) -> None:
    """Put a finished file in its place, whole or not at all."""
    aside = target.with_name(f".writing-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)  # were it a link, this would write where it leads
        shutil.copyfile(file, aside)
        aside.replace(target)
    except OSError as err:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise UsageError(f"{target} cannot be written: {err.strerror}. Give another place with --output.") from err


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep export",
        description="Write a session's policy as one file: raw observations in, environment actions out. Several "
        "agents get a file each.",
        epilog="examples:\n  digideep export digideep_sessions/NAME --format onnx",
    )
    parser.add_argument("session", type=directory_path, metavar="SESSION", help="a session's directory or name")
    parser.add_argument("--format", required=True, choices=tuple(SUFFIXES))
    parser.add_argument("--checkpoint", metavar="NAME", help="such as checkpoint-20 (the newest valid one)")
    parser.add_argument("--agent", metavar="NAME", help="one of several (all)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to (exports/ of the session)")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    for file in export(
        args.session, args.format, checkpoint=args.checkpoint, output=args.output, agent=args.agent
    ):  # fmt: skip
        print(
            f"{file.path}: does what the session's policy does (largest difference, in episodes and all over the space "
            f"of observations: {file.difference:.2g})"
        )


if __name__ == "__main__":
    raise SystemExit(main())
