"""What a run begins with: its parameters or a checkpoint, and its place among the ranks that train it."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import torch

from digideep.agent.base import AgentBase
from digideep.parameters.control_panel import frames_in_panel, generate, override_panel
from digideep.parameters.tree import leaves
from digideep.pipeline.arguments import Arguments
from digideep.pipeline.checkpoint_store import CheckpointSource
from digideep.pipeline.session_directory import let_go, take_over
from digideep.utility.errors import FinishedError, UsageError
from digideep.utility.importing import SESSIONS
from digideep.utility.own_files import DONE, require_own
from digideep.utility.ranks import Ranks


def for_rank(args: Arguments, ranks: Ranks) -> Arguments:
    """Return the arguments as they are for this rank: rank 0 alone shows anything.

    Raises:
        UsageError: for what several ranks cannot do.
    """
    if ranks.size > 1 and args.mode != "train":
        error = UsageError(
            f"{ranks.size} ranks can train, and nothing else: start this without torchrun (WORLD_SIZE is set)."
        )
        error.is_said = ranks.local_rank > 0  # by the first rank of this machine
        raise error
    if ranks.is_first:
        return args
    return dataclasses.replace(
        args, quiet=True, log_level=1, tensorboard=False, visdom=False, wandb=False, mlflow=False, no_monitor_cpu=True,
        no_monitor_gpu=True,
    )  # fmt: skip


def continued(args: Arguments, ranks: Ranks) -> Arguments:
    """Return the arguments with which ranks that torchrun has started anew go on with their session."""
    path = ranks.left_behind("session") if ranks.restarts and not args.resume else None
    if path is None or not Path(path).is_dir():  # they ended before it was there
        return args
    changed: dict[str, Any] = {"params": None, "cpanel": {}, "repeal": {}, "total_frames": None, "session_name": None,
               "session_path": None, "resume": True, "load_checkpoint": path}  # fmt: skip
    return dataclasses.replace(args, **changed)


def find_source(args: Arguments, ranks: Ranks) -> tuple[CheckpointSource, filelock.BaseFileLock | None]:
    """Return where a checkpoint is to be loaded from, and the lock of the session, if that is resumed.

    Raises:
        UsageError: if it is no session, in use, or has finished.
    """
    is_played, has_params = args.mode == "play", args.params is not None
    source = CheckpointSource(
        Path(str(args.load_checkpoint)), needs_memory=not is_played and not has_params,
        may_be_best=is_played or has_params, ranks=ranks if args.resume else None,
    )  # fmt: skip
    if not args.resume:
        return source, None
    lock = take_over(source.session) if ranks.is_first else None
    if (source.session / DONE).exists() and not args.repeal and args.total_frames is None:
        if lock is not None:
            let_go(lock)
        raise FinishedError(
            f"{source.session} has finished. Play it with `digideep play`, or go on with --total-frames N."
        )
    return source, lock


def base_directory(args: Arguments, loaded: Path | None) -> Path:
    """Return the directory in which a run makes its session. Args: loaded: the session whose checkpoint it loads."""
    if loaded is None or args.params is not None:
        return Path(args.session_path or SESSIONS).resolve()
    base = loaded / ("evaluations" if args.mode == "play" else "customs")
    require_own(base, is_directory=True)
    return base


def panel_and_tree(recipe: Any, args: Arguments, ranks: Ranks) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the control panel and the plain parameter tree of a new run. Args: recipe: with `cpanel`, `gen_params`."""
    changes = frames_in_panel(recipe.cpanel, args.total_frames)
    if "num_ranks" in recipe.cpanel and ranks.size > 1:
        changes = {"num_ranks": ranks.size, **changes}
    panel = override_panel(recipe.cpanel, changes | args.cpanel)
    tree = generate(recipe, panel)
    if ranks.size > 1 and isinstance(tree.get("runner"), dict):  # what is none is refused later
        tree["runner"] = {"num_ranks": ranks.size} | tree["runner"]
    return panel, tree


def require_ranks(tree: Mapping[str, Any], ranks: Ranks, resumed: Path | None) -> None:
    """Refuse to train by another number of ranks than the tree says, or by ranks that differ in their trees.

    Args:
        tree: of this rank, plain.
        ranks: of the run.
        resumed: the checkpoint that goes on.
    """
    _require_same_run(tree, ranks)
    runner = tree.get("runner")
    number = runner.get("num_ranks", 1) if isinstance(runner, dict) else ranks.size
    if number == ranks.size:
        return
    here = f"{ranks.size} ranks" if ranks.size > 1 else "one process"
    if resumed is None:
        raise UsageError(f"num_ranks is {number!r}, and this is {here}: start torchrun with --nproc-per-node {number}.")
    command = f"torchrun with --nproc-per-node {number}" if number != 1 else "a plain command, without torchrun"
    raise UsageError(
        f"{resumed.parents[1]} was trained by {number} rank{'s' * (number != 1)}, whose states it holds, and cannot go "
        f"on in {here}. Resume it by {command}, or take its weights to a new session: --params FILE --load-checkpoint "
        "DIR."
    )


def _require_same_run(tree: Mapping[str, Any], ranks: Ranks) -> None:
    if ranks.size == 1:
        return
    own = {path: repr(value) for path, value in leaves(tree).items()}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
    if len(set(ranks.gather(digest))) == 1:
        return
    first, *others = ranks.gather(own)
    for rank, theirs in enumerate(others, 1):
        for path in sorted(first.keys() | theirs.keys()):
            if first.get(path) != theirs.get(path):
                raise UsageError(
                    f"Rank {rank} has {theirs.get(path, 'nothing')} under {path}, rank 0 {first.get(path, 'nothing')}: "
                    "start all ranks with the same command, parameter file and versions."
                )


def require_same_weights(agents: Mapping[str, AgentBase], ranks: Ranks, epoch: int) -> None:
    """Stop a run whose ranks have drifted apart. The hashes are shown with --log-level 0.

    Raises:
        RuntimeError: naming the agent, if its weights are not the same bits on all ranks.
    """
    if ranks.size == 1:
        return
    policies = {name: agent.policy for name, agent in agents.items()}
    own = {name: _hash(policy) for name, policy in policies.items() if isinstance(policy, torch.nn.Module)}
    for rank, theirs in enumerate(ranks.gather(own)):
        logging.getLogger("digideep").debug("weights of rank %d after epoch %d: %s", rank, epoch, theirs)
        for name, digest in theirs.items():
            if digest != own[name]:
                raise RuntimeError(
                    f"The weights of agent '{name}' are not those of rank {rank} after epoch {epoch}. Steps that the "
                    "agent does not register are each rank's own, and so is what different processors compute."
                )


def _hash(policy: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in policy.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
