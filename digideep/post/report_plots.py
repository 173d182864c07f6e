"""Pieces of a report as HTML: tables, and the parts with pictures, each of groups of sessions, or nothing.

Pictures are descriptions, which `report.js` draws with plotly; `Pictures` collects them.
"""

import contextlib
import html
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from digideep.post.charts import Chart, Members, environments, keys_of, make_charts
from digideep.post.comparison import Group, Score, score
from digideep.post.drawing import BANDS, COLOURS, band_of, plain_label, series_of
from digideep.telemetry.writers import shares
from digideep.utility.errors import UsageError

_POINTS, _FEWER_POINTS = 400, 200  # of a curve in a large and in a small picture
_LOAD_POINTS = 400
_SHORT = 30  # letters of a cell of a table that stays on one line
_PHASE_COLOURS = ("#4c6b8a", "#d9a441", "#7a9e7e", "#b36a5e", "#8f7aa8", "#5aa5a8", "#c98fae", "#9c9c6d", "#6f6f6f",
                  "#a8c0d8", "#edd9a3", "#b9d1bb", "#e0b5ad", "#c9bcd8")  # fmt: skip  # no group has one of them


class Pictures:
    """The pictures of a page, in their order.

    Attributes:
        charts: those that are curves.
        described: what `report.js` draws, of all.
    """

    def __init__(self) -> None:
        self.charts: list[Chart] = []
        self.described: list[dict[str, Any]] = []

    def add(self, description: dict[str, Any], size: str) -> str:
        """Take in a picture. Args: size: "wide", "large" or "small". Returns: the place for it, as HTML."""
        self.described.append(description)
        return f'<div class="picture {size}" id="picture-{len(self.described) - 1}"></div>'

    def add_curves(self, charts: Iterable[Chart], size: str) -> str:
        """Take in curves. Returns: the places for them, side by side."""
        places = ""
        for chart in charts:
            self.charts.append(chart)
            places += self.add(_describe(chart), size)
        return f'<div class="pictures">{places}</div>' if places else ""


def _describe(chart: Chart) -> dict[str, Any]:
    """Return curves as `report.js` draws them."""
    lines = []
    for line in chart.lines:
        axes: dict[str, dict[str, Any]] = {}
        for field, (places, rows) in line.curves.items():
            axes[field] = {"x": _short(places), "y": _short(rows.mean(0))}
            if len(rows) > 1:
                axes[field]["bands"] = {band: [_short(edge) for edge in band_of(rows, band)] for band in BANDS}
        lines.append({"group": line.group, "axes": axes})
    is_measured = "test" in chart.key.split("/")
    return {
        "title": plain_label(chart.title),
        "note": f"moving average of {chart.window} epochs" if chart.window > 1 else "",
        "is_share": chart.key.startswith("/success/"),
        "is_positive": all((rows > 0).all() for line in chart.lines for _, rows in line.curves.values()),
        "mode": "lines+markers" if is_measured else "lines",
        "lines": lines,
    }


def _short(values: np.ndarray) -> list[float]:
    """Return numbers with seven digits, which a page needs no more of."""
    return [float(f"{value:.7g}") for value in values.tolist()]


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table, everything escaped, numbers on the right; one that is too wide scrolls by itself."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'<td class="n">{value:,.2f}</td>'
        if isinstance(value, int) and not isinstance(value, bool):
            return f'<td class="n">{value:,}</td>'
        text = str(value)
        return f'<td class="{"s" if len(text) <= _SHORT else "l"}">{html.escape(text)}</td>'

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def section(title: str, content: str) -> str:
    """Return a part of the page under a title; nothing where it has no content. Args: content: HTML."""
    return f"<h2>{title}</h2>{content}" if content else ""


def comparison(groups: list[Group], pictures: Pictures) -> str:
    """Draw and list the scores of the groups of each environment."""
    if sum(len(group.loaders) for group in groups) < 2:
        return ""
    content = ""
    for environment, members in environments(groups).items():
        scores = [(index, group, found) for index, group in members if (found := score(group)) is not None]
        if len(scores) > 1:
            content += _draw_scores(environment, scores, pictures)
        content += _list_scores(scores) if scores else ""
    note = (
        '<p class="note">Final return: the mean return of the last test, at the frame given; "train" stands where a '
        "run of the group was never tested: the mean over its training episodes, with exploration, in the last tenth "
        "of its frames. Intervals: 95 %, stratified bootstrap (rliable); few runs make them wide, one run has none.</p>"
    )
    return section("Comparison", content and content + note)


