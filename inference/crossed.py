"""Effects shared across users in EM: a normal q of each, and the evidence lower bound.

    log L >= sum_u log INT p(eta) prod_n exp(E_q(d)[log(eta P_n(d) + (1 - eta) C_n)]) d eta
             - sum_i KL(q_i || Normal(0, s^2)),      q_i = Normal(m_i, v_i)

Only users' attentiveness and items' effects are taken to be independent under q; whether a vote was attended is summed
out given both. (With q(attentiveness, attended) q(d) the bound is so loose that it prefers users who all attend and
items that explain their careless votes.) By quadrature over q_i a vote is a few cells, each with a part of its count,
and everything else stays what it is: E-step, M-steps, users' posteriors. Maximising over q given the expected counts is
one small problem an item. Everything is linear in the number of items; no array has two axes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ..comparisons.cells import Cells, Counts
from ..comparisons.names import as_names, places
from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.crossed import NODES, WEIGHTS, Crossed
from ..models.priors import HalfNormal
from .arrays import JNP
from .em import em_step
from .marginal import Problem, log_objective
from .maximize import evidence_for, newton
from .nodes import Nodes
from .users import Workload, workload

__all__ = ["Effects", "attached", "bound", "crossed_step", "detached", "known", "located", "with_known"]

COPIES = 12
_STEPS, _HALVINGS = 2, 8


@dataclass(frozen=True)
class Effects:
    """What EM knows of the effects.

    Attributes:
        names: what has an effect, sorted, (item,).
        mean, sd: of q, log-odds, (item,) each.
    """

    names: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def detached(model: BehaviorModel, counts: Counts) -> tuple[Counts, Effects | None]:
    """Counts whose effects are EM's to know: no axis of any parameter, but columns of the cells; all 0 to begin with.

    Those of a model without such effects stay as they are.
    """
    crossed = model.crossed
    if crossed is None:
        return counts, None
    names = as_names(counts.cells.schema.coords()[crossed.column])
    effects = Effects(names, np.zeros(len(names)), np.zeros(len(names)))
    return with_known(crossed, counts, effects, 0.0), effects


def attached(crossed: Crossed, counts: Counts, effects: Effects) -> Counts:
    """The inverse: counts as samplers see them, with an axis of effects."""
    cells, first = counts.cells, np.asarray(counts.cells[crossed.node]) == NODES[0]
    ours = {crossed.effect, crossed.node}
    context = {name: column[first] for name, column in cells.context.items() if name not in ours}
    schema = replace(cells.schema, items=tuple(effects.names))
    kept = Cells(schema, cells.model_a[first], cells.model_b[first], cells.outcome[first], context)
    entry, number = first[counts.cell], np.cumsum(first) - 1
    whole = np.round(counts.count[entry] / WEIGHTS[0], 6)
    return Counts(counts.users, kept, counts.user[entry], number[counts.cell[entry]], whole)


def copies(crossed: Crossed, counts: Counts) -> Workload:
    """The data of the bound: every user in `COPIES`, each of which counts for a part and has its own draw of effects.

    Args:
        crossed: the effects.
        counts: with an axis of effects.
    """
    cells, s = counts.cells, np.arange(COPIES)
    # Over its copies an item meets every stratum of its normal once; which ones meet in a copy is by chance.
    strata = norm.ppf((s + 0.5) / COPIES)
    strata = strata / np.sqrt(np.mean(strata**2))
    n_items = len(cells.schema.coords()[crossed.column])
    drawn = np.random.default_rng(0).permuted(np.tile(strata, (n_items, 1)), axis=1)
    item = np.asarray(cells[crossed.column])
    context = {name: np.repeat(column, COPIES) for name, column in cells.context.items()}
    context |= {crossed.node: drawn[item].ravel(), crossed.effect: np.zeros(len(item) * COPIES)}
    schema, n = replace(cells.schema, items=()), len(counts.users)
    wide = Cells(schema, *(np.repeat(part, COPIES) for part in (cells.model_a, cells.model_b, cells.outcome)), context)
    user = (counts.user + n * s[:, None]).ravel()
    cell = (counts.cell * COPIES + s[:, None]).ravel()
    names = as_names([f"{name} {copy}" for copy in s for name in counts.users])
    work = workload(Counts(names, wide, user, cell, np.tile(counts.count, COPIES)))
    group = replace(work.problem.group, multiplicity=work.problem.group.multiplicity / COPIES)
    return replace(work, problem=replace(work.problem, group=group, counted=work.problem.counted / COPIES))


def with_known(crossed: Crossed, counts: Counts, effects: Effects, scale: float) -> Counts:
    """Counts of any log with what is known of its effects; of unseen ones the population, integrated out.

    Args:
        crossed: the effects.
        counts: with an axis of effects.
        effects: what is known.
        scale: standard deviation of the unseen ones.
    """
    own = as_names(counts.cells.schema.coords()[crossed.column])
    place = places(effects.names, own)
    fresh = place < 0
    # Items that were never seen come after the others, by name.
    number = np.where(fresh, len(effects.names) + np.cumsum(fresh) - 1, place)
    at = place[np.asarray(counts.cells[crossed.column])]
    spread, whole = _spread_out(counts, np.where(at < 0, 1, len(NODES)))
    cells, seen = spread.cells, at[whole] >= 0
    node = np.where(seen, NODES[np.arange(len(whole)) - np.searchsorted(whole, whole)], 0.0)
    columns = {
        crossed.column: number[np.asarray(cells[crossed.column])],
        crossed.effect: np.where(seen, effects.mean[at[whole]] + effects.sd[at[whole]] * node, 0.0),
        crossed.node: node,
        **({} if seen.all() else {crossed.spread: np.where(seen, 0.0, scale)}),
    }
    schema = replace(cells.schema, items=())
    return replace(spread, cells=replace(cells, schema=schema, context={**cells.context, **columns}))


def _spread_out(counts: Counts, times: np.ndarray) -> tuple[Counts, np.ndarray]:
    """Counts in which a cell becomes 1 or several, by the weights of the nodes; and which cell each was, (cell,)."""
    cells, start = counts.cells, np.cumsum(times) - times
    whole = np.repeat(np.arange(len(cells)), times)
    context = {name: column[whole] for name, column in cells.context.items()}
    wider = Cells(cells.schema, cells.model_a[whole], cells.model_b[whole], cells.outcome[whole], context)
    each = times[counts.cell]
    entry = np.repeat(np.arange(len(each)), each)
    part = np.arange(len(entry)) - np.repeat(np.cumsum(each) - each, each)
    share = np.where(each[entry] > 1, WEIGHTS[part], 1.0)
    cell = start[counts.cell[entry]] + part
    return Counts(counts.users, wider, counts.user[entry], cell, counts.count[entry] * share), whole


def known(crossed: Crossed, counts: Counts, effects: Effects) -> Counts:
    """The counts that a fit was made from, with their effects."""
    index, node = np.asarray(counts.cells[crossed.column]), np.asarray(counts.cells[crossed.node])
    columns = {crossed.effect: effects.mean[index] + effects.sd[index] * node}
    return replace(counts, cells=replace(counts.cells, context={**counts.cells.context, **columns}))


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

    def slope(mean: Any, log_sd: Any) -> tuple[Any, Any]:
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
