"""A small card for notebooks: facts, tables and sentences as HTML. What it is given is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["card", "cell_table", "sentences"]

# Colours are those of the page around it, so that it is as legible on a dark page as on a light one.
_CARD = (
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:44em;padding:10px 14px;"
    "border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-radius:6px"
)
_CELL = "padding:1px 14px 1px 0;text-align:{};vertical-align:top;background:none;border:none;white-space:{}"


def card(title: str, facts: Mapping[str, str], *parts: str) -> str:
    """A title, facts by name, and further parts, which are HTML already."""
    rows = [[name, value] for name, value in facts.items()]
    told = _table(rows, ("left", "left"), faint_first=True) if rows else ""
    head = f'<div style="font-weight:600;margin-bottom:4px;overflow-wrap:anywhere">{escaped(title)}</div>'
    return f'<div style="{_CARD}">{head}{told}{"".join(parts)}</div>'


def cell_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, the first column to the left and the others to the right."""
    sides = ("left", *["right"] * (len(headers) - 1))
    return _table(rows, sides, headers)


def sentences(texts: Iterable[str]) -> str:
    """A paragraph each; what is empty falls away."""
    return "".join(f'<p style="margin:6px 0 0;overflow-wrap:anywhere">{escaped(text)}</p>' for text in texts if text)


def escaped(text: str) -> str:
    """Text as HTML; a lone surrogate is no character and cannot be written."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def _table(
    rows: Sequence[Sequence[str]], sides: Sequence[str], headers: Sequence[str] = (), faint_first: bool = False
) -> str:
    def row(cells: Sequence[str], name: str) -> str:
        told = []
        for k, (cell, side) in enumerate(zip(cells, sides, strict=True)):
            faint = ";opacity:.65" if (faint_first and k == 0) or name == "th" else ""
            style = _CELL.format(side, "nowrap" if faint else "normal") + faint
            weight = ";font-weight:500" if name == "th" else ""
            told.append(f'<{name} style="{style}{weight}">{escaped(cell)}</{name}>')
        return f'<tr style="background:none">{"".join(told)}</tr>'

    head = f"<thead>{row(headers, 'th')}</thead>" if headers else ""
    body = "".join(row(cells, "td") for cells in rows)
    margin = "margin:4px 0;border-collapse:collapse;border:none;font-variant-numeric:tabular-nums"
    return f'<table style="{margin}">{head}<tbody>{body}</tbody></table>'
