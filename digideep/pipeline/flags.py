"""The flags of the command line: each described once, for `main.py` and for the verbs that take it."""

import argparse
from collections.abc import Iterable
from typing import Any

from digideep.parameters.schedule import CONTINUATIONS
from digideep.pipeline.argument_types import (
    address,
    assignment,
    device_name,
    directory_name,
    json_object,
    natural,
    path_name,
    plain_name,
    port,
    positive,
)
from digideep.telemetry.writers import LOCALHOST, WatchOptions

PARAMS = {"metavar": "FILE", "type": path_name}
SESSION = {"metavar": "DIR", "type": directory_name}
SWITCH = {"action": "store_true"}

# By group: each flag's name, what it does, and how it is read.
_GROUPS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "what to run": {
        "params": ("parameter file: a path ending in .py, or a dotted module", PARAMS),
        "cpanel": ("override values of its control panel; @FILE reads them from a file",
                   {"metavar": "JSON", "type": json_object}),
        "set": ("override single values: lr=1e-3 of the control panel, /runner/save_int=1 of the parameter tree. "
                "A value is JSON or a word", {"metavar": "KEY=VALUE", "type": assignment, "nargs": "+",
                                              "action": "extend"}),
        "repeal": ("override values of the parameter tree by path, such as '{\"/runner/save_int\": 1}'; also with "
                   "--resume; @FILE reads them from a file", {"metavar": "JSON", "type": json_object}),
        "total-frames": ("frames of the whole run; with --resume, of the longer plan",
                         {"metavar": "N", "type": positive}),
        "load-checkpoint": ("a checkpoint, or a session (its newest valid checkpoint); with --params a new session "
                            "begins with its weights", SESSION),
    },
    "instead of training anew": {
        "resume": ("go on with a session in place", SESSION | {"nargs": "?", "const": True}),
        "schedules": ("with --resume and a changed plan (/runner/n_epochs): stretch what is scheduled, such as the "
                      "learning rate, over the whole new plan (default), keep it as it is, or begin it anew over what "
                      "is left", {"choices": CONTINUATIONS}),
        "play": ("run the policy without exploration, record videos, print returns", SWITCH),
        "custom": ("run the custom() job of the parameter file's own Runner", SWITCH),
        "create-session-only": ("write the session and its first checkpoint, and stop", SWITCH),
        "verify-resume": ("prove exact resume on these parameters: train EPOCHS (4) straight, and again stopped, "
                          "killed and resumed", {"metavar": "EPOCHS", "type": positive, "nargs": "?", "const": 4}),
    },
    "with --play": {
        "episodes": ("episodes to play (10)", {"metavar": "N", "type": positive}),
        "render": ("videos (default; with --json nothing), a window, or nothing",
                   {"choices": ("video", "human", "none")}),
        "seed": ("of the episodes (the run's own)", {"metavar": "N", "type": natural}),
        "json": ("print returns, lengths and quantiles as JSON, nothing else", SWITCH),
        "frozen": ("play with the sources that the session keeps in modules/: this runs its code", SWITCH),
    },
    "the session": {
        "session-path": ("where sessions are made (./digideep_sessions)", {"metavar": "DIR", "type": path_name}),
        "session-name": ("name of the new session's directory", {"metavar": "NAME", "type": plain_name}),
        "save-modules": ("packages to copy into modules/ whole, with their data", {"metavar": "MODULE", "nargs": "+"}),
        "msg": ("a note to keep with the session", {"metavar": "TEXT"}),
        "stop-after": ("stop after this epoch of the run, with a checkpoint: exit code 75; resume goes on",
                       {"metavar": "EPOCH", "type": positive}),
        "dry-run": ("do everything, write nothing", SWITCH),
    },
    "watching": {
        "log-level": ("least level shown: 0 debug, 1 info, 2 warn, 3 error, 4 fatal",
                      {"metavar": "0-4", "type": int, "choices": range(5)}),
        "quiet": ("show warnings and errors only; report.log has the rest", SWITCH),
        "profiler-level": ("blocks within blocks that are timed: 1 for the outer ones, 0 none, -1 all",
                           {"metavar": "N", "type": int}),
        "tensorboard": ("write TensorBoard files and serve them on this machine", SWITCH),
        "visdom": ("plot to a visdom server on this machine, started if there is none", SWITCH),
        "visdom-port": (f"its port ({WatchOptions.visdom_port})", {"metavar": "PORT", "type": port}),
        "bind": (f"address that these servers listen on ({LOCALHOST}: this machine only). They ask for no password",
                 {"metavar": "ADDRESS", "type": address}),
        "wandb": ("send to Weights & Biases; WANDB_MODE=offline writes files instead", SWITCH),
        "mlflow": ("send to MLflow: to MLFLOW_TRACKING_URI, or into the session", SWITCH),
        "no-monitor-cpu": ("do not log the load of the CPU", SWITCH),
        "no-monitor-gpu": ("do not log the load of the GPU", SWITCH),
    },
    "where": {
        "device": ("where agents compute: auto, cpu, cuda, cuda:1, mps (auto: a GPU if there is one)",
                   {"metavar": "DEVICE", "type": device_name}),
    },
}  # fmt: skip


def flags_among(names: Iterable[str] | None) -> dict[str, dict[str, tuple[str, dict[str, Any]]]]:
    """Return flags by group. Args: names: which, or groups of them; None for all."""
    wanted = None if names is None else set(names)
    return {
        title: flags if wanted is None or title in wanted else {name: flags[name] for name in flags if name in wanted}
        for title, flags in _GROUPS.items()
    }


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] | None = None) -> None:
    """Let a parser read flags. Args: names: as for `flags_among`."""
    for title, flags in flags_among(names).items():
        if flags:
            group = parser.add_argument_group(title)
            for name, (what, options) in flags.items():
                group.add_argument(f"--{name}", help=what, **options)
