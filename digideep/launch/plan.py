"""What runs a group consists of: seeds times grid times parameter files, each checked and named by what differs."""

import io
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from digideep.parameters.checks import shown
from digideep.parameters.control_panel import frames_in_panel, generate, load_params, override_panel
from digideep.parameters.parser import Parser
from digideep.parameters.tree import Tree, from_plain, override_tree
from digideep.pipeline.arguments import Arguments
from digideep.pipeline.continuing import plan_of
from digideep.pipeline.flags import add_flags
from digideep.pipeline.restoring import make_runner
from digideep.pipeline.runner import Runner
from digideep.pipeline.session import Session
from digideep.pipeline.tree_checks import check_tree
from digideep.utility.errors import UsageError
from digideep.utility.process_state import left_as_it_was
from digideep.utility.user_code import alone, in_words

_MOST_RUNS = 10_000
_LONGEST_NAME = 100  # bytes; a session's files have longer names, and file systems end at 255
_SEED = "/runner/seed"

Grid = Mapping[str, Sequence[Any]]


class Run(NamedTuple):
    """One session of a group, as it begins: see `Job`."""

    params: str
    cpanel: dict[str, Any]
    repeal: dict[str, Any]


class Length(NamedTuple):
    """How long a run is, and how many threads of torch it has."""

    epochs: int
    frames: int
    threads: int


def make_runs(
    files: Sequence[str], grid: Grid, seeds: Sequence[int] | None, cpanel: Mapping[str, Any], repeal: Mapping[str, Any],
    total_frames: int | None = None,
) -> dict[str, Run]:  # fmt: skip
    """Return the runs of a group by name, the seeds of a setting together. Nothing of them is checked but their number.

    Args:
        files: parameter files.
        grid: values by key of the control panel, or path of the tree.
        seeds: None takes each file's own.
        cpanel, repeal: values that all runs share.
        total_frames: of each run; None leaves it to the file.

    Raises:
        UsageError: if the grid is no grid, there are too many runs, or a file cannot be imported.
    """
    given = {**cpanel, **repeal, **dict.fromkeys(("total_frames", "number_epochs") if total_frames else ())}
    _check_grid(grid, given, has_seeds=seeds is not None)
    files = list(dict.fromkeys(files))
    axes = {**grid, **({"seed": list(seeds)} if seeds is not None else {})}
    number = math.prod(map(len, [files, *axes.values()]))
    if number > _MOST_RUNS:
        raise UsageError(f"--grid and --seeds make {number:,} runs: a group has at most {_MOST_RUNS:,}.")
    names = _short(grid) | {"seed": "seed"}
    runs, labels = [], []
    for file in files:
        panel = load_params(file).cpanel
        shared = {**cpanel, **frames_in_panel(panel, total_frames)}
        label = [("params", stem(file))] if len(files) > 1 else []
        for values in itertools.product(*axes.values()):
            own = dict(zip(axes, values, strict=True))
            labels.append([*label, *((names[key], value) for key, value in own.items())])
            if "seed" in own and "seed" not in panel:
                own[_SEED] = own.pop("seed")
            paths = {key: own.pop(key) for key in list(own) if key.startswith("/")}
            runs.append(Run(file, {**shared, **own}, {**repeal, **paths}))
    return dict(zip(_names(labels), runs, strict=True))


def stem(file: str) -> str:
    """Return the name of a parameter file, given as a path or as a dotted module, without what stands around it."""
    return Path(file).stem if file.endswith(".py") else file.rpartition(".")[2]


def _check_grid(grid: Grid, given: Mapping[str, Any], *, has_seeds: bool) -> None:
    """Refuse a grid that is none. Args: given: what has a value for all runs."""
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"--grid '{key}' must be a list of values, got {shown(values)}.")
        written = [json.dumps(value, sort_keys=True) for value in values]
        for value in written:
            if written.count(value) > 1:
                raise UsageError(f"--grid '{key}' has {value} twice. Give each value once.")
        if key in given:
            raise UsageError(f"'{key}' has one value for all runs, and several in --grid: leave one of them out.")
    for key in ("seed", _SEED) if has_seeds else ():
        if key in grid or key in given:
            raise UsageError(f"--seeds and '{key}' both give seeds: leave one of them out.")


def _short(keys: Mapping[str, Any]) -> dict[str, str]:
    """Return keys as they stand in names: of paths, as many last parts as tell them apart."""
    found = {}
    for key in keys:
        parts = key.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            others = [".".join(other.strip("/").split("/")[-count:]) for other in keys if other != key]
            if name not in (*others, "seed", "params"):
                break
        found[key] = name
    return found


