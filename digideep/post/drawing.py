"""What the plotter and the report share: curves of several sessions as one, and matplotlib."""

import contextlib
import html
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from digideep.utility.own_files import require_own_output
from digideep.utility.text import printable

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")
WINDOW = 5  # points of the moving average, but for what is measured without exploration
BANDS = {  # around the mean of several runs: the name of each, and what it says in a picture
    "ci": "95 % interval of the mean (bootstrap)",
    "range": "from the least to the greatest run",
    "std": "one standard deviation of the runs to each side",
}
_RESAMPLES = 1000  # of the bootstrap
_MAX_POINTS = 1000
_MAX_LABEL = 120  # letters
_LARGEST = 1e100  # matplotlib computes with squares and products of what it draws


class Curve(NamedTuple):
    """A line and the band around it, float64 (P,) each."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the moving average of values (P,) over the last `window` >= 1 points, or at the start over fewer."""
    if window < 1:
        raise UsageError(f"window_size must be at least 1, got {window}.")
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def align(
    series: Sequence[tuple[np.ndarray, np.ndarray]], window: int = 1, most: int = _MAX_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Read several runs at common places on the x-axis, over the range that all of them cover.

    Each run is smoothed before: points that two runs logged at different frames are never taken for each other.

    Args:
        series: x and y of each run, x increasing.
        window: of `smooth`.
        most: places at most.

    Returns:
        The places, float64 (P,), and the values, float64 (runs, P).
    """
    first, last = max(x[0] for x, _ in series), min(x[-1] for x, _ in series)
    places = np.unique(np.concatenate([x for x, _ in series]))
    places = places[(places >= first) & (places <= last)]
    if not len(places):
        raise UsageError("The runs of a group have no part of the x-axis in common: draw them as groups of their own.")
    if len(places) > most:
        places = np.linspace(first, last, most)
    return places, np.stack([np.interp(places, x, smooth(y, window)) for x, y in series])


def band_of(rows: np.ndarray, band: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper edge of a band around the mean, float64 (P,) each.

    Args:
        rows: float64 (runs, P).
        band: a key of `BANDS`. The interval of the mean is a percentile bootstrap over the runs, with a seed of its
            own; of two or three runs it reaches from the least to the greatest. The deviation is that of a sample.
    """
    if band == "range" or len(rows) == 1:
        return rows.min(0), rows.max(0)
    if band == "std":
        mean, deviation = rows.mean(0), rows.std(0, ddof=1)
        return mean - deviation, mean + deviation
    count = len(rows)
    shares = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) / count
    low, high = np.quantile(shares @ rows, (0.025, 0.975), axis=0)
    return low, high


def join(series: Sequence[tuple[np.ndarray, np.ndarray]], window: int = 1, band: str = "range") -> Curve:
    """Join several runs into one curve: their mean, and a band around it. Args: as of `align` and `band_of`."""
    places, rows = align(series, window)
    return Curve(places, rows.mean(0), *band_of(rows, band))


def series_of(loader: Loader, log: str, key: str, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a key in a session's log.

    Args:
        log: "varlog" or "monlog".
        key: such as "/return/train".
        field: of the x-axis, such as "frame"; "clock" becomes minutes since the first line, and "time", of a varlog,
            minutes of training without pauses.

    Lines without that field, and values that are no finite numbers, are left out.

    Raises:
        UsageError: if there is no such key or field, or no point is left.
    """
    try:
        entry = getattr(loader, log)[key]
    except KeyError as err:
        raise UsageError(f"{loader.name}: {err.args[0]}") from err
    if field == "time" and "frame" in entry:
        entry = {**entry, "time": _minutes(loader, entry["frame"])}
    if field not in entry:
        raise UsageError(f"{loader.name}: '{key}' has no field '{field}'. It has {', '.join(entry)}.")
    x, y = entry[field].astype(np.float64), entry["sum"] / entry["num"]
    is_drawn = (np.abs(x) < _LARGEST) & (np.abs(y) < _LARGEST)  # False for NaN
    x, y = x[is_drawn], y[is_drawn]
    if not len(x):
        raise UsageError(f"{loader.name}: '{key}' has no finite value with a finite '{field}'.")
    return ((x - x[0]) / 60 if field == "clock" else x), y


def _minutes(loader: Loader, frames: np.ndarray) -> np.ndarray:
    """Return after how many minutes of training a run had done so many frames; NaN where its speed was not logged."""
    speed = loader.varlog.get("/speed/frames_per_s", {})
    if "frame" not in speed:
        return np.full(len(frames), np.nan)
    with np.errstate(all="ignore"):
        done, pace = speed["frame"], speed["num"] / speed["sum"]  # seconds a frame
        is_known = np.isfinite(pace)  # not of an epoch that was resumed when only its test was left
        if is_known.any():
            pace[~is_known] = pace[is_known].mean()
        return np.interp(frames, done, np.cumsum(np.diff(done, prepend=0) * pace) / 60)


def draw_line(axes: Any, curve: Curve, **style: Any) -> None:
    """Draw a curve's line; one that is a single point as a dot, which would be no line."""
    axes.plot(curve.x, curve.mean, **({"marker": "o"} if len(curve.x) == 1 else {}) | style)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Draw without remarks on letters that a font lacks, or on numbers that overflow."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def import_pyplot() -> ModuleType:
    """Import matplotlib's pyplot, for a machine without a screen. Raises: UsageError: if it is not installed."""
    try:
        import matplotlib
    except ImportError as err:
        raise UsageError("Plots need a package that is missing: pip install 'digideep[plot]'.") from err
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def label(text: Any) -> str:
    """Return text that matplotlib shows as it is, on one line.

    A dollar sign would begin a formula, an underscore in front hides a line from the legend, a long text squeezes the
    picture.
    """
    text = printable(str(text))
    text = text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 1]}…"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def plain_label(text: Any) -> str:
    """Return text that plotly shows as it is, on one line: it would read tags."""
    text = printable(str(text))
    return html.escape(text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 1]}…", quote=False)


