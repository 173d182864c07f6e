"""What the plotter can draw: curves of figures, of the machine's load, and rings of where the time went."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from digideep.parameters.component import Component
from digideep.parameters.suggest import did_you_mean
from digideep.post.drawing import BANDS, COLOURS, WINDOW, draw_line, import_pyplot, join, label, number, series_of
from digideep.post.loader import Loader, leave_out
from digideep.telemetry.writers import parent_of
from digideep.utility.errors import UsageError

Groups = list[list[Loader]]
Options = dict[str, Any]

_X_LABELS = {
    "frame": "frames",
    "epoch": "epochs",
    "episode": "episodes",
    "clock": "minutes",
    "time": "minutes of training",
}


class Plot(Component):
    """What `--type` names: one of those below, or the dotted name of a subclass of yours.

    Attributes:
        log: which log of a session is needed: "varlog", "monlog" or "prolog".
        keys: default of --keyx and --keyy.
        defaults: the options that --opts knows, with their defaults; those of all plots among them.
    """

    log: ClassVar[str] = "varlog"
    keys: ClassVar[tuple[str, str]] = ("frame", "/return/train")
    defaults: ClassVar[Options] = {
        "context": "paper", "font_scale": 2.0, "line_width": 2.5, "width": 10.0, "height": 8.0, "dpi": 300,
        "ext": "svg", "title": "",
    }  # fmt: skip

    @abstractmethod
    def draw(self, groups: Groups, keyx: str, keyy: str, options: Options) -> Any:
        """Draw.

        Args:
            groups: of sessions; each becomes one curve.
            keyx, keyy: what is drawn.
            options: all of `defaults`.

        Returns:
            A figure of matplotlib.
        """
        raise NotImplementedError

    def stem(self, keyy: str) -> str:
        """Return the name of the file, without its extension."""
        return keyy.strip("/").replace("/", "_")


class VarPlot(Plot):
    """A curve of each group: the mean of its runs, with a band around it."""

    defaults: ClassVar[Options] = {
        **Plot.defaults, "window_size": None, "band": "ci", "xlabel": None, "ylabel": None, "xlim_min": None,
        "xlim_max": None, "ylim_min": None, "ylim_max": None, "xticks_num": 4, "legends": None, "legends_option": {},
    }  # fmt: skip

    def draw(self, groups: Groups, keyx: str, keyy: str, options: Options) -> Any:
        """See `Plot`: a curve per group."""
        plt = import_pyplot()
        window = options["window_size"]
        if window is None:
            window = 1 if "test" in keyy.split("/") else WINDOW
        windows = _per_group("window_size", window, len(groups))
        legends = _per_group("legends", options["legends"] or [_name(group) for group in groups], len(groups))
        drawn = [_series(group, self.log, keyx, keyy) for group in groups]
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
            label(options["ylabel"]) if options["ylabel"] else _y_label(keyy, self.log, windows, drawn, options["band"])
        )
        axes.set_title(label(options["title"]))
        axes.set_xlim(options["xlim_min"], options["xlim_max"])
        lowest = 0 if self.log == "monlog" else None  # a load
        axes.margins(y=0.06)
        axes.set_ylim(lowest if options["ylim_min"] is None else options["ylim_min"], options["ylim_max"])
        axes.xaxis.set_major_locator(plt.MaxNLocator(options["xticks_num"], integer=keyx in ("epoch", "episode")))
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        axes.grid(alpha=0.3)
        axes.legend(**options["legends_option"])
        return figure


class MonPlot(VarPlot):
    """The load of the machine, likewise."""

    log: ClassVar[str] = "monlog"
    keys: ClassVar[tuple[str, str]] = ("clock", "/cpu/all/total")


class ProPlot(Plot):
    """Nested rings: where the time of one session went below a block of the profiler."""

    log: ClassVar[str] = "prolog"
    keys: ClassVar[tuple[str, str]] = ("", "/")
    defaults: ClassVar[Options] = {
        **Plot.defaults, "n_levels": 3, "collapse": True, "collapse_threshold": 0.1, "startangle": 90,
        "counterclock": False,
    }  # fmt: skip

    def draw(self, groups: Groups, keyx: str, keyy: str, options: Options) -> Any:
        """See `Plot`. Args: keyy: the block below which it is looked into."""
        if len(groups) != 1 or len(groups[0]) != 1:
            raise UsageError("--type profiler draws one session: give one -i that names one.")
        loader, root = groups[0][0], keyy
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
            colours: list[Any] = [
                plt.get_cmap("tab20")(i % 20) if key else (0, 0, 0, 0) for i, (key, _) in enumerate(ring)
            ]
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

    def stem(self, keyy: str) -> str:
        """See `Plot`."""
        return f"profiler_{super().stem(keyy)}".rstrip("_")


PLOTS: dict[str, type[Plot]] = {"variable": VarPlot, "monitor": MonPlot, "profiler": ProPlot}


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
