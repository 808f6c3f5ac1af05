"""The bracket m = a P + (1 - a) C of every comparison at every node, for both arrangements of the counts.

Functions here work on one chunk of a group (no leading axis). `a` and `rest` are eta and 1 - eta at the nodes:
(pattern, node), or (1, node) where all patterns share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.namespace import Namespace
from ..models.parameters import Values
from . import chain
from .arrays import Dense, Group, Sparse

__all__ = [
    "Chances", "attended_counts", "cell_chances", "cell_counts", "log_likelihood", "settled", "sparse_bracket",
    "to_patterns",
]  # fmt: skip

# Probabilities below this count as this: log 0 would turn a count of zero into NaN.
_TINY = 1e-300
# Entries whose brackets are multiplied before the logarithm, which costs ten times a product; and the least bracket, so
# that the product of so many does not underflow.
_TOGETHER, _LEAST = 4, 1e-75


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Chances:
    """What one point of the globals makes of the cells.

    Where comparisons differ in attention, logit a_kc = logit eta_k + l_c, the bracket is that of the odds,
    a P + (1 - a) C = [eta sigma(l) P + (1 - eta) sigma(-l) C] / [eta sigma(l) + (1 - eta) sigma(-l)], so that p and c
    are numerator's, `odds` = (sigma(l), sigma(-l)) the denominator's.

    Attributes:
        p, c: probability of each cell attended and not, (cell,), or (kind, cell) where kinds of users are told apart.
        odds: None, or a pair of (cell,).
        evidence: None, or the densities, a pair of (cell,), of what came about with a vote if attended and if not, over
            the larger of the two; they are factors of p and c.
        log_scale: None, or log of that larger one, (cell,), which a log-likelihood has beside each vote's bracket.
        stay: None, or the probability that a vote is given in the state of the one before, (state,); see `chain`.
        own: None, or the part of l that is the user's own, by which attentiveness itself is moved, (cell,).
        log_shares: log share of each kind as far as `BehaviorModel.log_shares` goes, or None without kinds.
    """

    p: Any
    c: Any
    odds: tuple[Any, Any] | None
    log_shares: Any
    evidence: tuple[Any, Any] | None = None
    stay: Any = None
    log_scale: Any = None
    own: Any = None

    @property
    def by_kind(self) -> bool:
        """Whether kinds of users are told apart."""
        return bool(self.p.ndim == 2)


def cell_chances(
    xp: Namespace, model: BehaviorModel, values: Values, cells: CellView, given_own: bool = False
) -> Chances:  # fmt: skip
    """What a model makes of cells at these values, in any array namespace.

    With `given_own` eta is a user's own attentiveness, in which what is known of the user is already.
    """
    log_p, log_c = model.log_prob(xp, values, cells)
    shares = model.log_shares(xp, values, cells.schema) if log_p.ndim == 2 else None
    moved = model.moved(xp, values, cells) if given_own else model.log_odds(xp, values, cells)
    own, seen = None if given_own else model.offset(xp, values, cells), model.evidence(xp, values, cells)
    if seen is not None:
        # Only their ratio tells of attention, and both may be as small as no number can be.
        log_scale = xp.maximum(*seen)
        attended, casual = (part - log_scale for part in seen)
        kinds = model.kinds(cells.schema)
        # Who never attends leaves what goes with a casual vote.
        own = xp.where(kinds.never[:, None], casual, attended) if kinds.never.any() else attended
        pair = (xp.exp(attended), xp.exp(casual))
        return Chances(xp.exp(log_p + own), xp.exp(log_c + casual), None, shares, pair, log_scale=log_scale)
    if moved is None:
        return Chances(xp.exp(log_p), xp.exp(log_c), None, shares, stay=model.stay(xp, values))
    more, less = xp.log_sigmoid(moved), xp.log_sigmoid(-moved)
    return Chances(xp.exp(log_p + more), xp.exp(log_c + less), (xp.exp(more), xp.exp(less)), shares, own=own)


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


def log_likelihood(group: Group, a: Any, rest: Any, chances: Chances) -> Any:
    """sum_c n_c log m_kc of each pattern at each node, nats, (pattern, node) or (kind, pattern, node)."""
    p, c = chances.p, chances.c

    def of_kind(kind: tuple[Any, Any]) -> Any:
        if chances.stay is not None:
            p, c = (part[_in_order(group).cell] for part in kind)
            return chain.path_log_likelihood(group, a, rest, p, c, chances.stay)
        return _of_products(group, a, rest, *kind)

    total = jax.lax.map(of_kind, (p, c)) if chances.by_kind else of_kind((p, c))
    if chances.log_scale is not None:
        total = total + _scales(group, chances.log_scale)[:, None]
    return total if chances.odds is None else total - _of_products(group, a, rest, *chances.odds)


def _scales(group: Group, log_scale: Any) -> Any:
    """Sum of the logarithms that brackets were scaled by, nats, (pattern,)."""
    if isinstance(group, Dense):
        return group.count @ log_scale
    return to_patterns(group, jnp.sum(group.count * log_scale[group.cell], axis=1))


def _in_order(group: Group) -> Sparse:
    """The group, which lists each pattern's votes in the order of time."""
    if isinstance(group, Dense):
        raise TypeError("a matrix of counts has no order of votes")
    return group


def _of_products(group: Group, a: Any, rest: Any, p: Any, c: Any) -> Any:
    """sum_c n_c log(a p_c + rest c_c) of each pattern at each node, nats, (pattern, node)."""
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


def attended_counts(
    group: Group, weights: Any, a: Any, rest: Any, p: Any, c: Any, stay: Any = None
) -> tuple[Any, Any, tuple[Any, Any] | None]:  # fmt: skip
    """Expected attended comparisons.

    Args:
        group: one chunk of the counts.
        weights: posterior weight of each node times the pattern's multiplicity, (pattern, node).
        a: eta at the nodes.
        rest: 1 - eta at the nodes.
        p: preference's probability of each cell, (cell,).
        c: casual probability of each cell, (cell,).
        stay: see `Chances`.

    Returns:
        attended in each cell (cell,); attended at each node (node,) summed over patterns; None, or of a chain (attended
        at each node are then tosses) the tosses that came out casual, (node,), and `Expectation.changes`.
    """
    if stay is not None:
        cell = _in_order(group).cell
        entries, attended, casual, changes = chain.attended_entries(group, weights, a, rest, p[cell], c[cell], stay)
        return jnp.zeros(p.shape[0]).at[cell].add(entries), attended.sum(0), (casual.sum(0), changes)
    if isinstance(group, Dense):
        attended = p[:, None] * a
        expected = (group.count.T @ weights) * (attended / jnp.maximum(attended + c[:, None] * rest, _TINY))
        return expected.sum(1), expected.sum(0), None
    # Settled together with the weights, the bracket is not the one of the likelihood: XLA would keep that in memory
    # between the two, (row, width, node) large, which is five times slower than computing it again.
    weights, a, rest, p, c = settled(weights, a, rest, p, c)
    attended, m = sparse_bracket(group, a, rest, p, c)
    (at_row,) = settled(weights[group.owner])
    expected = (at_row[:, None, :] * attended / m) * group.count[:, :, None]
    return jnp.zeros(p.shape[0]).at[group.cell].add(expected.sum(2)), expected.sum((0, 1)), None


def cell_counts(group: Group, users: Any, n_cells: int) -> Any:
    """Comparisons in each cell by so many users of each pattern, (cell,); `users` is (pattern,)."""
    if isinstance(group, Dense):
        return users @ group.count
    return jnp.zeros(n_cells).at[group.cell].add(users[group.owner][:, None] * group.count)
