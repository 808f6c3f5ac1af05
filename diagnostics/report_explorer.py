"""The threshold explorer: two plots, a slider over them, and what is kept at each of its stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .curves import Recommendation, ThresholdCurve
from .report_html import Html, Part, definitions, embedded, join, paragraphs, section, tag
from .report_svg import area, legend, line, path, plot, ticks
from .report_view import View, stops

__all__ = ["explorer"]

_ABOUT = (
    "Keep the users whose mean attentiveness is at least the threshold. An effective label is worth as much to a "
    "preference learner as one that is certainly attended; soft weights use every label, weighed by its user's "
    "attentiveness as the user's other labels show it, and need no threshold."
)
_FIGURES = (
    ("users", "users kept"),
    ("labels", "labels kept"),
    ("precision", "of their votes these users attend to"),
    ("effective", "effective labels"),
)
_TENTHS = [(k / 5, f"{k / 5:.1f}") for k in range(6)]


def explorer(view: View, warnings: list[str]) -> Part:
    """Where to cut, by slider.

    Args:
        view: the users and their curve.
        warnings: what to bear in mind before a threshold is trusted.
    """
    rows = stops(view.curve, view.best)
    start = int(np.flatnonzero(rows["threshold"] == view.best.threshold)[0])
    curve = view.curve
    top = 1.08 * max(
        float(rows["effective_labels"].max()), curve.soft_weights_leave_one_out, curve.unfiltered,
        0.0 if curve.bands is None else float(curve.bands["effective_labels_upper"].max()), 1e-9,
    )  # fmt: skip
    stand = _stand(rows, view, top)
    stand["recommended"] = start
    return section(
        "explorer",
        "Where to cut",
        tag("p", _ABOUT),
        paragraphs(warnings, class_="warning"),
        _slider(rows, start),
        _numbers(stand, start, view),
        tag("p", _reason(view.best, warnings)),
        _worth(rows, view, top, start),
        _shares(rows, start),
        embedded("explorer-data", stand),
    )  # fmt: skip


def _reason(best: Recommendation, warnings: list[str]) -> str:
    """Why this threshold is recommended, without the warning that stands above it."""
    return best.reason.replace(f" {best.warning}", "") if best.warning in warnings else best.reason


def _slider(rows: pd.DataFrame, start: int) -> Html:
    return tag(
        "div",
        tag("label", "Threshold", for_="threshold"),
        tag("input", type="range", id="threshold", min="0", max=str(len(rows) - 1), value=str(start), step="1",
            disabled="disabled"),
        tag("span", tag("label", "Type one: ", for_="typed"),
            tag("input", type="number", id="typed", min="0", max="1", step="0.001", disabled="disabled")),
        tag("button", "Back to the recommended one", type="button", id="back", disabled="disabled"),
        class_="controls slider",
    )  # fmt: skip


def _numbers(stand: dict[str, Any], start: int, view: View) -> Html:
    """The figures at a stop; the script changes them."""
    pairs: list[tuple[Any, Any]] = [
        ("threshold", join([_live("threshold", stand, start), " ", _live("mark", stand, start, "small")]))
    ]
    for name, label in _FIGURES:
        note = [" ", _live(f"{name}_note", stand, start, "small")] if f"{name}_note" in stand else []
        pairs.append((label, join([_live(name, stand, start), *note])))
    curve = view.curve
    soft = curve.soft_weights_leave_one_out
    pairs.append(
        (
            "effective labels by soft weights",
            join([tag("span", f"{soft:,.0f}", id="soft"), " ", tag("small", _gain(soft, curve))]),
        )
    )
    return definitions(pairs, class_="numbers")


def _live(name: str, stand: dict[str, Any], start: int, kind: str = "span") -> Html:
    return tag(kind, stand[name][start], id=f"at-{name.replace('_', '-')}")


def _stand(rows: pd.DataFrame, view: View, top: float) -> dict[str, Any]:
    """Every stop's figures as they are shown, and where the marks stand in the plots (in thousandths)."""
    curve, users = view.curve, len(view.users)
    none = rows["users"] == 0
    grid = {f"{k / 1000:.3f}" for k in range(1001)}
    shown = [f"{t:.3f}" if float(f"{t:.3f}") == t and f"{t:.3f}" in grid else f"{t:.4f}" for t in rows["threshold"]]
    marks = ["recommended" if t == view.best.threshold else "" for t in rows["threshold"]]
    effective = [f"{v:,.0f}" if np.isfinite(v) else "none" for v in rows["effective_labels"]]
    notes = [_gain(v, curve) if np.isfinite(v) else "nobody is kept" for v in rows["effective_labels"]]
    precision: dict[str, list[str]] = {
        "precision": [f"{v:.1%}" if np.isfinite(v) else "none" for v in rows["precision"]]
    }
    if curve.bands is not None:
        low, high = (_banded(curve, f"effective_labels_{end}", rows) for end in ("lower", "upper"))
        notes = [
            note if lost else f"{note}; {a:,.0f} to {b:,.0f} (90 %)"
            for note, a, b, lost in zip(notes, low, high, none, strict=True)
        ]
        low, high = (_banded(curve, f"precision_{end}", rows) for end in ("lower", "upper"))
        precision["precision_note"] = [
            "" if lost else f"{a:.1%} to {b:.1%} (90 %)" for a, b, lost in zip(low, high, none, strict=True)
        ]
    return {
        "threshold": shown,
        "mark": marks,
        "kept": rows["users"].tolist(),
        "users": [f"{n:,}" for n in rows["users"]],
        "users_note": [f"of {users:,} ({n / users:.1%})" for n in rows["users"]],
        "labels": [f"{n:,}" for n in rows["labels"]],
        "labels_note": [f"of {curve.labels:,} ({share:.1%})" for share in rows["share"]],
        **precision,
        "effective": effective,
        "effective_note": notes,
        "x": rows["threshold"].round(5).tolist(),
        "worth_y": _place(rows["effective_labels"] / top),
        "precision_y": _place(rows["precision"]),
        "share_y": _place(rows["share"]),
    }


