"""The marginal likelihood of the users and the E-step, on nodes and cells.

    L_u = sum_k w_k prod_c [a_k P_c + (1 - a_k) C_c]^n_uc

Everything here is a pure function of arrays, jitted, and sees the model only through its components' hooks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from ..models.component import CellView, Finite
from .arrays import JNP, Dense, Group, over_chunks
from .bracket import Chances, attended_counts, cell_chances, cell_counts, settled, to_patterns
from .nodes import SHARED_NODES, Nodes, log_joint, log_joint_by_kind, place_nodes, wanted

__all__ = [
    "Expectation", "Problem", "branch_weights", "chances_of", "expectation", "log_objective", "log_posterior",
    "log_posterior_by_kind", "nodes_at",
]  # fmt: skip


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """The data of one fit as arrays: the cells, the patterns that refer to them, and comparisons a cell, (cell,)."""

    cells: CellView
    group: Group
    counted: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Expectation:
    """What the E-step hands to the M-step.

    Attributes:
        log_likelihood: sum of the users' log marginal likelihoods, nats.
        attended: expected number of attended comparisons in each cell, (cell,) or (kind, cell).
        casual: expected number of the others, the same shape.
        kinds: expected users of each kind, (kind,), or None where none are told apart.
        users: number of users.
        population: of finite populations, expected users, attended and casual comparisons at each level, (node,) each;
            else the expected sums of `Attentiveness.statistics`; else the expected users at each node.
        changes: where states drift, how often each was kept and tossed, (2, state); else None.
    """

    log_likelihood: Any
    attended: Any
    casual: Any
    kinds: Any
    users: Any
    population: Any
    changes: Any = None


def chances_of(model: BehaviorModel, values: dict[str, Any], cells: CellView) -> Chances:
    """What the model makes of every cell at these values."""
    chances = cell_chances(JNP, model, values, cells)
    # Without the barrier XLA recomputes each cell's probability for every entry and node that gathers it.
    p, c, *pair = settled(chances.p, chances.c, *(chances.odds or ()), *(chances.evidence or ()))
    two = (pair[0], pair[1]) if pair else None
    return replace(chances, p=p, c=c, odds=two if chances.odds else None, evidence=two if chances.evidence else None)


@partial(jax.jit, static_argnames=("model", "size"))
def _nodes_at(model: BehaviorModel, free: Any, problem: Problem, size: int) -> Nodes:
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    return place_nodes(model, schema, values, problem.group, chances, size)


def nodes_at(model: BehaviorModel, free: Any, problem: Problem) -> Nodes:
    """Nodes for the free parameters (see `nodes.py`); shared ones as many as accuracy needs."""
    nodes: Nodes = _nodes_at(model, free, problem, SHARED_NODES[0])
    size = wanted(SHARED_NODES[0], float(jnp.max(nodes.coarseness)))
    return nodes if size == SHARED_NODES[0] else _nodes_at(model, free, problem, size)


def log_posterior(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, nodes: Nodes, chances: Chances
) -> tuple[Any, Any]:
    """Of one chunk: log marginal likelihood (pattern,) and log posterior weights of the nodes (pattern, node)."""
    joint = log_joint(model, schema, values, group, nodes.latent, chances) + nodes.log_dx
    log_marginal = jax.scipy.special.logsumexp(joint, axis=1)
    return log_marginal, joint - log_marginal[:, None]


def log_posterior_by_kind(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, nodes: Nodes, chances: Chances
) -> tuple[Any, Any]:
    """The same with log posterior weights of each kind at each node, (kind, pattern, node).

    Without kinds there is one.
    """
    joint = log_joint_by_kind(model, schema, values, group, nodes.latent, chances) + nodes.log_dx
    joint = joint if chances.by_kind else joint[None]
    log_marginal = jax.scipy.special.logsumexp(joint, axis=(0, 2))
    return log_marginal, joint - log_marginal[:, None]


def branch_weights(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, nodes: Nodes, chances: Chances
) -> tuple[Any, list[Any]]:
    """Of one chunk: log marginal likelihood (pattern,), and the posterior weights of the nodes in each branch.

    Attentiveness is a branch's factor (`Kinds.branches`) times eta at the node; weights are (pattern, node), and those
    of all branches sum to one.
    """
    log_marginal, log_weights = log_posterior_by_kind(model, schema, values, group, nodes, chances)
    return log_marginal, model.kinds(schema).branch_of(jnp.exp(log_weights))


def log_likelihood(model: BehaviorModel, values: dict[str, Any], problem: Problem, nodes: Nodes) -> Any:
    """Sum of the users' log marginal likelihoods, nats (scalar)."""
    schema, chances = problem.cells.schema, chances_of(model, values, problem.cells)

    def total(group: Group, at: Nodes) -> Any:
        log_marginal, _ = log_posterior(model, schema, values, group, at, chances)
        return jnp.sum(jnp.where(group.multiplicity > 0, group.multiplicity * log_marginal, 0.0))

    return jnp.sum(over_chunks(total, problem.group, nodes))


@partial(jax.jit, static_argnames=("model", "prior"))
def log_objective(model: BehaviorModel, prior: bool, free: Any, problem: Problem, nodes: Nodes) -> Any:
    """The objective of marginal EM: log-likelihood, plus the log prior on the constrained scale if `prior`."""
    table = model.table(problem.cells.schema)
    values = table.unpack(JNP, free)
    log_prior = table.log_prior(JNP, values) if prior else 0.0
    return log_likelihood(model, values, problem, nodes) + log_prior


