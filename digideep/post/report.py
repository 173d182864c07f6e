"""One HTML page about sessions: `python -m digideep.post.report SESSION… [-o FILE]`.

The page is one file: its plots are SVG, its videos are inside, and it asks for nothing on the network.
"""

import argparse
import base64
import html
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from digideep.post.comparison import Group, changes_of, differences, make_groups, measured_return, parameters_of
from digideep.post.drawing import WINDOW, import_pyplot, quietly
from digideep.post.loader import Loader, read_sessions
from digideep.post.report_plots import comparison, learning, metrics, profile, resources, section, table
from digideep.post.status import state_of
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.own_files import require_own_output
from digideep.utility.text import printable
from digideep.utility.version import __version__

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


def make_report(loaders: list[Loader], window: int = WINDOW) -> str:
    """Return the page. Args: window: epochs of the moving average of train returns."""
    import_pyplot()
    groups = make_groups(loaders)
    title = loaders[0].name if len(loaders) == 1 else f"{len(loaders)} sessions"
    with quietly():
        parts = [
            _overview(loaders),
            _repeated(groups),
            comparison(groups),
            learning(groups, window),
            metrics(groups),
            profile(groups),
            resources(groups),
            _evaluations(loaders),
            _videos(loaders),
            _parameters(groups),
        ]
    stamp = f"{datetime.now():%Y-%m-%d %H:%M}, digideep {__version__}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<p class="note">{stamp}</p>{"".join(parts)}</body></html>\n'
    )


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
        found = differences(groups)
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


def _require_no_link(target: Path, sessions: list[Path]) -> None:
    """Refuse a place within a session that a link leads away from."""
    place = target.parent.resolve() / target.name
    for session in sessions:
        for root, file in ((session, target), (session.resolve(), place)):
            if file.is_relative_to(root):
                require_own_output(root, file)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m digideep.post.report", description="Write one HTML page about one or more sessions."
    )
    parser.add_argument("sessions", nargs="+", type=Path, metavar="SESSION")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(report.html of the first session)")
    parser.add_argument(
        "--window", type=int, default=WINDOW, metavar="N", help=f"epochs of the moving average ({WINDOW})"
    )
    args = parser.parse_args(argv)
    loaders = read_sessions(dict.fromkeys(args.sessions), *_PARTS)
    target = args.output or loaders[0].path / "report.html"
    _require_no_link(target, args.sessions)
    page = make_report(loaders, args.window)
    try:
        target.write_text(page, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as err:
        reason = f"{printable(str(target))} cannot be written: {getattr(err, 'strerror', None) or err}"
        raise UsageError(f"{reason}. Give another place with -o.") from err
    print(target)


if __name__ == "__main__":
    raise SystemExit(main())
