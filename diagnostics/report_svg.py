"""Figures of a report, as SVG in percent: they take any width, and their words keep their size.

Colours are classes of the page's style, so that a figure follows its light and dark. What a figure shows is also told
in words or in a table beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .report_html import Html, join, tag

__all__ = ["area", "interval_bar", "legend", "line", "path", "plot", "ticks"]


def ticks(top: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 up to `top`.

    Example:
        >>> ticks(1130.0)
        [0.0, 250.0, 500.0, 750.0, 1000.0]
    """
    if not top > 0:
        return [0.0]
    raw = top / wanted
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(
        min((m * power for m in (1, 2, 2.5, 5, 10) if m * power <= raw * (1 + 1e-9)), key=lambda s: abs(raw - s))
    )
    return [float(step * k) for k in range(int(top / step + 1e-9) + 1)]


def plot(
    title: str,
    parts: Iterable[Html],
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_label: str = "",
    kind: str = "",
    name: str | None = None,
) -> Html:
    """Axes with parts drawn in them.

    Args:
        title: what is seen, for those who do not see it.
        parts: what is drawn.
        x_ticks: (place from left 0 to right 1, text).
        y_ticks: (place from bottom 0 to top 1, text).
        x_label: under the horizontal axis.
        kind: a class that gives the height.
        name: id of the drawing.
    """
    grid = [line((0, y), (1, y), "grid") for y, _ in y_ticks]
    words = [tag("text", text, x="-8", y=_percent(1 - y), dy="4", class_="end") for y, text in y_ticks]
    words += [tag("text", text, x=_percent(x), y="100%", dy="18", class_="middle") for x, text in x_ticks]
    marks = [
        Html(f'<line x1="{_percent(x)}" x2="{_percent(x)}" y1="100%" y2="100%" class="tick"/>') for x, _ in x_ticks
    ]
    if x_label:
        words.append(tag("text", x_label, x="50%", y="100%", dy="38", class_="middle"))
    drawing = tag(
        "svg", *grid, line((0, 0), (1, 0), "axis"), *marks, *parts, *words, role="img", aria_label=title, id=name
    )
    return tag("div", drawing, class_=f"plot {kind}".strip())


def line(start: tuple[float, float], end: tuple[float, float], kind: str, name: str | None = None) -> Html:
    """A straight line between two places, each from (0, 0) bottom left to (1, 1) top right."""
    (x1, y1), (x2, y2) = start, end
    named = f' id="{name}"' if name else ""
    return Html(
        f'<line x1="{_percent(x1)}" y1="{_percent(1 - y1)}" x2="{_percent(x2)}" y2="{_percent(1 - y2)}" '
        f'class="{kind}"{named}/>'
    )


def path(x: np.ndarray, y: np.ndarray, kind: str) -> Html:
    """A line through places (point,)."""
    return _stretched(f'<path d="M{_points(x, y)}" class="{kind}"/>')


def area(x: np.ndarray, lower: np.ndarray, upper: np.ndarray, kind: str) -> Html:
    """What lies between two lines (point,)."""
    around = _points(np.concatenate([x, x[::-1]]), np.concatenate([lower, upper[::-1]]))
    return _stretched(f'<path d="M{around}Z" class="{kind}"/>')


def interval_bar(lower: float, value: float, upper: float, zero: float | None = None) -> Html:
    """A value with its interval, for the cell of a table; places from 0 to 1. What is not a number is left out."""
    parts: list[Any] = [] if zero is None or not 0 <= zero <= 1 else [line((zero, 0), (zero, 1), "grid")]
    if np.isfinite(lower) and np.isfinite(upper):
        parts.append(line((lower, 0.5), (upper, 0.5), "interval"))
    if np.isfinite(value):
        parts.append(Html(f'<circle cx="{_percent(value)}" cy="50%" r="4" class="point"/>'))
    return tag("svg", join(parts), class_="bar", aria_hidden="true")


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """What is drawn how: (class, words)."""
    swatch = '<svg class="swatch" aria-hidden="true"><line x1="0" y1="50%" x2="100%" y2="50%" class="{}"/></svg>'
    return tag("ul", *(tag("li", Html(swatch.format(kind)), " ", text) for kind, text in entries), class_="legend")


def _stretched(shape: str) -> Html:
    """A path knows no percent: it is drawn on 1000 x 1000 and stretched, its stroke is not."""
    return Html(f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" class="stretched">{shape}</svg>')


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return "L".join(f"{1000 * a:.4g} {1000 * (1 - b):.4g}" for a, b in zip(x, y, strict=True))


def _percent(place: float) -> str:
    return f"{100 * place:.5g}%"