def number(value: float) -> str:
    """Return a number as an axis shows it: 2,500,000 is 2.5 M."""
    size = abs(value)
    return f"{value / 1e6:g} M" if size >= 1e6 else f"{value:,.0f}" if size >= 1e4 else f"{value:,.4g}"


def axes_as_json(figure: Any) -> dict[str, Any]:
    """Return what a figure of matplotlib shows, in numbers that JSON can hold.

    Returns:
        {"axes": [...]}: of each the title, the labels and limits of the axes; of each line its label, colour, "x" and
        "y"; of each band its corners; of each part of a ring its label and its angles in degrees.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Wedge

    shown = []
    for axes in figure.axes:
        shown.append({
            "title": axes.get_title(), "xlabel": axes.get_xlabel(), "ylabel": axes.get_ylabel(),
            "xlim": [float(end) for end in axes.get_xlim()], "ylim": [float(end) for end in axes.get_ylim()],
            "lines": [
                {"label": str(line.get_label()), "colour": line.get_color(),
                 "x": _finite(line.get_xdata()), "y": _finite(line.get_ydata())}
                for line in axes.lines
            ],
            "bands": [
                _finite(path.vertices)
                for band in axes.collections if isinstance(band, PolyCollection) for path in band.get_paths()
            ],
            "rings": [
                {"label": str(patch.get_label()), "radius": patch.r, "from": patch.theta1, "to": patch.theta2}
                for patch in axes.patches if isinstance(patch, Wedge)
            ],
        })  # fmt: skip
    return {"axes": shown}


def _finite(values: Any) -> list[Any]:
    """Return numbers as lists, with null for those that JSON does not know."""
    array = np.asarray(values, np.float64)
    plain: list[Any] = np.where(np.isfinite(array), array, None).tolist()  # type: ignore[call-overload]
    return plain


def save(figure: Any, stem: Path, extensions: Sequence[str], dpi: int, root: Path | None = None) -> list[Path]:
    """Write a figure of matplotlib in several formats; the figure is closed.

    Args:
        dpi: of files made of pixels.
        root: the session in which they are written, if it is in one: then through no link.

    Raises:
        UsageError: for a format that is unknown, or a place that cannot be written.
    """
    plt = import_pyplot()
    known = {**figure.canvas.get_supported_filetypes(), "json": "what is drawn, in numbers"}
    files = []
    for extension in extensions:
        if extension not in known:
            raise UsageError(f"ext '{extension}' is no format. Expected one of {', '.join(sorted(known))}.")
        file = stem.with_name(f"{stem.name}.{extension}")
        try:
            if root is not None:
                require_own_output(root, file)
            file.parent.mkdir(parents=True, exist_ok=True)
            if extension == "json":
                file.write_text(json.dumps(axes_as_json(figure), indent=1) + "\n", encoding="utf-8")
            else:
                figure.savefig(file, dpi=dpi, bbox_inches="tight")
        except OSError as err:
            raise UsageError(f"{file} cannot be written: {err.strerror or err}. Give another place.") from err
        files.append(file)
    plt.close(figure)
    return files
