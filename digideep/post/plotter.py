"""Plots of sessions: `python -m digideep.post.plotter -i NAME… [-i NAME…] --keyy /return/train`.

Each `-i` is a group of sessions (names or patterns below --root-dir) and becomes one curve: the mean, with a band from
the least to the greatest. `--opts` takes digideep's options as JSON; `--help` lists them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from digideep.post.drawing import COLOURS, import_pyplot, join, label, number, save, series_of
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from digideep.utility.suggest import did_you_mean

Groups = list[list[Loader]]

_SCALES = {"paper": 0.8, "notebook": 1.0, "talk": 1.5, "poster": 2.0}
_COMMON: dict[str, Any] = {
    "context": "paper", "font_scale": 2.0, "line_width": 2.5, "width": 10.0, "height": 8.0, "dpi": 300, "ext": "svg",
    "title": "",
}  # fmt: skip
_CURVES: dict[str, Any] = {
    "window_size": 5, "xlabel": None, "ylabel": None, "xlim_min": None, "xlim_max": None, "ylim_min": None,
    "ylim_max": None, "xticks_num": 4, "legends": None, "legends_option": {},
}  # fmt: skip
_PIE: dict[str, Any] = {
    "n_levels": 3, "collapse": True, "collapse_threshold": 0.1, "startangle": 90, "counterclock": False,
}  # fmt: skip
_OPTIONS = {"variable": {**_COMMON, **_CURVES}, "monitor": {**_COMMON, **_CURVES}, "profiler": {**_COMMON, **_PIE}}
_KEYS = {"variable": ("frame", "/return/train"), "monitor": ("clock", "/cpu/all/total"), "profiler": ("", "/")}
_X_LABELS = {"frame": "frames", "epoch": "epochs", "episode": "episodes", "clock": "minutes"}


def read_options(kind: str, text: dict[str, Any]) -> dict[str, Any]:
    """The options of a plot, defaults filled in.

    Raises:
        UsageError: for an unknown one.
    """
    known = _OPTIONS[kind]
    for name in text:
        if name not in known:
            raise UsageError(f"--opts has the unknown option '{name}'. {did_you_mean(name, known)}")
    options = {**known, **text}
    if options["context"] not in _SCALES:
        raise UsageError(f"context must be one of {', '.join(_SCALES)}, got {options['context']!r}.")
    return options


def find_groups(root: Path, patterns: list[list[str]]) -> Groups:
    """The sessions that each group of patterns names.

    Raises:
        UsageError: if a pattern names none.
    """
    groups = []
    for group in patterns:
        paths = []
        for pattern in group:
            found = sorted(path for path in root.glob(pattern.strip("/")) if (path / "params.yaml").is_file())
            if not found:
                raise UsageError(f"-i {pattern} names no session below {root}. See python -m digideep.post.sessions.")
            paths += found
        groups.append([Loader(path) for path in dict.fromkeys(paths)])
    return groups


def draw_curves(groups: Groups, log: str, keyx: str, keyy: str, options: dict[str, Any]) -> Any:
    """One curve per group. Returns: the figure."""
    plt = import_pyplot()
    figure, axes = plt.subplots(figsize=(options["width"], options["height"]), layout="constrained")
    windows = _per_group("window_size", options["window_size"], len(groups))
    legends = options["legends"] or [_name(group) for group in groups]
    legends = _per_group("legends", legends, len(groups))
    for index, group in enumerate(groups):
        curve = join([series_of(loader, log, keyy, keyx) for loader in group], windows[index])
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(curve.x, curve.mean, color=colour, linewidth=options["line_width"], label=label(legends[index]))
        if len(group) > 1:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel(label(options["xlabel"] or _X_LABELS.get(keyx, keyx)))
    axes.set_ylabel(label(options["ylabel"] or keyy))
    axes.set_title(label(options["title"]))
    axes.set_xlim(options["xlim_min"], options["xlim_max"])
    axes.set_ylim(options["ylim_min"], options["ylim_max"])
    axes.xaxis.set_major_locator(plt.MaxNLocator(options["xticks_num"], integer=keyx in ("epoch", "episode")))
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(alpha=0.3)
    axes.legend(**options["legends_option"])
    return figure


def _name(group: list[Loader]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more"


def _per_group(name: str, value: Any, count: int) -> list[Any]:
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count:
        raise UsageError(f"{name} has {len(values)} entries for {count} groups. Give one for each -i.")
    return values


def draw_profile(loader: Loader, root: str, options: dict[str, Any]) -> Any:
    """Nested rings: where the time went below a block of the profiler. Returns: the figure."""
    log = loader.prolog
    seconds = {key: float(np.sum(log[key]["totals"])) for key in log}
    root = root.rstrip("/")
    tree = _children(seconds)
    if root and root not in seconds:
        raise UsageError(f"{loader.name}: {root} was not timed. {did_you_mean(root, seconds)}")
    total = seconds.get(root) or sum(seconds[key] for key in tree.get(root, []))
    if not total:
        raise UsageError(f"{loader.name} has no times below '{root or '/'}': was it run with --profiler-level?")
    plt = import_pyplot()
    figure, axes = plt.subplots(figsize=(options["width"], options["height"]), layout="constrained")
    levels = options["n_levels"]
    nodes: list[tuple[str | None, float]] = [(root, total)]
    for level in range(levels):
        ring: list[tuple[str | None, float]] = []
        for key, size in nodes:
            ring += _split(key, size, tree, seconds, total, options)
        names = [f"{label(_short(key, seconds))}\n{100 * size / total:.0f} %" if key else "" for key, size in ring]
        colours: list[Any] = [plt.get_cmap("tab20")(i % 20) if key else (0, 0, 0, 0) for i, (key, _) in enumerate(ring)]
        axes.pie(
            [size for _, size in ring], radius=(level + 2) / (levels + 1), labels=names, colors=colours,
            labeldistance=1 - 0.5 / (level + 2), startangle=options["startangle"],
            counterclock=options["counterclock"], wedgeprops={"width": 1 / (levels + 1), "edgecolor": "white"},
            textprops={"ha": "center", "va": "center", "fontsize": 6 * options["font_scale"]},
        )  # fmt: skip
        nodes = ring
        if not any(key for key, _ in ring):
            break
    axes.set_title(label(options["title"] or f"{loader.name} {root or '/'}: {total / 3600:.2f} h"))
    return figure


def _short(key: str, seconds: dict[str, float]) -> str:
    """A block's name within the block around it."""
    parent = next((parent for parent, children in _children(seconds).items() if key in children), "")
    return key[len(parent) :].lstrip("/")


