"""The verbs of the command `digideep`: what each stands for among the flags, or which tool it starts."""

from typing import Any, NamedTuple

from digideep.pipeline.flags import PARAMS, SESSION


class Verb(NamedTuple):
    """A job of the program under a name of its own.

    Attributes:
        help: what it does.
        target: the flag that its first argument stands for, and how that is read.
        flags: which it takes, or groups of them.
        means: values of `Arguments` that it stands for.
        examples: lines for its `--help`.
    """

    help: str
    target: tuple[str, dict[str, Any]]
    flags: tuple[str, ...]
    means: dict[str, Any]
    examples: str


_VALUES, _WATCHING = ("set", "repeal"), ("watching", "device")
_FILE, _DIR = ("params", PARAMS), ("load_checkpoint", SESSION | {"metavar": "SESSION"})

VERBS = {
    "train": Verb(
        "train agents in a new session", _FILE,
        ("cpanel", *_VALUES, "total-frames", "load-checkpoint", "custom", "create-session-only", "the session",
         *_WATCHING),
        {},
        """digideep train params.ppo_mujoco
digideep train params.ppo_classic --set model_name=Acrobot-v1 seed=3 --total-frames 200000
digideep train params.sac_classic --set /agents/agent/gamma=0.95 --tensorboard
digideep train params.ppo_classic --load-checkpoint OTHER    # begins with its weights""",
    ),
    "resume": Verb(
        "go on with a session, exactly where it stopped", _DIR,
        (*_VALUES, "total-frames", "schedules", "stop-after", "save-modules", "msg", *_WATCHING),
        {"resume": True},
        """digideep resume NAME
digideep resume NAME --total-frames 1000000
digideep resume NAME --set /agents/agent/lr=1e-4""",
    ),
    "play": Verb(
        "run a session's policy without exploration, and record videos", _DIR,
        (*_VALUES, "with --play", "session-name", "msg", "dry-run", "log-level", "quiet", "device"),
        {"play": True},
        """digideep play NAME --episodes 3
digideep play NAME/checkpoints/best --render human""",
    ),
    "evaluate": Verb(
        "measure a session's policy over many episodes, without pictures", _DIR,
        (*_VALUES, "episodes", "seed", "json", "frozen", "session-name", "msg", "dry-run", "log-level", "quiet",
         "device"),
        {"play": True, "render": "none", "episodes": 100},
        """digideep evaluate NAME --seed 5
digideep evaluate NAME/checkpoints/best --episodes 20 --json""",
    ),
    "verify": Verb(
        "prove exact resume on a parameter file", _FILE,
        ("cpanel", *_VALUES, "device"),
        {"verify_resume": 4},
        """digideep verify params.ppo_classic --set num_workers=4
digideep verify params.sac_classic --epochs 6""",
    ),
}  # fmt: skip
