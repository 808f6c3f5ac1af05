"""Where to cut: from attentiveness to a filter.

With m_u the posterior mean attentiveness and n_u the number of labels, an unweighted preference learner on the users K
with m_u >= t sees its signal shrunk by their mean attentiveness, so the information it receives is that of

    N mbar^2    effective labels,    N = sum_K n_u,    mbar = sum_K n_u m_u / N.

Soft weights w_n = m_u give sum n_u m_u^2, never less than any cut. A label must not vouch for itself, though: with the
leave-one-out weights m_(u,-n) that an export carries, the figure is sum_n m_(u,-n)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError, InputError
from ..inference.doubts import doubts_of_counts, doubts_of_fit
from ..models.behavior import BehaviorModel
from .bands import MOST_DRAWS, Drawn, bands, drawn_of_fit, drawn_users
from .curves import Recommendation, Regret, ThresholdCurve, curve_table
from .scale import Scale, scale_of_fit, scale_of_posterior

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["Recommendation", "Regret", "ThresholdCurve", "recommended_threshold", "thresholds"]


_MOST_NUMBERS = 200_000_000  # draws x users
_LABEL_CAVEAT = (
    "Label EM's estimates are no posterior means: with few votes a user they lie too near to 0 and 1, and precision "
    "and effective labels are overstated."
)


def thresholds(source: Fit | Any, log: ComparisonLog | None = None, *, draws: int = 0) -> ThresholdCurve:
    """The threshold curve of a fit or of a posterior.

    With a posterior users are cut by their posterior means, effective labels are the expectation of N p^2 over its
    draws (the uncertainty of the precision p included), every curve has a band and the optimum a distribution. At most
    2,000 draws are looked at, evenly, and 400 for leave-one-out weights.

    Args:
        source: a fit, or what `sample` returned with `keep_users="draws"`.
        log: the log to be filtered (default: the one that the fit was made from). Users whom the fit does not know are
            scored. A posterior needs the log that it was sampled from.
        draws: of a fit's own log: a band and a distribution of the optimum where there is no sampled posterior, from so
            many draws of the globals, and of every user given each. Globals are drawn around EM's modes and chosen by
            importance; where that cannot be done `caveat` says so, and with more than 20,000 different users they are
            drawn from the normal approximation, as exact there. (120 users x 15 votes: 90 % bands hold the truth in
            86 % of logs, a sampled posterior's in 87 %.)

    Returns:
        a `ThresholdCurve`: what every cut leaves, and recommendations by a criterion of one's choice.

    Raises:
        InputError: the log has no users.
        EarnestError: the posterior holds no draws of its users, or is of another log.

    Reference: model.md, section 8.
    """
    if not hasattr(source, "attentiveness") or hasattr(source, "data_vars"):
        drawn = drawn_users(source, log)
        return replace(_of_draws(drawn, drawn.mean), judge=_judge_of(source, log), doubt=_doubt_of(source, log))
    _check_draws(draws, source, log)
    if draws:
        source.check_users_known("thresholds(draws=...)")
        drawn, mean = drawn_of_fit(source, draws), source.attentiveness["mean"].to_numpy(dtype=float)
        return replace(_of_draws(drawn, mean), judge=lambda: scale_of_fit(source), doubt=lambda: doubts_of_fit(source))
    frame = source.attentiveness if log is None else source.attentiveness_for(log)
    # Of a log on a cluster a row stands for all users with its pattern of votes.
    users = frame["users"].to_numpy(dtype=float) if "users" in frame else np.ones(len(frame))
    n = frame["comparisons"].to_numpy(dtype=float) * users
    m = frame["mean"].to_numpy(dtype=float)
    if log is not None and not log.by_pattern:
        n = _labels_in(log, frame["user"])
    if n.sum() == 0:
        raise InputError("thresholds: the log has no comparisons")
    if not np.all(np.isfinite(m)):
        bad = frame.iloc[:, 0][~np.isfinite(m)].iloc[0]
        raise EarnestError(
            f"thresholds: the attentiveness of user {bad!r} is not finite; the fit's status is {source.status!r}"
        )
    table = curve_table(m, n, users)
    scaled = getattr(source, "method", "") == "marginal" and source.table.size > 0
    judged = scaled and not source.model.attends(source.counts.users).all()
    return ThresholdCurve(
        table=table,
        unfiltered=float(table["effective_labels"].iloc[0]),
        soft_weights=float((n * m**2).sum()),
        soft_weights_leave_one_out=source.leave_one_out_information(log),
        labels=round(float(n.sum())),
        users=round(float(users.sum())),
        caveat=_LABEL_CAVEAT if getattr(source, "method", "") == "label" else "",
        above=(lambda tau: _above(source, log, tau)) if scaled else None,
        judge=(lambda: scale_of_fit(source)) if judged else None,
        doubt=(lambda: doubts_of_fit(source)) if hasattr(source, "counts") else None,
    )


def recommended_threshold(source: Fit | Any, log: ComparisonLog) -> float:
    """The cut that `thresholds` recommends, without asking how far the absolute scale is known, which takes longer."""
    return float(replace(thresholds(source, log), judge=None, doubt=None).recommend().threshold)


def _judge_of(trace: Any, log: ComparisonLog | None) -> Callable[[], Scale] | None:
    return None if log is None else lambda: scale_of_posterior(trace, log)


def _doubt_of(trace: Any, log: ComparisonLog | None) -> Callable[[], str] | None:
    if log is None:
        return None
    model = BehaviorModel.from_toml(trace.attrs["declaration"])
    return lambda: doubts_of_counts(model.count(log), model.directed)


def _check_draws(draws: int, source: Any, log: ComparisonLog | None) -> None:
    whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if not whole or not (draws == 0 or 2 <= draws <= MOST_DRAWS):
        raise EarnestError(f"draws={draws!r}: expected 0 (no bands) or a whole number from 2 to {MOST_DRAWS:,}")
    if draws * len(getattr(source, "attentiveness", ())) > _MOST_NUMBERS:
        raise EarnestError(
            f"draws={draws:,} of {len(source.attentiveness):,} users are more than the {_MOST_NUMBERS:,} numbers that "
            "are held in memory; take fewer draws"
        )
    if draws and log is not None:
        raise EarnestError("draws: bands are told for the fit's own log only; leave log out")
    if draws and source.method != "marginal":
        raise EarnestError("draws: label EM has no normal approximation to draw from; fit by marginal EM")
    if draws and source.table.size == 0:
        raise EarnestError("draws: the model has no unknown parameter to draw; leave draws out")


def _above(fit: Fit, log: ComparisonLog | None, tau: float) -> tuple[np.ndarray, np.ndarray]:
    frame = fit.probability_above(tau, log)
    return frame["mean"].to_numpy(dtype=float), frame["probability"].to_numpy(dtype=float)


def _of_draws(drawn: Drawn, mean: np.ndarray) -> ThresholdCurve:
    """The curve of cuts by a mean (user,) over draws."""
    table = curve_table(mean, drawn.labels)
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
        caveat=drawn.caveat,
        above=lambda tau: (mean, np.asarray((drawn.eta > tau).mean(0))),
    )


def _labels_in(log: ComparisonLog, users: pd.Series) -> np.ndarray:
    counted = log.query('SELECT "user", count(*) AS n FROM log GROUP BY "user"').to_pandas().set_index("user")["n"]
    return np.asarray(counted.reindex(users).fillna(0).to_numpy(dtype=float))
