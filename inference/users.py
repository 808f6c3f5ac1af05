"""What the data say of each user: posterior mean, standard deviation and quantiles of attentiveness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import sici
from scipy.stats import norm, qmc

from ..comparisons.cells import Counts
from ..comparisons.context import TIMESTAMP
from ..comparisons.patterns import Patterns
from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from ..models.component import Finite
from .arrays import JNP, Group, Layout, device_cells, lay_out, over_chunks
from .cohorts import eta_at, own_latent
from .draws import around
from .marginal import Problem, branch_weights, chances_of, log_posterior_by_kind, nodes_at
from .nodes import NODES, Nodes

__all__ = [
    "Summary", "Workload", "carried_intervals", "kind_probabilities", "mean_and_sd", "posterior_means",
    "probabilities_above", "refinement", "summarise", "workload",
]  # fmt: skip

_STRATA = 16


@dataclass(frozen=True)
class Workload:
    """A counted log, ready for the accelerator.

    Attributes:
        counts: the counts.
        layout: where patterns lie in the arrays.
        problem: cells and patterns as arrays.
        pattern_of_user: index of each user's pattern, (user,).
    """

    counts: Counts
    layout: Layout
    problem: Problem
    pattern_of_user: np.ndarray


@dataclass(frozen=True)
class Summary:
    """Posterior of attentiveness by pattern.

    Attributes:
        mean, sd: (pattern,), given the global parameters.
        quantiles: (pattern, quantile).
        edge: largest weight of a pattern's outermost nodes: how much may lie outside of them.
    """

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    edge: float = 0.0


def workload(
    counts: Counts, schema: Schema | None = None, dense: bool | None = None, patterns: Patterns | None = None
) -> Workload:
    """Compress counts to patterns (or take these) and arrange them as arrays."""
    patterns = counts.patterns() if patterns is None else patterns
    # A model that looks at time may look at the order of a user's votes, which a matrix of counts does not have.
    dense = False if TIMESTAMP in counts.cells.context else dense
    group, layout = lay_out(patterns, len(counts.cells), dense)
    cells = device_cells(counts.cells, schema)
    counted = np.zeros(len(cells))
    of_entry = patterns.count * np.repeat(patterns.multiplicity, np.diff(patterns.indptr))
    counted[: len(counts.cells)] = np.bincount(patterns.cell, weights=of_entry, minlength=len(counts.cells))
    return Workload(counts, layout, Problem(cells, group, counted), patterns.pattern_of_user)


def summarise(
    model: BehaviorModel, free: np.ndarray, work: Workload, levels: Sequence[float] = (), nodes: Nodes | None = None
) -> Summary:
    """Posterior of every pattern's attentiveness at these parameters.

    Args:
        model: the declaration.
        free: free parameters, (size,).
        work: the counts.
        levels: probabilities at which quantiles are wanted.
        nodes: to use these.
    """
    if len(work.counts.users) == 0:
        return Summary(np.zeros(0), np.zeros(0), np.zeros((0, len(levels))))
    nodes = nodes or nodes_at(model, free, work.problem)
    # Without levels of one's own as many as `carried_intervals` has save a second compilation.
    parts = _summaries(model, free, work.problem, nodes, np.asarray(tuple(levels) or _strata(0.5)))
    mean, sd, quantiles, edge = (work.layout.patterns(part) for part in parts)
    return Summary(mean, sd, quantiles if len(levels) else quantiles[:, :0], float(np.max(edge)))


def posterior_means(model: BehaviorModel, free: np.ndarray, work: Workload) -> np.ndarray:
    """Posterior mean of every pattern's attentiveness at these parameters, (pattern,); quicker than `summarise`."""
    if len(work.counts.users) == 0:
        return np.zeros(0)
    return work.layout.patterns(_summaries(model, free, work.problem, nodes_at(model, free, work.problem), None)[0])


def probabilities_above(model: BehaviorModel, free: np.ndarray, work: Workload, level: float) -> np.ndarray:
    """Posterior probability of more attentiveness than `level` (from 0 to 1), given the globals, (pattern,)."""
    if len(work.counts.users) == 0:
        return np.zeros(0)
    nodes = nodes_at(model, free, work.problem)
    return work.layout.patterns(_above(model, free, work.problem, nodes, level))


