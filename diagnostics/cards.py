"""A threshold curve and its recommendation in a line, and as cards in a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.markup import card, cell_table, line, points, sentences

if TYPE_CHECKING:
    from .curves import Recommendation, ThresholdCurve

__all__ = ["curve_card", "curve_line", "recommendation_card", "recommendation_line"]

_POINTS, _ROWS = 160, 5
DOUBTED = "trust neither it nor the ranking"


def curve_line(curve: ThresholdCurve) -> str:
    """The best cut, without asking how far the scale is known, which takes longer."""
    row = curve.table.iloc[int(curve.table["effective_labels"].to_numpy().argmax())]
    doubted = f"; {DOUBTED}" if curve.doubted else f" of {curve.users:,} users"
    return (
        f"<ThresholdCurve: {row['effective_labels']:,.0f} effective labels from {row['threshold']:.3f} up, "
        f"{curve.unfiltered:,.0f} uncut{doubted}>"
    )


def recommendation_line(best: Recommendation) -> str:
    """The threshold, what it keeps, and whether to trust it."""
    warned = "" if not best.warning else f"; {DOUBTED}" if best.doubted else "; see warning"
    return (
        f"<Recommendation: threshold {best.threshold:.4f}, {best.users:,} users, {best.labels:,} labels "
        f"({best.gain:+.1%}){warned}>"
    )


def recommendation_card(best: Recommendation) -> str:
    """The threshold, what it does, and the warning before everything, as HTML."""
    facts = {
        "threshold": f"{best.threshold:.4f} ({best.criterion})",
        "keeps": f"{best.users:,} users, {best.labels:,} labels",
        "attentiveness": f"{best.precision:.0%} of their votes",
        "effective labels": f"{best.effective_labels:,.0f} ({best.gain:+.1%} against no cut)",
    }
    rest = best.reason.replace(best.warning, "").strip() if best.warning else best.reason
    return card("Recommendation", facts, points([("warning", best.warning)] if best.warning else []), sentences([rest]))


def curve_card(curve: ThresholdCurve) -> str:
    """The curve, a few of its cuts and the best one, as HTML."""
    frame = curve.table.reset_index(drop=True)
    best = replace(curve, judge=None, doubt=None).recommend()
    chosen = int((frame["threshold"] - best.threshold).abs().to_numpy().argmin())
    at = sorted({*np.linspace(0, len(frame) - 1, min(_POINTS, len(frame))).round().astype(int).tolist(), chosen})
    picture = line(
        [float(v) for v in frame["threshold"].iloc[at]], [float(v) for v in frame["effective_labels"].iloc[at]],
        at.index(chosen), "effective labels by threshold, the best cut marked",
        (f"threshold {frame['threshold'].iloc[0]:.2f}", f"{frame['threshold'].iloc[-1]:.2f}"),
    )  # fmt: skip
    rows = []
    for k in sorted({*np.linspace(0, len(frame) - 1, min(_ROWS, len(frame))).round().astype(int).tolist(), chosen}):
        row = frame.iloc[k]
        rows.append([
            f"{row['threshold']:.3f}{' (best)' if k == chosen else ''}", f"{int(row['users']):,}",
            f"{int(row['labels']):,}", f"{row['precision']:.0%}", f"{row['effective_labels']:,.0f}",
        ])  # fmt: skip
    head = ["threshold", "users", "labels", "attentiveness", "effective labels"]
    facts = {
        "of": f"{curve.users:,} users, {curve.labels:,} labels",
        "without a cut": f"{curve.unfiltered:,.0f} effective labels",
        "soft weights": f"{curve.soft_weights_leave_one_out:,.0f} effective labels (each label weighed by the others)",
    }
    after = "recommend() also says how far the absolute scale is known."
    warned = points([("warning", curve.doubted)] if curve.doubted else [])
    return card("ThresholdCurve", facts, warned, picture, cell_table(head, rows), sentences([best.reason, after]))