def expectation(model: BehaviorModel, values: dict[str, Any], problem: Problem, nodes: Nodes) -> Expectation:
    """The E-step: expected counts of attended and casual comparisons, and the population's expected statistics."""
    schema, chances = problem.cells.schema, chances_of(model, values, problem.cells)
    of_chunk = _summary_by_kind if chances.by_kind else _summary

    def summarise(group: Group, at: Nodes) -> tuple[Any, ...]:
        return of_chunk(model, problem, values, group, at, chances)

    total, attended, counted, kinds, users, population, changes = over_chunks(summarise, problem.group, nodes)
    attended = attended.sum(0)
    counted = problem.counted if counted is None else counted.sum(0)
    if not _unstructured(model, problem):
        population = jax.tree.map(lambda s: s.sum(0), population)
    if chances.by_kind:
        attended = jnp.where(model.kinds(schema).never[:, None], 0.0, attended)
        kinds = kinds.sum(0)
    changes = None if changes is None else changes.sum(0)
    return Expectation(
        total.sum(), attended, jnp.maximum(counted - attended, 0.0), kinds, users.sum(), population, changes
    )  # fmt: skip


def _summary(
    model: BehaviorModel, problem: Problem, values: dict[str, Any], group: Group, at: Nodes, chances: Chances
) -> tuple[Any, ...]:
    """Of one chunk: log-likelihood, attended (cell,), counted, kinds (None each), users, population, changes."""
    log_marginal, log_weights = log_posterior(model, problem.cells.schema, values, group, at, chances)
    m = group.multiplicity
    weights = jnp.where(m[:, None] > 0, m[:, None] * jnp.exp(log_weights), 0.0)
    a, rest = _attention(model, values, at)
    attended, at_node, chained = attended_counts(group, weights, a, rest, chances.p, chances.c, chances.stay)
    tossed, changes = chained or (None, None)
    total = jnp.sum(jnp.where(m > 0, m * log_marginal, 0.0))
    population = _population(model, problem, group, at, weights, weights, at_node, tossed)
    return total, attended, None, None, jnp.sum(m), population, changes


def _summary_by_kind(
    model: BehaviorModel, problem: Problem, values: dict[str, Any], group: Group, at: Nodes, chances: Chances
) -> tuple[Any, ...]:
    """The same with kinds: attended and counted (kind, cell), expected users of each kind (kind,)."""
    schema, n_cells = problem.cells.schema, chances.p.shape[1]
    log_marginal, log_weights = log_posterior_by_kind(model, schema, values, group, at, chances)
    m = group.multiplicity
    weights = jnp.where(m[:, None] > 0, m[:, None] * jnp.exp(log_weights), 0.0)
    a, rest = _attention(model, values, at)

    def of_kind(one: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        own, p, c = one
        return (
            *attended_counts(group, own, a, rest, p, c, chances.stay), cell_counts(group, own.sum(1), n_cells)
        )  # fmt: skip

    attended, at_node, chained, counted = jax.lax.map(of_kind, (weights, chances.p, chances.c))
    never = model.kinds(schema).never[:, None]
    at_node = jnp.where(never, 0.0, at_node).sum(0)
    # Of those who never attend the chain says nothing.
    able_only = jax.tree.map(
        lambda part: jnp.where(never.reshape(-1, *[1] * (part.ndim - 1)), 0.0, part).sum(0), chained
    )
    tossed, changes = able_only or (None, None)
    total = jnp.sum(jnp.where(m > 0, m * log_marginal, 0.0))
    by_sign = model.kinds(schema).of_component(weights, 0) if model.attentiveness.signed else weights.sum(0)
    able = jnp.where(never[:, :, None], 0.0, weights).sum(0)
    population = _population(model, problem, group, at, by_sign, able, at_node, tossed)
    return total, attended, counted, weights.sum((1, 2)), jnp.sum(m), population, changes


def _attention(model: BehaviorModel, values: dict[str, Any], at: Nodes) -> tuple[Any, Any]:
    log_a, log_rest = model.attentiveness.attention(JNP, values, at.latent)
    return jnp.exp(log_a), jnp.exp(log_rest)


def _finite(model: BehaviorModel, problem: Problem) -> bool:
    return isinstance(model.attentiveness.latents(problem.cells.schema), Finite)


def _unstructured(model: BehaviorModel, problem: Problem) -> bool:
    return not _finite(model, problem) and model.attentiveness.statistics(JNP, jnp.zeros(1)) is None


def _population(
    model: BehaviorModel, problem: Problem, group: Group, nodes: Nodes, weights: Any, able: Any, attended: Any,
    tossed: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """What the population's M-step needs of one chunk; see `Expectation.population`.

    `able` are the weights without the kinds that never attend, whose votes say nothing of a level; `tossed` as in
    `attended_counts`.
    """
    if _finite(model, problem) and tossed is not None:
        return jnp.sum(weights, axis=0), attended, tossed
    if _finite(model, problem):
        size = jnp.sum(able * _sizes(group)[:, None], axis=0)
        return jnp.sum(weights, axis=0), attended, jnp.maximum(size - attended, 0.0)
    if _unstructured(model, problem):
        return (jnp.sum(weights, axis=-2, keepdims=True) if nodes.latent.shape[0] == 1 else weights,)
    statistics = model.attentiveness.statistics(JNP, nodes.latent)
    return tuple(jnp.sum(weights * s) for s in statistics or ())


def _sizes(group: Group) -> Any:
    """Comparisons that each pattern of a chunk gave, (pattern,)."""
    return (
        jnp.sum(group.count, axis=1) if isinstance(group, Dense) else to_patterns(group, jnp.sum(group.count, axis=1))
    )
