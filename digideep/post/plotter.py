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
from typing import Any

import numpy as np

from digideep.parameters.parser import Parser
from digideep.parameters.suggest import did_you_mean
from digideep.pipeline.argument_types import json_object
from digideep.post.drawing import (
    BANDS,
    COLOURS,
    WINDOW,
    draw_line,
    import_pyplot,
    join,
    label,
    number,
    quietly,
    save,
    series_of,
)
from digideep.post.loader import Loader, leave_out, read_sessions
from digideep.telemetry.output import command
from digideep.telemetry.writers import parent_of
from digideep.utility.errors import UsageError
from digideep.utility.importing import SESSIONS
from digideep.utility.text import printable

Groups = list[list[Loader]]

_SCALES = {"paper": 0.8, "notebook": 1.0, "talk": 1.5, "poster": 2.0}
_COMMON: dict[str, Any] = {
    "context": "paper", "font_scale": 2.0, "line_width": 2.5, "width": 10.0, "height": 8.0, "dpi": 300, "ext": "svg",
    "title": "",
}  # fmt: skip
_CURVES: dict[str, Any] = {
    "window_size": None, "band": "ci", "xlabel": None, "ylabel": None, "xlim_min": None, "xlim_max": None,
    "ylim_min": None, "ylim_max": None, "xticks_num": 4, "legends": None, "legends_option": {},
}  # fmt: skip
_PIE: dict[str, Any] = {
    "n_levels": 3, "collapse": True, "collapse_threshold": 0.1, "startangle": 90, "counterclock": False,
}  # fmt: skip
_OPTIONS = {"variable": {**_COMMON, **_CURVES}, "monitor": {**_COMMON, **_CURVES}, "profiler": {**_COMMON, **_PIE}}
_KEYS = {"variable": ("frame", "/return/train"), "monitor": ("clock", "/cpu/all/total"), "profiler": ("", "/")}
_X_LABELS = {
    "frame": "frames",
    "epoch": "epochs",
    "episode": "episodes",
    "clock": "minutes",
    "time": "minutes of training",
}


