"""Keeping the attentive users' votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from .errors import EarnestError
from .log import ComparisonLog
from .protocols import Fitted


def filter_log(log: ComparisonLog, fit: Fitted, threshold: float, min_comparisons: int = 1) -> ComparisonLog:
    """Keep the users whose mean attentiveness reaches a threshold.

    Args:
        log: The votes; users that the fit never saw are scored first.
        fit: A fit or posterior.
        threshold: In [0, 1]; users with a mean at or above it are kept.
        min_comparisons: Users who gave fewer comparisons are left out as well.

    Returns:
        The log without the others' votes; its last note says how many were kept.

    Raises:
        EarnestError: The threshold is not in [0, 1], or no user reaches it.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0 <= threshold <= 1:
        raise EarnestError(f"threshold={threshold!r}: expected a number from 0 to 1")
    if isinstance(min_comparisons, bool) or not isinstance(min_comparisons, int | np.integer) or min_comparisons < 0:
        raise EarnestError(f"min_comparisons={min_comparisons!r}: expected a whole number, 0 or more")
    scored = fit.attentiveness_for(log)
    mean = scored["mean"].to_numpy(dtype=np.float64)
    if np.isnan(mean).any():
        user = scored["user"].to_numpy()[np.isnan(mean)][0]
        raise EarnestError(f"the attentiveness of user {user!r} is not a number; look at the fit's status")
    # How well a user is known is a matter of all their votes; what is kept, of those in this log.
    enough = scored["comparisons"].to_numpy(dtype=np.float64) >= min_comparisons
    counted = log.query('SELECT "user" AS name, count(*) AS n FROM log GROUP BY 1')
    in_log = dict(zip(counted["name"].to_pylist(), counted["n"].to_pylist(), strict=True))
    votes = np.array([in_log.get(str(user), 0) for user in scored["user"]], dtype=np.float64)
    keep = (mean >= threshold) & enough
    if not keep.any():
        best = f"the highest mean is {mean[enough].max():.3f}" if enough.any() else "no user gave as many comparisons"
        raise EarnestError(
            f"no user of {log.source} reaches the threshold {threshold:g} with at least {min_comparisons} comparisons: "
            f"{best}; lower the threshold"
        )
    users = [str(user) for user in scored["user"].to_numpy()[keep]]
    note = (
        f"kept {keep.sum():,} of {len(keep):,} users and {votes[keep].sum():,.0f} of {votes.sum():,.0f} comparisons "
        f"(attentiveness >= {threshold:g}, at least {min_comparisons} comparisons)"
    )
    return replace(log, kept=pa.table({"name": pa.array(users, pa.string())}), notes=[*log.notes, note])
