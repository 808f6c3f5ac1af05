"""Every user's attentiveness and marginal likelihood, given draws of the globals.

Given the globals users are independent, and a user's posterior is known on quadrature nodes to rounding (see `nodes`):
attentiveness is drawn by inverting its distribution function, so the draws are exact and cost no Markov chain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.cells import Counts
from ..models.behavior import BehaviorModel
from ..models.component import Finite
from .arrays import Dense, over_chunks
from .cohorts import eta_at, own_latent
from .marginal import Problem, branch_weights, chances_of
from .nodes import SHARED_NODES, place_nodes, wanted
from .users import Workload, mean_and_sd, refinement, workload

__all__ = ["Drawn", "users_given"]

_TOGETHER, _TOGETHER_USERS = 20, 4_000_000  # draws in one call of the compiled program; at most so many x users
_BLOCK = 65536  # users whose distribution functions are inverted together


@dataclass(frozen=True)
class Drawn:
    """Users at some draws of the globals.

    Attributes:
        first: number of the first of these draws.
        attentiveness: one exact draw, (draw, user).
        mean, sd: of the posterior given the globals, (draw, user).
        log_likelihood: log marginal likelihood of the user's votes, nats, (draw, user).
    """

    first: int
    attentiveness: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    log_likelihood: np.ndarray


def users_given(
    model: BehaviorModel,
    counts: Counts,
    values: Mapping[str, np.ndarray],
    uniforms: Callable[[int, int], np.ndarray],
    report: Callable[[int, int], None] | None = None,
) -> Iterator[Drawn]:
    """Go through draws of the globals.

    Args:
        model: the declaration (settled).
        counts: the votes.
        values: {parameter: (draw, ...)}.
        uniforms: (first draw, number of draws) -> probabilities at which to draw attentiveness, (draw, user).
        report: called with (draws done, draws in all).

    Yields:
        pieces of the draws, in order.
    """
    work = workload(counts)
    n_draws = len(next(iter(values.values()))) if values else 1
    stacked = {name: np.asarray(value) for name, value in values.items()}
    size = _nodes_needed(model, work, stacked)
    slot = work.layout.slot[work.pattern_of_user]
    sure = model.attends(counts.users)
    together = min(_TOGETHER, max(_TOGETHER_USERS // len(slot), 1))

    def piece(first: int) -> Drawn:
        last = min(first + together, n_draws)
        part = {name: value[first:last] for name, value in stacked.items()}
        if last - first < together:  # pad, so that one program serves all
            part = {name: np.concatenate([v, np.repeat(v[-1:], together - len(v), 0)]) for name, v in part.items()}
        u = uniforms(first, last - first)
        u = np.concatenate([u, np.full((together - len(u), u.shape[1]), 0.5)])
        with jax.enable_x64(True):
            drawn, mean, sd, log_lik = _users_at(model, part, work.problem, slot, u, size)
        n = last - first
        drawn, mean, sd, log_lik = (np.array(a[:n]) for a in (drawn, mean, sd, log_lik))
        drawn[:, sure], mean[:, sure], sd[:, sure] = 1.0, 1.0, 0.0
        return Drawn(first, drawn, mean, sd, log_lik)

    starts = range(0, n_draws, together)
    with ThreadPoolExecutor(max(min(os.cpu_count() or 1, len(starts)), 1)) as pool:
        # A few ahead of the reader, so that memory stays small.
        ahead = [pool.submit(piece, first) for first in starts[:3]]
        for number in range(len(starts)):
            done = ahead.pop(0).result()
            if number + 3 < len(starts):
                ahead.append(pool.submit(piece, starts[number + 3]))
            yield done
            if report is not None:
                report(done.first + len(done.mean), n_draws)


def _nodes_needed(model: BehaviorModel, work: Workload, values: Mapping[str, np.ndarray]) -> int:
    """Size of the shared set of nodes that suits all draws (tried at some)."""
    if not isinstance(work.problem.group, Dense):
        return SHARED_NODES[0]
    n_draws = len(next(iter(values.values()))) if values else 1
    tried = np.unique(np.linspace(0, n_draws - 1, 16).astype(int))
    at = {name: value[tried] for name, value in values.items()}
    return wanted(SHARED_NODES[0], float(_coarseness(model, at, work.problem)))


@partial(jax.jit, static_argnames=("model",))
def _coarseness(model: BehaviorModel, values: dict[str, Any], problem: Problem) -> Any:
    """Coarseness of the smallest shared set of nodes, the largest over draws."""

    def at(one: dict[str, Any]) -> Any:
        chances = chances_of(model, one, problem.cells)
        return jnp.max(
            place_nodes(model, problem.cells.schema, one, problem.group, chances, SHARED_NODES[0]).coarseness
        )

    return jnp.max(jax.lax.map(at, values)) if values else at({})


@partial(jax.jit, static_argnames=("model", "size"))
def _users_at(
    model: BehaviorModel, values: dict[str, Any], problem: Problem, slot: Any, uniforms: Any, size: int
) -> tuple[Any, Any, Any, Any]:
    """(draw, user) each: drawn attentiveness, mean, sd, log marginal likelihood."""
    schema = problem.cells.schema
    finite = isinstance(model.attentiveness.latents(schema), Finite)
    branches = model.kinds(schema).branches

    def at(one: tuple[dict[str, Any], Any]) -> tuple[Any, Any, Any, Any]:
        given, u = one
        chances = chances_of(model, given, problem.cells)
        nodes = place_nodes(model, schema, given, problem.group, chances, size)

        def patterns(group: Any, here: Any) -> tuple[Any, ...]:
            log_lik, parts = branch_weights(model, schema, given, group, here, chances)
            shape = parts[0].shape
            eta = jnp.broadcast_to(eta_at(model, given, group, here.latent, chances), shape)
            mean, sd = mean_and_sd(branches, parts, eta)
            latent = eta if finite else jnp.broadcast_to(own_latent(group, here.latent, chances), shape)
            return log_lik, mean, sd, jnp.stack(parts, axis=1), latent

        parts = over_chunks(patterns, problem.group, nodes)
        log_lik, mean, sd, weights, latent = (a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]) for a in parts)
        draw = _level_at if finite else _quantile_at

        def drawn_at(user: tuple[Any, Any]) -> Any:
            return _branched_draw(branches, draw, weights[user[0]], latent[user[0]], user[1])

        drawn = jax.lax.map(drawn_at, (slot, u), batch_size=min(_BLOCK, max(slot.shape[0], 1)))
        return drawn, mean[slot], sd[slot], log_lik[slot]

    if not values:
        return jax.lax.map(lambda u: at(({}, u)), uniforms)  # type: ignore[no-any-return]  # shapes of `at`, stacked
    return jax.lax.map(at, (values, uniforms))  # type: ignore[no-any-return]  # shapes of `at`, stacked


def _branched_draw(branches: tuple[int, ...], draw: Callable[..., Any], weights: Any, latent: Any, u: Any) -> Any:
    """Attentiveness where its distribution function passes u: a factor times eta; weights are (branch, node)."""
    if branches == (1,):
        return draw(weights[0], latent, u)
    mass = jnp.sum(weights, axis=1)
    reached = jnp.cumsum(mass)
    which = jnp.minimum(jnp.sum(u * reached[-1] > reached), len(branches) - 1)
    factor, own = jnp.asarray(branches)[which], jnp.maximum(mass[which], 1e-300)
    inside = jnp.clip((u * reached[-1] - reached[which] + own) / own, 0.0, 1.0)
    at = jnp.clip(jnp.where(factor < 0, 1.0 - inside, inside), 1e-12, 1 - 1e-12)
    return factor * draw(weights[which] / own, latent, at)


def _level_at(weights: Any, eta: Any, u: Any) -> Any:
    """The level of a finite population at which the distribution function passes u (scalar)."""
    return eta[jnp.argmax(jnp.cumsum(weights) >= u * jnp.sum(weights))]


def _quantile_at(weights: Any, logit: Any, u: Any) -> Any:
    """Attentiveness at which one user's distribution function is u (scalar).

    Bisection between the points of the refined rule (see `users.refinement`), then linear on the normal-score scale.
    """
    # Finer than for quantiles: the distribution function at a draw is then right to 1e-5.
    parts = 16 if weights.shape[0] <= SHARED_NODES[2] else 8 if weights.shape[0] <= SHARED_NODES[3] else 4
    integral, refine = (jnp.asarray(matrix) for matrix in refinement(weights.shape[0], parts))

    def distribution(index: Any) -> Any:
        return jnp.clip(jnp.dot(integral[index], weights), 1e-14, 1 - 1e-14)

    def halve(_: int, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = (low + high) // 2
        below = distribution(middle) < u
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    steps = int(np.ceil(np.log2(integral.shape[0])))
    low, high = jax.lax.fori_loop(0, steps, halve, (0, integral.shape[0] - 1))
    score_low, score_high, score = (jax.scipy.special.ndtri(f) for f in (distribution(low), distribution(high), u))
    gap = score_high - score_low
    share = jnp.clip(jnp.where(gap > 0, (score - score_low) / jnp.where(gap > 0, gap, 1.0), 0.5), 0.0, 1.0)
    x_low, x_high = jnp.dot(refine[low], logit), jnp.dot(refine[high], logit)
    return jax.nn.sigmoid(x_low + share * (x_high - x_low))
