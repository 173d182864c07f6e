"""Read the command line."""

import argparse
from dataclasses import dataclass, field
from typing import Any, NoReturn

from digideep.parameters.schedule import CONTINUATIONS
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.argument_types import address, json_object, natural, path_name, plain_name, port, positive
from digideep.telemetry.writers import LOCALHOST, WatchOptions
from digideep.utility.errors import UsageError

_EXAMPLES = """examples:
  train          python main.py --params params/ppo_mujoco.py
  change values  python main.py --params params/ppo_classic.py --cpanel '{"model_name": "Acrobot-v1", "seed": 3}'
  resume         python main.py --resume digideep_sessions/NAME
  play           python main.py --play --load-checkpoint digideep_sessions/NAME --episodes 5
  evaluate       python main.py --play --load-checkpoint digideep_sessions/NAME --episodes 100 --seed 5 --json
  go on longer   python main.py --resume digideep_sessions/NAME --repeal '{"/runner/n_epochs": 48}'
  fine-tune      python main.py --params params/ppo_classic.py --load-checkpoint digideep_sessions/NAME
  prove resume   python main.py --params params/ppo_classic.py --verify-resume

exit codes: 0 finished, 1 failed (see report.log), 2 refused to start, 3 already finished, 75 stopped early with a
checkpoint written: run again with --resume.
"""


@dataclass(frozen=True)
class Arguments(WatchOptions):
    """The command line, checked. What was not given has the default that stands here.

    Attributes:
        load_checkpoint: a checkpoint, or a session; with `resume`, the session to go on with.
        save_modules: packages to copy into `modules/` besides those that run.
        profiler_level: blocks within blocks that are timed; -1 for all.

    `--help` explains the others.
    """

    params: str | None = None
    cpanel: dict[str, Any] = field(default_factory=dict)
    repeal: dict[str, Any] = field(default_factory=dict)
    load_checkpoint: str | None = None
    resume: bool = False
    schedules: str | None = None
    play: bool = False
    custom: bool = False
    create_session_only: bool = False
    verify_resume: int | None = None
    episodes: int | None = None
    render: str | None = None
    seed: int | None = None
    json: bool = False
    frozen: bool = False
    session_path: str | None = None
    session_name: str | None = None
    save_modules: list[str] = field(default_factory=list)
    msg: str = ""
    dry_run: bool = False
    log_level: int = 1
    quiet: bool = False
    profiler_level: int = -1
    device: str = "auto"

    @property
    def mode(self) -> str:
        """What to do: "train", "play", "custom" or "create"."""
        return "play" if self.play else "custom" if self.custom else "create" if self.create_session_only else "train"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            flag = message.split(": ", 1)[1].split()[0]
            message = f"unknown argument '{flag}'. {did_you_mean(flag, self._option_string_actions)}"
        raise UsageError(f"{message} See --help." if not message.endswith(".") else message)


def parse_arguments(argv: list[str] | None = None) -> Arguments:
    """Read and check the command line. Args: argv: without the program's name; None takes the process's own.

    Raises:
        UsageError: for unknown or malformed arguments, and for flags that do not go together.
    """
    values = vars(_make_parser().parse_args(argv))
    if isinstance(values.get("resume"), str):
        if "load_checkpoint" in values:
            raise UsageError("--resume DIR and --load-checkpoint DIR name two directories: give one of them.")
        values |= {"resume": True, "load_checkpoint": values["resume"]}
    args = Arguments(**values)
    _check_combination(args)
    return args


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="digideep",
        description="Train deep reinforcement-learning agents from parameter files, and resume them exactly.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,  # the defaults are those of Arguments
    )
    add = parser.add_argument_group("what to run").add_argument
    add("--params", metavar="FILE", type=path_name, help="parameter file: a path ending in .py, or a dotted module")
    add("--cpanel", metavar="JSON", type=json_object, help="override values of its control panel")
    add("--repeal", metavar="JSON", type=json_object, help="override values of the parameter tree by path, such as "
        "'{\"/runner/save_int\": 1}'; also with --resume")  # fmt: skip
    add("--load-checkpoint", metavar="DIR", type=path_name, help="a checkpoint, or a session (its newest valid "
        "checkpoint); with --params a new session begins with its weights")  # fmt: skip

    add = parser.add_argument_group("instead of training anew").add_argument
    add("--resume", metavar="DIR", type=path_name, nargs="?", const=True, help="go on with a session in place")
    add("--schedules", choices=CONTINUATIONS, help="with --resume and a changed plan (/runner/n_epochs): stretch what "
        "is scheduled, such as the learning rate, over the whole new plan (default), keep it as it is, or begin it "
        "anew over what is left")  # fmt: skip
    add("--play", action="store_true", help="run the policy without exploration, record videos, print returns")
    add("--custom", action="store_true", help="run the custom() job of the parameter file's own Runner")
    add("--create-session-only", action="store_true", help="write the session and its first checkpoint, and stop")
    add("--verify-resume", metavar="EPOCHS", type=positive, nargs="?", const=4, help="prove exact resume on these "
        "parameters: train EPOCHS (4) straight, and again stopped, killed and resumed")  # fmt: skip

    add = parser.add_argument_group("with --play").add_argument
    add("--episodes", metavar="N", type=positive, help="episodes to play (10)")
    add("--render", choices=("video", "human", "none"), help="videos (default; with --json nothing), a window, or "
        "nothing")  # fmt: skip
    add("--seed", metavar="N", type=natural, help="of the episodes (the run's own)")
    add("--json", action="store_true", help="print returns, lengths and quantiles as JSON, nothing else")
    add("--frozen", action="store_true", help="play with the sources that the session keeps in modules/: this runs its "
        "code")  # fmt: skip

    add = parser.add_argument_group("the session").add_argument
    add("--session-path", metavar="DIR", type=path_name, help="where sessions are made (./digideep_sessions)")
    add("--session-name", metavar="NAME", type=plain_name, help="name of the new session's directory")
    add("--save-modules", metavar="MODULE", nargs="+", help="packages to copy into modules/ whole, with their data")
    add("--msg", metavar="TEXT", help="a note to keep with the session")
    add("--dry-run", action="store_true", help="do everything, write nothing")

    add = parser.add_argument_group("watching").add_argument
    add("--log-level", metavar="0-4", type=int, choices=range(5), help="least level shown: 0 debug, 1 info, "
        "2 warn, 3 error, 4 fatal")  # fmt: skip
    add("--quiet", action="store_true", help="show warnings and errors only; report.log has the rest")
    add("--profiler-level", metavar="N", type=int, help="blocks within blocks that are timed: 1 for the outer ones, "
        "0 none, -1 all")  # fmt: skip
    add("--tensorboard", action="store_true", help="write TensorBoard files and serve them on this machine")
    add("--visdom", action="store_true", help="plot to a visdom server on this machine, started if there is none")
    add("--visdom-port", metavar="PORT", type=port, help=f"its port ({WatchOptions.visdom_port})")
    add("--bind", metavar="ADDRESS", type=address, help=f"address that these servers listen on ({LOCALHOST}: this "
        "machine only). They ask for no password")  # fmt: skip
    add("--wandb", action="store_true", help="send to Weights & Biases; WANDB_MODE=offline writes files instead")
    add("--mlflow", action="store_true", help="send to MLflow: to MLFLOW_TRACKING_URI, or into the session")
    add("--no-monitor-cpu", action="store_true", help="do not log the load of the CPU")
    add("--no-monitor-gpu", action="store_true", help="do not log the load of the GPU")

    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where agents compute (auto)")
    return parser


