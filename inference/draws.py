"""Draws of the globals: around an estimate, or out of a sampled posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable
from .effects import attached
from .maximize import BOX
from .thinning import evenly

if TYPE_CHECKING:
    from ..comparisons.cells import Counts
    from .results import Fit

__all__ = ["around", "flat_draws", "free_draws", "sampled", "unpacked", "with_effects"]


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


def with_effects(fit: Fit, table: ParameterTable, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Free vectors of a fit's globals (draw, size) as those of a table that has its effects besides, drawn from q."""
    if fit.effects is None:
        return points
    values = sampled(fit, points, rng)[1]
    return np.stack([table.pack({name: value[i] for name, value in values.items()}) for i in range(len(points))])


def sampled(fit: Fit, points: np.ndarray, rng: np.random.Generator) -> tuple[Counts, dict[str, np.ndarray]]:
    """A fit as if it were sampled: counts, and free vectors (draw, size) as {parameter: (draw, ...)} with effects."""
    crossed, effects = fit.model.crossed, fit.effects
    values = unpacked(fit.table, points)
    if crossed is None or effects is None:
        return fit.counts, values
    drawn = effects.mean + effects.sd * rng.standard_normal((len(points), len(effects.names)))
    return attached(crossed, fit.counts, effects), {**values, crossed.effect: drawn}


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
