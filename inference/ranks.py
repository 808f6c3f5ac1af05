"""Do two ways of rating users put them in the same order?"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

__all__ = ["rank_correlation"]


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's; NaN where one side is constant, or not all numbers."""
    ranks = [rankdata(v) for v in (x, y)]
    if not min(np.ptp(r) for r in ranks) > 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
