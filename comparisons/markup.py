"""A small card for notebooks: facts, tables and sentences as HTML. What it is given is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["bars", "card", "cell_table", "code", "line", "points", "sentences"]

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


def points(items: Iterable[tuple[str, str]]) -> str:
    """A list: what each point is called, and what it says."""
    told = "".join(f'<li style="margin:2px 0"><b>{escaped(name)}</b> {escaped(text)}</li>' for name, text in items)
    return f'<ul style="margin:6px 0 0;padding-left:18px;overflow-wrap:anywhere">{told}</ul>' if told else ""


def code(text: str) -> str:
    """A line to be typed."""
    style = "margin:8px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;background:none;color:inherit;font-size:12px"
    return f'<pre style="{style}"><code style="background:none;color:inherit">{escaped(text)}</code></pre>'


def bars(heights: Sequence[float], label: str, ends: tuple[str, str]) -> str:
    """A small histogram with what stands at its two ends; `label` is for who cannot see it."""
    most = max(*heights, 1e-300)
    wide, high = 320, 48
    step = wide / len(heights)
    drawn = "".join(
        f'<rect x="{k * step + 0.5:.1f}" y="{high - high * h / most:.1f}" width="{step - 1:.1f}" '
        f'height="{high * h / most:.1f}"/>'
        for k, h in enumerate(heights)
    )
    return _figure(drawn, label, ends, wide, high)


def line(x: Sequence[float], y: Sequence[float], mark: int, label: str, ends: tuple[str, str]) -> str:
    """A small curve from 0 upwards with one of its points marked."""
    wide, high, top = 320, 56, max(*y, 1e-300)
    low, span = min(x), max(max(x) - min(x), 1e-300)
    points = [(wide * (a - low) / span, high - (high - 6) * b / top) for a, b in zip(x, y, strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    a, b = points[mark]
    drawn = (
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4"/>'
    )
    return _figure(drawn, label, ends, wide, high)


def _figure(drawn: str, label: str, ends: tuple[str, str], wide: int, high: int) -> str:
    named = (
        f'<div style="display:flex;justify-content:space-between;width:{wide}px;max-width:100%;opacity:.65;'
        f'font-size:11px"><span>{escaped(ends[0])}</span><span>{escaped(ends[1])}</span></div>'
    )
    return (
        f'<svg role="img" aria-label="{escaped(label)}" viewBox="-4 -4 {wide + 8} {high + 8}" '
        f'style="width:{wide}px;max-width:100%;display:block;margin-top:6px;overflow:visible" fill="currentColor" '
        f'fill-opacity=".75">{drawn}</svg>{named}'
    )


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
