"""The scale of parameters that are pooled: b_i ~ Normal(0, s) with s unknown.

The joint density of s and b has no maximum: it grows without bound as s and all b_i go to 0 together. Here s is the
mode of its own density, with everything else integrated out by Laplace's method:

    log p(s | votes) = max_z log p(votes, z, s) + log |V(s)| / 2,      V = (- d2 log p / dz2)^-1,

z all other free coordinates. That V changes with s is counted where the prior of b makes it change, not where the votes
do by moving the mode; then the derivative in log s vanishes where s^2 is the mean of b_i^2 + V_ii (and of its prior).
The normal approximation of all unknowns has the exact second derivatives of the joint density but for that of log s,
which is such that log s has the variance of its own density.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..models.parameters import ParameterTable
from .ascent import uphill
from .maximize import BOX

__all__ = ["Pooled"]

_STEPS = 60
_SMALL = float(np.log(0.01))  # log s below which no log can tell s from 0, and where slopes vanish


@dataclass(frozen=True)
class Pooled:
    """Scales of pooled parameters in a free vector.

    Attributes:
        table: all unknowns.
        scale_of: {pooled parameter: its scale}; empty: nothing is done to anything.
    """

    table: ParameterTable
    scale_of: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.scale_of)

    @property
    def _scales(self) -> np.ndarray:
        """Which free coordinates are logs of scales, (size,)."""
        out = np.zeros(self.table.size, dtype=bool)
        for name in self.scale_of.values():
            out[self.table.slices[name]] = True
        return out

    def unit(self, free: np.ndarray) -> np.ndarray:
        """Unit of each free coordinate, (size,): in units of s the information on b is bounded however small s is."""
        unit = np.ones(len(free))
        for name, scale in self.scale_of.items():
            unit[self.table.slices[name]] = min(1.0, float(np.exp(free[self.table.slices[scale]][0])))
        return unit

    def moved(self, free: np.ndarray, to: np.ndarray) -> np.ndarray:
        """A free vector with the scales of another; what is pooled keeps its size in units of them."""
        out = np.where(self._scales, to, free)
        for name, scale in self.scale_of.items():
            out[self.table.slices[name]] *= np.exp(np.subtract(*(z[self.table.slices[scale]][0] for z in (out, free))))
        return out

    def held(self, slope: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope and Hessian with which a Newton step leaves the scales where they are."""
        if not self:
            return slope, curvature
        at = self._scales
        bent = np.where(at[:, None] | at[None, :], 0.0, curvature) - np.diag(at.astype(float))
        return np.where(at, 0.0, slope), bent

    def nested(self, free: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """The Hessian of the joint density with the second derivatives of log s that the normal approximation has."""
        return self._integrated(free, raw)[2]

    def mode(
        self, density: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]], free: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mode of the scales and, given them, of all else, by Newton steps.

        Args:
            density: of a free vector the log joint density, its gradient and its Hessian.
            free: where to begin, (size,).

        Returns:
            the mode, a scale that goes to 0 on its boundary, and the Hessian of the normal approximation there.
        """
        scales = self._scales
        free = np.array(free)
        value, slope, bend = self._at(density, free)
        for _ in range(_STEPS):
            gone = scales & (free < _SMALL) & (slope < 0)
            free[gone] = -BOX
            used = np.where(gone, 0.0, slope)
            bent = np.where(gone[:, None] | gone[None, :], 0.0, bend) - np.diag(gone.astype(float))
            move, step = uphill(used, bent), 1.0
            while True:
                candidate = np.clip(free + step * move, -BOX, np.maximum(BOX, np.abs(free)))
                new = self._at(density, candidate)
                # Rounding, and that the slope leaves out what votes do to V, may look like a fall near the top.
                if new[0] >= value - 1e-7 * (1 + abs(value)) or step < 1e-3:
                    break
                step /= 2
            moved = float(np.max(np.abs(candidate - free), initial=0.0))
            free, (value, slope, bend) = candidate, new
            if moved < 1e-6:
                break
        return free, bend

    def _at(
        self, density: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]], free: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Log density with all else integrated out, slope and Hessian for a Newton step of everything."""
        value, slope, raw = density(free)
        half_log, change, bend = self._integrated(free, raw)
        return value + half_log, slope + change, bend

    def _integrated(self, free: np.ndarray, raw: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """log |V| / 2, what it adds to the slope in log s, (size,), and the nested Hessian, (size, size)."""
        change, bend = np.zeros(len(free)), np.array(raw)
        if not self or not np.all(np.isfinite(raw)):
            return 0.0, change, bend
        rest = np.flatnonzero(~self._scales)
        unit = self.unit(free)
        information = -raw[np.ix_(rest, rest)] * np.outer(unit[rest], unit[rest])
        values, vectors = np.linalg.eigh(information)
        values = np.maximum(values, 1e-9 * (1.0 + np.abs(values).max(initial=0.0)))
        spread = np.zeros_like(raw)
        spread[np.ix_(rest, rest)] = (vectors / values) @ vectors.T * np.outer(unit[rest], unit[rest])
        for name, scale in self.scale_of.items():
            own, at = self.table.slices[name], self.table.slices[scale].start
            relative = spread[own, own] / float(np.exp(free[at])) ** 2
            change[at] = np.trace(relative)
            bend[at, at] += 2 * np.sum(relative**2) - 2 * np.trace(relative)
        return float(np.sum(np.log(unit[rest])) - 0.5 * np.sum(np.log(values))), change, bend