def _children(seconds: dict[str, float]) -> dict[str, list[str]]:
    """Blocks by the block around them. A name may hold a slash: the longest timed prefix is the parent."""
    tree: dict[str, list[str]] = {}
    for key in seconds:
        parent = key.rpartition("/")[0]
        while parent and parent not in seconds:
            parent = parent.rpartition("/")[0]
        tree.setdefault(parent, []).append(key)
    return tree


def _split(
    key: str | None, size: float, tree: dict[str, list[str]], seconds: dict[str, float], total: float,
    options: dict[str, Any],
) -> list[tuple[str | None, float]]:  # fmt: skip
    """A block's children and what is left of it; those below the threshold are left with the rest."""
    if key is None:
        return [(None, size)]
    least = options["collapse_threshold"] * total if options["collapse"] else 0.0
    shown: list[tuple[str | None, float]] = [
        (child, seconds[child]) for child in tree.get(key, []) if seconds[child] >= least and seconds[child] > 0
    ]
    rest = size - sum(part for _, part in shown)
    return [*shown, (None, max(rest, 0.0))]


def plot(groups: Groups, kind: str, keyx: str, keyy: str, opts: dict[str, Any], output: Path) -> list[Path]:
    """Draw and write. Returns: the files."""
    options = read_options(kind, opts)
    keyx, keyy = keyx or _KEYS[kind][0], keyy or _KEYS[kind][1]
    plt = import_pyplot()
    size = 10 * _SCALES[options["context"]] * options["font_scale"]
    with plt.rc_context({"font.size": size, "svg.fonttype": "none"}):
        if kind == "profiler":
            if len(groups) != 1 or len(groups[0]) != 1:
                raise UsageError("--type profiler draws one session: give one -i that names one.")
            figure = draw_profile(groups[0][0], keyy, options)
            stem = f"profiler_{keyy.strip('/').replace('/', '_')}".rstrip("_")
        else:
            figure = draw_curves(groups, "varlog" if kind == "variable" else "monlog", keyx, keyy, options)
            stem = keyy.strip("/").replace("/", "_")
        extensions = options["ext"] if isinstance(options["ext"], list) else [options["ext"]]
        return save(figure, output / stem, extensions, options["dpi"])


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({err})") from err
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return value


def main(argv: list[str] | None = None) -> int:
    """The command. Returns: the exit code."""
    known = "\n".join(f"  {kind}: {json.dumps(options)}" for kind, options in _OPTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m digideep.post.plotter",
        description="Plot what sessions logged.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"options and their defaults:\n{known}",
    )
    parser.add_argument("-r", "--root-dir", type=Path, default=Path("digideep_sessions"), help="(./digideep_sessions)")
    parser.add_argument(
        "-i", "--session-names", nargs="+", action="append", required=True, metavar="NAME", help="a group of sessions"
    )
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="below the root (plots/ of the only session)")
    parser.add_argument("--type", choices=tuple(_OPTIONS), default="variable")
    parser.add_argument("--keyx", default="", help="field of the x-axis: frame, epoch, episode or clock")
    parser.add_argument("--keyy", default="", help="what to draw, such as /return/train")
    parser.add_argument("--opts", type=_json_object, default={}, metavar="JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is read")
    args = parser.parse_args(argv)
    try:
        groups = find_groups(args.root_dir, args.session_names)
        if args.verbose:
            for group in groups:
                print("group:", ", ".join(str(loader.path) for loader in group))
        if args.output_dir is None and sum(map(len, groups)) != 1:
            raise UsageError("Several sessions are drawn: say where to with -o DIR.")
        output = groups[0][0].path / "plots" if args.output_dir is None else args.root_dir / args.output_dir
        for file in plot(groups, args.type, args.keyx, args.keyy, args.opts, output):
            print(file)
    except UsageError as err:
        print(f"digideep: {err}", file=sys.stderr)
        return err.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
