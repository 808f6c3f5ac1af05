"""Where to cut: from attentiveness to a filter.

With m_u the posterior mean attentiveness and n_u the number of labels, an unweighted preference learner on the users K
with m_u >= t sees its signal shrunk by their mean attentiveness, so the information it receives is that of

    N mbar^2    effective labels,    N = sum_K n_u,    mbar = sum_K n_u m_u / N.

Soft weights w_n = m_u give sum n_u m_u^2, never less than any cut. A label must not vouch for itself, though: with the
leave-one-out weights m_(u,-n) that an export carries, the figure is sum_n m_(u,-n)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError, InputError
from .bands import Drawn, bands, drawn_users
from .criteria import choose_cut, level_ground

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["Recommendation", "Regret", "ThresholdCurve", "thresholds"]


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
        reason: a few sentences.
        criterion: by which it was chosen.
        flat: lowest and highest threshold around it that reach 99 % of its value under the criterion: how much the
            exact number matters. Under a wanted precision or share, the threshold twice.
        interval: 90 % interval of the best threshold over the posterior's draws; None without draws, or under another
            criterion than effective labels.
    """

    threshold: float
    users: int
    labels: int
    precision: float
    effective_labels: float
    gain: float
    reason: str
    criterion: str = "effective_labels"
    flat: tuple[float, float] = (0.0, 0.0)
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Regret:
    """What is lost by cutting where EM says and not where the posterior does.

    Attributes:
        em_threshold, threshold: the two recommendations.
        expected: expected loss of effective labels.
        share: of the effective labels of the posterior's cut.
        probability: that EM's cut is the worse of the two.
    """

    em_threshold: float
    threshold: float
    expected: float
    share: float
    probability: float


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
        bands: 90 % bands at some of the cuts: threshold, effective_labels_lower, effective_labels_upper,
            precision_lower, precision_upper; None for a fit.
        optimum: threshold of the best cut at each draw of the posterior, (draw,); None for a fit.
        drawn: the draws behind them; None for a fit.
    """

    table: pd.DataFrame
    unfiltered: float
    soft_weights: float
    soft_weights_leave_one_out: float
    labels: int
    users: int
    caveat: str = ""
    bands: pd.DataFrame | None = None
    optimum: np.ndarray | None = None
    drawn: Drawn | None = field(default=None, repr=False)

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

    def recommend(
        self, criterion: str = "effective_labels", utility: Callable[[pd.DataFrame], Any] | None = None
    ) -> Recommendation:
        """The best cut under a criterion.

        Args:
            criterion: "effective_labels"; "precision>=0.9": as many labels as possible, of which so large a share is
                expected to be attended; "share>=0.5": the most attentive users who gave at least so large a share of
                the labels; "f1": of keeping attended labels and dropping the others; or "utility".
            utility: with "utility": a function of `table` that gives each cut's worth, (cut,).

        Raises:
            EarnestError: an unknown criterion, or one that no cut meets.
        """
        name, value = choose_cut(self.table, criterion, utility)
        index = int(np.argmax(value))
        row = self.table.iloc[index]
        gain = float(row["effective_labels"] / self.unfiltered - 1) if self.unfiltered > 0 else 0.0
        flat = level_ground(self.table, value, index, name)
        interval = None
        if name == "effective_labels" and self.optimum is not None:
            low, high = np.quantile(self.optimum, [0.05, 0.95], method="closest_observation")
            interval = float(low), float(high)
        said = [self._reason(row, gain) if name == "effective_labels" else self._kept(row, criterion, gain)]
        if flat[0] < flat[1]:
            said.append(f"Any threshold from {flat[0]:.3f} to {flat[1]:.3f} does as well within 1 %.")
        if interval is not None:
            said.append(
                f"Over the posterior the best threshold lies between {interval[0]:.3f} and {interval[1]:.3f} (90 %)."
            )
        if self.caveat:
            said.append(self.caveat)
        return Recommendation(
            float(row["threshold"]),
            int(row["users"]),
            int(row["labels"]),
            float(row["precision"]),
            float(row["effective_labels"]),
            gain,
            " ".join(said),
            criterion,
            flat,
            interval,
        )

    def regret(self, fit: Fit) -> Regret:
        """What is lost by cutting this log's users where EM says: by EM's means, at EM's recommended threshold.

        Raises:
            EarnestError: the curve is of a fit, not of a posterior; or the fit is of another log.
        """
        if self.drawn is None:
            raise EarnestError("regret: this curve is of a fit; make it from a posterior: thresholds(trace, log)")
        if fit.fingerprint != self.drawn.fingerprint:
            raise EarnestError("regret: the fit is of another log than the posterior; fit the log that was sampled")
        best = self.recommend()
        em = thresholds(fit).recommend()
        means = fit.attentiveness.set_index("user")["mean"].reindex(self.drawn.users).to_numpy(dtype=float)
        ours, theirs = (
            self.drawn.worth(mean >= cut) for mean, cut in ((means, em.threshold), (self.drawn.mean, best.threshold))
        )
        lost = theirs - ours
        return Regret(
            em.threshold,
            best.threshold,
            float(lost.mean()),
            float(lost.mean() / max(theirs.mean(), 1e-300)),
            float((lost > 0).mean()),
        )

    def _kept(self, row: pd.Series, criterion: str, gain: float) -> str:
        return (
            f"Under {criterion}: keeping the {int(row['users']):,} of {self.users:,} users with mean attentiveness of "
            f"at least {row['threshold']:.3f} leaves {row['share']:.0%} of the labels, of which {row['precision']:.0%} "
            f"are expected to be attended; effective labels {row['effective_labels']:,.0f} ({gain:+.1%} against no "
            "filter)."
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


def thresholds(source: Fit | Any, log: ComparisonLog | None = None) -> ThresholdCurve:
    """The threshold curve of a fit or of a posterior.

    With a posterior users are cut by their posterior means, effective labels are the expectation of N p^2 over its
    draws (the uncertainty of the precision p included), every curve has a band and the optimum a distribution.

    Args:
        source: a fit, or what `sample` returned with `keep_users="draws"`.
        log: the log to be filtered (default: the one that the fit was made from). Users whom the fit does not know are
            scored. A posterior needs the log that it was sampled from.

    Raises:
        InputError: the log has no users.
        EarnestError: the posterior holds no draws of its users, or is of another log.

    Reference: model.md, section 8.
    """
    if not hasattr(source, "attentiveness"):
        return _of_posterior(drawn_users(source, log))
    frame = source.attentiveness if log is None else source.attentiveness_for(log)
    n = frame["comparisons"].to_numpy(dtype=float)
    m = frame["mean"].to_numpy(dtype=float)
    if log is not None:
        n = _labels_in(log, frame["user"])
    if n.sum() == 0:
        raise InputError("thresholds: the log has no comparisons")
    if not np.all(np.isfinite(m)):
        bad = frame["user"][~np.isfinite(m)].iloc[0]
        raise EarnestError(
            f"thresholds: the attentiveness of user {bad!r} is not finite; the fit's status is {source.status!r}"
        )
    table = _curve(m, n)
    return ThresholdCurve(
        table=table,
        unfiltered=float(table["effective_labels"].iloc[0]),
        soft_weights=float((n * m**2).sum()),
        soft_weights_leave_one_out=source.leave_one_out_information(log),
        labels=round(float(n.sum())),
        users=len(m),
        caveat=_LABEL_CAVEAT if getattr(source, "method", "") == "label" else "",
    )


def _of_posterior(drawn: Drawn) -> ThresholdCurve:
    mean = drawn.mean
    table = _curve(mean, drawn.labels)
    worth = bands(drawn, mean, table["threshold"].to_numpy())
    table["effective_labels"] = worth.effective_labels
    weighted = drawn.labels * mean
    signal = drawn.eta @ weighted
    return ThresholdCurve(
        table=table,
        unfiltered=float(worth.effective_labels[0]),
        soft_weights=float(np.mean(signal**2) / max(weighted @ mean, 1e-300)),
        soft_weights_leave_one_out=drawn.information,
        labels=round(float(drawn.labels.sum())),
        users=len(mean),
        bands=worth.table,
        optimum=worth.optimum,
        drawn=drawn,
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
