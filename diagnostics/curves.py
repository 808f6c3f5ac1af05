"""A threshold curve, what it recommends, and what is lost by another estimator's recommendation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from .bands import Drawn
from .cards import curve_card, curve_line, recommendation_card, recommendation_line
from .criteria import choose_cut, level_ground
from .scale import Scale

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = ["Recommendation", "Regret", "ThresholdCurve", "curve_table"]


@dataclass(frozen=True)
class Recommendation:
    """A threshold and what it does.

    Attributes:
        threshold: keep users whose mean attentiveness is at least this.
        users, labels: kept.
        precision: mean attentiveness of the users kept, each label counting once: the share of their further votes that
            they will attend to. (Of the votes by which they were chosen rather more were attended: responsibilities.)
        effective_labels: expected effective labels.
        gain: effective labels relative to no filter, minus one.
        reason: a few sentences.
        criterion: by which it was chosen.
        flat: lowest and highest threshold around it that reach 99 % of its value under the criterion: how much the
            exact number matters. Under a wanted precision or share, the threshold twice.
        interval: 90 % interval of the best threshold over the posterior's draws; None without draws, or under another
            criterion than effective labels.
        warning: a sentence where only the ranking of users is identified, so that no threshold on the absolute scale is
            to be trusted, or where the votes do not even tell that; else "".
        doubted: whether it is the latter.
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
    warning: str = ""
    doubted: bool = False

    def __repr__(self) -> str:
        return recommendation_line(self)

    def _repr_html_(self) -> str:
        return recommendation_card(self)


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
            labels, share (of labels), precision (as in `Recommendation`), effective_labels.
        unfiltered: effective labels without a filter.
        soft_weights: effective labels with weights m_u.
        soft_weights_leave_one_out: effective labels with weights m_(u,-n), which do not look at their own label.
        labels: number of labels.
        users: number of users.
        caveat: what to bear in mind, a sentence, or "".
        above: tau -> mean attentiveness of every user and Pr(eta_u > tau), (user,) each; None for label EM.
        doubt: why the votes behind it tell nothing of users, a sentence or "", asked when a threshold is recommended.
        judge: how far the absolute scale is known, asked when a threshold on it is recommended; None where not known.
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
    above: Callable[[float], tuple[np.ndarray, np.ndarray]] | None = field(default=None, repr=False, compare=False)
    judge: Callable[[], Scale] | None = field(default=None, repr=False, compare=False)
    doubt: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return curve_line(self)

    def _repr_html_(self) -> str:
        return curve_card(self)

    @cached_property
    def scale(self) -> Scale | None:
        """How far the votes alone fix the absolute scale of attentiveness; None for label EM."""
        return None if self.judge is None else self.judge()

    @cached_property
    def doubted(self) -> str:
        """Why the votes behind it tell nothing of users, a sentence, or ""."""
        return "" if self.doubt is None else self.doubt()

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
            criterion: "effective_labels"; "precision>=0.9": as many labels as possible, of users whose mean
                attentiveness is so large; "share>=0.5": the most attentive users who gave at least so large a share of
                the labels; "probability(0.5)>=0.9": as many labels as possible, of users each of whom is more attentive
                than 0.5 with a probability of 0.9 or more; "f1": of keeping attended labels and dropping the
                others; or "utility".
            utility: with "utility": a function of `table` that gives each cut's worth, (cut,).

        Raises:
            EarnestError: an unknown criterion, or one that no cut meets.
        """
        name, value = choose_cut(self.table, criterion, utility, self._surest)
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
        # Which users make up a wanted share is a matter of ranking; what they attend to, which is told, is not.
        doubt = warning = self.doubted
        if not doubt and self.scale is not None:
            warning = self.scale.warning
        said = [text for text in (doubt, *said, "" if doubt else warning, self.caveat) if text]
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
            warning,
            bool(doubt),
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
        means = fit.attentiveness.set_index("user")["mean"].reindex(self.drawn.users).to_numpy(dtype=float)
        em = curve_table(means, self.drawn.labels)
        ours, best = (float(table["threshold"].iloc[table["effective_labels"].argmax()]) for table in (em, self.table))
        lost = self.drawn.worth(self.drawn.mean >= best) - self.drawn.worth(means >= ours)
        theirs = self.drawn.worth(self.drawn.mean >= best)
        return Regret(
            ours,
            best,
            float(lost.mean()),
            float(lost.mean() / max(theirs.mean(), 1e-300)),
            float((lost > 0).mean()),
        )

    def _surest(self, tau: float) -> np.ndarray:
        """Of every cut the least Pr(eta_u > tau) among the users it keeps, (cut,)."""
        if self.above is None:
            raise EarnestError("criterion 'probability': label EM gives no probabilities of attentiveness")
        mean, probability = self.above(tau)
        order = np.argsort(-mean, kind="stable")
        least = np.minimum.accumulate(probability[order])
        kept = np.searchsorted(-mean[order], -self.table["lowest_kept"].to_numpy(), side="right")
        return np.asarray(least[kept - 1])

    def _kept(self, row: pd.Series, criterion: str, gain: float) -> str:
        return (
            f"Under {criterion}: keeping the {int(row['users']):,} of {self.users:,} users with mean attentiveness of "
            f"at least {row['threshold']:.3f} leaves {row['share']:.0%} of the labels, from users who attend to "
            f"{row['precision']:.0%} of their votes; effective labels {row['effective_labels']:,.0f} ({gain:+.1%} "
            "against no filter)."
        )

    def _reason(self, row: pd.Series, gain: float) -> str:
        soft = f"Soft weights would give {self.soft_weights_leave_one_out:,.0f}"
        if self.unfiltered > 0:
            soft += f" ({self.soft_weights_leave_one_out / self.unfiltered - 1:+.1%} against no filter)"
        soft += "."
        if int(row["users"]) == self.users:
            return (
                f"Keep everybody: no cut gives more than the {self.unfiltered:,.0f} effective labels of the whole log, "
                f"because users differ too little or too little is known of them. {soft}"
            )
        return (
            f"Keeping the {int(row['users']):,} of {self.users:,} users with mean attentiveness of at least "
            f"{row['threshold']:.3f} leaves {row['share']:.0%} of the labels, from users who attend to "
            f"{row['precision']:.0%} of their votes, and gives the most effective labels: "
            f"{row['effective_labels']:,.0f} against {self.unfiltered:,.0f} unfiltered ({gain:+.1%}). {soft}"
        )


def curve_table(m: np.ndarray, n: np.ndarray, times: np.ndarray | None = None) -> pd.DataFrame:
    """One row for each distinct attentiveness, ascending: the cut that keeps users from there up.

    Args:
        m: attentiveness, (user,).
        n: labels, (user,).
        times: how many users each stands for, (user,); None: one.
    """
    levels, inverse = np.unique(m, return_inverse=True)
    labels_at = np.bincount(inverse, weights=n)
    signal_at = np.bincount(inverse, weights=n * m)
    users_at = np.rint(np.bincount(inverse, weights=times)).astype(np.int64)
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