def kind_probabilities(model: BehaviorModel, free: np.ndarray, work: Workload) -> np.ndarray:
    """Posterior probability of each kind of user, given the globals, (pattern, kind)."""
    nodes = nodes_at(model, free, work.problem)
    return work.layout.patterns(_kinds(model, free, work.problem, nodes))


@partial(jax.jit, static_argnames=("model",))
def _kinds(model: BehaviorModel, free: Any, problem: Problem, nodes: Nodes) -> Any:
    """(chunk, pattern, kind)."""
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)

    def one(group: Group, at: Nodes) -> Any:
        weights = jnp.exp(log_posterior_by_kind(model, schema, values, group, at, chances)[1])
        return weights.sum(2).T

    return over_chunks(one, problem.group, nodes)


@partial(jax.jit, static_argnames=("model",))
def _above(model: BehaviorModel, free: Any, problem: Problem, nodes: Nodes, level: Any) -> Any:
    """Pr(eta > level) of every pattern, (chunk, pattern)."""
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    finite = isinstance(model.attentiveness.latents(schema), Finite)
    positive = model.kinds(schema).branches.index(1)

    def one(group: Group, at: Nodes) -> Any:
        # Level is 0 or more: only the branch in which attentiveness is positive reaches it.
        weights = branch_weights(model, schema, values, group, at, chances)[1][positive]
        if finite:
            eta = eta_at(model, values, group, at.latent, chances)
            return jnp.sum(jnp.where(eta > level, weights, 0.0), axis=1)
        mass = jnp.sum(weights, axis=1)
        share = weights / jnp.maximum(mass, 1e-300)[:, None]
        scores, where = _distribution(share, jnp.broadcast_to(own_latent(group, at.latent, chances), weights.shape))
        logit = jnp.log(level) - jnp.log1p(-level)
        return mass * jax.scipy.special.ndtr(-jax.vmap(lambda x, known: jnp.interp(logit, x, known))(where, scores))

    return over_chunks(one, problem.group, nodes)


def carried_intervals(
    model: BehaviorModel,
    free: np.ndarray,
    covariance: np.ndarray,
    work: Workload,
    levels: Sequence[float],
    draws: int,
    seed: int,
) -> np.ndarray:
    """Quantiles of attentiveness that carry the uncertainty of the globals.

    The posterior of a user is averaged over draws of the globals from their normal approximation. It is stratified both
    in the globals and in the user's posterior, so that few draws suffice; the strata of each draw are moved by another
    part of their width, so that together they cover every probability evenly even where all draws say the same.

    Args:
        model: the declaration.
        free: centre of the normal approximation on the free scale, (size,).
        covariance: of the free parameters, (size, size).
        work: the counts.
        levels: probabilities of the quantiles.
        draws: number of draws of the globals.
        seed: of the draws.

    Returns:
        (pattern, quantile).
    """
    if free.size == 0 or draws < 1:
        return summarise(model, free, work, levels).quantiles
    rng = np.random.default_rng(seed)
    uniform = qmc.LatinHypercube(d=free.size, rng=rng).random(draws)
    points = around(free, covariance, norm.ppf(np.clip(uniform, 1e-6, 1 - 1e-6)))
    drawn = []
    for point, part in zip(points, (rng.permutation(draws) + 0.5) / draws, strict=True):
        nodes = nodes_at(model, point, work.problem)
        drawn.append(work.layout.patterns(_summaries(model, point, work.problem, nodes, _strata(part))[2]))
    # A finite population has no attentiveness between its levels.
    finite = isinstance(model.attentiveness.latents(work.problem.cells.schema), Finite)
    method: Literal["inverted_cdf", "hazen"] = "inverted_cdf" if finite else "hazen"
    return np.asarray(np.quantile(np.concatenate(drawn, axis=1), list(levels), axis=1, method=method).T)


