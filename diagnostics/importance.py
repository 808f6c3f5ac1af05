"""The posterior of a model's globals by importance sampling, and what it says of a user who is left out.

Users' latents are integrated out, so that the posterior has as many dimensions as the model has unknowns, and one pass
over the votes gives its density and every user's log-likelihood L_u at once. Draws come from multivariate t
distributions around modes; their weights are smoothed (PSIS), and the shape k of the weights' tail says whether that
worked: above 0.7 it did not (Vehtari, Simpson, Gelman, Yao and Gabry 2024, JMLR 25).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.special import gammaln, logsumexp

from ..comparisons.errors import EarnestError
from ..inference.arrays import JNP, float64
from ..inference.compiled import Settled, Statement, values_at
from ..inference.em import MarginalEM
from ..inference.integration import SAMPLED
from ..inference.packages import installed
from ..inference.starts import NEAR
from ..inference.users import Workload, workload

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = [
    "GOOD_K", "IMPOSSIBLE", "Mixture", "Target", "Weighted", "around_modes", "has_arviz", "leave_out",
    "require_arviz", "resampled", "smoothed", "weigh",
]  # fmt: skip

GOOD_K = 0.7
IMPOSSIBLE = -1e4
"""Stands for a log-density that is not a number, nats."""

_FREEDOM = 6.0  # degrees of freedom of the proposals: tails heavier than the posterior's
_ROUNDS = 5
_EVEN_K = 0.4  # below, a proposal is not made better
_N_KERNELS, _KERNELS_SHARE = 64, 0.85
_TRIAL = 1000  # draws of a round that only shapes the next proposal
_TOGETHER = 100  # draws in one call of the compiled program
_SOME = 8  # users who are left out with one set of draws


@dataclass(frozen=True)
class Mixture:
    """A mixture of multivariate t distributions with 6 degrees of freedom.

    Attributes:
        centres: (component, size).
        roots: matrices R with R R' the component's covariance at scale 1, (component, size, size).
        shares: of the draws, (component,).
    """

    centres: np.ndarray
    roots: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, centres: Sequence[np.ndarray], covariances: Sequence[np.ndarray]) -> Mixture:
        """Equal shares of components with centres (size,) and covariances (size, size); unknown variances are 1."""
        roots = np.stack([_root(covariance) for covariance in covariances])
        return cls(np.stack(centres), roots, np.full(len(roots), 1.0 / len(roots)))

    def joined(self, other: Mixture, share: float = 0.5) -> Mixture:
        """All components of both, the other's with a share together."""
        return Mixture(
            np.concatenate([self.centres, other.centres]),
            np.concatenate([self.roots, other.roots]),
            np.concatenate([(1 - share) * self.shares, share * other.shares]),
        )

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(draw, size); every component gives its share to the nearest draw."""
        component = np.searchsorted(np.cumsum(self.shares), (np.arange(n) + rng.random()) / n)
        component = np.minimum(component, len(self.shares) - 1)
        size = self.centres.shape[1]
        z = rng.standard_normal((n, size)) / np.sqrt(rng.chisquare(_FREEDOM, (n, 1)) / _FREEDOM)
        return np.asarray(self.centres[component] + np.einsum("nij,nj->ni", self.roots[component], z))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """(draw,), nats."""
        size = self.centres.shape[1]
        scale = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2) - size / 2 * np.log(_FREEDOM * np.pi)
        parts = np.empty((len(self.shares), len(points)))
        for k, (centre, root) in enumerate(zip(self.centres, self.roots, strict=True)):
            length = np.sum(np.linalg.solve(root, (points - centre).T) ** 2, axis=0)
            parts[k] = scale - np.linalg.slogdet(root)[1] - (_FREEDOM + size) / 2 * np.log1p(length / _FREEDOM)
        return np.asarray(logsumexp(parts, axis=0, b=self.shares[:, None]))


def _root(covariance: np.ndarray) -> np.ndarray:
    unknown = ~np.isfinite(np.diag(covariance))
    usable = np.where(np.isfinite(covariance), covariance, 0.0) + np.diag(unknown.astype(float))
    values, vectors = np.linalg.eigh(0.5 * (usable + usable.T))
    # A direction that looks certain, or has no curvature at all, still gets a little of the others' width.
    return np.asarray(vectors * np.sqrt(np.clip(values, 1e-10 + 1e-8 * values.max(initial=0.0), 25.0)))


@dataclass(frozen=True)
class Target:
    """The posterior of one model on one log, on the free scale.

    Attributes:
        settled: the model and its counted log.
        statement: the same in marginal form; its units are users, or patterns of users with equal votes.
    """

    settled: Settled
    statement: Statement

    @classmethod
    def of(cls, settled: Settled, points: np.ndarray) -> Target:
        """With rules of integration that suit these free vectors, (point, size)."""
        return cls(settled, settled.statement("marginal", [values_at(settled.table, z) for z in points], SAMPLED))

    @cached_property
    def _program(self) -> Callable[[Any, Any], tuple[Any, Any]]:
        table, statement = self.settled.table, self.statement

        def one(free: Any, count: Any) -> tuple[Any, Any]:
            values = table.unpack(JNP, free)
            chances = statement.chances(JNP, values)
            # Of counts that are known when compiling, only those above zero are gone through.
            votes = count if statement.tally.dense else statement.tally.count
            by_unit = statement.log_marginal(JNP, chances, statement.rules(JNP, values, chances), votes)
            return by_unit, table.log_prior(JNP, values) + table.log_jacobian(JNP, free)

        return jax.jit(lambda points, count: jax.lax.map(lambda free: one(free, count), points))

    @float64
    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood of every unit's votes (draw, unit), and log prior density of the free vector (draw,), nats."""
        votes = self.statement.tally.count if self.statement.tally.dense else np.zeros(0)
        likelihood, prior = np.empty((len(points), len(self.statement.tally))), np.empty(len(points))
        for first in range(0, len(points), _TOGETHER):
            rows = np.minimum(np.arange(first, first + _TOGETHER), len(points) - 1)
            some, density = self._program(points[rows], votes)
            n = min(_TOGETHER, len(points) - first)
            likelihood[first : first + n], prior[first : first + n] = np.asarray(some)[:n], np.asarray(density)[:n]
        return likelihood, prior

    def ordered(self, points: np.ndarray) -> np.ndarray:
        """Whether the population's labels are in their fixed order, (draw,).

        The posterior of a finite mixture repeats itself under other labels; one copy says it all.
        """
        model, table = self.settled.model, self.settled.table
        if not model.labelled:
            return np.ones(len(points), dtype=bool)
        out = np.empty(len(points), dtype=bool)
        for i, point in enumerate(points):
            values = values_at(table, point)
            out[i] = all(np.array_equal(values[name], value) for name, value in model.canonical(values).items())
        return out

    @cached_property
    def work(self) -> Workload:
        """The counts as EM's arrays."""
        return workload(self.settled.counts)

    @float64
    def mode(self, start: np.ndarray, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mode and covariance of the normal approximation there, reached by Newton steps.

        Args:
            start: free vector, (size,).
            without: a unit of which one user is left out.
        """
        problem = self.work.problem
        if without is not None:
            multiplicity = np.array(problem.group.multiplicity)
            multiplicity.reshape(-1)[self.work.layout.slot[without]] -= 1.0
            problem = replace(problem, group=replace(problem.group, multiplicity=multiplicity))
        em = MarginalEM(self.settled.model, problem, True)
        centre, curvature = em.laplace(start, em.hessian(start))
        values, vectors = np.linalg.eigh(-curvature)
        return centre, np.asarray((vectors / np.maximum(values, 0.04)) @ vectors.T)


@dataclass(frozen=True)
class Weighted:
    """Draws of a proposal, and what they are worth as draws of the posterior.

    Attributes:
        points: free vectors, (draw, size).
        log_ratio: log of posterior density over proposal density, up to a constant, nats, (draw,).
        log_likelihood: of every unit's votes, nats, (draw, unit).
        k: shape of the ratio's tail.
        proposal: where they are from.
    """

    points: np.ndarray
    log_ratio: np.ndarray
    log_likelihood: np.ndarray
    k: float
    proposal: Mixture


def has_arviz() -> bool:
    """Whether ArviZ is installed."""
    return installed("arviz_stats")


def require_arviz() -> None:
    """Raise an `EarnestError` where ArviZ is not installed."""
    if not has_arviz():
        raise EarnestError("this needs ArviZ, which is not installed here: pip install 'earnest[numpyro]'")


def smoothed(log_ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed log weights (..., draw), which sum to 1, and the tails' shapes k (...)."""
    from arviz_stats.base import array_stats

    rows = log_ratio.reshape(-1, log_ratio.shape[-1])
    weights, k = np.full_like(rows, -np.log(rows.shape[1])), np.zeros(len(rows))
    uneven = np.ptp(rows, axis=1) > 1e-9  # equal ratios have no tail
    if uneven.any():
        weights[uneven], k[uneven] = array_stats.psislw(-rows[uneven])
    return weights.reshape(log_ratio.shape), k.reshape(log_ratio.shape[:-1])


def weigh(target: Target, proposal: Mixture, draws: int, rng: np.random.Generator) -> Weighted:
    """Draw from a proposal, and from better ones while its weights are uneven.

    Each round puts kernels where the last one's weight lies, so that the proposal takes on the posterior's shape (West
    1993, JRSS B 55); a share stays with the proposal that was given.
    """
    best = trial = _weighted(target, proposal, min(_TRIAL, draws), rng)
    for _ in range(_ROUNDS):
        if best.k < _EVEN_K:
            break
        better = proposal.joined(_kernels(trial.points, smoothed(trial.log_ratio)[0], rng), _KERNELS_SHARE)
        trial = _weighted(target, better, min(_TRIAL, draws), rng)
        best = trial if trial.k < best.k else best
    return _weighted(target, best.proposal, draws, rng)


def _weighted(target: Target, proposal: Mixture, draws: int, rng: np.random.Generator) -> Weighted:
    points = proposal.draw(rng, draws)
    likelihood, prior = target.at(points)
    ratio = likelihood @ target.statement.tally.multiplicity + prior - proposal.log_density(points)
    known = np.isfinite(ratio) & target.ordered(points)
    if not known.any():
        raise EarnestError("the posterior density is not a number anywhere near EM's estimate; look at the fit's notes")
    # Far out in a proposal's tail a density may not be a number: such a draw is left out, as is one with other labels.
    # (With a weight near nothing it would come back where a user's own likelihood is divided out.)
    points, likelihood, ratio = points[known], likelihood[known], ratio[known]
    return Weighted(points, ratio, likelihood, float(smoothed(ratio)[1]), proposal)


def around_modes(settled: Settled, fit: Fit) -> Mixture:
    """A proposal around EM's best mode, and around those near it."""
    parts = [(fit.centre, fit.spread)]
    target = Target.of(settled, fit.centre[None])
    for mode in fit.modes[1:]:
        if fit.modes[0].objective - mode.objective <= NEAR:
            parts.append(target.mode(settled.table.pack(mode.parameters)))
    return Mixture.of(*zip(*parts, strict=True))


def resampled(drawn: Weighted, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Free vectors that stand for the posterior alike, (draw, size): chosen by their smoothed weights, evenly."""
    weights = np.exp(smoothed(drawn.log_ratio)[0])
    reached = np.cumsum(weights) / weights.sum()
    chosen = np.searchsorted(reached, (np.arange(draws) + rng.random()) / draws)
    return np.asarray(drawn.points[np.minimum(chosen, len(drawn.points) - 1)])


def _kernels(points: np.ndarray, log_weights: np.ndarray, rng: np.random.Generator) -> Mixture:
    """Kernels around draws chosen by their weight, which together have the weighted draws' mean and covariance."""
    weights = np.exp(log_weights)
    weights = weights / weights.sum()
    mean, size = weights @ points, points.shape[1]
    covariance = (weights[:, None] * (points - mean)).T @ (points - mean)
    effective = 1.0 / np.sum(weights**2)
    width = min((4.0 / (size + 2.0) / effective) ** (1.0 / (size + 4.0)), 0.95)
    chosen = np.searchsorted(np.cumsum(weights), (np.arange(_N_KERNELS) + rng.random()) / _N_KERNELS)
    centres = points[np.minimum(chosen, len(points) - 1)]
    centres, among = np.unique(mean + np.sqrt(1 - width**2) * (centres - mean), axis=0, return_counts=True)
    root = _root(width**2 * covariance)
    return Mixture(centres, np.broadcast_to(root, (len(centres), *root.shape)), among / among.sum())


def leave_out(
    target: Target, proposal: Mixture, start: np.ndarray, units: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Log predictive density of a user's votes from everybody else's, with draws made for that posterior.

    For each unit the mode without one of its users is found by Newton steps; some units share the draws of a mixture
    around their modes, and rounds of moment matching mend what is uneven.

    Args:
        target: model and log.
        proposal: for the posterior with everybody.
        start: free vector near its mode, (size,).
        units: who is left out, (left out,).
        draws: for each group of eight.
        rng: of the draws.

    Returns:
        elpd, nats, and shape k of the weights' tail, (left out,) each.
    """
    elpd, shape = np.full(len(units), np.nan), np.full(len(units), np.nan)
    for first in range(0, len(units), _SOME):
        where = np.arange(first, min(first + _SOME, len(units)))
        modes = [target.mode(start, int(unit)) for unit in units[where]]
        mixture = proposal.joined(Mixture.of(*zip(*modes, strict=True)))
        for _ in range(_ROUNDS):
            drawn = _weighted(target, mixture, draws, rng)
            own = drawn.log_likelihood[:, units[where]].T
            own = np.where(np.isfinite(own), own, IMPOSSIBLE)
            weights, k = smoothed(drawn.log_ratio - own)
            better = ~(shape[where] <= k)
            elpd[where] = np.where(better, logsumexp(weights + own, axis=1), elpd[where])
            shape[where] = np.where(better, k, shape[where])
            bad = np.flatnonzero(~(k <= GOOD_K))
            if len(bad) == 0:
                break
            kernels = [_kernels(drawn.points, weights[i], rng) for i in bad]
            for number, kernel in enumerate(kernels):
                mixture = mixture.joined(kernel, _KERNELS_SHARE / (len(kernels) - number + 1))
    return elpd, shape
