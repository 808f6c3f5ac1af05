"""Some of many draws."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly"]


def evenly(size: int, most: int) -> np.ndarray:
    """At most so many (one at least) of the numbers 0 .. size - 1, evenly; the first, and of several the last."""
    return np.unique(np.linspace(0, size - 1, max(min(size, most), 1)).round().astype(int))
