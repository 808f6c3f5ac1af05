"""Label EM, as in "Users as Annotators" (arXiv 2510.13830): each user's attentiveness is a free parameter.

E-step: r_n = eta_u P_n / (eta_u P_n + (1 - eta_u) C_n). M-step: eta_u = mean of r_n (or its mode under a Beta prior),
and the preference and casual parameters by weighted maximum likelihood. The population plays no part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..models.behavior import BehaviorModel
from .arrays import JNP, Sparse, over_chunks
from .ascent import Ascent
from .bracket import to_patterns
from .marginal import Problem, chances_of
from .maximize import evidence_for, maximize_outcomes

__all__ = ["LabelEM", "best_attentiveness"]


def _entries(eta: Any, group: Sparse, p: Any, c: Any) -> tuple[Any, Any, Any]:
    """P and C of each entry and its bracket, (row, width) each; the bracket of padding is 1."""
    at_row = eta[group.owner][:, None]
    pw, cw = p[group.cell], c[group.cell]
    return pw, cw, jnp.where(group.count > 0, at_row * pw + (1 - at_row) * cw, 1.0)


def _log_lik(eta: Any, group: Sparse, p: Any, c: Any, prior: tuple[float, float]) -> Any:
    """Log-likelihood of each pattern plus the log of its attentiveness's prior (unnormalised), nats (pattern,)."""
    _, _, m = _entries(eta, group, p, c)
    a, b = prior[0] - 1.0, prior[1] - 1.0
    log_prior = (a * jnp.log(eta) if a else 0.0) + (b * jnp.log1p(-eta) if b else 0.0)
    return to_patterns(group, jnp.sum(group.count * jnp.log(m), axis=1)) + log_prior


def _update(eta: Any, group: Sparse, p: Any, c: Any, prior: tuple[float, float]) -> Any:
    """The M-step of attentiveness, or a Newton step where that is better (the log-likelihood is concave in eta)."""
    pw, _, m = _entries(eta, group, p, c)
    a, b = prior[0] - 1.0, prior[1] - 1.0
    total = to_patterns(group, jnp.sum(group.count, axis=1)) + a + b
    attended = to_patterns(group, jnp.sum(group.count * eta[group.owner][:, None] * pw / m, axis=1))
    plain = jnp.where(total > 0, (attended + a) / jnp.where(total > 0, total, 1.0), eta)
    slope, bend = _slope(eta, group, p, c, prior)
    low, high = (1e-9, 1 - 1e-9) if a or b else (0.0, 1.0)
    plain = jnp.clip(plain, low, high)
    swift = jnp.clip(eta + slope / jnp.where(bend > 0, bend, 1.0), low, high)
    better = _log_lik(swift, group, p, c, prior) > _log_lik(plain, group, p, c, prior)
    return jnp.where(better, swift, plain)


def _slope(eta: Any, group: Sparse, p: Any, c: Any, prior: tuple[float, float]) -> tuple[Any, Any]:
    """First and minus second derivative of `_log_lik` in eta, (pattern,) each."""
    pw, cw, m = _entries(eta, group, p, c)
    ratio = (pw - cw) / m
    slope = to_patterns(group, jnp.sum(group.count * ratio, axis=1))
    bend = to_patterns(group, jnp.sum(group.count * ratio**2, axis=1))
    a, b = prior[0] - 1.0, prior[1] - 1.0
    if a:
        slope, bend = slope + a / eta, bend + a / eta**2
    if b:
        slope, bend = slope - b / (1 - eta), bend + b / (1 - eta) ** 2
    return slope, bend


def fixed_point(group: Sparse, p: Any, c: Any, prior: tuple[float, float], steps: int = 60) -> Any:
    """Best attentiveness of every pattern of a chunk at fixed P and C, (pattern,)."""
    start = jnp.full(group.multiplicity.shape[0], 0.5)
    return jax.lax.fori_loop(0, steps, lambda _, eta: _update(eta, group, p, c, prior), start)


