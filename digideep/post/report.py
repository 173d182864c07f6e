"""One HTML page about sessions: `python -m digideep.post.report SESSION… [-o FILE]`.

The page is one file that asks for nothing on the network: plotly, which draws its curves, and its videos are inside.
"""

import argparse
import base64
import html
import os
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import directory_path
from digideep.post.comparison import Group, changes_of, differences, make_groups, measured_return, parameters_of
from digideep.post.drawing import BANDS, WINDOW, quietly
from digideep.post.figures import write_figures
from digideep.post.loader import Loader, read_sessions
from digideep.post.report_page import make_page
from digideep.post.report_plots import (
    Pictures,
    comparison,
    environment_says,
    learning,
    metrics,
    profile,
    resources,
    section,
    table,
)
from digideep.post.sessions import find_sessions
from digideep.post.status import state_of
from digideep.post.sweep import read_sweep, sweep_part
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.files import is_directory
from digideep.utility.own_files import require_no_link
from digideep.utility.text import printable
from digideep.utility.version import __version__

_PARTS = ("params", "cpanel", "varlog", "prolog", "monlog", "evaluations")  # of each session
_VIDEO_BYTES = 4 * 2**20  # larger ones are named, not shown


def make_report(
    loaders: list[Loader],
    window: int = WINDOW,
    *,
    band: str = "ci",
    title: str | None = None,
    figures: Path | None = None,
    sweeps: Mapping[str, dict[str, Any]] | None = None,
) -> str:
    """Return the page.

    Args:
        window: epochs of the moving average of train returns, and of all else that training episodes say.
        band: around the curves at first, a key of `BANDS`.
        title: of the page; None takes the session's name, or their number.
        figures: a directory in which each picture with curves is written as PDF and SVG, too.
        sweeps: searches that the sessions belong to, from `read_sweep`, by the names of their directories.

    Raises:
        UsageError: if a package is missing, or a figure cannot be written.
    """
    groups, pictures = make_groups(loaders), Pictures()
    title = title or (loaders[0].name if len(loaders) == 1 else f"{len(loaders)} sessions")
    with quietly():
        parts = [
            *(sweep_part(name, sweep, pictures) for name, sweep in (sweeps or {}).items()),
            _overview(loaders, groups),
            _repeated(groups),
            comparison(groups, pictures),
            learning(groups, window, pictures),
            environment_says(groups, window, pictures),
            metrics(groups, window, pictures),
            profile(groups, pictures),
            resources(groups, pictures),
            _evaluations(loaders),
            _videos(loaders),
            _parameters(groups),
        ]
        stamp = f"{datetime.now():%Y-%m-%d %H:%M}, digideep {__version__}"
        page = make_page(title, stamp, parts, groups, pictures, band)
        if figures is not None:
            own = [loader.path for loader in loaders]
            write_figures(pictures.charts, [group.name for group in groups], figures, band, own)
    return page


def _overview(loaders: list[Loader], groups: list[Group]) -> str:
    names = {id(loader): group.name for group in groups for loader in (*group.loaders, *group.repeated)}
    is_told = any("/success/test" in loader.varlog for loader in loaders)
    rows = []
    for loader in loaders:
        log = loader.varlog
        last = measured_return(loader, "test")
        tests = log.mean("/return/test") if "/return/test" in log else np.zeros(0)
        tests = tests[np.isfinite(tests)]
        success = f"{100 * log.mean('/success/test')[-1]:.0f} %" if "/success/test" in log else "-"
        rows.append(
            (loader.name, *([names[id(loader)]] if len(groups) > 1 else []), state_of(loader.path),
             loader.params["env"]["name"], loader.agent_names, loader.seed,
             log.last("frame"), *(last or ("-", "-")), float(np.max(tests)) if len(tests) else "-",
             *([success] if is_told else []), loader.message)
        )  # fmt: skip
    header = ("session", *(["group"] if len(groups) > 1 else []), "state", "environment", "agent", "seed",
              "frames logged", "last test return", "at frame", "best test return",
              *(["last test success"] if is_told else []), "message")  # fmt: skip
    return table(header, rows)


def _repeated(groups: list[Group]) -> str:
    """Name the sessions that repeat others and count only once."""
    repeated = [loader for group in groups for loader in group.repeated]
    names = [html.escape(f"{loader.name} (seed {loader.seed})") for loader in repeated]
    if not names:
        return ""
    return (
        f'<p class="note">Counted and drawn once: {", ".join(names)}. Another session here has the same parameters and '
        "the same seed, and got as far or further: such a run repeats it and adds no evidence.</p>"
    )


