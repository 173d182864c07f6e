"""Plots of sessions: `python -m digideep.post.plotter -i NAME… [-i NAME…] --keyy /return/train`.

Each `-i` is a group of sessions (names or patterns below --root-dir) and becomes one curve: the mean, with a band that
`"band"` chooses. `--opts` takes digideep's options as JSON; `--help` lists them. How a curve is smoothed and what the
band is stands on the axis; what tests say is not smoothed unless `window_size` says so.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from digideep.parameters.component import build, resolve
from digideep.parameters.parser import Parser
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.argument_types import json_object
from digideep.post.drawing import BANDS, import_pyplot, quietly, save
from digideep.post.loader import read_sessions
from digideep.post.plots import PLOTS, Groups, Options, Plot
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.importing import SESSIONS, find_in_working_directory
from digideep.utility.text import printable

_SCALES = {"paper": 0.8, "notebook": 1.0, "talk": 1.5, "poster": 2.0}


def find_plot(name: str) -> Plot:
    """Return what `--type` names: a key of `PLOTS`, or the dotted name of a subclass of `Plot`.

    Raises:
        UsageError: if there is none.
    """
    if name not in PLOTS and "." not in name:
        raise UsageError(f"--type must be one of {', '.join(PLOTS)} or a dotted name, got '{name}'. "
                         f"{did_you_mean(name, PLOTS)}")  # fmt: skip
    cls = PLOTS.get(name) or resolve(name)
    if not issubclass(cls, Plot):
        raise UsageError(f"--type {name} is no plot. Expected a subclass of digideep.post.plots.Plot.")
    return build({"class": cls}, Plot)


def read_options(kind: Plot, text: Options) -> Options:
    """Return the options of a plot, defaults filled in; refuse an unknown one."""
    known = kind.defaults
    for name in text:
        if name not in known:
            raise UsageError(f"--opts has the unknown option '{name}'. {did_you_mean(name, known)}")
    options = {**known, **text}
    if not isinstance(options["context"], str) or options["context"] not in _SCALES:
        raise UsageError(f"context must be one of {', '.join(_SCALES)}, got {options['context']!r}.")
    if options["ext"] == []:
        raise UsageError("ext must be a format or a list of some, got []. Take svg.")
    levels = options.get("n_levels", 1)
    if not isinstance(levels, int) or levels < 1:
        raise UsageError(f"n_levels must be an integer of at least 1, got {levels!r}.")
    if options.get("band", "ci") not in BANDS:
        raise UsageError(f"band must be one of {', '.join(BANDS)}, got {options['band']!r}.")
    return options


def find_groups(root: Path, patterns: list[list[str]], *parts: str) -> Groups:
    """Return the sessions below `root` that each group of patterns names, see `read_sessions`.

    Args:
        patterns: of each group: a name, or one with *, ? and [...].
        parts: what is needed of each session.

    Raises:
        UsageError: if a pattern names none, or a group has none that is whole.
    """
    groups = []
    for group in patterns:
        paths: list[Path] = []
        for pattern in group:
            found = _find(root, pattern)
            if not found:
                raise UsageError(
                    f"-i {printable(pattern)} names no session below {root}. See python -m digideep.post.sessions."
                )
            paths += found
        groups.append(read_sessions(dict.fromkeys(paths), *parts))
    return groups


def _find(root: Path, pattern: str) -> list[Path]:
    """Return the sessions of a name or a pattern; a name may hold brackets."""
    pattern = pattern.strip("/")
    try:
        named = root / pattern
        candidates = [named] if pattern and os.path.lexists(named) else sorted(root.glob(pattern))
        return [path for path in candidates if os.path.lexists(path / "params.yaml")]
    except (OSError, ValueError, NotImplementedError):
        return []


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn matplotlib's complaints about options into a line."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError) as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"This cannot be drawn ({' '.join(str(err).split())[:200]}). Check --opts.") from err


def plot(groups: Groups, kind: Plot, keyx: str, keyy: str, opts: Options, output: Path) -> list[Path]:
    """Draw and write. Returns: the files."""
    options = read_options(kind, opts)
    keyx, keyy = keyx or kind.keys[0], keyy or kind.keys[1]
    plt = import_pyplot()
    root = next((loader.path for group in groups for loader in group if output.is_relative_to(loader.path)), None)
    with _refusing(), quietly(), plt.rc_context({"svg.fonttype": "none"}):
        plt.rcParams["font.size"] = 10 * _SCALES[options["context"]] * options["font_scale"]
        figure = kind.draw(groups, keyx, keyy, options)
        extensions = list(dict.fromkeys(options["ext"] if isinstance(options["ext"], list) else [options["ext"]]))
        return save(figure, output / kind.stem(keyy), extensions, options["dpi"], root)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    known = "\n".join(f"  {name}: {json.dumps(kind.defaults)}" for name, kind in PLOTS.items())
    parser = Parser(
        prog="digideep plot",
        description="Plot what sessions logged.",
        epilog="examples:\n  digideep plot -i 'cheetah_[012]' --keyy /return/train -o plots\n"
        f"  digideep plot -i NAME --keyx episode --keyy /length/train\n\noptions and their defaults:\n{known}\n"
        "ext: a format of matplotlib, json (what is drawn, in numbers), or a list of them",
    )
    parser.add_argument("-r", "--root-dir", type=Path, default=Path(SESSIONS), help=f"(./{SESSIONS})")
    parser.add_argument(
        "-i", "--session-names", nargs="+", action="append", required=True, metavar="NAME", help="a group of sessions"
    )
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="below the root (plots/ of the only session)")
    parser.add_argument(
        "--type", default="variable", metavar="TYPE",
        help=f"{', '.join(PLOTS)}, or the dotted name of a subclass of digideep.post.plots.Plot (variable)",
    )  # fmt: skip
    parser.add_argument(
        "--keyx", default="", help="field of the x-axis: frame, epoch, episode, clock, or time without pauses"
    )
    parser.add_argument("--keyy", default="", help="what to draw, such as /return/train")
    parser.add_argument("--opts", type=json_object, default={}, metavar="JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is read")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    find_in_working_directory()  # where a class of one's own is looked for
    kind = find_plot(args.type)
    groups = find_groups(args.root_dir, args.session_names, "params", kind.log)
    if args.verbose:
        for group in groups:
            print("group:", ", ".join(str(loader.path) for loader in group))
    if args.output_dir is None and sum(map(len, groups)) != 1:
        raise UsageError("Several sessions are drawn: say where to with -o DIR.")
    output = groups[0][0].path / "plots" if args.output_dir is None else args.root_dir.resolve() / args.output_dir
    for file in plot(groups, kind, args.keyx, args.keyy, args.opts, output):
        print(file)


if __name__ == "__main__":
    raise SystemExit(main())