@partial(jax.jit, static_argnames=("model", "prior", "user_prior"))
def _label_step(
    model: BehaviorModel, prior: bool, user_prior: tuple[float, float], free: Any, eta: Any, problem: Problem
) -> tuple[Any, Any, Any]:
    """One iteration: the objective here, the next globals and the next attentiveness (chunk, pattern)."""
    table = model.table(problem.cells.schema)
    values = table.unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    p, c = chances.p, chances.c
    n_cells = p.shape[0]

    def one(group: Sparse, at: Any) -> tuple[Any, Any, Any]:
        used = group.multiplicity > 0
        value = jnp.sum(jnp.where(used, group.multiplicity * _log_lik(at, group, p, c, user_prior), 0.0))
        # First the users, then, with their new attentiveness, the globals: each raises the objective on its own.
        updated = _update(at, group, p, c, user_prior)
        pw, _, m = _entries(updated, group, p, c)
        count = group.multiplicity[group.owner][:, None] * group.count
        attended = jnp.zeros(n_cells).at[group.cell].add(count * updated[group.owner][:, None] * pw / m)
        return value, attended, updated

    objective, attended, updated = over_chunks(one, problem.group, eta)
    objective, attended = objective.sum(), attended.sum(0)
    if prior:
        own = (*model.preference.parameters(table.schema), *model.casual.parameters(table.schema))
        objective += sum(parameter.prior.log_prob(JNP, values[parameter.name]) for parameter in own)
    casual = jnp.maximum(problem.counted - attended, 0.0)
    image = free
    for evidence in evidence_for(model, problem.cells, attended, casual):
        image = maximize_outcomes(evidence, table, image, prior)
    return objective, image, updated


@partial(jax.jit, static_argnames=("model", "prior"))
def best_attentiveness(model: BehaviorModel, free: Any, problem: Problem, prior: tuple[float, float]) -> Any:
    """Maximum-likelihood (or MAP) attentiveness and its standard error at fixed globals, (chunk, pattern) each.

    The standard error is NaN where the estimate lies on the boundary.
    """
    values = model.table(problem.cells.schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    p, c = chances.p, chances.c

    def one(group: Sparse) -> tuple[Any, Any]:
        eta = fixed_point(group, p, c, prior, steps=200)
        _, information = _slope(eta, group, p, c, prior)
        inside = (eta > 1e-6) & (eta < 1 - 1e-6) & (information > 0)
        return eta, jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, information, 1.0)), jnp.nan)

    return over_chunks(one, problem.group)


@dataclass
class LabelEM:
    """Label EM of one model on one log.

    Attributes:
        model: the declaration (settled).
        problem: the data.
        prior: whether the log prior of the globals is part of the objective.
        user_prior: (a, b) of a Beta prior of every user's attentiveness; (1, 1) is none.
    """

    model: BehaviorModel
    problem: Problem
    prior: bool
    user_prior: tuple[float, float] = (1.0, 1.0)

    def run(
        self,
        start: np.ndarray,
        max_iterations: int,
        tolerance: float,
        report: Callable[[int, float], None] | None = None,
    ) -> Ascent:
        """Iterate from one starting point, everyone half attentive."""
        out = Ascent(np.array(start, dtype=float))
        free, eta = jnp.asarray(start), jnp.full(self.problem.group.multiplicity.shape, 0.5)
        for iteration in range(max_iterations + 1):
            value, image, updated = _label_step(self.model, self.prior, self.user_prior, free, eta, self.problem)
            objective = float(value)
            out.evaluations += 1
            if not np.isfinite(objective):
                out.status = "non_finite"
                break
            if out.trace and objective < out.trace[-1] - 1e-9 * (1 + abs(objective)):
                out.status = "objective_decreased"
                break
            gain = objective - out.trace[-1] if out.trace else np.inf
            out.trace.append(objective)
            out.free = np.asarray(free)
            moves = (jnp.abs(image - free), jnp.abs(updated - eta))
            moved = max(float(jnp.max(move, initial=0.0)) for move in moves)
            if moved < tolerance and gain < tolerance**1.5 * (1 + abs(objective)):
                out.status = "converged"
                break
            if report is not None:
                report(iteration, objective)
            free, eta = image, updated
        return out