# Flags that do not go together, as pairs: (flag, the flags it excludes).
_EXCLUSIONS = {
    "resume": ("play", "custom", "create_session_only", "dry_run", "params", "cpanel", "session_name", "session_path"),
    "play": ("custom", "create_session_only", "tensorboard", "visdom", "wandb", "mlflow"),
    "custom": ("create_session_only",),
    "create_session_only": ("dry_run",),
    "verify_resume": (
        "resume", "play", "custom", "create_session_only", "load_checkpoint", "dry_run", "session_name", "session_path",
        "tensorboard", "visdom", "wandb", "mlflow",
    ),
    "dry_run": ("tensorboard", "visdom", "wandb", "mlflow"),
    "frozen": ("params", "dry_run"),
}  # fmt: skip


def _check_combination(args: Arguments) -> None:
    # What was given: 0 is a seed.
    flags = {
        name for name, value in vars(args).items() if not (value is None or value is False or value in ({}, [], ""))
    }
    for name, others in _EXCLUSIONS.items():
        for other in others:
            if flags >= {name, other}:
                raise UsageError(f"{_flag(name)} and {_flag(other)} do not go together: leave one of them out.")
    has_checkpoint = "load_checkpoint" in flags
    refusals = {
        "--resume needs a session: give --resume DIR.": args.resume and not has_checkpoint,
        "--load-checkpoint alone does nothing: add --resume, --play or --custom, or --params FILE to begin a new "
        "session with its weights.": has_checkpoint and not flags & {"resume", "play", "custom", "params"},
        **{
            f"--load-checkpoint and {_flag(name)} do not go together with {_flag(other)}: leave one out.":
                flags >= {"load_checkpoint", name, other}
            for name in ("params", "cpanel")
            for other in ("play", "custom")
        },
        "--schedules goes with --resume only: add --resume DIR or leave it out.": args.schedules and not args.resume,
        "Nothing to run: give --params FILE, or --resume DIR. See --help for examples.":
            not flags & {"params", "load_checkpoint"},
        **{
            f"{_flag(name)} goes with --play only: add --play or leave it out.": name in flags and not args.play
            for name in ("episodes", "render", "seed", "json", "frozen")
        },
        "--session-path goes with --params: what is made of a loaded session lies within it. Leave it out.":
            has_checkpoint and "session_path" in flags and "params" not in flags,
        "--frozen needs the session whose sources it runs: give --load-checkpoint DIR.":
            args.frozen and not has_checkpoint,
        "--bind opens the servers of --tensorboard and --visdom: add one of them or leave it out.":
            args.bind != LOCALHOST and not (args.tensorboard or args.visdom),
        "--quiet and --log-level do not go together: leave one of them out.": args.quiet and args.log_level != 1,
        f"--profiler-level must be -1 or more, got {args.profiler_level}.": args.profiler_level < -1,
    }  # fmt: skip
    for refusal, is_due in refusals.items():
        if is_due:
            raise UsageError(refusal)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