def _strata(part: float) -> np.ndarray:
    """Probabilities that stand for equal shares of a posterior, each at this part of its share, (stratum,)."""
    return (np.arange(_STRATA) + part) / _STRATA


@partial(jax.jit, static_argnames=("model",))
def _summaries(
    model: BehaviorModel, free: Any, problem: Problem, nodes: Nodes, levels: Any
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Mean and sd (chunk, pattern), quantiles (chunk, pattern, quantile) at levels (quantile,), and weight at edges.

    Without levels there are no quantiles.
    """
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    finite = isinstance(model.attentiveness.latents(schema), Finite)
    branches = model.kinds(schema).branches

    def one(group: Group, at: Nodes) -> tuple[Any, Any, Any, Any]:
        parts = branch_weights(model, schema, values, group, at, chances)[1]
        eta = eta_at(model, values, group, at.latent, chances)
        mean, sd = mean_and_sd(branches, parts, eta)
        if levels is None:
            return mean, sd, jnp.zeros((len(mean), 0)), jnp.zeros_like(mean)
        if finite:
            every = jnp.concatenate([jnp.broadcast_to(branch * eta, parts[0].shape) for branch in branches], axis=1)
            return mean, sd, _step_quantiles(jnp.concatenate(parts, axis=1), every, levels), jnp.zeros_like(mean)
        logit = jnp.broadcast_to(own_latent(group, at.latent, chances), parts[0].shape)
        edge = sum(part[:, 0] + part[:, -1] for part in parts)
        return mean, sd, _branched_quantiles(branches, parts, logit, levels), edge

    return over_chunks(one, problem.group, nodes)  # type: ignore[no-any-return]  # shapes of `one`, stacked


def mean_and_sd(branches: tuple[int, ...], parts: list[Any], eta: Any) -> tuple[Any, Any]:
    """Posterior mean and sd of attentiveness, (pattern,) each.

    Args:
        branches: factors of attentiveness.
        parts: of each branch the posterior weights of the nodes, (pattern, node).
        eta: at the nodes, (pattern, node) or (1, node).
    """
    mean, variance = jnp.zeros(len(parts[0])), jnp.zeros(len(parts[0]))
    for branch, weights in zip(branches, parts, strict=True):
        mean = mean + jnp.sum(weights * (branch * eta), axis=1)
    for branch, weights in zip(branches, parts, strict=True):
        variance = variance + jnp.sum(weights * (branch * eta - mean[:, None]) ** 2, axis=1)
    return mean, jnp.sqrt(jnp.maximum(variance, 0.0))


def _branched_quantiles(branches: tuple[int, ...], parts: list[Any], logit: Any, levels: Any) -> Any:
    """Quantiles of a factor times eta: below 0, at 0, and above it, (pattern, quantile)."""
    if branches == (1,):
        return _quantiles(parts[0], logit, jnp.asarray(levels))
    mass = [jnp.sum(weights, axis=1, keepdims=True) for weights in parts]
    below, out = jnp.zeros_like(mass[0]), jnp.zeros((logit.shape[0], len(levels)))
    for branch, weights, own in zip(branches, parts, mass, strict=True):
        # Where in the branch a level lies, counted from its own lower end.
        inside = jnp.clip((jnp.asarray(levels) - below) / jnp.maximum(own, 1e-300), 0.0, 1.0)
        there = (jnp.asarray(levels) >= below) & (own > 0)
        if branch == 0:
            value = jnp.zeros_like(inside)
        else:
            at = inside if branch > 0 else 1.0 - inside
            value = branch * _quantiles(weights / jnp.maximum(own, 1e-300), logit, jnp.clip(at, 1e-14, 1 - 1e-14))
        out = jnp.where(there, value, out)
        below = below + own
    return out


def _quantiles(weights: Any, logit: Any, levels: Any) -> Any:
    """Quantiles of a density known on trapezoidal nodes, (pattern, quantile); levels (quantile,) or one row a pattern.

    The distribution function at the nodes is the integral of the sinc interpolant, as accurate as the rule itself.
    Between the two nodes where it passes a level, the latent is interpolated as a cubic function of the normal score,
    of which it is nearly a straight line; where the cubic leaves the gap between the nodes, by a straight line.
    """
    # Where nodes follow a pattern there are few of them, and a point more between any two.
    integral, refine = refinement(weights.shape[1], 2 if weights.shape[1] <= NODES else 1)
    n, x = len(integral), logit @ refine.T
    at_node = jnp.clip(weights @ jnp.asarray(integral).T, 1e-14, 1 - 1e-14)
    wanted = jnp.broadcast_to(levels, (weights.shape[0], levels.shape[-1]))
    # The first node at which the level is reached, with two nodes on either side of the gap.
    above = jnp.clip(jnp.sum(at_node[:, None, :] < wanted[:, :, None], axis=2), 2, n - 2)
    window = (above[:, :, None] + jnp.arange(-2, 2)).reshape(len(wanted), -1)

    def near(array: Any) -> Any:
        return jnp.take_along_axis(array, window, axis=1).reshape(*above.shape, 4)

    score, x = jax.scipy.special.ndtri(near(at_node)), near(jnp.broadcast_to(x, at_node.shape))
    target = jax.scipy.special.ndtri(wanted)
    return jax.nn.sigmoid(_inverse(score, x, target))


def _inverse(score: Any, x: Any, target: Any) -> Any:
    """x where a rising function, known at four points (..., 4), passes a target between the inner two, (...)."""
    rise = score[..., 2] - score[..., 1]
    share = jnp.clip((target - score[..., 1]) / jnp.where(rise > 0, rise, 1.0), 0.0, 1.0)
    straight = x[..., 1] + jnp.where(rise > 0, share, 0.5) * (x[..., 2] - x[..., 1])
    cubic = jnp.zeros_like(target)
    for k in range(4):
        basis = x[..., k]
        for m in range(4):
            if m != k:
                gap = score[..., k] - score[..., m]
                basis = basis * (target - score[..., m]) / jnp.where(gap == 0, 1.0, gap)
        cubic = cubic + basis
    apart = jnp.all(jnp.diff(score, axis=-1) > 1e-3 * jnp.maximum(rise, 1e-300)[..., None], axis=-1)
    inside = (cubic >= x[..., 1]) & (cubic <= x[..., 2])
    return jnp.where(apart & inside, cubic, straight)


def _distribution(weights: Any, logit: Any) -> tuple[Any, Any]:
    """Normal scores of the distribution function, and the logits where it has them, (pattern, fine) each."""
    integral, refine = refinement(weights.shape[1])
    distribution = jnp.clip(weights @ integral.T, 1e-14, 1 - 1e-14)
    return jax.scipy.special.ndtri(jax.lax.cummax(distribution, axis=1)), logit @ refine.T


@cache
def refinement(size: int, parts: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (fine, node): integral of the sinc interpolant up to each fine point, and cubic interpolation there.

    Fine points are the nodes and `parts` - 1 more between neighbours.
    """
    nodes, fine = np.arange(size), np.arange(parts * (size - 1) + 1) / parts
    integral = 0.5 + sici(np.pi * (fine[:, None] - nodes[None, :]))[0] / np.pi
    refine = np.zeros((len(fine), size))
    for row, t in enumerate(fine):
        first = int(np.clip(np.floor(t) - 1, 0, size - 4))
        for k in range(first, first + 4):
            others = [m for m in range(first, first + 4) if m != k]
            refine[row, k] = np.prod([(t - m) / (k - m) for m in others])
    return integral, refine


def _step_quantiles(weights: Any, eta: Any, levels: Any) -> Any:
    """Quantiles of a distribution on finitely many levels, (pattern, quantile)."""
    order = jnp.argsort(eta, axis=1)
    cumulative = jnp.cumsum(jnp.take_along_axis(weights, order, axis=1), axis=1)
    reached = cumulative[:, None, :] >= jnp.asarray(levels)[None, :, None] - 1e-12
    return jnp.take_along_axis(jnp.take_along_axis(eta, order, axis=1), jnp.argmax(reached, axis=2), axis=1)
