"""How the samplers integrate a user's latent out: fixed rules of nodes and weights, written once for every backend.

    log L_u = logsumexp_k [ log w_k + sum_c n_uc log(a_k P_c + (1 - a_k) C_c) ]

A finite population has its levels. A continuous one has Gauss nodes where its component offers them: n // 2 + 1 of them
are exact for n votes, and fewer do for many votes. Else it has a fixed grid on the logit scale (trapezoidal rule under
x = s sinh t). How many nodes a rule needs is found by trying: twice as many must say the same at the points given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError
from ..models.behavior import BehaviorModel
from ..models.component import Finite
from ..models.namespace import NUMPY, Namespace
from ..models.parameters import Values
from .bracket import Chances, cell_chances
from .chain import tree_log_likelihood
from .tally import Entries, Tally

__all__ = [
    "Gauss", "Grid", "Levels", "Piece", "Rule", "along_chain", "choose_pieces", "log_marginal", "log_scales",
    "with_kinds", "worst_error",
]  # fmt: skip

_TINY = 1e-300
EXACT, SAMPLED = 1e-10, 1e-6
"""Largest error of a user's log-likelihood at the points where a rule was tried, nats, and a tenth of it a vote: of a
model handed out, which is to say what EM says to rounding; and of chains, whose draws could not tell (a millionth of a
nat a user, where a standard error of Monte Carlo is a hundredth of one and more), and which pay for every node."""
_SIZE_CLASSES = (64, 1024)
_GAUSS_SIZES = (8, 12, 16, 24, 32, 48, 64)
_MOST_GAUSS = 64  # beyond, finding the nodes anew at each step costs more than a grid
_GRID_SIZES = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
_TRIED = 64  # units at which a rule is tried: the heaviest, and others evenly
_SCALE = 2.0
_DROP = 50.0


@dataclass(frozen=True)
class Levels:
    """The levels of a finite population: exact."""

    size: int

    def at(self, xp: Namespace, model: BehaviorModel, values: Values) -> tuple[Any, Any, Any]:
        """log w, a, 1 - a at the nodes, (node,) each."""
        latent = np.arange(self.size)
        log_a, log_rest = model.attentiveness.attention(xp, values, latent)
        return model.attentiveness.log_weights(xp, values, latent), xp.exp(log_a), xp.exp(log_rest)


@dataclass(frozen=True)
class Gauss:
    """Gauss quadrature of the population itself, or another rule that moves with it."""

    size: int

    def at(self, xp: Namespace, model: BehaviorModel, values: Values) -> tuple[Any, Any, Any]:
        """log w, a, 1 - a at the nodes, (node,) each."""
        rule = model.attentiveness.gauss(xp, values, self.size)
        if rule is None:
            raise EarnestError(f"{type(model.attentiveness).__name__}.gauss gave no rule")
        nodes, log_weights = rule
        return log_weights, nodes, 1.0 - nodes


@dataclass(frozen=True)
class Grid:
    """Trapezoidal rule on the logit scale between `low` and `high`, denser at 0."""

    size: int
    low: float
    high: float

    def at(self, xp: Namespace, model: BehaviorModel, values: Values) -> tuple[Any, Any, Any]:
        """log w, a, 1 - a at the nodes, (node,) each."""
        ends = np.arcsinh(self.low / _SCALE), np.arcsinh(self.high / _SCALE)
        t, step = np.linspace(*ends, self.size, retstep=True)
        latent = _SCALE * np.sinh(t)
        log_a, log_rest = model.attentiveness.attention(xp, values, latent)
        log_w = model.attentiveness.log_weights(xp, values, latent) + np.log(_SCALE * step * np.cosh(t))
        return log_w, xp.exp(log_a), xp.exp(log_rest)


Rule = Levels | Gauss | Grid


@dataclass(frozen=True)
class Piece:
    """Units that share a rule."""

    units: np.ndarray
    rule: Rule


def log_marginal(
    xp: Namespace, chances: Chances, rules: Sequence[tuple[Any, Any, Any]], pieces: Sequence[Piece], tally: Tally,
    value: Any,
) -> Any:  # fmt: skip
    """Log marginal likelihood of every unit's votes, nats, (unit,).

    Args:
        xp: array namespace.
        chances: of every cell.
        rules: log w, a, 1 - a of every piece's nodes; where kinds of users are told apart, log w of all nodes of the
            first kind, then of the second, ... (see `with_kinds`).
        pieces: which units belong to which rule.
        tally: what was shown.
        value: votes, (unit, slot, outcome).
    """
    entries = None if tally.dense else tally.entries(value)
    parts = []
    for piece, (log_w, a, rest) in zip(pieces, rules, strict=True):
        if chances.stay is not None:
            joint = along_chain(xp, chances, a, rest, tally, value, piece.units)
        elif entries is None:
            rows = value.reshape((len(tally), len(tally.cells)))
            joint = xp.matmul(rows if len(pieces) == 1 else rows[piece.units], _log_bracket(xp, chances, a, rest))
        else:
            unit, cell, count = _of_units(entries, piece.units, len(tally))
            used, place = np.unique(cell, return_inverse=True)
            log_m = _log_bracket(xp, chances, a, rest, used)
            joint = xp.segment_sum(count[:, None] * log_m[place], unit, len(piece.units))
        parts.append(xp.logsumexp(joint + log_w[None, :], axis=1))
    if len(parts) > 1:
        order = np.argsort(np.concatenate([piece.units for piece in pieces]))
        parts = [xp.concatenate(parts)[order]]
    return parts[0] if chances.log_scale is None else parts[0] + log_scales(xp, chances, tally, value)


def log_scales(xp: Namespace, chances: Chances, tally: Tally, value: Any) -> Any:
    """Sum of the logarithms that every unit's brackets were scaled by, nats, (unit,)."""
    if tally.dense:
        return xp.matmul(value.reshape((len(tally), len(tally.cells))), chances.log_scale)
    entries = tally.entries(value)
    return xp.segment_sum(entries.count * chances.log_scale[entries.cell], entries.unit, len(tally))