def read_options(kind: str, text: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a plot, defaults filled in; refuse an unknown one."""
    known = _OPTIONS[kind]
    for name in text:
        if name not in known:
            raise UsageError(f"--opts has the unknown option '{name}'. {did_you_mean(name, known)}")
    options = {**known, **text}
    if not isinstance(options["context"], str) or options["context"] not in _SCALES:
        raise UsageError(f"context must be one of {', '.join(_SCALES)}, got {options['context']!r}.")
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


def draw_curves(groups: Groups, log: str, keyx: str, keyy: str, options: dict[str, Any]) -> Any:
    """Draw one curve per group. Returns: the figure."""
    plt = import_pyplot()
    window = options["window_size"]
    if window is None:
        window = 1 if "test" in keyy.split("/") else WINDOW
    windows = _per_group("window_size", window, len(groups))
    legends = _per_group("legends", options["legends"] or [_name(group) for group in groups], len(groups))
    drawn = [_series(group, log, keyx, keyy) for group in groups]
    figure, axes = plt.subplots(figsize=(options["width"], options["height"]), layout="constrained")
    for index, series in enumerate(drawn):
        curve = join(series, windows[index], options["band"])
        colour = COLOURS[index % len(COLOURS)]
        name = label(str(legends[index])) + (f" ({_smoothing(windows[index])})" if len(set(windows)) > 1 else "")
        draw_line(axes, curve, color=colour, linewidth=options["line_width"], label=name)
        if len(series) > 1:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel(label(options["xlabel"] or _X_LABELS.get(keyx, keyx)))
    axes.set_ylabel(
        label(options["ylabel"]) if options["ylabel"] else _y_label(keyy, log, windows, drawn, options["band"])
    )
    axes.set_title(label(options["title"]))
    axes.set_xlim(options["xlim_min"], options["xlim_max"])
    lowest = 0 if log == "monlog" else None  # a load
    axes.margins(y=0.06)
    axes.set_ylim(lowest if options["ylim_min"] is None else options["ylim_min"], options["ylim_max"])
    axes.xaxis.set_major_locator(plt.MaxNLocator(options["xticks_num"], integer=keyx in ("epoch", "episode")))
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(alpha=0.3)
    axes.legend(**options["legends_option"])
    return figure


def _series(group: list[Loader], log: str, keyx: str, keyy: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the runs of a group; one that has nothing to draw is left out, with a line on stderr."""
    found, complaints = [], []
    for loader in group:
        try:
            found.append(series_of(loader, log, keyy, keyx))
        except UsageError as err:
            complaints.append(str(err))
    if not found:
        raise UsageError(complaints[0])
    leave_out(complaints)
    return found


def _smoothing(window: int) -> str:
    return f"moving average of {window} points" if window > 1 else "not smoothed"


def _y_label(
    keyy: str, log: str, windows: list[int], drawn: list[list[tuple[np.ndarray, np.ndarray]]], band: str
) -> str:
    """Say what is drawn: the key, how it is smoothed, and what the bands are."""
    unit = "" if log == "varlog" else " (MiB)" if "memory" in keyy.split("/") else " (percent)"
    words = [_smoothing(windows[0])] if len(set(windows)) == 1 and windows[0] > 1 else []
    words += [f"band: {BANDS[band]}"] if max(map(len, drawn)) > 1 else []
    return "\n".join([label(keyy) + unit, *words])


def _name(group: list[Loader]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more"


def _per_group(name: str, value: Any, count: int) -> list[Any]:
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count:
        raise UsageError(f"{name} has {len(values)} entries for {count} groups. Give one for each -i.")
    return values


def draw_profile(loader: Loader, root: str, options: dict[str, Any]) -> Any:
    """Draw nested rings: where the time went below a block of the profiler. Returns: the figure."""
    log = loader.prolog
    seconds = {key: float(np.sum(log[key]["totals"])) for key in log}
    root = root.rstrip("/")
    if root and root not in seconds:
        raise UsageError(f"{loader.name}: {root} was not timed. {did_you_mean(root, seconds)}")
    total = seconds.get(root) or sum(time for path, time in seconds.items() if parent_of(path, seconds) == root)
    if not total:
        raise UsageError(f"{loader.name} has no times below '{root or '/'}': was it run with --profiler-level?")
    plt = import_pyplot()
    figure, axes = plt.subplots(figsize=(options["width"], options["height"]), layout="constrained")
    levels = options["n_levels"]
    nodes: list[tuple[str | None, float]] = [(root, total)]
    for level in range(levels):
        ring: list[tuple[str | None, float]] = []
        for key, size in nodes:
            ring += _split(key, size, seconds, total, options)
        names = [
            f"{label(key[len(parent_of(key, seconds)) :].lstrip('/'))}\n{100 * size / total:.0f} %" if key else ""
            for key, size in ring
        ]
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
    axes.set_title(label(options["title"] or f"{loader.name} {root or '/'}: {_duration(total)}"))
    return figure


def _duration(seconds: float) -> str:
    return next((f"{seconds / size:.2f} {unit}" for unit, size in (("h", 3600), ("min", 60)) if seconds >= size),
                f"{seconds:.2f} s")  # fmt: skip


def _split(
    key: str | None, size: float, seconds: dict[str, float], total: float, options: dict[str, Any]
) -> list[tuple[str | None, float]]:
    """Return a block's children and the rest of it, which children below the threshold are part of."""
    if key is None:
        return [(None, size)]
    least = options["collapse_threshold"] * total if options["collapse"] else 0.0
    shown: list[tuple[str | None, float]] = [
        (path, time) for path, time in seconds.items() if parent_of(path, seconds) == key and time >= least and time > 0
    ]
    rest = size - sum(part for _, part in shown)
    return [*shown, (None, max(rest, 0.0))]


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn matplotlib's complaints about options into a line."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError) as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"This cannot be drawn ({' '.join(str(err).split())[:200]}). Check --opts.") from err


def plot(groups: Groups, kind: str, keyx: str, keyy: str, opts: dict[str, Any], output: Path) -> list[Path]:
    """Draw and write. Returns: the files."""
    options = read_options(kind, opts)
    keyx, keyy = keyx or _KEYS[kind][0], keyy or _KEYS[kind][1]
    plt = import_pyplot()
    root = next((loader.path for group in groups for loader in group if output.is_relative_to(loader.path)), None)
    with _refusing(), quietly(), plt.rc_context({"svg.fonttype": "none"}):
        plt.rcParams["font.size"] = 10 * _SCALES[options["context"]] * options["font_scale"]
        if kind == "profiler":
            if len(groups) != 1 or len(groups[0]) != 1:
                raise UsageError("--type profiler draws one session: give one -i that names one.")
            figure = draw_profile(groups[0][0], keyy, options)
            stem = f"profiler_{keyy.strip('/').replace('/', '_')}".rstrip("_")
        else:
            figure = draw_curves(groups, "varlog" if kind == "variable" else "monlog", keyx, keyy, options)
            stem = keyy.strip("/").replace("/", "_")
        extensions = options["ext"] if isinstance(options["ext"], list) else [options["ext"]]
        return save(figure, output / stem, extensions, options["dpi"], root)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    known = "\n".join(f"  {kind}: {json.dumps(options)}" for kind, options in _OPTIONS.items())
    parser = Parser(
        prog="digideep plot",
        description="Plot what sessions logged.",
        epilog="examples:\n  digideep plot -i 'cheetah_[012]' --keyy /return/train -o plots\n"
        f"  digideep plot -i NAME --keyx episode --keyy /length/train\n\noptions and their defaults:\n{known}",
    )
    parser.add_argument("-r", "--root-dir", type=Path, default=Path(SESSIONS), help=f"(./{SESSIONS})")
    parser.add_argument(
        "-i", "--session-names", nargs="+", action="append", required=True, metavar="NAME", help="a group of sessions"
    )
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="below the root (plots/ of the only session)")
    parser.add_argument("--type", choices=tuple(_OPTIONS), default="variable")
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
    parts = ("params", {"variable": "varlog", "monitor": "monlog", "profiler": "prolog"}[args.type])
    groups = find_groups(args.root_dir, args.session_names, *parts)
    if args.verbose:
        for group in groups:
            print("group:", ", ".join(str(loader.path) for loader in group))
    if args.output_dir is None and sum(map(len, groups)) != 1:
        raise UsageError("Several sessions are drawn: say where to with -o DIR.")
    output = groups[0][0].path / "plots" if args.output_dir is None else args.root_dir.resolve() / args.output_dir
    for file in plot(groups, args.type, args.keyx, args.keyy, args.opts, output):
        print(file)


if __name__ == "__main__":
    raise SystemExit(main())
