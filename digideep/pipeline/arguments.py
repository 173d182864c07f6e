"""Read the command line."""

import argparse
import sys
from dataclasses import dataclass, field
from typing import Any

from digideep.parameters.parser import Parser
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.argument_types import positive
from digideep.pipeline.flags import add_flags
from digideep.pipeline.tools import TOOLS
from digideep.pipeline.verbs import VERBS
from digideep.telemetry.writers import LOCALHOST, WatchOptions
from digideep.utility.errors import UsageError


def _listed() -> str:
    verbs = {**{name: verb.help for name, verb in VERBS.items()}, **{name: what for name, (_, what) in TOOLS.items()}}
    return "\n".join(f"  {name:<12} {what}" for name, what in verbs.items())


_EXAMPLES = f"""verbs, each with a --help of its own:
{_listed()}

examples of flags, as the digideep of 2019 had them:
  train          python main.py --params params/ppo_mujoco.py
  change values  python main.py --params params/ppo_classic.py --set model_name=Acrobot-v1 seed=3
  resume         python main.py --resume digideep_sessions/NAME
  play           python main.py --play --load-checkpoint digideep_sessions/NAME --episodes 5
  evaluate       python main.py --play --load-checkpoint digideep_sessions/NAME --episodes 100 --seed 5 --json
  go on longer   python main.py --resume digideep_sessions/NAME --total-frames 1000000
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
    total_frames: int | None = None
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
    stop_after: int | None = None
    dry_run: bool = False
    log_level: int = 1
    quiet: bool = False
    profiler_level: int = -1
    device: str = "auto"

    @property
    def mode(self) -> str:
        """What to do: "train", "play", "custom" or "create"."""
        return "play" if self.play else "custom" if self.custom else "create" if self.create_session_only else "train"


def take_assignments(values: dict[str, Any]) -> None:
    """Put what --set says where it belongs: paths to --repeal, names to --cpanel."""
    for key, value in values.pop("set", ()):
        name = "repeal" if key.startswith("/") else "cpanel"
        if name == "cpanel" and (values.get("resume") or values.get("play")):
            raise UsageError(
                f"--set {key}: a session that is there takes paths of its tree, such as /agents/agent/lr or /env/name; "
                "they stand in its params.yaml."
            )
        if key in values.get(name, {}):
            raise UsageError(f"--set gives '{key}' a second value: give one.")
        values[name] = {**values.get(name, {}), key: value}


def parse_arguments(argv: list[str] | None = None) -> Arguments:
    """Read and check the command line. Args: argv: without the program's name; None takes the process's own.

    Raises:
        UsageError: for unknown or malformed arguments, and for flags that do not go together.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    verb = words.pop(0) if words and words[0] in VERBS else None
    if verb is None and words and not words[0].startswith("-"):
        raise UsageError(f"'{words[0]}' is no verb. {did_you_mean(words[0], [*VERBS, *TOOLS])} See --help.")
    values = vars(make_parser(verb).parse_args(words))
    values = (VERBS[verb].means if verb is not None else {}) | values
    take_assignments(values)
    if isinstance(values.get("resume"), str):
        if "load_checkpoint" in values:
            raise UsageError("--resume DIR and --load-checkpoint DIR name two directories: give one of them.")
        values |= {"resume": True, "load_checkpoint": values["resume"]}
    args = Arguments(**values)
    check_combination(args)
    return args


def make_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return what reads the command line: of `main.py`, or of what follows a verb."""
    examples = _EXAMPLES
    what = "Train deep reinforcement-learning agents from parameter files, and resume them exactly."
    if verb is not None:
        what = VERBS[verb].help[:1].upper() + VERBS[verb].help[1:] + "."
        examples = "examples:\n" + "\n".join(f"  {line}" for line in VERBS[verb].examples.splitlines())
    parser = Parser(
        prog="digideep" if verb is None else f"digideep {verb}",
        usage="%(prog)s [verb | flags]" if verb is None else f"%(prog)s {VERBS[verb].target[1]['metavar']} [flags]",
        description=what,
        epilog=examples,
        argument_default=argparse.SUPPRESS,  # the defaults are those of Arguments
    )
    if verb is not None:
        name, options = VERBS[verb].target
        parser.add_argument(name, **options)
    if verb == "verify":
        parser.add_argument("--epochs", metavar="N", type=positive, dest="verify_resume", help="epochs to train (4)")
    add_flags(parser, None if verb is None else VERBS[verb].flags)
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


def check_combination(args: Arguments) -> None:
    """Refuse flags that do not go together. Raises: UsageError: naming them."""
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
        "--total-frames says how long a run is: it goes with --params or --resume. Leave it out.":
            args.total_frames is not None and (args.play or args.verify_resume is not None
                                               or not (args.params or args.resume)),
        **{
            f"--total-frames and '{name}' both say how long the run is: give one of them.":
                args.total_frames is not None and values.get(name) is not None
            for name, values in (
                ("/runner/n_epochs", args.repeal), ("total_frames", args.cpanel), ("number_epochs", args.cpanel)
            )
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
        "--stop-after says where a training stops: it goes with --params or --resume. Leave it out.":
            args.stop_after is not None and (args.mode != "train" or args.verify_resume is not None),
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
