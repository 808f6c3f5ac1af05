"""What is wanted of a cut, as a number for each cut: the largest is best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError

__all__ = ["choose_cut", "level_ground"]

_KNOWN = "'effective_labels', 'precision>=0.9', 'share>=0.5', 'probability(0.5)>=0.9', 'f1' or 'utility'"
_FLAT = 0.99


def choose_cut(
    table: pd.DataFrame,
    criterion: str,
    utility: Callable[[pd.DataFrame], Any] | None = None,
    surest: Callable[[float], np.ndarray] | None = None,
) -> tuple[str, np.ndarray]:
    """The criterion's name and its value at every cut, (cut,); -inf where a cut does not meet it.

    Args:
        table: the curve's.
        criterion: see `ThresholdCurve.recommend`.
        utility: see there.
        surest: tau -> of every cut the least Pr(eta_u > tau) among those it keeps, (cut,).

    Raises:
        EarnestError: an unknown criterion, or one that no cut meets.
    """
    if (criterion == "utility") != (utility is not None):
        raise EarnestError("criterion='utility' needs utility=..., a function of the curve's table, and only it does")
    name, sign, number = str(criterion).partition(">=")
    if sign and name in ("precision", "share"):
        return name, _at_least(table, name, _number(criterion, number))
    if sign and name.startswith("probability(") and name.endswith(")") and surest is not None:
        tau = _number(criterion, name[len("probability(") : -1])
        return "probability", _sure(table, surest(tau), tau, _number(criterion, number))
    if criterion == "effective_labels":
        return criterion, table["effective_labels"].to_numpy(dtype=float)
    if criterion == "f1":
        attended = table["precision"].to_numpy() * table["labels"].to_numpy()
        return criterion, 2 * attended / (table["labels"].to_numpy() + attended[0])
    if utility is not None:
        return criterion, _checked(np.asarray(utility(table.copy()), dtype=float), len(table))
    raise EarnestError(f"criterion={criterion!r}: expected {_KNOWN}")


def level_ground(table: pd.DataFrame, value: np.ndarray, best: int, name: str) -> tuple[float, float]:
    """Lowest and highest threshold around the best cut at which the value is within 1 % of its best.

    A wanted precision, share or probability is met at one threshold: that one twice. So is a utility that is not
    positive.
    """
    threshold = float(table["threshold"].iloc[best])
    if name in ("precision", "share", "probability") or not value[best] > 0:
        return threshold, threshold
    good = value >= _FLAT * value[best]
    first, last = best, best
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < len(good) and good[last + 1]:
        last += 1
    return float(table["threshold"].iloc[first]), float(table["lowest_kept"].iloc[last])


def _number(criterion: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number <= 1:
        raise EarnestError(f"criterion={criterion!r}: expected numbers from 0 to 1, as in {_KNOWN}")
    return number


def _at_least(table: pd.DataFrame, name: str, wanted: float) -> np.ndarray:
    reached = table[name].to_numpy(dtype=float)
    meets = reached >= wanted - 1e-12
    if not meets.any():
        raise EarnestError(
            f"criterion='{name}>={wanted:g}': no cut reaches it; the highest {name} is {reached.max():.3f}, of the "
            f"users at or above {table['threshold'].iloc[int(reached.argmax())]:.3f}"
        )
    # The most labels at a wanted precision; the most attentive users at a wanted share.
    order = table["labels"].to_numpy(dtype=float) if name == "precision" else np.arange(len(table), dtype=float)
    return np.where(meets, order, -np.inf)


def _sure(table: pd.DataFrame, least: np.ndarray, tau: float, wanted: float) -> np.ndarray:
    meets = least >= wanted
    if not meets.any():
        raise EarnestError(
            f"criterion='probability({tau:g})>={wanted:g}': no cut reaches it; the most attentive users are above "
            f"{tau:g} with probability {least[-1]:.3f}"
        )
    return np.where(meets, table["labels"].to_numpy(dtype=float), -np.inf)


def _checked(value: np.ndarray, size: int) -> np.ndarray:
    if value.shape != (size,) or np.isnan(value).any():
        raise EarnestError(
            f"utility: expected one number for each of the {size:,} cuts of the table, got shape {value.shape}"
            + (" with NaN" if np.isnan(value).any() else "")
        )
    return value
