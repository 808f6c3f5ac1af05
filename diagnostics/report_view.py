"""What a report looks at: the users, their curve, and every stop of its slider."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from ..inference.thinning import evenly
from .curves import Recommendation, ThresholdCurve
from .report_names import Named
from .scale import Scale
from .thresholds import thresholds

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["Packed", "View", "look", "pack", "stops"]

MOST_BYTES = 2_600_000
"""Of the embedded table of users: the file stays below 3 MB."""


@dataclass(frozen=True)
class View:
    """Users as the report shows them.

    Attributes:
        users: data frame with user, comparisons, mean, lower, upper; in the log's order.
        curve: of their cuts, by `mean`.
        best: the curve's recommendation.
        posterior: whether users and curve are the posterior's; else they are EM's.
        said: what the reader should know of this choice.
    """

    users: pd.DataFrame
    curve: ThresholdCurve
    best: Recommendation
    posterior: bool
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packed:
    """The table of users as embedded text.

    Attributes:
        text: base64 of raw deflate of JSON.
        shown: users in it.
    """

    text: str
    shown: int


def look(fit: Fit, trace: Any, log: ComparisonLog | None, judge: Callable[[], Scale] | None = None) -> View:
    """The posterior's users and cuts where it has their draws and the log is there; else EM's.

    Args:
        fit, trace, log: see `report`.
        judge: says how far the votes fix attentiveness, where that is asked elsewhere: the search takes seconds.

    Raises:
        EarnestError: the log is not the one that was fitted.
    """
    if log is not None and log.fingerprint() != fit.fingerprint:
        raise EarnestError(
            "log: it is not the one that the fit was made from; report the fit without it, or fit this log first"
        )
    said: tuple[str, ...] = ()
    if trace is not None:
        if log is not None and "attentiveness" in trace.posterior:
            curve = _judged(thresholds(trace, log), judge)
            return View(_drawn(curve), curve, curve.recommend(), posterior=True)
        lacks = "the votes were not given" if log is None else "the posterior was kept without the users' draws"
        said = (f"Users and thresholds are EM's, not the posterior's, since {lacks}.",)
    curve = _judged(thresholds(fit), judge)
    return View(fit.attentiveness, curve, curve.recommend(), posterior=False, said=said)


def _judged(curve: ThresholdCurve, judge: Callable[[], Scale] | None) -> ThresholdCurve:
    return curve if judge is None else replace(curve, judge=judge)


def _drawn(curve: ThresholdCurve) -> pd.DataFrame:
    drawn = curve.drawn
    assert drawn is not None  # a posterior's curve has them
    lower, upper = np.quantile(drawn.eta, [0.05, 0.95], axis=0)
    labels = np.rint(drawn.labels).astype(np.int64)
    return pd.DataFrame(
        {"user": drawn.users, "comparisons": labels, "mean": drawn.mean, "lower": lower, "upper": upper}
    )


def stops(curve: ThresholdCurve, best: Recommendation) -> pd.DataFrame:
    """What the curve says at every thousandth and at the recommended threshold.

    One row a stop: threshold, users, labels, share, precision, effective_labels; 0 users and NaN where nobody is kept.
    """
    rows = []
    top = float(curve.table["lowest_kept"].iloc[-1])
    names = ["users", "labels", "share", "precision", "effective_labels"]
    for threshold in np.unique(np.append(np.arange(1001) / 1000, best.threshold)):
        kept = (
            curve.at(float(threshold))[names].to_dict() if threshold <= top else {"users": 0, "labels": 0, "share": 0.0}
        )
        rows.append({"threshold": float(threshold), **kept})
    return pd.DataFrame(rows, columns=["threshold", *names]).astype({"users": int, "labels": int})


def pack(view: View, named: Named) -> Packed:
    """Users by falling attentiveness: name, votes, and mean and interval in thousandths (-1: not known).

    Thousandths are what is shown. Whether a user is kept follows from the place in this order alone, so that it agrees
    with the curve to the last user. Where all would not fit, users are taken evenly from the order, with their places.
    """
    users = view.users.iloc[named.order]
    columns: dict[str, np.ndarray] = {"votes": users["comparisons"].to_numpy()}
    for name in ("mean", "lower", "upper"):
        value = users[name].to_numpy(dtype=float)
        columns[name] = np.array([int(f"{v:.3f}".replace(".", "")) if np.isfinite(v) else -1 for v in value], dtype=int)
    size = len(users)
    while True:
        some = evenly(len(users), size)
        table: dict[str, Any] = {"name": [named.shown[i] for i in some]}
        table |= {name: column[some].tolist() for name, column in columns.items()}
        if size < len(users):
            table["place"] = [int(i) for i in some]
        squeezed = zlib.compressobj(9, wbits=-15)
        raw = squeezed.compress(json.dumps(table, separators=(",", ":")).encode()) + squeezed.flush()
        if len(raw) * 4 <= MOST_BYTES * 3 or size <= 100:
            return Packed(base64.b64encode(raw).decode(), size)
        size = max(int(0.9 * size * MOST_BYTES * 3 / (len(raw) * 4)), 100)
