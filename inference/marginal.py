"""The marginal likelihood of the users and the E-step, on nodes and cells.

    L_u = sum_k w_k prod_c [a_k P_c + (1 - a_k) C_c]^n_uc

Everything here is a pure function of arrays, jitted, and sees the model only through its components' hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..models.behavior import BehaviorModel
from ..models.component import CellView, Finite
from .arrays import JNP, Dense, Group, over_chunks
from .bracket import attended_counts, settled, to_patterns
from .nodes import SHARED_NODES, Nodes, log_joint, place_nodes

__all__ = ["Expectation", "Problem", "expectation", "log_objective", "log_posterior", "nodes_at", "probabilities"]


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
        attended: expected number of attended comparisons in each cell, (cell,).
        casual: expected number of the others, (cell,).
        users: number of users.
        population: of finite populations, expected users, attended and casual comparisons at each level, (node,) each;
            else the expected sums of `Attentiveness.statistics`; else the expected users at each node.
    """

    log_likelihood: Any
    attended: Any
    casual: Any
    users: Any
    population: Any


def probabilities(model: BehaviorModel, values: dict[str, Any], cells: CellView) -> tuple[Any, Any]:
    """(P, C) of every cell, (cell,) each."""
    log_p, log_c = model.log_prob(JNP, values, cells)
    # Without the barrier XLA recomputes each cell's probability for every entry and node that gathers it.
    p, c = settled(jnp.exp(log_p), jnp.exp(log_c))
    return p, c


@partial(jax.jit, static_argnames=("model", "size"))
def _nodes_at(model: BehaviorModel, free: Any, problem: Problem, size: int) -> Nodes:
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    p, c = probabilities(model, values, problem.cells)
    return place_nodes(model, schema, values, problem.group, p, c, size)


def nodes_at(model: BehaviorModel, free: Any, problem: Problem) -> Nodes:
    """Nodes for the free parameters (see `nodes.py`); shared ones as many as accuracy needs."""
    for size in SHARED_NODES:
        nodes: Nodes = _nodes_at(model, free, problem, size)
        if not float(jnp.max(nodes.coarseness)) > 1.0:
            break
    return nodes


def log_posterior(
    model: BehaviorModel, values: dict[str, Any], group: Group, nodes: Nodes, p: Any, c: Any
) -> tuple[Any, Any]:
    """Of one chunk: log marginal likelihood (pattern,) and log posterior weights of the nodes (pattern, node)."""
    joint = log_joint(model, values, group, nodes.latent, p, c) + nodes.log_dx
    log_marginal = jax.scipy.special.logsumexp(joint, axis=1)
    return log_marginal, joint - log_marginal[:, None]


def log_likelihood(model: BehaviorModel, values: dict[str, Any], problem: Problem, nodes: Nodes) -> Any:
    """Sum of the users' log marginal likelihoods, nats (scalar)."""
    p, c = probabilities(model, values, problem.cells)

    def total(group: Group, at: Nodes) -> Any:
        log_marginal, _ = log_posterior(model, values, group, at, p, c)
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
    p, c = probabilities(model, values, problem.cells)

    def summarise(group: Group, at: Nodes) -> tuple[Any, ...]:
        log_marginal, log_weights = log_posterior(model, values, group, at, p, c)
        m = group.multiplicity
        weights = jnp.where(m[:, None] > 0, m[:, None] * jnp.exp(log_weights), 0.0)
        log_a, log_rest = model.attentiveness.attention(JNP, values, at.latent)
        attended, at_node = attended_counts(group, weights, jnp.exp(log_a), jnp.exp(log_rest), p, c)
        total = jnp.sum(jnp.where(m > 0, m * log_marginal, 0.0))
        return total, attended, jnp.sum(m), _population(model, problem, group, at, weights, at_node)

    total, attended, users, population = over_chunks(summarise, problem.group, nodes)
    attended = attended.sum(0)
    if not _unstructured(model, problem):
        population = jax.tree.map(lambda s: s.sum(0), population)
    return Expectation(total.sum(), attended, jnp.maximum(problem.counted - attended, 0.0), users.sum(), population)


def _finite(model: BehaviorModel, problem: Problem) -> bool:
    return isinstance(model.attentiveness.latents(problem.cells.schema), Finite)


def _unstructured(model: BehaviorModel, problem: Problem) -> bool:
    return not _finite(model, problem) and model.attentiveness.statistics(JNP, jnp.zeros(1)) is None


def _population(
    model: BehaviorModel, problem: Problem, group: Group, nodes: Nodes, weights: Any, attended: Any
) -> tuple[Any, ...]:
    """What the population's M-step needs of one chunk; see `Expectation.population`."""
    if _finite(model, problem):
        size = jnp.sum(weights * _sizes(group)[:, None], axis=0)
        return jnp.sum(weights, axis=0), attended, jnp.maximum(size - attended, 0.0)
    if _unstructured(model, problem):
        return (jnp.sum(weights, axis=0, keepdims=True) if nodes.latent.shape[0] == 1 else weights,)
    statistics = model.attentiveness.statistics(JNP, nodes.latent)
    return tuple(jnp.sum(weights * s) for s in statistics or ())


def _sizes(group: Group) -> Any:
    """Comparisons that each pattern of a chunk gave, (pattern,)."""
    return (
        jnp.sum(group.count, axis=1) if isinstance(group, Dense) else to_patterns(group, jnp.sum(group.count, axis=1))
    )