def _draw_scores(environment: str, scores: list[tuple[int, Group, Score]], pictures: Pictures) -> str:
    traces = []
    for place, (index, _, found) in enumerate(scores):
        point, low, high = found.iqm
        shown = {"y": [place, place], "group": index, "mode": "lines", "hoverinfo": "skip", "opacity": 0.35}
        traces.append({**shown, "x": [low, high], "line": {"color": COLOURS[index % len(COLOURS)], "width": 10}})
        marker = {"symbol": "line-ns", "size": 16, "line": {"width": 3, "color": COLOURS[index % len(COLOURS)]}}
        text = f"{point:,.1f}" + (f" [{low:,.1f}, {high:,.1f}]" if found.runs > 1 else "")
        traces.append({"x": [point], "y": [place], "group": index, "mode": "markers", "marker": marker, "text": [text],
                       "hoverinfo": "text"})  # fmt: skip
    layout = {
        "height": 90 + 34 * len(scores),
        "xaxis": {"title": {"text": f"{plain_label(environment)}: interquartile mean of the final return, with its "
                                    "95 % interval"}},
        "yaxis": _names([group.name for _, group, _ in scores]),
    }  # fmt: skip
    return pictures.add({"traces": traces, "layout": layout}, "wide")


def _names(names: list[str]) -> dict[str, Any]:
    """Return a y-axis with a name at each whole number, the first on top."""
    axis = {"automargin": True, "ticklabelstandoff": 5, "fixedrange": True, "showgrid": False, "zeroline": False}
    ticks = {"tickvals": list(range(len(names))), "ticktext": [plain_label(name) for name in names]}
    return {"range": [len(names) - 0.5, -0.5], **ticks, **axis}


def _list_scores(scores: list[tuple[int, Group, Score]]) -> str:
    rows = []
    for _, group, found in scores:
        triples = (found.iqm, found.mean, found.median)
        cells = [f"{p:,.1f} [{a:,.1f}, {b:,.1f}]" if found.runs > 1 else f"{p:,.1f}" for p, a, b in triples]
        first, last = found.frames
        at = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        rows.append((group.name, found.runs, found.measure, at, *cells))
    header = ("group", "runs", "final return of", "at frame", "interquartile mean", "mean", "median")
    return table(header, rows)


def _of_each(groups: list[Group], draw: Callable[[Members, list[str]], str]) -> str:
    """Return what is drawn of each environment, under its name if there are several. Args: draw: of groups and keys."""
    found = environments(groups)
    content = ""
    for environment, members in found.items():
        part = draw(members, keys_of(members))
        content += (f"<h3>{html.escape(environment)}</h3>" if part and len(found) > 1 else "") + part
    return content


def learning(groups: list[Group], window: int, pictures: Pictures) -> str:
    """Draw train and test returns of each environment. Args: window: of the moving average of train returns."""

    def draw(members: Members, keys: list[str]) -> str:
        return pictures.add_curves(make_charts(("/return/train", "/return/test"), members, window, _POINTS), "large")

    note = (
        '<p class="note">Train return: the mean of the episodes that ended in an epoch, with exploration. Test return: '
        "the mean of a test's episodes, without exploration. Lines are means of the runs that differ in their seed "
        "only, over the frames, time or episodes that all of them reached. Time is the training's own, without the "
        "pauses of a run that was stopped. An interval of two or three runs reaches from the least to the greatest.</p>"
    )
    content = _of_each(groups, draw)
    return section("Learning curves", content and content + note)


def environment_says(groups: list[Group], window: int, pictures: Pictures) -> str:
    """Draw success rates, and what environments put into their infos."""

    def draw(members: Members, keys: list[str]) -> str:
        shown = sorted(
            (key for key in keys if key.startswith(("/success/", "/info/"))),
            key=lambda key: (key.startswith("/info/"), key.split("/")[3:], key.split("/")[2] != "train"),
        )
        return _draw_all(shown, members, window, pictures)

    return section("What the environment says", _of_each(groups, draw))


_SHOWN_ELSEWHERE = ("/return/train", "/return/test", "/return/recent")


