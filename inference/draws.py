"""Draws of the globals: around an estimate, or out of a sampled posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable
from .maximize import BOX
from .thinning import evenly

__all__ = ["around", "flat_draws", "free_draws", "unpacked"]


def around(centre: np.ndarray, covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Free vectors of a normal approximation, (draw, size).

    Directions without a standard error stay at the centre, and where the data leave one nearly flat it is followed no
    farther than estimates may go.

    Args:
        centre: (size,).
        covariance: (size, size); NaN where unknown.
        noise: standard normal numbers, (draw, size).
    """
    known = np.where(np.isfinite(covariance), covariance, 0.0)
    variances, vectors = np.linalg.eigh(0.5 * (known + known.T))
    reach = np.maximum(BOX, np.abs(centre))
    return np.asarray(np.clip(centre + noise @ (vectors * np.sqrt(np.maximum(variances, 0.0))).T, -reach, reach))


def unpacked(table: ParameterTable, points: np.ndarray) -> dict[str, np.ndarray]:
    """Free vectors (draw, size) as {parameter: (draw, ...)} on the constrained scale."""
    each = [table.unpack(NUMPY, point) for point in points]
    return {p.name: np.stack([np.asarray(one[p.name]) for one in each]) for p in table.parameters}


def flat_draws(trace: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Draws of all chains of a posterior, one after the other, {parameter: (draw, ...)}."""
    values = {name: trace.posterior[name].to_numpy() for name in names}
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}


def free_draws(trace: Any, table: ParameterTable, most: int) -> np.ndarray:
    """Some of a posterior's draws, evenly, as free vectors, (draw, size)."""
    flat = flat_draws(trace, [p.name for p in table.parameters])
    chosen = evenly(len(next(iter(flat.values()))), most)
    return np.stack([table.pack({name: value[i] for name, value in flat.items()}) for i in chosen])