def _banded(curve: ThresholdCurve, name: str, rows: pd.DataFrame) -> np.ndarray:
    """A band's end at every stop, by interpolation between the cuts at which it is known."""
    assert curve.bands is not None
    return np.asarray(np.interp(rows["threshold"], curve.bands["threshold"], curve.bands[name]))


def _gain(worth: float, curve: ThresholdCurve) -> str:
    return f"{worth / max(curve.unfiltered, 1e-300) - 1:+.1%} against no filter"


def _place(values: pd.Series) -> list[float]:
    return [round(float(v), 4) for v in values.fillna(0.0)]


def _worth(rows: pd.DataFrame, view: View, top: float, start: int) -> Html:
    """Effective labels against the threshold."""
    curve, best = view.curve, view.best
    there = rows[rows["users"] > 0]
    x, y = there["threshold"].to_numpy(), there["effective_labels"].to_numpy() / top
    parts, keys = [], [("curve", "effective labels of the cut")]
    if curve.bands is not None:
        lower, upper = (curve.bands[f"effective_labels_{end}"].to_numpy() / top for end in ("lower", "upper"))
        parts.append(area(curve.bands["threshold"].to_numpy(), lower, upper, "band"))
        keys.append(("band", "90 % band of each cut"))
    if best.interval is not None:
        parts.append(line((best.interval[0], 0.012), (best.interval[1], 0.012), "spread"))
        keys.append(
            ("spread", f"best threshold over the posterior: {best.interval[0]:.2f} to {best.interval[1]:.2f} (90 %)")
        )
    for level, kind, text in (
        (curve.soft_weights_leave_one_out, "soft", "soft weights"),
        (curve.unfiltered, "all", "no filter"),
    ):
        parts.append(line((0, level / top), (1, level / top), kind))
        keys.append((kind, f"{text}: {level:,.0f}"))
    parts.append(path(x, y, "curve"))
    parts += _marks(rows, start, rows["effective_labels"].fillna(0.0) / top, ("worth",), best.threshold)
    keys += [("recommended", f"recommended: {best.threshold:.3f}"), ("cursor", "the threshold above")]
    title = (
        f"Effective labels against the threshold: {curve.unfiltered:,.0f} without a filter, "
        f"{best.effective_labels:,.0f} at the recommended {best.threshold:.3f}, "
        f"{curve.soft_weights_leave_one_out:,.0f} by soft weights."
    )
    drawn = plot(title, parts, _TENTHS, [(v / top, f"{v:,.10g}") for v in ticks(top)], "threshold", "tall")
    return tag("figure", tag("figcaption", tag("strong", "Effective labels"), legend(keys)), drawn)


def _shares(rows: pd.DataFrame, start: int) -> Html:
    """What is kept, and how attentive its users are, against the threshold."""
    there = rows[rows["users"] > 0]
    x = there["threshold"].to_numpy()
    parts = [path(x, there["precision"].to_numpy(), "curve"), path(x, there["share"].to_numpy(), "second")]
    parts += _marks(rows, start, rows["precision"].fillna(0.0), ("precision",), None)
    parts += _marks(rows, start, rows["share"], ("share",), None)[1:]
    keys = [("curve", "mean attentiveness of the users kept"), ("second", "share of labels kept")]
    title = "Share of labels kept, falling, and mean attentiveness of their users, rising, against the threshold."
    quarters = [(k / 4, f"{k / 4:.0%}") for k in range(5)]
    drawn = plot(title, parts, _TENTHS, quarters, "threshold", "low")
    return tag("figure", tag("figcaption", tag("strong", "Shares"), legend(keys)), drawn)


def _marks(
    rows: pd.DataFrame, start: int, y: pd.Series, names: tuple[str, ...], recommended: float | None
) -> list[Html]:
    """The cursor's line and its point on a curve, both moved by the script; and the recommended threshold."""
    x, name = float(rows["threshold"].iloc[start]), names[0]
    place = f'cx="{100 * x:.5g}%" cy="{100 * (1 - float(y.iloc[start])):.5g}%"'
    marks = [
        line((x, 0), (x, 1), "cursor", f"cursor-{name}"),
        Html(f'<circle {place} r="5" class="cursor-point" id="point-{name}"/>'),
    ]
    if recommended is not None:
        marks.insert(0, line((recommended, 0), (recommended, 1), "recommended"))
    return marks