def metrics(groups: list[Group], window: int, pictures: Pictures) -> str:
    """Draw everything else that was monitored: players' returns, lengths, what updates returned, the speed."""

    def draw(members: Members, keys: list[str]) -> str:
        shown = [key for key in keys if key not in _SHOWN_ELSEWHERE and not key.startswith(("/success/", "/info/"))]
        first = ("/return/", "/length/")
        return _draw_all(sorted(shown, key=lambda key: not key.startswith(first)), members, window, pictures)

    return section("Losses and other metrics", _of_each(groups, draw))


def _draw_all(keys: list[str], members: Members, window: int, pictures: Pictures) -> str:
    """Draw keys as small pictures; those of a single value are named in a line."""
    charts = make_charts(keys, members, window, _FEWER_POINTS)
    settings = {
        chart.key: chart for chart in charts if chart.constant is not None and not chart.key.startswith("/success/")
    }
    words = ", ".join(f"{html.escape(chart.title)} {chart.constant:g}" for chart in settings.values())
    note = f'<p class="note">Constant: {words}.</p>' if settings else ""
    return pictures.add_curves((chart for chart in charts if chart.key not in settings), "small") + note


def profile(groups: list[Group], pictures: Pictures) -> str:
    """Draw the share of time that each phase took, a bar for each group."""
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
    traces = []
    for index, path in enumerate(phases):
        widths = [split.get(path, 0.0) for _, split in splits]
        traces.append({
            "type": "bar", "orientation": "h", "x": _short(np.array(widths)), "y": list(range(len(splits))),
            "name": plain_label(path.removeprefix("/")), "text": [f"{w:.0f} %" if w >= 3 else "" for w in widths],
            "textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "hovertemplate": "%{x:.1f} %",
            "marker": {"color": _PHASE_COLOURS[index % len(_PHASE_COLOURS)]}, "width": 0.7,
        })  # fmt: skip
    layout = {
        "barmode": "stack", "height": 150 + 38 * len(splits), "showlegend": True,
        "legend": {"orientation": "h", "y": -0.1, "yref": "container", "traceorder": "normal"},
        "xaxis": {"range": [0, 100], "fixedrange": True,
                  "title": {"text": "percent of the time measured; each phase without the phases within it"}},
        "yaxis": _names([name for name, _ in splits]),
    }  # fmt: skip
    return section("Where the time went", pictures.add({"traces": traces, "layout": layout}, "wide"))


def resources(groups: list[Group], pictures: Pictures) -> str:
    """Draw the load of the machine, a line for each session in the colour of its group."""
    logged = [(index, loader, loader.monlog) for index, group in enumerate(groups) for loader in group.loaders]
    gpus = sorted({key for *_, log in logged for key in log if key.startswith("/gpu/") and key.endswith("/load")})
    titles = {"/cpu/all/total": "CPU, all of the machine (%)", "/cpu/process": "CPU, this run (%)",
              "/cpu/memory/mem": "memory of this run (MiB)"}  # fmt: skip
    places = ""
    for key in (*titles, *gpus):
        traces = []
        for index, loader, _ in logged:
            with contextlib.suppress(UsageError):  # this one has nothing to draw there
                x, y = _thinned(*series_of(loader, "monlog", key, "clock"))
                line = {"color": COLOURS[index % len(COLOURS)], "width": 1.3}
                traces.append({"x": _short(x), "y": _short(y), "group": index, "mode": "lines", "line": line,
                               "name": plain_label(loader.name)})  # fmt: skip
        if traces:
            title = titles.get(key) or f"GPU {key.split('/')[2]} (%)"
            layout = {"title": {"text": plain_label(title)}, "height": 240, "yaxis": {"rangemode": "tozero"},
                      "xaxis": {"title": {"text": "minutes, without pauses"}}}  # fmt: skip
            places += pictures.add({"traces": traces, "layout": layout}, "small")
    several = '<p class="note">A line for each session, in the colour of its group.</p>'
    note = several if len(logged) > 1 else ""
    return section("Resources", places and f'<div class="pictures">{places}</div>{note}')


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means of neighbours, and a clock that stands still in the pauses of a run, which wrote nothing then."""
    steps = np.diff(x, prepend=x[0])
    x = np.cumsum(np.clip(steps, 0, 10 * np.median(steps)))
    parts = min(len(x), _LOAD_POINTS)
    return tuple(np.array([part.mean() for part in np.array_split(values, parts)]) for values in (x, y))  # type: ignore[return-value]