def _names(runs: Sequence[Sequence[tuple[str, Any]]]) -> list[str]:
    """Return a name for each run, `lr=0.001_seed=3`, safe for file systems; numbered where that is long or not unique.

    Args:
        runs: (key, value) of all that differs.
    """
    names = ["_".join(_plain(f"{key}={_text(value)}") for key, value in run) for run in runs]
    if len({name.casefold() for name in names}) < len(names) or max(map(len, names)) > _LONGEST_NAME:
        names = [
            f"{index:0{len(str(len(names) - 1))}}_{name[: _LONGEST_NAME - 10]}" for index, name in enumerate(names)
        ]
    return [name if name[0].isalnum() else f"run_{name}" for name in names]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(_text, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={_text(inner)}" for key, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "-", text, flags=re.ASCII)


def check_runs(runs: Mapping[str, Run], grid: Grid | None = None, begin: Sequence[str] = ()) -> dict[str, Length]:
    """Refuse runs that could not begin, or of which two are the same; leave no number of processes open.

    Every parameter tree is generated, and of runs that differ in their seed only one is built, as by
    `digideep train --dry-run`. A number of processes that is null would be chosen by the cores that a session finds,
    and results depend on it: in a group, whose sessions share the cores, it is 0.

    Args:
        runs: by name; what leaves a number of processes open gets it, by its `repeal`.
        grid: what a person typed as such, for messages.
        begin: words that all of them begin with, see `Job`.

    Returns:
        How long each run is.

    Raises:
        UsageError: for whatever `digideep train` would refuse, naming the run.
    """
    lengths: dict[str, Length] = {}
    seen: dict[str, str] = {}
    settings: set[str] = set()
    for name, run in runs.items():
        try:
            tree = make_tree(run)
            for explorer, parameters in tree["explorer"].items():
                if parameters.get("num_processes", 0) is None:
                    run.repeal[f"/explorer/{explorer}/num_processes"] = parameters["num_processes"] = 0
            setting = json.dumps({**tree, "runner": {**tree["runner"], "seed": 0}}, sort_keys=True)
            if setting not in settings:
                settings.add(setting)
                _build(run, begin)
        except UsageError as err:
            raise UsageError(f"{name}: {_in_words_of_grid(str(err), grid or {})}") from err
        except Exception as err:  # of the user's code
            what = f"{name}: {in_words(err)}"
            raise UsageError(f"{what}. `digideep train … --dry-run` with its values shows where.") from err
        written = json.dumps(tree, sort_keys=True)
        if written in seen:
            raise UsageError(
                f"{seen[written]} and {name} have the same parameters: nothing that they differ in is read. Leave it "
                "out of --grid."
            )
        seen[written] = name
        lengths[name] = length_of(tree)
    return lengths


def make_tree(run: Run) -> Tree:
    """Return the plain parameter tree that a run begins with. Raises: UsageError: if it is none."""
    module = load_params(run.params)
    tree = override_tree(generate(module, override_panel(module.cpanel, run.cpanel)), run.repeal)
    check_tree(from_plain(tree), Runner)
    return tree


def read_begin(words: Sequence[str]) -> dict[str, Any]:
    """Return what words of `digideep train` say that runs of a group may begin with. Raises: UsageError: for others."""
    parser = Parser(add_help=False)
    add_flags(parser, ("save-modules", "msg", "load-checkpoint"))
    return {name: value for name, value in vars(parser.parse_args(list(words))).items() if value is not None}


def _build(run: Run, begin: Sequence[str]) -> None:
    """Build all that a run consists of, and close it again. Nothing is written."""
    args = Arguments(
        params=run.params, cpanel=run.cpanel, repeal=run.repeal, dry_run=True, quiet=True, no_monitor_cpu=True,
        no_monitor_gpu=True, device="cpu", **read_begin(begin),
    )  # fmt: skip
    with alone(), left_as_it_was():
        session = Session(args, output=io.StringIO())
        try:
            make_runner(session).close()
        finally:
            session.close()


def length_of(tree: Tree) -> Length:
    """Return how long the run of a plain tree is."""
    return Length(tree["runner"]["n_epochs"], plan_of(tree).frames, tree["runner"].get("num_threads", 1))


def _in_words_of_grid(message: str, grid: Grid) -> str:
    """Return a message that names the flag by which a value was given."""
    for key in grid:
        for flag in ("--cpanel", "--repeal"):
            if f"{flag} '{key}'" in message or (message.startswith(flag) and f"key '{key}'" in message):
                return message.replace(flag, "--grid", 1)
    return message
