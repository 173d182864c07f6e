"""Pieces of a report as HTML: tables, and the parts that are drawn, each of groups of sessions, or nothing."""

import contextlib
import html
from collections.abc import Iterable
from typing import Any

import numpy as np

from digideep.post.comparison import Group, Score, score
from digideep.post.drawing import COLOURS, Curve, as_svg, draw_line, import_pyplot, join, label, number, series_of
from digideep.telemetry.writers import shares
from digideep.utility.errors import UsageError


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table, everything escaped, numbers on the right."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'<td class="n">{value:,.2f}</td>'
        if isinstance(value, int) and not isinstance(value, bool):
            return f'<td class="n">{value:,}</td>'
        return f"<td>{html.escape(str(value))}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def section(title: str, content: str) -> str:
    """Return a part of the page under a title; nothing where it has no content. Args: content: HTML."""
    return f"<h2>{title}</h2>{content}" if content else ""


def comparison(groups: list[Group]) -> str:
    """Draw and list the scores of the groups of each environment; returns of different ones do not compare."""
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
    return section("Comparison", content and content + note)


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
    return as_svg(figure) + table(header, rows)


def _environments(groups: list[Group]) -> dict[str, list[tuple[int, Group]]]:
    """Return the groups by environment, each with its number, which decides its colour."""
    found: dict[str, list[tuple[int, Group]]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group.loaders[0].params["env"]["name"], []).append((index, group))
    return found


def _draw(axes: Any, groups: list[tuple[int, Group]], key: str, window: int, style: dict[str, Any]) -> bool:
    """Draw a key of each group that has it. Returns: True if any has."""
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
    """Return the runs of a group as one curve, or as one each if they have no frames in common."""
    series = []
    for loader in group.loaders:
        with contextlib.suppress(UsageError):  # this run has nothing to draw there
            series.append(series_of(loader, "varlog", key, "frame"))
    try:
        return [join(series, window)] if series else []
    except UsageError:
        return [join([one], window) for one in series]


def learning(groups: list[Group], window: int) -> str:
    """Draw train and test returns of each environment. Args: window: of the moving average of train returns."""
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
    return section("Learning curves", content and content + note)


def metrics(groups: list[Group]) -> str:
    """Draw everything that updates returned, and the speed, for each environment."""
    content = ""
    for environment, members in _environments(groups).items():
        keys = dict.fromkeys(key for _, group in members for loader in group.loaders for key in loader.varlog)
        shown = [key for key in keys if key.startswith(("/update/", "/speed/", "/length/train"))]
        if shown:
            content += (f"<h3>{html.escape(environment)}</h3>" if len(groups) > 1 else "") + _draw_all(shown, members)
    return section("Losses and other metrics", content)


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


def profile(groups: list[Group]) -> str:
    """Draw the share of time that each phase took, a bar for each group."""
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
    return section("Where the time went", as_svg(figure))


def resources(groups: list[Group]) -> str:
    """Draw the load of the machine, a line for each session."""
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
    return section("Resources", as_svg(figure))
