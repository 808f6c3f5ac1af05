"""The evidence lower bound of a model whose users share effects, and the M-step of their distributions.

    log L >= E_q(d)[sum_u log L_u(d)] - sum_i KL(q_i || Normal(0, s^2)),      q_i = Normal(m_i, v_i)

L_u is a user's marginal likelihood given the effects, as ever: attentiveness, and which votes were attended, are summed
out exactly at each d. (With q(attentiveness) apart from q(d) the bound is looser where it matters: the careless votes
of a log would be explained by items.) The expectation is over fixed draws of all effects, so that the bound is one
smooth function and EM climbs it: each user counts as several copies, with draws of their own. Maximising over q given
the expected counts is one small problem an item. Everything is linear in the number of items.

Reference: Kucukelbir, Tran, Ranganath, Gelman and Blei (2017), JMLR 18 (the expectation by fixed draws is a sample
average approximation); McKay, Beckman and Conover (1979), Technometrics 21 (Latin hypercube).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.crossed import Crossed
from ..models.priors import HalfNormal
from .arrays import JNP
from .em import em_step
from .marginal import Problem, log_objective
from .maximize import evidence_for, newton
from .nodes import Nodes

__all__ = ["bound", "crossed_step", "located"]

_STEPS, _HALVINGS = 2, 8


def located(crossed: Crossed, cells: CellView, mean: Any, sd: Any) -> CellView:
    """Cells with effects of these means and standard deviations, (item,) each."""
    index = cells[crossed.column]
    effect = mean[index] + sd[index] * cells[crossed.node]
    return replace(cells, context={**cells.context, crossed.effect: effect})


def _of(crossed: Crossed, cells: CellView, scale: Any, q: Any) -> CellView:
    """The same from coordinates of q, (2, item): m / s and log(sd / s)."""
    return located(crossed, cells, scale * q[0], scale * jnp.exp(q[1]))


def _divergence(q: Any) -> Any:
    """KL(q || prior) of every item, nats, (item,); in these coordinates free of the scale."""
    return 0.5 * (q[0] ** 2 + jnp.exp(2 * q[1]) - 1) - q[1]


def bound(model: BehaviorModel, prior: bool, free: Any, q: Any, problem: Problem, nodes: Nodes) -> Any:
    """The evidence lower bound (plus the log prior of the globals), nats."""
    crossed = _crossed(model)
    scale = model.table(problem.cells.schema).unpack(JNP, free)[crossed.scale.name]
    there = replace(problem, cells=_of(crossed, problem.cells, scale, q))
    return log_objective(model, prior, free, there, nodes) - jnp.sum(_divergence(q))


@partial(jax.jit, static_argnames=("model", "prior"))
def crossed_step(
    model: BehaviorModel, prior: bool, free: Any, q: Any, problem: Problem, nodes: Nodes, metric: Any
) -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """One EM iteration of globals and effects.

    Returns:
        the bound at (free, q), the globals (size,) and coordinates of q (2, item) that the M-step makes of them, and
        the expected attended and casual comparisons.
    """
    crossed, table = _crossed(model), model.table(problem.cells.schema)
    scale = table.unpack(JNP, free)[crossed.scale.name]
    there = replace(problem, cells=_of(crossed, problem.cells, scale, q))
    objective, image, told = em_step(model, prior, free, there, nodes, metric)
    objective = objective - jnp.sum(_divergence(q))
    evidence = evidence_for(model, problem.cells, *told)[0]
    values = table.unpack(JNP, image)

    def by_cell(mean: Any, log_sd: Any, size: Any) -> Any:
        effect = size * (mean + jnp.exp(log_sd) * evidence.cells[crossed.node])
        cells = replace(evidence.cells, context={**evidence.cells.context, crossed.effect: effect})
        log_prob = evidence.component.log_prob(JNP, values, cells)
        return jnp.where(evidence.weights > 0, evidence.weights * log_prob, 0.0)

    index = evidence.cells[crossed.column]
    for _ in range(_STEPS):
        q = _item_step(lambda mean, log_sd: by_cell(mean, log_sd, scale), index, q)
    fitted = _fitted_scale(crossed, scale, q, prior)
    q = jnp.stack([q[0] * scale / fitted, q[1] + jnp.log(scale / fitted)])
    # The divergence does not change if the scale takes the effects along: a step that the others make slowly.
    own = table.slices[crossed.scale.name]

    def together(log_scale: Any) -> Any:
        size = jnp.exp(log_scale[0])
        log_prior = crossed.scale.prior.log_prob(JNP, size) if prior else 0.0
        return jnp.sum(by_cell(q[0][index], q[1][index], size)) + log_prior

    return objective, image.at[own].set(newton(together, jnp.log(fitted)[None])), q, told


def _crossed(model: BehaviorModel) -> Crossed:
    crossed = model.crossed
    assert crossed is not None  # asked for by nobody else
    return crossed


def _fitted_scale(crossed: Crossed, scale: Any, q: Any, prior: bool) -> Any:
    """The scale's maximiser given q: s^2 = mean(m^2 + v) without prior."""
    squares, n = scale**2 * jnp.sum(q[0] ** 2 + jnp.exp(2 * q[1])), q.shape[1]
    own = crossed.scale.prior
    if not prior or isinstance(own, HalfNormal):
        return (own if isinstance(own, HalfNormal) else HalfNormal()).estimate(jnp, squares, n, prior)

    def function(log_scale: Any) -> Any:
        size = jnp.exp(log_scale[0])
        return -n * log_scale[0] - 0.5 * squares / size**2 + own.log_prob(JNP, size)

    return jnp.exp(newton(function, jnp.log(scale)[None])[0])


