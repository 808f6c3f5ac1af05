"""The scale of parameters that are pooled: b_i ~ Normal(0, s) with s unknown.

The joint density of s and b has no maximum: it grows without bound as s and all b_i go to 0 together. Here s is the
mode of its own density, with everything else integrated out by Laplace's method:

    log p(s | votes) = max_z log p(votes, z, s) + log |V(s)| / 2,      V = (- d2 log p / dz2)^-1,

z all other free coordinates. That V changes with s is counted where the prior of b makes it change, not where the
votes do by moving the mode; then the derivative in log s vanishes where s^2 is the mean of b_i^2 + V_ii (and of its
prior). Around a point the votes' part of log p is taken to be quadratic, which makes log p(s | votes) a function of s
alone that costs no look at the votes: it is maximised over all s at once, the point moves there, and so on until it
stays.

The normal approximation of all unknowns has the exact second derivatives of the joint density but for that of log s,
which is such that log s has the variance of its own density.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar

from ..comparisons.errors import EarnestError
from ..models.parameters import ParameterTable
from ..models.supports import POSITIVE
from .maximize import BOX

__all__ = ["USUAL", "AtRest", "Pooled"]

USUAL = 0.5
"""A scale to begin with, log-odds."""

_ROUNDS = 25
_HESSIANS, _STEPS = 10, 6  # at a scale, and Newton steps of everything else with each
_STILL = 1e-5  # of log s
_JUMPS = 3  # to or from the boundary: a scale that comes and goes is led step by step
_STRIDE = 2.0  # log s moves no further in a round: the quadratic is that of where it began
_GRID = np.linspace(-BOX, 5.0, 69)  # of log s
_NOTHING = 1e-6  # nats by which a scale above 0 must be better than 0

Look = Callable[[np.ndarray], tuple[float, np.ndarray]]
Bend = Callable[[np.ndarray], np.ndarray]
Quadratic = tuple[np.ndarray, np.ndarray]  # see `Pooled._without_pool`


# Steps end this near the edge of the box of free values, and are there.
_THERE = 1e-3


@dataclass(frozen=True)
class AtRest:
    """Where the scales came to rest.

    Attributes:
        free: all free coordinates, (size,); a scale that goes to 0 is on its boundary.
        curvature: Hessian of the normal approximation there, (size, size).
        converged: whether the last round moved nothing.
    """

    free: np.ndarray
    curvature: np.ndarray
    converged: bool


@dataclass(frozen=True)
class Pooled:
    """Scales of pooled parameters in a free vector.

    Attributes:
        table: all unknowns.
        scale_of: {pooled parameter: its scale}; empty: nothing is done to anything.
    """

    table: ParameterTable
    scale_of: Mapping[str, str]

    def __post_init__(self) -> None:
        for parameter in self.table.parameters:
            if parameter.name in self.scale_of.values() and (parameter.dims or parameter.support != POSITIVE):
                raise EarnestError(
                    f"{parameter.name!r}: the scale of a pooled parameter must be a single number greater than 0"
                )

    def __bool__(self) -> bool:
        return bool(self.scale_of)

    @property
    def scales(self) -> np.ndarray:
        """Which free coordinates are logs of scales, (size,)."""
        out = np.zeros(self.table.size, dtype=bool)
        for name in self.scale_of.values():
            out[self.table.slices[name]] = True
        return out

    def at_zero(self, free: np.ndarray) -> np.ndarray:
        """Free coordinates of scales on their boundary at 0 and of what they pool, (size,)."""
        out = np.zeros(len(free), dtype=bool)
        for name, scale in self.scale_of.items():
            if free[self.table.slices[scale]][0] <= -BOX + _THERE:
                out[self.table.slices[scale]] = out[self.table.slices[name]] = True
        return out

    def unit(self, free: np.ndarray) -> np.ndarray:
        """Unit of each free coordinate, (size,): in units of s the information on b is bounded however small s is."""
        unit = np.ones(len(free))
        for name, scale in self.scale_of.items():
            unit[self.table.slices[name]] = min(1.0, float(np.exp(free[self.table.slices[scale]][0])))
        return unit

    def moved(self, free: np.ndarray, to: np.ndarray) -> np.ndarray:
        """A free vector with the scales of another; what is pooled keeps its size in units of them."""
        out = np.where(self.scales, to, free)
        for name, scale in self.scale_of.items():
            out[self.table.slices[name]] *= np.exp(np.subtract(*(z[self.table.slices[scale]][0] for z in (out, free))))
        return out

    def held(self, slope: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope and Hessian with which a Newton step leaves the scales where they are."""
        if not self:
            return slope, curvature
        at = self.scales
        bent = np.where(at[:, None] | at[None, :], 0.0, curvature) - np.diag(at.astype(float))
        return np.where(at, 0.0, slope), bent

    def nested(self, free: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """The Hessian of the joint density with the second derivatives of log s that the normal approximation has."""
        bend = np.array(raw)
        if not self or not np.all(np.isfinite(raw)):
            return bend
        spread = self._spread(raw, self.unit(free))
        for name, scale in self.scale_of.items():
            own, at = self.table.slices[name], self.table.slices[scale].start
            relative = spread[own, own] / float(np.exp(free[at])) ** 2
            bend[at, at] += 2 * np.sum(relative**2) - 2 * np.trace(relative)
        return bend

    def mode(self, look: Look, bend: Bend, free: np.ndarray) -> AtRest:
        """Mode of the scales and, given them, of all else.

        Args:
            look: of a free vector the log joint density and its gradient.
            bend: of a free vector the Hessian of the same, which is dear.
            free: where to begin, (size,).
        """
        stride, before, converged, jumps = _STRIDE, 0.0, False, _JUMPS
        free, gradient, raw = self._climbed(look, bend, np.array(free), self._votes(free, bend(free)))
        for _ in range(_ROUNDS):
            if not np.all(np.isfinite(raw)) or not np.all(np.isfinite(gradient)):
                break
            quadratic = self._without_pool(free, gradient, raw)
            to = self._best_scales(free, gradient, quadratic, stride, jumps > 0)
            moves = (to - free)[self.scales]
            jumps -= bool((np.abs(moves) > stride).any())
            # A scale that swings to and fro is led on a shorter rein.
            if before * moves[0] < 0 and abs(moves[0]) > 0.5 * abs(before):
                stride = max(0.5 * abs(moves[0]), 1e-6)
            before = float(moves[0])
            if np.max(np.abs(moves)) < _STILL:
                converged = True
                break
            free, gradient, raw = self._climbed(look, bend, self._aimed(free, quadratic, to), self._votes(free, raw))
        return AtRest(free, self.nested(free, raw), converged)

    def _climbed(
        self, look: Look, bend: Bend, free: np.ndarray, votes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """The mode of all else at its scales, by damped Newton steps: where, the gradient there and the Hessian.

        `votes` is the votes' part of minus the Hessian, here or near by.
        """
        value, slope = look(free)
        for _ in range(_HESSIANS):
            arrived = False
            for _ in range(_STEPS):
                move = self._step(free, slope, votes)
                gain, length = float(slope @ move), 1.0
                if not gain > 1e-11 * (1 + abs(value)):
                    arrived = True
                    break
                new = look(free + move)
                while not new[0] > value and length > 1e-3:
                    length /= 2
                    new = look(free + length * move)
                if not new[0] > value:
                    break  # with a Hessian of this place
                free = free + length * move
                value, slope = new
            raw = bend(free)
            votes = self._votes(free, raw)
            if arrived:
                break
        return free, slope, raw

    def _step(self, free: np.ndarray, slope: np.ndarray, votes: np.ndarray) -> np.ndarray:
        """Newton step with absolute eigenvalues at the scales of a point, at most 1 free unit long, (size,)."""
        rest, unit = np.flatnonzero(~self.scales), self.unit(free)[~self.scales]
        precision = votes + np.diag(self._precision(free)[rest])
        values, vectors = np.linalg.eigh(precision * np.outer(unit, unit))
        values = np.maximum(np.abs(values), 1e-9 * (1.0 + np.abs(values).max(initial=0.0)))
        move = np.zeros(len(free))
        move[rest] = unit * (vectors @ ((vectors.T @ (unit * slope[rest])) / values))
        reach = np.maximum(BOX, np.abs(free))
        ends = np.clip(free + move / max(1.0, np.max(np.abs(move), initial=0.0)), -reach, reach)
        return np.asarray(ends - free)

    def _aimed(self, free: np.ndarray, quadratic: Quadratic, to: np.ndarray) -> np.ndarray:
        """Where the quadratic of a point has its mode at other scales; what is pooled goes there with its scale."""
        rest = np.flatnonzero(~self.scales)
        information, pull = quadratic
        at = self.moved(free, to)
        slope = np.zeros(len(free))
        slope[rest] = pull - (information + np.diag(self._precision(to)[rest])) @ at[rest]
        return np.asarray(at + self._step(at, slope, information))

    def _best_scales(
        self, free: np.ndarray, gradient: np.ndarray, quadratic: Quadratic, stride: float, jumping: bool
    ) -> np.ndarray:  # fmt: skip
        """Scales with the highest density, all else integrated out of the quadratic at a point, (size,) with the rest.

        Several scales are maximised in turn.
        """
        to = np.array(free)
        for _ in range(3 if len(set(self.scale_of.values())) > 1 else 1):
            for scale in dict.fromkeys(self.scale_of.values()):
                at = self.table.slices[scale].start
                height = self._height(free, gradient, quadratic, to, at)
                best, zero = self._highest(height), height(-BOX)
                if not height(best) > zero + _NOTHING:
                    best = -BOX
                near = free[at] - stride, free[at] + stride
                # From and to the boundary is one step: between, nothing can be told from 0.
                far = jumping and (best <= -BOX or free[at] <= -BOX)
                to[at] = best if far else float(np.clip(best, *near))
        return to

    @staticmethod
    def _highest(height: Callable[[float], float]) -> float:
        values = [height(x) for x in _GRID]
        k = int(np.argmax(values))
        low, high = _GRID[max(k - 1, 0)], _GRID[min(k + 1, len(_GRID) - 1)]
        found = minimize_scalar(lambda x: -height(x), bounds=(low, high), method="bounded", options={"xatol": 1e-9})
        return float(found.x) if -found.fun >= values[k] else float(_GRID[k])

    def _height(
        self, free: np.ndarray, gradient: np.ndarray, quadratic: Quadratic, to: np.ndarray, at: int
    ) -> Callable[[float], float]:
        """Log density of one log scale with all else integrated out of the quadratic, up to a constant."""
        rest = np.flatnonzero(~self.scales)
        information, pull = quadratic
        pooled = [name for name, scale in self.scale_of.items() if self.table.slices[scale].start == at]
        own = np.concatenate([np.arange(self.table.size)[self.table.slices[name]] for name in pooled])
        # What log p says of log s beside the pooled parameters' own density: its prior (and Jacobian).
        parameter = next(p for p in self.table.parameters if self.table.slices[p.name].start == at)
        prior = parameter.prior.given({})
        extra = gradient[at] - (np.sum(free[own] ** 2) * np.exp(-2 * free[at]) - len(own)) - _slope(prior, free[at])

        def height(log_scale: float) -> float:
            scales = np.array(to)
            scales[at] = log_scale
            unit = self.unit(scales)[rest]
            precision = (information + np.diag(self._precision(scales)[rest])) * np.outer(unit, unit)
            root = np.linalg.cholesky(precision)
            along = solve_triangular(root, pull * unit, lower=True)
            value = 0.5 * along @ along - np.sum(np.log(np.diag(root) / unit))
            own_density = -len(own) * log_scale + float(prior.log_prob(np, np.exp(log_scale)))
            return float(value + own_density + extra * log_scale)

        return height

    def _votes(self, free: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Minus the Hessian without what the scales say of the pooled parameters, (rest, rest)."""
        rest = np.flatnonzero(~self.scales)
        return np.asarray(-raw[np.ix_(rest, rest)] - np.diag(self._precision(free)[rest]))

    def _without_pool(self, free: np.ndarray, gradient: np.ndarray, raw: np.ndarray) -> Quadratic:
        """Minus the Hessian of log p without the pooled parameters' own density, and its slope at the origin."""
        rest = np.flatnonzero(~self.scales)
        precision = self._precision(free)[rest]
        # The votes may curve upwards in some direction: the quadratic is then flat there.
        values, vectors = np.linalg.eigh(self._votes(free, raw))
        information = (vectors * np.maximum(values, 1e-6 * (1.0 + np.abs(values).max(initial=0.0)))) @ vectors.T
        return information, gradient[rest] + precision * free[rest] + information @ free[rest]

    def _precision(self, free: np.ndarray) -> np.ndarray:
        """1 / s^2 at what is pooled, else 0, (size,)."""
        out = np.zeros(len(free))
        for name, scale in self.scale_of.items():
            out[self.table.slices[name]] = np.exp(-2 * free[self.table.slices[scale]][0])
        return out

    def _spread(self, raw: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """V, (size, size), with zeros at the scales."""
        rest = np.flatnonzero(~self.scales)
        values, vectors = np.linalg.eigh(-raw[np.ix_(rest, rest)] * np.outer(unit[rest], unit[rest]))
        values = np.maximum(values, 1e-9 * (1.0 + np.abs(values).max(initial=0.0)))
        spread = np.zeros_like(raw)
        spread[np.ix_(rest, rest)] = (vectors / values) @ vectors.T * np.outer(unit[rest], unit[rest])
        return spread


def _slope(prior: object, log_scale: float, step: float = 1e-4) -> float:
    """Slope of a prior's log-density in log s."""
    ends = [float(prior.log_prob(np, np.exp(log_scale + sign * step))) for sign in (-1, 1)]  # type: ignore[attr-defined]
    return (ends[1] - ends[0]) / (2 * step)
