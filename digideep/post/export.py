"""Writes a policy as one file: `python -m digideep.post.export SESSION --format torchscript|onnx|torch.export`.

The file takes what the environment gives and returns what the environment takes: normalisation and the scaling of
actions are inside. Before it is left there, it is loaded again and compared with the session's own policy on
observations of the environment.
"""

import argparse
import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward
from digideep.environment.spaces import ActionEdge
from digideep.post.loader import Loader
from digideep.post.policy import Policy
from digideep.utility.errors import UsageError
from digideep.utility.seeding import derive_seed

SUFFIXES = {"torchscript": ".pt", "onnx": ".onnx", "torch.export": ".pt2"}
_NUM_OBSERVATIONS = 256  # that are compared
_TOLERANCE = 1e-5  # of actions in [-1, 1], relative to their range in the environment


class Normalize(nn.Module):
    """`VecNormalizeObs` as it is after training, on tensors: in float64, as there."""

    def __init__(self, wrapper: VecNormalizeObs, path: str):
        super().__init__()
        state = wrapper.state_dict()[path]
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(state["mean"], dtype=torch.float64))
        variance = torch.tensor(state["var"], dtype=torch.float64)
        self.register_buffer("scale", torch.sqrt(variance + wrapper.epsilon))
        self.clip = wrapper.clip

    def forward(self, observations: Tensor) -> Tensor:
        scaled = (observations.double() - self.mean) / self.scale
        return scaled.clamp(-self.clip, self.clip).float()


class ExportedPolicy(nn.Module):
    """From a batch of raw observations (B, ...) to a batch of environment actions (B, ...).

    Args:
        policy: of a session.

    Raises:
        UsageError: if a wrapper or the agent has no counterpart here.
    """

    def __init__(self, policy: Policy):
        super().__init__()
        agent = policy.agent
        if agent.reset_hidden_state(1) is not None:
            raise UsageError("A recurrent policy cannot be exported: it remembers, a file does not. Use loader.policy.")
        if len(agent.observation_paths) > 1:
            raise UsageError(
                f"A policy of several observations ({', '.join(agent.observation_paths)}) cannot be exported: the file "
                "takes one array. Use loader.policy."
            )
        if agent.use_action_mask:
            raise UsageError(
                "A policy with an action mask cannot be exported: the file takes no infos. Use loader.policy."
            )
        (path,) = agent.observation_paths
        stages: list[nn.Module] = []
        for wrapper in policy.wrappers:
            if isinstance(wrapper, VecNormalizeObs):
                if path in wrapper.state_dict():
                    stages.append(Normalize(wrapper, path))
            elif not isinstance(wrapper, VecNormalizeReward):
                raise UsageError(
                    f"{type(wrapper).__name__} cannot be exported: what it does is not known on tensors. "
                    "Use loader.policy, which runs it."
                )
        self.path, self.flatten, self.is_image = path, agent.flatten, isinstance(agent.observation_space, dict)
        self.before, self.policy = nn.Sequential(*stages), agent.policy
        self.after, self._generator = ActionEdge(policy.info.action_space, torch), agent.generator

    def forward(self, observations: Tensor) -> Tensor:
        seen = self.before(observations)
        if self.flatten is not None:
            seen = self.flatten({self.path: seen})
        chosen = self.policy.act({self.path: seen} if self.is_image else seen, self._generator, True)
        return self.after(chosen[0] if isinstance(chosen, tuple) else chosen)


