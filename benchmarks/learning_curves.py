"""Learning curves as pictures: one for each task, with all its methods, and one with all tasks."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning_figures import Figures
from benchmarks.learning_plan import Row
from digideep.post.drawing import (
    COLOURS,
    WINDOW,
    Curve,
    band_of,
    draw_line,
    import_pyplot,
    label,
    number,
    quietly,
)

OVERVIEW = "overview"
_COLUMNS = 4

Trained = tuple[Row, Figures]  # a row, and what it reached


def file_name(task: str) -> str:
    """Return the name of a task's picture."""
    return f"{re.sub(r'[^a-z0-9]+', '-', task.lower()).strip('-')}.svg"


def draw(trained: Sequence[Trained], colours: Mapping[str, int], images: Path) -> None:
    """Draw the picture of each task that something was trained on, and the one of all.

    Args:
        trained: rows whose runs have finished.
        colours: place of each method's colour.
        images: the directory that gets them.
    """
    tasks = list(dict.fromkeys(row.task for row, _ in trained))
    if not tasks:
        return
    plt = import_pyplot()
    images.mkdir(parents=True, exist_ok=True)
    columns = min(_COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    # The same numbers give the same file.
    with plt.rc_context({"svg.hashsalt": "digideep", "font.size": 9}), quietly():
        together, grid = plt.subplots(
            lines, columns, figsize=(3.2 * columns, 2.6 * lines), layout="constrained", squeeze=False
        )
        for place, task in enumerate(tasks):
            figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
            for target in (axes, grid.flat[place]):
                _draw_task(plt, target, task, [each for each in trained if each[0].task == task], colours)
            axes.set_ylabel(f"return of training episodes\n(moving average of {WINDOW} epochs)")
            _save(plt, figure, images / file_name(task))
        for axes in grid.flat[len(tasks) :]:
            axes.axis("off")
        _save(plt, together, images / f"{OVERVIEW}.svg")


def _draw_task(plt: Any, axes: Any, task: str, trained: Sequence[Trained], colours: Mapping[str, int]) -> None:
    """Draw a curve for each method: the mean over seeds, and the 95 % interval of it."""
    for row, figures in trained:
        places, values = map(np.array, figures.curve)
        curve = Curve(places, values.mean(0), *band_of(values, "ci"))
        colour = COLOURS[colours[row.method] % len(COLOURS)]
        style = "-" if colours[row.method] < len(COLOURS) else "--"
        draw_line(axes, curve, color=colour, linewidth=1.5, linestyle=style, label=label(row.method))
        if len(values) > 1:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.set_title(label(task))
    axes.set_xlabel("frames")
    axes.xaxis.set_major_locator(plt.MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _save(plt: Any, figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def links(images: Path, page: Path, tasks: Sequence[str]) -> str:
    """Return the lines of a page that show the pictures there are. Args: tasks: in their order."""
    files = {task: images / file_name(task) for task in tasks}
    base = page.resolve().parent
    return "\n".join(
        f"![Returns on {task}]({Path(os.path.relpath(file, base)).as_posix()})"
        for task, file in files.items()
        if file.exists()
    )
