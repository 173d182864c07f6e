"""Figures for papers: the curves of a report, one file each, as PDF and as SVG."""

import re
from pathlib import Path

from digideep.post.charts import AXES, Chart
from digideep.post.drawing import BANDS, COLOURS, Curve, band_of, draw_line, import_pyplot, label, number, save
from digideep.utility.own_files import require_no_link

_DASHES = ("-", "--", ":")  # of groups beyond the colours
_WITHIN = 4  # groups whose legend has room within the axes
_FORMATS = ("pdf", "svg")
_SIZE = (4.8, 3.2)  # inches: two side by side on a page
# Text stays text: TrueType in PDF, which publishers ask for, and <text> in SVG.
_STYLE = {"pdf.fonttype": 42, "svg.fonttype": "none", "font.size": 9}


def write_figures(
    charts: list[Chart], names: list[str], directory: Path, band: str, sessions: list[Path] | None = None
) -> list[Path]:
    """Write each chart over frames, in the colours of the page.

    Args:
        charts: of a report.
        names: of the groups, by number.
        band: around means of several runs, a key of `BANDS`.
        sessions: within these, nothing is written through a link.

    Returns:
        The files.

    Raises:
        UsageError: if matplotlib is missing, or a file cannot be written.
    """
    plt = import_pyplot()
    has_environments = len({chart.environment for chart in charts}) > 1
    files: list[Path] = []
    with plt.rc_context(_STYLE):
        for chart in charts:
            lines = [line for line in chart.lines if "frame" in line.curves]
            if not lines:
                continue
            count = len({line.group for line in lines})
            below = 0.17 * count if count > _WITHIN else 0.0  # inches, for the legend
            figure, axes = plt.subplots(figsize=(_SIZE[0], _SIZE[1] + below), layout="constrained")
            labelled: set[int] = set()
            for line in lines:
                places, rows = line.curves["frame"]
                curve, colour = Curve(places, rows.mean(0), *band_of(rows, band)), COLOURS[line.group % len(COLOURS)]
                name = None if line.group in labelled else label(names[line.group])
                labelled.add(line.group)
                style = _DASHES[line.group // len(COLOURS) % len(_DASHES)]
                draw_line(axes, curve, color=colour, linestyle=style, linewidth=1.4, label=name)
                if len(rows) > 1:
                    axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            words = [f"moving average of {chart.window} epochs"] if chart.window > 1 else []
            words += [f"band: {BANDS[band]}"] if any(len(line.curves["frame"][1]) > 1 for line in lines) else []
            axes.set_title("\n".join(filter(None, [label(chart.environment), "; ".join(words)])), fontsize=8)
            axes.set_xlabel(AXES["frame"])
            axes.set_ylabel(label(chart.title))
            axes.xaxis.set_major_formatter(lambda value, _: number(value))
            axes.grid(alpha=0.3)
            if below:
                figure.legend(fontsize=7, loc="outside lower center", frameon=False)
            elif count > 1:
                axes.legend(fontsize=8)
            key = f"{chart.environment if has_environments else ''}{chart.key}"
            stem = re.sub(r"[^\w.-]+", "_", key).strip("_.")[:150]
            for extension in _FORMATS:
                require_no_link(directory / f"{stem}.{extension}", sessions or [])
            files += save(figure, directory / stem, _FORMATS, 300)
    return files
