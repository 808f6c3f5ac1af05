"""Where to cut: from attentiveness to a filter.

With m_u the posterior mean attentiveness and n_u the number of labels, an unweighted preference learner on the users K
with m_u >= t sees its signal shrunk by their mean attentiveness, so the information it receives is that of

    N mbar^2    effective labels,    N = sum_K n_u,    mbar = sum_K n_u m_u / N.

Soft weights w_n = m_u give sum n_u m_u^2, never less than any cut. A label must not vouch for itself, though: with the
leave-one-out weights m_(u,-n) that an export carries, the figure is sum_n m_(u,-n)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError, InputError

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["Recommendation", "ThresholdCurve", "thresholds"]


_LABEL_CAVEAT = (
    "Label EM's estimates are no posterior means: with few votes a user they lie too near to 0 and 1, and precision "
    "and effective labels are overstated."
)


@dataclass(frozen=True)
class Recommendation:
    """A threshold and what it does.

    Attributes:
        threshold: keep users whose mean attentiveness is at least this.
        users, labels: kept.
        precision: expected share of kept labels that were attended.
        effective_labels: expected effective labels.
        gain: effective labels relative to no filter, minus one.
        reason: one sentence.
    """

    threshold: float
    users: int
    labels: int
    precision: float
    effective_labels: float
    gain: float
    reason: str


@dataclass(frozen=True)
class ThresholdCurve:
    """Every possible cut of a log's users.

    Attributes:
        table: data frame with one row a cut, from keeping all to keeping the most attentive only: threshold, users,
            labels, share (of labels), precision (expected share of kept labels that were attended), effective_labels.
        unfiltered: effective labels without a filter.
        soft_weights: effective labels with weights m_u.
        soft_weights_leave_one_out: effective labels with weights m_(u,-n), which do not look at their own label.
        labels: number of labels.
        users: number of users.
        caveat: what to bear in mind, a sentence, or "".
    """

    table: pd.DataFrame
    unfiltered: float
    soft_weights: float
    soft_weights_leave_one_out: float
    labels: int
    users: int
    caveat: str = ""

    def at(self, threshold: float) -> pd.Series:
        """The row of the cut that this threshold makes.

        Raises:
            EarnestError: the threshold is not in [0, 1] or keeps nobody.
        """
        if not 0 <= threshold <= 1:
            raise EarnestError(f"threshold={threshold!r}: expected an attentiveness between 0 and 1")
        index = int(np.searchsorted(self.table["highest_dropped"].to_numpy(), threshold, side="left")) - 1
        kept = self.table.iloc[max(index, 0)]
        if threshold > kept["lowest_kept"]:
            raise EarnestError(
                f"threshold={threshold!r} keeps nobody; the most attentive user has {kept['lowest_kept']:.3f}"
            )
        return kept

    def recommend(self, criterion: str = "effective_labels") -> Recommendation:
        """The best cut under a criterion.

        Args:
            criterion: "effective_labels" (the only one so far).

        Raises:
            EarnestError: an unknown criterion.
        """
        if criterion != "effective_labels":
            raise EarnestError(f"criterion={criterion!r}: expected 'effective_labels'")
        row = self.table.iloc[int(self.table["effective_labels"].to_numpy().argmax())]
        gain = float(row["effective_labels"] / self.unfiltered - 1) if self.unfiltered > 0 else 0.0
        return Recommendation(
            float(row["threshold"]),
            int(row["users"]),
            int(row["labels"]),
            float(row["precision"]),
            float(row["effective_labels"]),
            gain,
            f"{self._reason(row, gain)} {self.caveat}".strip(),
        )

    def _reason(self, row: pd.Series, gain: float) -> str:
        soft = (
            f"Soft weights would give {self.soft_weights_leave_one_out:,.0f} "
            f"({self.soft_weights_leave_one_out / max(self.unfiltered, 1e-300) - 1:+.1%} against no filter)."
        )
        if int(row["users"]) == self.users:
            return (
                f"Keep everybody: no cut gives more than the {self.unfiltered:,.0f} effective labels of the whole log, "
                f"because users differ too little or too little is known of them. {soft}"
            )
        return (
            f"Keeping the {int(row['users']):,} of {self.users:,} users with mean attentiveness of at least "
            f"{row['threshold']:.3f} leaves {row['share']:.0%} of the labels, of which {row['precision']:.0%} are "
            f"expected to be attended, and gives the most effective labels: {row['effective_labels']:,.0f} against "
            f"{self.unfiltered:,.0f} unfiltered ({gain:+.1%}). {soft}"
        )


def thresholds(fit: Fit, log: ComparisonLog | None = None) -> ThresholdCurve:
    """The threshold curve of a fit.

    Args:
        fit: the fit.
        log: the log to be filtered (default: the one that the fit was made from). Users whom the fit does not know are
            scored.

    Raises:
        InputError: the log has no users.

    Reference: model.md, section 8.
    """
    frame = fit.attentiveness if log is None else fit.attentiveness_for(log)
    n = frame["comparisons"].to_numpy(dtype=float)
    m = frame["mean"].to_numpy(dtype=float)
    if log is not None:
        n = _labels_in(log, frame["user"])
    if n.sum() == 0:
        raise InputError("thresholds: the log has no comparisons")
    if not np.all(np.isfinite(m)):
        bad = frame["user"][~np.isfinite(m)].iloc[0]
        raise EarnestError(
            f"thresholds: the attentiveness of user {bad!r} is not finite; the fit's status is {fit.status!r}"
        )
    table = _curve(m, n)
    return ThresholdCurve(
        table=table,
        unfiltered=float(table["effective_labels"].iloc[0]),
        soft_weights=float((n * m**2).sum()),
        soft_weights_leave_one_out=fit.leave_one_out_information(log),
        labels=round(float(n.sum())),
        users=len(m),
        caveat=_LABEL_CAVEAT if getattr(fit, "method", "") == "label" else "",
    )


def _labels_in(log: ComparisonLog, users: pd.Series) -> np.ndarray:
    counted = log.query('SELECT "user", count(*) AS n FROM log GROUP BY "user"').to_pandas().set_index("user")["n"]
    return np.asarray(counted.reindex(users).fillna(0).to_numpy(dtype=float))


def _curve(m: np.ndarray, n: np.ndarray) -> pd.DataFrame:
    """One row for each distinct attentiveness, ascending: the cut that keeps users from there up."""
    levels, inverse = np.unique(m, return_inverse=True)
    labels_at = np.bincount(inverse, weights=n)
    signal_at = np.bincount(inverse, weights=n * m)
    users_at = np.bincount(inverse)
    labels, signal, users = (np.cumsum(v[::-1])[::-1] for v in (labels_at, signal_at, users_at))
    # Half-way to the user below, so that rounding cannot move anybody across the cut.
    below = np.concatenate([[0.0], levels[:-1]])
    # (of neighbouring floats the middle is the lower one: then the upper is the threshold).
    middle = 0.5 * (levels[1:] + levels[:-1])
    threshold = np.concatenate([[0.0], np.where(middle > levels[:-1], middle, levels[1:])])
    precision = np.divide(signal, labels, out=np.zeros_like(signal), where=labels > 0)
    return pd.DataFrame(
        {
            "threshold": threshold,
            "users": users,
            "labels": np.rint(labels).astype(np.int64),
            "share": labels / labels[0],
            "precision": precision,
            "effective_labels": labels * precision**2,
            "lowest_kept": levels,
            "highest_dropped": np.where(np.arange(len(levels)) == 0, -1.0, below),
        }
    )
