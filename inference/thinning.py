"""Some of many draws."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly"]


def evenly(size: int, most: int) -> np.ndarray:
    """At most so many of the numbers 0 .. size - 1, first and last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))