def collect(policy: Policy, loader: Loader, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Play and note what was seen and done.

    Returns:
        Observations (count, ...) under the agent's path, and the environment actions (count, ...) that followed.
    """
    environment = loader.environment()
    seen, done = [], []
    try:
        observation, _ = environment.reset(seed=derive_seed(0, "export") % 2**31)
        policy.reset()
        for _ in range(count):
            action = policy(observation)
            seen.append(policy.raw(observation)[policy.agent.observation_paths[0]][0].copy())
            done.append(action)
            observation, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                observation, _ = environment.reset()
                policy.reset()
    finally:
        environment.close()
    return np.stack(seen), np.array(done)


def _save_torchscript(module: nn.Module, example: Tensor, path: Path) -> None:
    with torch.inference_mode():
        torch.jit.save(torch.jit.trace(module, example), str(path))


def _save_torch_export(module: nn.Module, example: Tensor, path: Path) -> None:
    torch.export.save(_exported(module, example), path)


def _exported(module: nn.Module, example: Tensor) -> Any:
    return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)


def _save_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    torch.onnx.export(
        module, (example,), str(path), input_names=["observations"], output_names=["actions"], dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
    )  # fmt: skip


def _load_torchscript(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    module = torch.jit.load(str(path))
    return lambda observations: module(torch.from_numpy(observations)).numpy(force=True)


def _load_torch_export(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    module = torch.export.load(path).module()
    return lambda observations: module(torch.from_numpy(observations)).numpy(force=True)


def _load_onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda observations: session.run(None, {"observations": observations})[0]


_SAVE = {"torchscript": _save_torchscript, "onnx": _save_onnx, "torch.export": _save_torch_export}
_LOAD = {"torchscript": _load_torchscript, "onnx": _load_onnx, "torch.export": _load_torch_export}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print progress and announce their own future."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def export(
    session: Path,
    format: str,
    *,
    checkpoint: str | None = None,
    output: Path | None = None,
    num_observations: int = 256,
) -> tuple[Path, float]:
    """Write a policy as one file and compare it with the session's own.

    Args:
        session: its directory.
        format: a key of `SUFFIXES`.
        checkpoint: its name; None takes the newest valid one.
        output: the file; None makes `exports/policy<suffix>` in the session.

    Returns:
        The file, and the largest difference of an action, relative to the range of actions.

    Raises:
        UsageError: if a package is missing, or the file does not do what the policy does.
    """
    if format == "onnx":
        _require_onnx()
    loader = Loader(session)
    policy = loader.policy(checkpoint)
    module = ExportedPolicy(policy).eval()
    observations, actions = collect(policy, loader, _NUM_OBSERVATIONS)
    path = output or loader.path / "exports" / f"policy{SUFFIXES[format]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".writing-{path.name}")
    with _quiet():
        _SAVE[format](module, torch.from_numpy(observations[:8].copy()), aside)
        run = _LOAD[format](aside)
        batch, singles = run(observations), np.concatenate([run(row[None]) for row in observations[:16]])
    difference = max(_difference(actions, batch, policy), _difference(actions[:16], singles, policy))
    if difference > _TOLERANCE:
        aside.unlink()
        raise UsageError(
            f"The exported policy differs from the session's by {difference:.2g} of the action range, on one of "
            f"{_NUM_OBSERVATIONS} observations; {_TOLERANCE:g} is allowed. Nothing was written."
        )
    aside.replace(path)
    return path, difference


def _difference(expected: np.ndarray, found: np.ndarray, policy: Policy) -> float:
    """The largest deviation, relative to the range of actions; infinite if a numbered action is another one."""
    if expected.shape != found.shape:
        return float("inf")
    space = policy.info.action_space
    if not isinstance(space, gym.spaces.Box):
        return 0.0 if np.array_equal(expected, found) else float("inf")
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    # In halves: the width of the largest Box is no number.
    low, high = space.low.astype(np.float64) / 2, space.high.astype(np.float64) / 2
    half = np.where(np.isfinite(space.low) & np.isfinite(space.high), high - low, 1.0)
    apart = np.abs(expected.astype(np.float64) / 2 - found.astype(np.float64) / 2)
    return float(np.max(apart / np.maximum(half, np.finfo(np.float32).tiny)))


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as err:
        raise UsageError(f"--format onnx needs {err.name}, which is missing: pip install 'digideep[export]'.") from err


def main(argv: list[str] | None = None) -> int:
    """The command. Returns: the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m digideep.post.export",
        description="Write a session's policy as one file: raw observations in, environment actions out.",
    )
    parser.add_argument("session", type=Path, help="a session's directory")
    parser.add_argument("--format", required=True, choices=tuple(SUFFIXES))
    parser.add_argument("--checkpoint", metavar="NAME", help="such as checkpoint-20 (the newest valid one)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to (exports/ of the session)")
    args = parser.parse_args(argv)
    try:
        path, difference = export(args.session, args.format, checkpoint=args.checkpoint, output=args.output)
    except UsageError as err:
        print(f"digideep: {err}", file=sys.stderr)
        return err.exit_code
    print(
        f"{path}: does what the session's policy does (largest difference on {_NUM_OBSERVATIONS} observations: "
        f"{difference:.2g} of the action range)"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
