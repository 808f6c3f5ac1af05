"""The bracket m = a P + (1 - a) C of every comparison at every node, for both arrangements of the counts.

Functions here work on one chunk of a group (no leading axis). `a` and `rest` are eta and 1 - eta at the nodes:
(pattern, node), or (1, node) where all patterns share them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .arrays import Dense, Group

__all__ = ["attended_counts", "log_likelihood", "settled", "sparse_bracket", "to_patterns"]

# Probabilities below this count as this: log 0 would turn a count of zero into NaN.
_TINY = 1e-300
# Entries whose brackets are multiplied before the logarithm, which costs ten times a product; and the least bracket, so
# that the product of so many does not underflow.
_TOGETHER, _LEAST = 4, 1e-75


def settled(*arrays: Any) -> Any:
    """Arrays computed once: XLA would otherwise recompute them inside every loop that reads them."""
    barrier: Any = jax.lax.optimization_barrier
    return barrier(arrays)


def _rows(group: Any, at_pattern: Any) -> Any:
    """Values at the patterns -> values at the rows, (row, node) or (1, node)."""
    return at_pattern if at_pattern.shape[0] == 1 else at_pattern[group.owner]


def sparse_bracket(group: Any, a: Any, rest: Any, p: Any, c: Any) -> tuple[Any, Any]:
    """Attended part a P and bracket m of each entry, (row, width, node) each."""
    a, rest, p, c = settled(_rows(group, a), _rows(group, rest), p[group.cell], c[group.cell])
    attended = a[:, None, :] * p[:, :, None]
    return attended, jnp.maximum(attended + rest[:, None, :] * c[:, :, None], _LEAST)


def to_patterns(group: Any, at_rows: Any) -> Any:
    """Sum rows over the patterns that own them, (pattern, ...)."""
    return jax.ops.segment_sum(at_rows, group.owner, group.multiplicity.shape[0], indices_are_sorted=True)


def log_likelihood(group: Group, a: Any, rest: Any, p: Any, c: Any) -> Any:
    """sum_c n_c log m_kc of each pattern at each node, nats, (pattern, node)."""
    if isinstance(group, Dense):
        return group.count @ jnp.log(jnp.maximum(p[:, None] * a + c[:, None] * rest, _TINY))
    return to_patterns(group, _at_rows(group, a, rest, p, c))


@jax.checkpoint
def _at_rows(group: Any, a: Any, rest: Any, p: Any, c: Any) -> Any:
    """sum_c n_c log m_kc of each row, (row, node). Slopes compute the bracket anew: it is too large to keep."""
    _, m = sparse_bracket(group, a, rest, p, c)
    if group.single:
        return _log_product(jnp.where(group.count[:, :, None] > 0, m, 1.0))
    return jnp.sum(group.count[:, :, None] * jnp.log(m), axis=1)


@jax.custom_jvp
def _log_product(m: Any) -> Any:
    """Sum of log m over the width of the rows: (row, width, node) -> (row, node), m at least `_LEAST`."""
    rows, width, nodes = m.shape
    together = jnp.prod(m.reshape(rows, width // _TOGETHER, _TOGETHER, nodes), axis=2)
    return jnp.sum(jnp.log(together), axis=1)


@_log_product.defjvp
def _log_product_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (m,), (change,) = primals, tangents
    return _log_product(m), jnp.sum(change / m, axis=1)


def attended_counts(group: Group, weights: Any, a: Any, rest: Any, p: Any, c: Any) -> tuple[Any, Any]:
    """Expected attended comparisons.

    Args:
        group: one chunk of the counts.
        weights: posterior weight of each node times the pattern's multiplicity, (pattern, node).
        a: eta at the nodes.
        rest: 1 - eta at the nodes.
        p: preference's probability of each cell, (cell,).
        c: casual probability of each cell, (cell,).

    Returns:
        attended in each cell (cell,), and attended at each node (node,) summed over patterns.
    """
    if isinstance(group, Dense):
        attended = p[:, None] * a
        expected = (group.count.T @ weights) * (attended / jnp.maximum(attended + c[:, None] * rest, _TINY))
        return expected.sum(1), expected.sum(0)
    # Settled together with the weights, the bracket is not the one of the likelihood: XLA would keep that in memory
    # between the two, (row, width, node) large, which is five times slower than computing it again.
    weights, a, rest, p, c = settled(weights, a, rest, p, c)
    attended, m = sparse_bracket(group, a, rest, p, c)
    (at_row,) = settled(weights[group.owner])
    expected = (at_row[:, None, :] * attended / m) * group.count[:, :, None]
    return jnp.zeros(p.shape[0]).at[group.cell].add(expected.sum(2)), expected.sum((0, 1))
