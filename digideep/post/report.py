"""One HTML page about sessions: `python -m digideep.post.report SESSION… [-o FILE]`.

The page is one file: its plots are SVG, its videos are inside, and it asks for nothing on the network.
"""

import argparse
import base64
import contextlib
import html
import os
import stat
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import digideep
from digideep.post.comparison import (
    Group,
    Score,
    changes_of,
    differences,
    make_groups,
    measured_return,
    parameters_of,
    score,
)
from digideep.post.drawing import (
    COLOURS,
    Curve,
    as_svg,
    draw_line,
    import_pyplot,
    join,
    label,
    number,
    quietly,
    series_of,
)
from digideep.post.loader import Loader, read_sessions
from digideep.post.sessions import state_of
from digideep.telemetry.output import tolerate_encodings
from digideep.telemetry.writers import shares
from digideep.utility.errors import UsageError
from digideep.utility.files import printable
from digideep.utility.own_files import require_own_output

_PARTS = ("params", "cpanel", "varlog", "prolog", "monlog", "evaluations")  # of each session
_VIDEO_BYTES = 4 * 2**20  # larger ones are named, not shown
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; border-bottom: 1px solid #ddd; margin-top: 2.5rem }
table { border-collapse: collapse; margin: .5rem 0 } th { text-align: left }
td, th { padding: .15rem .8rem .15rem 0; vertical-align: top; border-bottom: 1px solid #eee }
td.n { text-align: right; font-variant-numeric: tabular-nums } code, pre { font-size: .85em }
svg { max-width: 100%; height: auto } video { max-width: 20rem; margin-right: 1rem } p.note { color: #666 }
summary { cursor: pointer }
"""
# Whatever a session's files hold, the page runs and loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def make_report(sessions: list[Path], window: int = 5) -> str:
    """The page. Args: sessions: directories; window: of the moving average of train returns.

    Damaged sessions are left out, with a line on stderr.

    Raises:
        UsageError: if none is a whole session, or a package is missing.
    """
    return _page(read_sessions(dict.fromkeys(sessions), *_PARTS), window)


def _page(loaders: list[Loader], window: int) -> str:
    import_pyplot()
    groups = make_groups(loaders)
    title = loaders[0].name if len(loaders) == 1 else f"{len(loaders)} sessions"
    with quietly():
        parts = [
            _overview(loaders),
            _repeated(groups),
            _comparison(groups),
            _learning(groups, window),
            _metrics(groups),
            _profile(groups),
            _resources(groups),
            _evaluations(loaders),
            _videos(loaders),
            _parameters(groups),
        ]
    stamp = f"{datetime.now():%Y-%m-%d %H:%M}, digideep {digideep.__version__}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<p class="note">{stamp}</p>{"".join(parts)}</body></html>\n'
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Numbers to the right, everything escaped."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'<td class="n">{value:,.2f}</td>'
        if isinstance(value, int) and not isinstance(value, bool):
            return f'<td class="n">{value:,}</td>'
        return f"<td>{html.escape(str(value))}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _overview(loaders: list[Loader]) -> str:
    rows = []
    for loader in loaders:
        log = loader.varlog
        last = measured_return(loader, "test")
        tests = log.mean("/return/test") if "/return/test" in log else np.zeros(0)
        tests = tests[np.isfinite(tests)]
        rows.append(
            (loader.name, state_of(loader.path), loader.params["env"]["name"], loader.agent_names, loader.seed,
             log.last("frame"), *(last or ("-", "-")), float(np.max(tests)) if len(tests) else "-", loader.message)
        )  # fmt: skip
    header = ("session", "state", "environment", "agent", "seed", "frames logged", "last test return", "at frame",
              "best test return", "message")  # fmt: skip
    return _table(header, rows)


def _repeated(groups: list[Group]) -> str:
    """Which sessions say nothing new."""
    names = [
        f"{html.escape(loader.name)} (seed {html.escape(str(loader.seed))})"
        for group in groups
        for loader in group.repeated
    ]
    if not names:
        return ""
    return (
        f'<p class="note">Counted and drawn once: {", ".join(names)}. Another session here has the same parameters and '
        "the same seed, and got as far or further: such a run repeats it and adds no evidence.</p>"
    )


def _comparison(groups: list[Group]) -> str:
    """Scores of the groups of each environment: returns of different environments do not compare."""
    if sum(len(group.loaders) for group in groups) < 2:
        return ""
    content = ""
    for environment, members in _environments(groups).items():
        scores = [(index, group, found) for index, group in members if (found := score(group)) is not None]
        content += _draw_scores(environment, scores) if scores else ""
    note = (
        '<p class="note">Final return: the mean return of the last test, at the frame given; "train" stands where a '
        "run of the group was never tested: the mean over its training episodes, with exploration, in the last tenth "
        "of its frames. Intervals: 95 %, stratified bootstrap (rliable); few runs make them wide, one run has none.</p>"
    )
    return _section("Comparison", content and content + note)


def _draw_scores(environment: str, scores: list[tuple[int, Group, Score]]) -> str:
    plt = import_pyplot()
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.5 * len(scores)), layout="constrained")
    rows = []
    for place, (index, group, found) in enumerate(scores):
        point, low, high = found.iqm
        colour = COLOURS[index % len(COLOURS)]
        axes.plot([low, high], [place, place], color=colour, linewidth=8, alpha=0.35)
        axes.plot([point], [place], "|", color=colour, markersize=14, markeredgewidth=3)
        triples = (found.iqm, found.mean, found.median)
        cells = [f"{p:,.1f} [{a:,.1f}, {b:,.1f}]" if found.runs > 1 else f"{p:,.1f}" for p, a, b in triples]
        first, last = found.frames
        at = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        rows.append((group.name, found.runs, found.measure, at, *cells))
    axes.set_yticks(range(len(scores)), [label(group.name) for _, group, _ in scores])
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_xlabel(f"{label(environment)}: interquartile mean of the final return, with its 95 % interval")
    axes.grid(alpha=0.3, axis="x")
    header = ("group", "runs", "final return of", "at frame", "interquartile mean", "mean", "median")
    return as_svg(figure) + _table(header, rows)


def _environments(groups: list[Group]) -> dict[str, list[tuple[int, Group]]]:
    """Groups by environment, each with its number, which is its colour."""
    found: dict[str, list[tuple[int, Group]]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group.loaders[0].params["env"]["name"], []).append((index, group))
    return found


def _draw(axes: Any, groups: list[tuple[int, Group]], key: str, window: int, style: dict[str, Any]) -> bool:
    """Draw a key of each group that has it. Returns: whether any has."""
    is_drawn = False
    for index, group in groups:
        colour = COLOURS[index % len(COLOURS)]
        for place, curve in enumerate(_curves(group, key, window)):
            draw_line(axes, curve, color=colour, **style, **({} if place else {"label": label(group.name)}))
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            is_drawn = True
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(alpha=0.3)
    return is_drawn


def _curves(group: Group, key: str, window: int) -> list[Curve]:
    """The runs of a group as one curve; each as its own where they have no frames in common."""
    series = []
    for loader in group.loaders:
        with contextlib.suppress(UsageError):  # this run has nothing to draw there
            series.append(series_of(loader, "varlog", key, "frame"))
    try:
        return [join(series, window)] if series else []
    except UsageError:
        return [join([one], window) for one in series]


def _learning(groups: list[Group], window: int) -> str:
    plt = import_pyplot()
    content = ""
    for environment, members in _environments(groups).items():
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True, layout="constrained")
        drawn = _draw(left, members, "/return/train", window, {})
        drawn |= _draw(right, members, "/return/test", 1, {"marker": "o", "markersize": 3})  # each as it was measured
        left.set_title(f"train return (moving average of {window} epochs)")
        right.set_title("test return (without exploration)")
        left.set_ylabel(label(environment))
        for axes in (left, right):
            axes.set_xlabel("frames")
        if len(groups) > 1 and drawn:
            left.legend(fontsize=8)
        content += as_svg(figure) if drawn else ""
        if not drawn:
            plt.close(figure)
    note = (
        '<p class="note">Train return: the mean of the episodes that ended in an epoch, with exploration. Test return: '
        "the mean of a test's episodes, not smoothed. Bands: from the least to the greatest of the runs that differ in "
        "their seed only, over the frames that all of them reached.</p>"
    )
    return _section("Learning curves", content and content + note)


def _metrics(groups: list[Group]) -> str:
    """Small pictures of everything that updates returned, and of the speed, for each environment."""
    content = ""
    for environment, members in _environments(groups).items():
        keys = dict.fromkeys(key for _, group in members for loader in group.loaders for key in loader.varlog)
        wanted = [key for key in keys if key.startswith(("/update/", "/speed/", "/length/train"))]
        if wanted:
            content += (f"<h3>{html.escape(environment)}</h3>" if len(groups) > 1 else "") + _draw_all(wanted, members)
    return _section("Losses and other metrics", content)


def _draw_all(keys: list[str], members: list[tuple[int, Group]]) -> str:
    plt = import_pyplot()
    rows = -(-len(keys) // 3)
    figure, grid = plt.subplots(rows, 3, figsize=(12, 2.4 * rows), layout="constrained", squeeze=False)
    for axes, key in zip(grid.flat, keys, strict=False):
        _draw(axes, members, key, 1, {"linewidth": 1.2})
        axes.set_title(label(key), fontsize=9)
        axes.tick_params(labelsize=7)
    for axes in grid.flat[len(keys) :]:
        axes.axis("off")
    return as_svg(figure)


def _profile(groups: list[Group]) -> str:
    plt = import_pyplot()
    splits: list[tuple[str, dict[str, float]]] = []
    for group in groups:
        seconds: dict[str, float] = {}
        for loader in group.loaders:
            log = loader.prolog
            for key in log:
                seconds[key] = seconds.get(key, 0.0) + float(np.sum(log[key]["totals"]))
        if seconds:
            splits.append((group.name, shares(seconds)))
    if not splits:
        return ""
    phases = dict.fromkeys(path for _, split in splits for path, share in split.items() if share >= 1)
    figure, axes = plt.subplots(figsize=(12, 1.6 + 0.5 * len(splits)), layout="constrained")
    left, colours = np.zeros(len(splits)), plt.get_cmap("tab20")
    for index, path in enumerate(phases):
        widths = np.array([split.get(path, 0.0) for _, split in splits])
        bars = axes.barh(range(len(splits)), widths, left=left, color=colours(index % 20), label=label(path))
        axes.bar_label(bars, [f"{w:.0f} %" if w >= 4 else "" for w in widths], label_type="center", fontsize=8)
        left += widths
    axes.set_yticks(range(len(splits)), [label(name) for name, _ in splits])
    axes.set_ylim(len(splits) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of the time measured; each phase without the phases within it")
    figure.legend(ncol=5, fontsize=8, loc="outside lower center")
    return _section("Where the time went", as_svg(figure))


def _resources(groups: list[Group]) -> str:
    plt = import_pyplot()
    loaders = [loader for group in groups for loader in group.loaders]
    logged = [(loader, loader.monlog) for loader in loaders]
    gpus = sorted({key for _, log in logged for key in log if key.startswith("/gpu/") and key.endswith("/load")})
    keys = [key for key in ("/cpu/all/total", "/cpu/process", "/cpu/memory/mem", *gpus)
            if any(key in log for _, log in logged)]  # fmt: skip
    if not keys:
        return ""
    figure, grid = plt.subplots(1, len(keys), figsize=(12, 2.8), layout="constrained", squeeze=False)
    for axes, key in zip(grid.flat, keys, strict=True):
        for index, (loader, _) in enumerate(logged):
            with contextlib.suppress(UsageError):  # this one has nothing to draw there
                x, y = series_of(loader, "monlog", key, "clock")
                axes.plot(x, y, linewidth=1.2, color=COLOURS[index % len(COLOURS)])
        axes.set_title(f"{label(key)} ({'MiB' if 'memory' in key else 'percent'})", fontsize=9)
        axes.set_xlabel("minutes")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    return _section("Resources", as_svg(figure))


def _evaluations(loaders: list[Loader]) -> str:
    rows = [
        (loader.name, found["checkpoint"] or "-", found["episodes"], found["seed"], found["mean"], found["std"],
         *(found["quantiles"][level] for level in ("0.05", "0.5", "0.95")))
        for loader in loaders
        for found in loader.evaluations
    ]  # fmt: skip
    header = ("session", "checkpoint", "episodes", "seed", "mean", "std", "5 %", "median", "95 %")
    return _section("Evaluations", _table(header, rows) if rows else "")


def _videos(loaders: list[Loader]) -> str:
    """The newest recorded episode of each session, and of its newest evaluation."""
    parts = []
    for loader in loaders:
        filmed, played = list(loader.path.glob("videos/*.mp4")), list(loader.path.glob("evaluations/*/videos/*.mp4"))
        newest = [max(filter(_is_file, filmed), default=None),
                  max(filter(_is_file, played), key=lambda file: file.lstat().st_mtime, default=None)]  # fmt: skip
        for file in filter(None, newest):
            name = html.escape(str(file.relative_to(loader.path.parent)))
            if file.lstat().st_size > _VIDEO_BYTES:
                parts.append(f"<p>{name} is too large to be shown here.</p>")
                continue
            data = base64.b64encode(file.read_bytes()).decode()
            video = f'<video controls muted loop src="data:video/mp4;base64,{data}"></video>'
            parts.append(f"<figure>{video}<figcaption>{name}</figcaption></figure>")
    return _section("Videos", "".join(parts))


def _is_file(path: Path) -> bool:
    """True if a path is a regular file that can be read, not a link to one."""
    return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)


def _parameters(groups: list[Group]) -> str:
    content = ""
    if len(groups) > 1:
        found = differences(groups)
        header = ("parameter", *(group.name for group in groups))
        rows = ((path, *("-" if value is None else str(value) for value in values)) for path, values in found.items())
        content += "<h3>What differs</h3>" + (_table(header, rows) if found else "<p>Nothing but the seed.</p>")
    for group in groups:
        loader = group.loaders[0]
        rows = ((path, str(value)) for path, value in parameters_of(loader).items())
        table = _table(("parameter in force", "value"), rows)
        changed = [(key, str(value)) for key, value in changes_of(loader).items()]
        changes = _table(("changed by --repeal", "to"), changed) if changed else ""
        panel = _table(
            ("control panel at the start", "value"), ((key, str(value)) for key, value in loader.cpanel.items())
        )
        command = f"<pre>{html.escape(str(loader.params.get('session_cmd', '')))}</pre>"
        state = " open" if len(groups) == 1 else ""
        name = html.escape(group.name)
        content += f"<details{state}><summary>{name}</summary>{command}{panel}{changes}</details>"
        content += f"<details><summary>{name}: the whole tree</summary>{table}</details>"
    return _section("Parameters", content)


def _require_no_link(target: Path, sessions: list[Path]) -> None:
    """Refuse a place within a session that a link leads away from."""
    place = target.parent.resolve() / target.name
    for session in sessions:
        for root, file in ((session, target), (session.resolve(), place)):
            if file.is_relative_to(root):
                require_own_output(root, file)


def main(argv: list[str] | None = None) -> int:
    """The command. Returns: the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m digideep.post.report", description="Write one HTML page about one or more sessions."
    )
    parser.add_argument("sessions", nargs="+", type=Path, metavar="SESSION")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(report.html of the first session)")
    parser.add_argument("--window", type=int, default=5, metavar="N", help="epochs of the moving average (5)")
    args = parser.parse_args(argv)
    tolerate_encodings()
    try:
        loaders = read_sessions(dict.fromkeys(args.sessions), *_PARTS)
        target = args.output or loaders[0].path / "report.html"
        _require_no_link(target, args.sessions)
        page = _page(loaders, args.window)
        try:
            target.write_text(page, encoding="utf-8", errors="backslashreplace")
        except (OSError, ValueError) as err:
            reason = f"{printable(str(target))} cannot be written: {getattr(err, 'strerror', None) or err}"
            raise UsageError(f"{reason}. Give another place with -o.") from err
    except UsageError as err:
        print(f"digideep: {err}", file=sys.stderr)
        return err.exit_code
    print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
