"""The frame of a report: its style, its scripts, and what a browser allows them to do."""

import base64
import functools
import hashlib
import html
import json
from importlib import resources
from typing import Any

from digideep.post.charts import AXES
from digideep.post.comparison import Group
from digideep.post.drawing import BANDS, COLOURS, plain_label
from digideep.post.report_plots import Pictures
from digideep.utility.errors import UsageError
from digideep.utility.text import printable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1500px; margin: 1.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere } h3 { margin: 1.2rem 0 .4rem }
h2 { font-size: 1.2rem; border-bottom: 1px solid #ddd; margin: 2.5rem 0 .8rem; scroll-margin-top: 5rem }
table { border-collapse: collapse; margin: .5rem 0; font-size: .92em } th { text-align: left; font-weight: 600 }
td, th { padding: .2rem 1.1rem .2rem 0; vertical-align: top; border-bottom: 1px solid #eee; max-width: 30rem;
         overflow-wrap: break-word } td.s { white-space: nowrap } td.l { min-width: 16rem } .scroll { overflow-x: auto }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6; padding: .5rem .8rem; font-size: .85em }
figure { display: inline-block; margin: 0 1rem 1rem 0 } video { width: 24rem; max-width: 100%; display: block }
figcaption, p.note { color: #666; font-size: .92em } p.note { max-width: 75rem } summary { cursor: pointer }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem 1rem } .picture { min-width: 0; overflow: hidden }
.wide { width: 100% } .large { flex: 0 0 calc(50% - .5rem) } .small { flex: 0 0 calc(33.33% - .67rem) }
nav { position: sticky; top: 0; z-index: 1001; background: #fffe; border-bottom: 1px solid #ddd; padding: .45rem 0;
      margin: .4rem 0 1rem; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; align-items: center; font-size: .88em;
      max-height: 7.5rem; overflow-y: auto }
nav > span { display: flex; flex-wrap: wrap; gap: .25rem; align-items: center; color: #666; max-width: 100% }
nav button { font: inherit; border: 1px solid #ccc; border-radius: 4px; background: #fff; color: #222; cursor: pointer;
             padding: .1rem .55rem; overflow-wrap: anywhere; text-align: left }
nav button[aria-pressed=true] { background: #e7eef6; border-color: #88a8c8 } nav button:hover { border-color: #555 }
nav button[data-group] { background: #fff; border-color: #ddd }
nav button[data-group][aria-pressed=false] { color: #aaa; text-decoration: line-through }
nav i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em }
"""
_SHORT_BANDS = {"ci": "95 % interval", "range": "least to greatest", "std": "standard deviation", "": "none"}


def make_page(title: str, stamp: str, parts: list[str], groups: list[Group], pictures: Pictures, band: str) -> str:
    """Return the page. Whatever a session's files hold, it runs the two scripts that it came with and loads nothing.

    Args:
        title: plain text.
        stamp: when and by what it was made, plain text.
        parts: HTML.
        band: around the curves at first.

    Raises:
        UsageError: if plotly is not installed.
    """
    plotly, own = _plotly(), resources.files("digideep.post").joinpath("report.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash_of(plotly)} {_hash_of(own)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    data = {
        "groups": [plain_label(group.name) for group in groups], "colours": COLOURS, "axes": AXES, "axis": "frame",
        "bands": BANDS, "band": band, "pictures": pictures.described,
    }  # fmt: skip
    has_bands = any(len(group.loaders) > 1 for group in groups)
    shown = html.escape(printable(title))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{shown}</title><style>{_STYLE}</style></head>'
        f'<body><h1>{shown}</h1><p class="note">{html.escape(stamp)}</p>'
        f"<noscript><p>The curves of this page need JavaScript.</p></noscript>{_bar(groups, has_bands=has_bands)}"
        f'{"".join(parts)}<script type="application/json" id="page-data">{_as_script(data)}</script>'
        f"<script>{plotly}</script><script>{own}</script></body></html>\n"
    )


def _bar(groups: list[Group], *, has_bands: bool) -> str:
    """Return the buttons, which stay at the top: x-axis, y-axis, band, and a legend of all pictures."""

    def buttons(title: str, choice: str, names: dict[str, str]) -> str:
        found = "".join(
            f'<button data-choice="{choice}" data-value="{value}">{name}</button>' for value, name in names.items()
        )
        return f"<span>{title} {found}</span>"

    bar = buttons("x-axis", "axis", {"frame": "frames", "time": "time", "episode": "episodes"})
    bar += buttons("y-axis", "scale", {"linear": "linear", "log": "log"})
    bar += buttons("band", "band", _SHORT_BANDS) if has_bands else ""
    if len(groups) > 1:
        chips = "".join(
            f'<button data-group="{index}" title="Show or hide it; twice: this one only">'
            f'<i style="background:{COLOURS[index % len(COLOURS)]}"></i>{_legend(group)}</button>'
            for index, group in enumerate(groups)
        )
        bar += f"<span>{chips}</span>"
    return f"<nav>{bar}</nav>"


def _legend(group: Group) -> str:
    count = len(group.loaders)
    return plain_label(group.name) + (f" ({count} runs)" if count > 1 else "")


def _as_script(data: Any) -> str:
    """Return JSON that can stand in a <script>: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII: no U+2028
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash_of(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@functools.cache
def _plotly() -> str:
    """Return plotly.js, as the Python package of that name brings it."""
    try:
        file = resources.files("plotly").joinpath("package_data", "plotly.min.js")
    except ImportError as err:
        raise UsageError("Reports need a package that is missing: pip install 'digideep[plot]'.") from err
    return file.read_text(encoding="utf-8")
