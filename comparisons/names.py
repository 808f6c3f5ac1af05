"""Names of users as arrays of Python strings.

NumPy's own strings have the width of the longest (one name of a thousand characters among a hundred thousand users
would take 400 MB), and lose zero characters at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["among", "as_names", "places"]


def as_names(names: Any) -> np.ndarray:
    """Names as an array of objects, (name,)."""
    return np.asarray(names, dtype=object)


def among(names: Any, known: Any) -> np.ndarray:
    """Which of some names are among the known, (name,) booleans."""
    return np.asarray(pd.Index(as_names(names), dtype=object).isin(as_names(known)))


def places(known: Any, names: Any) -> np.ndarray:
    """Where in the known names, which are all different, each name stands; -1 where it does not, (name,)."""
    return np.asarray(pd.Index(as_names(known), dtype=object).get_indexer(as_names(names)))