def _item_step(by_cell: Callable[[Any, Any], Any], index: Any, q: Any) -> Any:
    """A damped Newton step of every item's (m / s, log(sd / s)) on its expected log-probability less its divergence."""
    n = q.shape[1]

    def height(q: Any) -> Any:
        return jax.ops.segment_sum(by_cell(q[0][index], q[1][index]), index, n) - _divergence(q)

    def slope(mean: Any, log_sd: Any) -> Any:
        return jax.grad(lambda *at: jnp.sum(by_cell(*at)), argnums=(0, 1))(mean, log_sd)

    # A cell looks at its own item alone, so that a derivative along all of them at once is each one's own.
    at, one, none = (q[0][index], q[1][index]), jnp.ones(index.shape), jnp.zeros(index.shape)
    first, (mm, ms) = jax.jvp(slope, at, (one, none))
    ss = jax.jvp(slope, at, (none, one))[1][1]
    g_m, g_s, h_mm, h_ms, h_ss = (jax.ops.segment_sum(part, index, n) for part in (*first, mm, ms, ss))
    variance = jnp.exp(2 * q[1])
    g_m, g_s, h_mm, h_ss = g_m - q[0], g_s + 1 - variance, h_mm - 1, h_ss - 2 * variance
    # Concave wherever log P is; were it not, the step would still go uphill.
    a, c = jnp.maximum(-h_mm, 1e-6), jnp.maximum(-h_ss, 1e-6)
    cross = jnp.where(a * c > 1.0001 * h_ms**2, -h_ms, 0.0)
    det = a * c - cross**2
    move = jnp.stack([(c * g_m - cross * g_s) / det, (a * g_s - cross * g_m) / det])
    move = move / jnp.maximum(1.0, jnp.max(jnp.abs(move), axis=0) / 2.0)
    start = height(q)

    def halved(_: int, length: Any) -> Any:
        return jnp.where(height(q + length * move) >= start, length, length / 2)

    length = jax.lax.fori_loop(0, _HALVINGS, halved, jnp.ones(n))
    return q + jnp.where(height(q + length * move) >= start, length, 0.0) * move
