"""Do two ways of rating users put them in the same order?"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

__all__ = ["rank_correlation"]


def rank_correlation(x: np.ndarray, y: np.ndarray, times: np.ndarray | None = None) -> float:
    """Spearman's; NaN where one side is constant, or not all numbers. `times`: how many users each entry stands for."""
    ranks = [rankdata(v) if times is None else _ranks(v, times) for v in (x, y)]
    if not min(np.ptp(r) for r in ranks) > 0:
        return float("nan")
    if times is None:
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    covariance = np.cov(np.stack(ranks), aweights=times)
    return float(np.clip(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), -1.0, 1.0))


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean ranks among all entries where each is there several times; NaN where any is no number."""
    if np.isnan(values).any():
        return np.full(len(values), np.nan)
    _, place = np.unique(values, return_inverse=True)
    of = np.bincount(place, times)
    return np.asarray((np.cumsum(of) - (of - 1) / 2)[place])
