"""Where jobs run: the flags that say so, and the engine that they mean."""

import argparse
import importlib
import math
import re

from digideep.launch.engine import Engine
from digideep.launch.slurm_script import slurm_option
from digideep.parameters.checks import shown
from digideep.pipeline.argument_types import positive
from digideep.utility.errors import UsageError

# Modules with `make_engine(args, jobs)`.
LOCAL = "local"
ENGINES = {LOCAL: "digideep.launch.local", "ray": "digideep.launch.ray_tasks"}
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})", re.ASCII)
SLURM = "slurm"  # is no engine: its tasks outlive the program
# Which flag says something of which of them.
_FLAGS = {
    "cpus_per_run": ("ray", SLURM), "gpus_per_run": ("ray", SLURM), "ray_address": ("ray",), "slurm": (SLURM,),
    "submit": (SLURM,),
}  # fmt: skip


def add_engine_flags(parser: argparse.ArgumentParser, *, has_slurm: bool) -> None:
    """Add the flags that say where jobs run. Args: has_slurm: they may be tasks of Slurm."""
    flags = parser.add_argument_group("where they run")
    places = [*ENGINES, *([SLURM] if has_slurm else [])]
    default = "local; of a group with a script for Slurm: slurm" if has_slurm else LOCAL
    flags.add_argument("--on", choices=places, help=f"this machine (local), or a cluster ({default})")
    flags.add_argument("--cpus-per-run", metavar="N", type=positive, help="that a cluster reserves for each run (1)")
    flags.add_argument("--gpus-per-run", metavar="N", type=_share, help="the same for GPUs (0); Ray takes 0.25, too")
    flags.add_argument("--ray-address", metavar="ADDRESS", help="HOST:PORT of a Ray cluster, or auto: the one that "
                       "this machine is part of (one of its own, on this machine)")  # fmt: skip
    if has_slurm:
        flags.add_argument("--slurm", nargs="+", action="extend", metavar="NAME=VALUE", type=slurm_option,
                           help="options of sbatch, such as partition=gpu time=04:00:00 mem=8G")  # fmt: skip
        flags.add_argument("--submit", action="store_true", default=None, help="submit the script that is written")


def _share(text: str) -> float:
    """Read a number of GPUs: whole, or a part of one."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < 1000 or (found > 1 and not found.is_integer()):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no number of GPUs: a whole one, or a part of one such as 0.5"
        )
    return found


def check_engine_flags(args: argparse.Namespace) -> None:
    """Refuse flags that say nothing of where jobs are to run, or are wrong. Raises: UsageError: naming one."""
    for name, places in _FLAGS.items():
        if getattr(args, name, None) is not None and args.on not in places:
            flag, where = name.replace("_", "-"), args.on or LOCAL
            raise UsageError(
                f"--{flag} says nothing of --on {where}: it goes with --on {' or '.join(places)}. Leave it out."
            )
    if args.ray_address not in (None, "auto"):
        found = _ADDRESS.fullmatch(args.ray_address)
        if found is None or int(found["port"]) > 65_535:
            raise UsageError(f"--ray-address must be 'auto' or HOST:PORT, got {shown(args.ray_address)}.")
    if args.on == SLURM and args.gpus_per_run is not None and not args.gpus_per_run.is_integer():
        raise UsageError(f"--gpus-per-run {args.gpus_per_run:g}: Slurm gives whole GPUs. Give a whole number.")


def make_engine(args: argparse.Namespace, jobs: int) -> Engine:
    """Return the engine that the flags mean. Args: jobs: at once, on this machine.

    Raises:
        UsageError: if it is not to be had.
    """
    engine: Engine = importlib.import_module(ENGINES[args.on or LOCAL]).make_engine(args, jobs)
    return engine