def with_kinds(model: BehaviorModel, tally: Tally, rule: tuple[Any, Any, Any], chances: Chances) -> Any:
    """A rule with the log-weights of all kinds of users in one row, (kind x node,)."""
    log_w, a, rest = rule
    if not chances.by_kind:
        return rule
    return model.kinds(tally.schema).joined(log_w, chances.log_shares).reshape((-1,)), a, rest


def _log_bracket(xp: Namespace, chances: Chances, a: Any, rest: Any, used: np.ndarray | None = None) -> Any:
    """log(a P + (1 - a) C) of all cells, or of those used, (cell, node), or (cell, kind x node)."""

    def log_sum(p: Any, c: Any) -> Any:
        first, second = (part[..., used] if used is not None else part for part in (p, c))
        return xp.log(xp.maximum(first[..., None] * a + second[..., None] * rest, _TINY))

    log_m = log_sum(chances.p, chances.c)
    if chances.odds is not None:
        log_m = log_m - log_sum(*chances.odds)
    return log_m.transpose((1, 0, 2)).reshape((log_m.shape[1], -1)) if chances.by_kind else log_m


def along_chain(
    xp: Namespace, chances: Chances, a: Any, rest: Any, tally: Tally, value: Any, units: np.ndarray
) -> Any:  # fmt: skip
    """Log-likelihood of some units' votes, states summed out, nats, (unit, node), or (unit, kind x node).

    Args:
        xp: array namespace.
        chances: of every cell.
        a, rest: attentiveness and its complement at the nodes, (node,), or (unit, 1).
        tally: what was shown.
        value: votes, (unit, slot, outcome), one a slot.
        units: which.
    """
    n_outcomes = tally.count.shape[2]
    slot, there = (part[units] for part in tally.steps)
    first = np.maximum(np.take_along_axis(tally.shown[units], slot, axis=1), 0) * n_outcomes
    cell, chosen = first[:, :, None] + np.arange(n_outcomes), value[units[:, None], slot]
    p, c = (xp.sum(chosen * part[..., cell], axis=-1) for part in (chances.p, chances.c))
    joint = tree_log_likelihood(xp, p, c, a, rest, chances.stay, there)
    return joint.transpose((1, 0, 2)).reshape((len(units), -1)) if chances.by_kind else joint


