"""Pieces of HTML that the parts of a report share."""

import html
from collections.abc import Iterable
from typing import Any


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table, everything escaped, numbers on the right.

    Args:
        header: names of the columns.
        rows: their values.
    """

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