def _evaluations(loaders: list[Loader]) -> str:
    rows = [
        (loader.name, found["checkpoint"] or "-", found["episodes"], found["seed"], found["mean"], found["std"],
         *(found["quantiles"][level] for level in ("0.05", "0.5", "0.95")))
        for loader in loaders
        for found in loader.evaluations
    ]  # fmt: skip
    header = ("session", "checkpoint", "episodes", "seed", "mean", "std", "5 %", "median", "95 %")
    return section("Evaluations", table(header, rows) if rows else "")


def _videos(loaders: list[Loader]) -> str:
    """Show the newest recorded episode of each session, and of its newest evaluation."""
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
    return section("Videos", "".join(parts))


def _is_file(path: Path) -> bool:
    """True if a path is a regular file that can be read, not a link to one."""
    return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)


def _parameters(groups: list[Group]) -> str:
    content = ""
    if len(groups) > 1:
        found = differences([group.loaders[0] for group in groups])
        header = ("parameter", *(group.name for group in groups))
        rows = ((path, *("-" if value is None else str(value) for value in values)) for path, values in found.items())
        content += "<h3>What differs</h3>" + (table(header, rows) if found else "<p>Nothing but the seed.</p>")
    for group in groups:
        loader = group.loaders[0]
        tree = _listed(("parameter in force", "value"), parameters_of(loader))
        changed = changes_of(loader)
        changes = _listed(("changed by --repeal", "to"), changed) if changed else ""
        panel = _listed(("control panel at the start", "value"), loader.cpanel)
        command = f"<pre>{html.escape(str(loader.params.get('session_cmd', '')))}</pre>"
        state = " open" if len(groups) == 1 else ""
        name = html.escape(group.name)
        content += f"<details{state}><summary>{name}</summary>{command}{panel}{changes}</details>"
        content += f"<details><summary>{name}: the whole tree</summary>{tree}</details>"
    return section("Parameters", content)


def _listed(header: tuple[str, str], values: dict[str, Any]) -> str:
    return table(header, ((name, str(value)) for name, value in values.items()))


def _sessions_of(paths: list[Path]) -> list[Path]:
    """Return sessions, in the place of a directory all that lie below it."""
    found: list[Path] = []
    for path in paths:
        below = [] if _is_session(path) or not is_directory(path) else find_sessions(path)
        found += below or [path]
    return list(dict.fromkeys(found))


def _is_session(path: Path) -> bool:
    try:
        return os.path.lexists(path / "params.yaml")
    except (OSError, ValueError):
        return False


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep report",
        description="Write one HTML page about sessions. Those that differ in their seed only become one curve.",
        epilog=(
            "examples:\n  digideep report NAME --figures figures\n"
            "  digideep report digideep_sessions -o report.html --title 'Two rates'"
        ),
    )
    parser.add_argument(
        "sessions",
        nargs="+",
        type=directory_path,
        metavar="SESSION",
        help="a session, or a directory: all sessions below it",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="(report.html of the first session, or of the directory)"
    )
    parser.add_argument("--title", metavar="TEXT", help="of the page (the session's name, or how many there are)")
    parser.add_argument(
        "--window", type=int, default=WINDOW, metavar="N", help=f"epochs of the moving average ({WINDOW})"
    )
    parser.add_argument(
        "--band", choices=tuple(BANDS), default="ci", help="around means of several runs: their 95 %% interval (ci), "
        "least to greatest (range), standard deviation (std); the page has buttons for it (ci)",
    )  # fmt: skip
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="write each picture with curves there as PDF and SVG, for papers"
    )
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    paths = _sessions_of(args.sessions)
    loaders = read_sessions(paths, *_PARTS)
    first = args.sessions[0] if args.sessions[0] not in paths else loaders[0].path
    target = args.output or first / "report.html"
    require_no_link(target, paths)
    sweeps = {path.name: found for path in args.sessions if (found := read_sweep(path)) is not None}
    page = make_report(loaders, args.window, band=args.band, title=args.title, figures=args.figures, sweeps=sweeps)
    try:
        target.write_text(page, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as err:
        reason = f"{printable(str(target))} cannot be written: {getattr(err, 'strerror', None) or err}"
        raise UsageError(f"{reason}. Give another place with -o.") from err
    print(target)


if __name__ == "__main__":
    raise SystemExit(main())