def _of_units(entries: Entries, units: np.ndarray, n_units: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """The entries of some units: position of the unit among them, cell, count."""
    number = np.full(n_units, -1)
    number[units] = np.arange(len(units))
    inside = np.flatnonzero(number[entries.unit] >= 0)
    return number[entries.unit[inside]], entries.cell[inside], entries.count[inside]


def choose_pieces(
    model: BehaviorModel, tally: Tally, points: Sequence[Values], tolerance: float = EXACT
) -> tuple[Piece, ...]:
    """A rule for every class of users by number of votes.

    Args:
        model: the declaration (settled).
        tally: the votes.
        points: parameter values at which rules are tried; they should spread over the posterior.
        tolerance: `EXACT` or `SAMPLED`.
    """
    kind = model.attentiveness.latents(tally.schema)
    if isinstance(kind, Finite):
        return (Piece(np.arange(len(tally)), Levels(kind.size)),)
    n = tally.comparisons
    groups = np.searchsorted(_SIZE_CLASSES, n, side="left")
    of_group = (np.flatnonzero(groups == g) for g in range(3))
    return tuple(Piece(units, _rule(model, tally, units, points, tolerance)) for units in of_group if len(units))


def _rule(model: BehaviorModel, tally: Tally, units: np.ndarray, points: Sequence[Values], tolerance: float) -> Rule:
    exact = int(tally.comparisons[units].max()) // 2 + 1
    polynomial = model.polynomial  # else a vote is a ratio of two factors that are linear in eta
    heaviest = units[np.argsort(-tally.comparisons[units], kind="stable")[:_TRIED]]
    sample = np.unique(np.concatenate([heaviest, units[:: max(len(units) // _TRIED, 1)]]))
    if model.attentiveness.gauss(NUMPY, points[0], 2) is not None:
        if not model.attentiveness.gauss_exact:
            moving = [Gauss(size) for size in _GRID_SIZES]
            return _first_settled(model, tally, sample, moving, points, tolerance) or moving[-1]
        if polynomial and exact <= _GAUSS_SIZES[1]:
            return Gauss(exact)
        sizes = [size for size in _GAUSS_SIZES if size < exact or not polynomial]
        closing = [exact] if polynomial and exact <= _MOST_GAUSS else []
        found = _first_settled(model, tally, sample, [Gauss(size) for size in sizes + closing], points, tolerance)
        if found is not None or closing:
            return found or Gauss(exact)
    low, high = _reach(model, points)
    grids = [Grid(size, low, high) for size in _GRID_SIZES]
    return _first_settled(model, tally, sample, grids, points, tolerance) or grids[-1]


def _first_settled(
    model: BehaviorModel, tally: Tally, units: np.ndarray, rules: Sequence[Rule], points: Sequence[Values],
    tolerance: float,
) -> Rule | None:  # fmt: skip
    """The first rule that says the same as the next one for these units at every point."""
    allowed = tolerance * (1 + tally.comparisons[units] / 10)
    before = None
    for rule, earlier in zip(rules, (None, *rules), strict=False):
        answer = np.array([_try(model, tally, units, rule, values) for values in points])
        if before is not None and np.all(np.abs(answer - before) < allowed):
            return earlier
        before = answer
    return None


def _reach(model: BehaviorModel, points: Sequence[Values]) -> tuple[float, float]:
    """Logits between which every point's population lies, twice as far as its density takes to fall by exp(-50)."""
    scan = np.sinh(np.linspace(-1.0, 1.0, 401) * np.arcsinh(1e6))
    low, high = -10.0, 10.0
    for values in points:
        density = np.asarray(model.attentiveness.log_weights(NUMPY, values, scan)) + 0.5 * np.log1p(scan**2)
        density = np.atleast_2d(density).max(0)  # of both signs, where there are two
        alive = scan[density > np.nanmax(density) - _DROP]
        low, high = min(low, 2 * alive.min()), max(high, 2 * alive.max())
    return float(low), float(high)


def _try(model: BehaviorModel, tally: Tally, units: np.ndarray, rule: Rule, values: Values) -> np.ndarray:
    """Log-likelihood of some units at one point, NumPy, (unit,)."""
    chances = cell_chances(NUMPY, model, values, tally.cells)
    log_w, a, rest = with_kinds(model, tally, rule.at(NUMPY, model, values), chances)
    if chances.stay is not None:
        joint = along_chain(NUMPY, chances, np.asarray(a), np.asarray(rest), tally, tally.count, units)
        return np.asarray(NUMPY.logsumexp(joint + log_w, axis=1))
    log_m = _log_bracket(NUMPY, chances, np.asarray(a), np.asarray(rest))
    shown = np.maximum(tally.shown[units], 0)
    n_outcomes = tally.count.shape[2]
    joint = np.zeros((len(units), len(log_w)))
    for y in range(n_outcomes):
        joint += np.einsum("us,usk->uk", tally.count[units, :, y], log_m[shown * n_outcomes + y])
    return np.asarray(NUMPY.logsumexp(joint + log_w, axis=1))


def worst_error(model: BehaviorModel, tally: Tally, pieces: Sequence[Piece], points: Sequence[Values]) -> float:
    """Largest change of a unit's log-likelihood when the rules get twice the nodes, nats; 0 where they are exact."""
    worst = 0.0
    for piece in pieces:
        rule = piece.rule
        if isinstance(rule, Levels) or (
            isinstance(rule, Gauss)
            and model.attentiveness.gauss_exact
            and model.polynomial
            and 2 * rule.size > float(tally.comparisons[piece.units].max())
        ):
            continue
        finer = (
            Gauss(2 * rule.size) if isinstance(rule, Gauss) else Grid(2 * rule.size, 1.5 * rule.low, 1.5 * rule.high)
        )
        heavy = piece.units[np.argsort(-tally.comparisons[piece.units], kind="stable")[:64]]
        for values in points:
            change = _try(model, tally, heavy, rule, values) - _try(model, tally, heavy, finer, values)
            worst = max(worst, float(np.max(np.abs(change))))
    return worst
