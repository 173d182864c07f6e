"""What a run is for one of its ranks: its arguments, whether it may go on with what others left, and as they do."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from digideep.agent.base import AgentBase
from digideep.pipeline.arguments import Arguments
from digideep.utility.errors import UsageError
from digideep.utility.ranks import Ranks


def for_rank(args: Arguments, ranks: Ranks) -> Arguments:
    """Return the arguments as they are for this rank: rank 0 alone shows anything.

    Raises:
        UsageError: for what several ranks cannot do.
    """
    if ranks.size > 1 and args.mode != "train":
        raise UsageError(
            f"{ranks.size} ranks can train, and nothing else: start this without torchrun (WORLD_SIZE is set)."
        )
    if ranks.is_first:
        return args
    return dataclasses.replace(
        args, quiet=True, log_level=1, tensorboard=False, visdom=False, wandb=False, mlflow=False, no_monitor_cpu=True,
        no_monitor_gpu=True,
    )  # fmt: skip


def continued(args: Arguments, ranks: Ranks) -> Arguments:
    """Return the arguments with which ranks that torchrun has started anew go on with their session."""
    path = ranks.left_behind("session") if ranks.restarts and not args.resume else None
    if path is None:
        return args
    changed: dict[str, Any] = {"params": None, "cpanel": {}, "repeal": {}, "total_frames": None, "session_name": None,
               "session_path": None, "resume": True, "load_checkpoint": path}  # fmt: skip
    return dataclasses.replace(args, **changed)


def require_ranks(tree: Mapping[str, Any], ranks: Ranks, resumed: Path | None) -> None:
    """Refuse to train by another number of ranks than the tree says. Args: resumed: the checkpoint that goes on."""
    number = tree["runner"].get("num_ranks", 1)
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
