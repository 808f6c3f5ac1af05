"""Users whose state drifts from vote to vote: the chain attended / casual, summed out.

A step of the chain is a 2 x 2 matrix, from the state of the vote before to that of this one, times the probability of
the vote in its state; a user's likelihood is the product of the steps. It is a polynomial with positive coefficients in
each of its factors, so that its logarithmic slopes are expected counts (Fisher's identity): in log p of the votes
attended, in log a of the tosses that came out attended.

Matrices are four arrays (m11, m10, m01, m00), state 1 attended; products are scaled as they grow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..models.namespace import Namespace

__all__ = ["attended_entries", "attends", "draw_states", "path_log_likelihood", "tree_log_likelihood"]

_TINY = 1e-300
Matrix = tuple[Any, Any, Any, Any]


def _step(p: Any, c: Any, fresh: tuple[Any, Any], stay: tuple[Any, Any], toss: tuple[Any, Any]) -> Matrix:
    """One vote.

    `fresh` are the chances of a toss to come out attended and casual; `stay` and `toss` those of a state, casual and
    attended, to be kept and to be tossed.
    """
    (a, rest), (keep_0, keep_1), (toss_0, toss_1) = fresh, stay, toss
    return (keep_1 + toss_1 * a) * p, toss_1 * rest * c, toss_0 * a * p, (keep_0 + toss_0 * rest) * c


def _product(one: Matrix, two: Matrix) -> Matrix:
    a11, a10, a01, a00 = one
    b11, b10, b01, b00 = two
    return a11 * b11 + a10 * b01, a11 * b10 + a10 * b00, a01 * b11 + a00 * b01, a01 * b10 + a00 * b00


def _scaled(xp: Any, matrix: Matrix, log_scale: Any) -> tuple[Matrix, Any]:
    total = xp.maximum(matrix[0] + matrix[1] + matrix[2] + matrix[3], _TINY)
    m11, m10, m01, m00 = (part / total for part in matrix)
    return (m11, m10, m01, m00), log_scale + xp.log(total)


def tree_log_likelihood(
    xp: Namespace, p: Any, c: Any, a: Any, rest: Any, stay: Any, there: np.ndarray
) -> Any:  # fmt: skip
    """Log-likelihood of every user's votes at the nodes, nats, (user, node), in any array namespace.

    Neighbours are multiplied, then neighbours of these: as many levels as the logarithm of the longest history.

    Args:
        xp: array namespace.
        p, c: probability of each vote attended and not, (..., user, step), a power of two of steps; anything where
            there is no vote.
        a, rest: attentiveness and its complement at the nodes, (node,), or (user, 1).
        stay: probability of no toss, (state,): casual, attended.
        there: which steps are votes, (user, step); each user's first ones are.
    """
    steps = there.shape[1]
    vote = there[:, :, None].astype(float)
    # Before the first vote there is no state to stay in.
    later = 1.0 * (np.arange(steps)[:, None] > 0)
    fresh = (a[:, None, :], rest[:, None, :]) if a.ndim == 2 else (a, rest)
    keep = stay[0] * later, stay[1] * later
    matrix = _step(p[..., None], c[..., None], fresh, keep, (1.0 - keep[0], 1.0 - keep[1]))
    matrix = tuple(vote * part + (1.0 - vote) * one for part, one in zip(matrix, (1.0, 0.0, 0.0, 1.0), strict=True))
    matrix, log_scale = _scaled(xp, matrix, 0.0)
    while steps > 1:
        steps //= 2
        earlier, after = (tuple(part[..., side::2, :] for part in matrix) for side in (0, 1))
        total = log_scale[..., 0::2, :] + log_scale[..., 1::2, :]
        matrix, log_scale = _scaled(xp, _product(earlier, after), total)
    return (log_scale + xp.log(xp.maximum(matrix[2] + matrix[3], _TINY)))[..., 0, :]


def draw_states(
    uniform: tuple[Any, Any], a: Any, stay: Any, xp: Any = np
) -> Any:  # fmt: skip
    """States of users at their votes, (user, step) of 0 and 1.

    Args:
        uniform: two random numbers for each, which toss and which hold the state, (user, step) each.
        a: attentiveness, (user,).
        stay: probability of no toss, (state,).
        xp: NumPy or `jax.numpy`.
    """
    tossed, held = uniform
    states = [1.0 * (tossed[..., 0] < a)]
    for step in range(1, tossed.shape[-1]):
        last = states[-1]
        keep = held[..., step] < stay[0] + (stay[1] - stay[0]) * last
        states.append(xp.where(keep, last, 1.0 * (tossed[..., step] < a)))
    return xp.stack(states, axis=-1)


def _begins(group: Any) -> Any:
    """Which rows of a chunk begin a pattern, (row,) booleans."""
    return jnp.concatenate([jnp.ones(1, dtype=bool), group.owner[1:] != group.owner[:-1]])


def path_log_likelihood(group: Any, a: Any, rest: Any, p: Any, c: Any, stay: Any, toss: Any = None) -> Any:
    """Log-likelihood of every pattern of one chunk at every node, nats, (pattern, node).

    Args:
        group: entries in rows, each a vote (`Sparse.single`), in the order of time.
        a, rest: eta and its complement at the nodes, (pattern, node) or (1, node).
        p, c: probability of each entry attended and not, (row, width).
        stay: probability of no toss, (state,).
        toss: its complement, where slopes in both are wanted.
    """
    first, toss = _begins(group), 1.0 - stay if toss is None else toss
    fresh = tuple(part if part.shape[0] == 1 else part[group.owner] for part in (a, rest))
    rows, width = p.shape
    shape = (rows, fresh[0].shape[1])

    @jax.checkpoint
    def along(state: tuple[Matrix, Any], entry: tuple[Any, ...]) -> tuple[tuple[Matrix, Any], None]:
        p_, c_, vote, number = entry
        matrix, log_scale = state
        # Before the first vote there is no state to stay in.
        begins = (first & (number == 0))[:, None]
        keep = jnp.where(begins, 0.0, stay[0]), jnp.where(begins, 0.0, stay[1])
        tossed = jnp.where(begins, 1.0, toss[0]), jnp.where(begins, 1.0, toss[1])
        after = _product(matrix, _step(p_[:, None], c_[:, None], fresh, keep, tossed))
        after, scale = _scaled(jnp, after, log_scale)
        here = vote[:, None] > 0
        kept = tuple(jnp.where(here, new, old) for new, old in zip(after, matrix, strict=True))
        return (kept, jnp.where(here, scale, log_scale)), None  # type: ignore[return-value]  # four of them

    one, zero = jnp.ones(shape), jnp.zeros(shape)
    entries = (p.T, c.T, group.count.T, jnp.arange(width))
    of_row, _ = jax.lax.scan(along, ((one, zero, zero, one), zero), entries)

    @jax.checkpoint
    def onward(state: tuple[Any, Any, Any], row: tuple[Any, ...]) -> tuple[tuple[Any, Any, Any], Any]:
        (m11, m10, m01, m00), log_row, begins = row
        # A pattern's first step is the same from either state.
        attended, casual, log_before = (
            jnp.where(begins, at, now) for at, now in zip((0.0, 1.0, 0.0), state, strict=True)
        )
        one, zero = attended * m11 + casual * m01, attended * m10 + casual * m00
        total = jnp.maximum(one + zero, _TINY)
        log_total = log_before + log_row + jnp.log(total)
        return (one / total, zero / total, log_total), log_total

    # One row after the other: few and short steps, where a tree over rows takes minutes to compile.
    nowhere = jnp.zeros(shape[1])
    _, reached = jax.lax.scan(onward, (nowhere, nowhere, nowhere), (*of_row, first))
    last = jax.ops.segment_max(jnp.arange(rows), group.owner, group.multiplicity.shape[0])
    # Padding has patterns without rows: these say nothing of anybody's.
    return jnp.where((last >= 0)[:, None], reached[jnp.maximum(last, 0)], 0.0)


def attended_entries(
    group: Any, weights: Any, a: Any, rest: Any, p: Any, c: Any, stay: Any
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Expected attended votes of each entry, tosses that came out attended and casual, and what became of states.

    Args:
        group, a, rest, p, c, stay: as in `path_log_likelihood`.
        weights: of each node, (pattern, node).

    Returns:
        (row, width); (pattern or 1, node) each; kept and tossed by state, (2, state).
    """

    def likelihood(log_p: Any, log_a: Any, log_rest: Any, log_change: Any) -> Any:
        keep, toss = jnp.exp(log_change) * jnp.stack([stay, 1.0 - stay])
        fresh = a * jnp.exp(log_a), rest * jnp.exp(log_rest)
        return path_log_likelihood(group, *fresh, p * jnp.exp(log_p), c, keep, toss)

    shapes = (p.shape, a.shape, rest.shape, (2, 2))
    _, slopes = jax.vjp(likelihood, *(jnp.zeros(shape) for shape in shapes))
    entries, attended, casual, changes = slopes(weights)
    return entries, attended, casual, changes


def attends(
    p: np.ndarray, c: np.ndarray, a: np.ndarray, stay: np.ndarray, turns: list[np.ndarray]
) -> np.ndarray:  # fmt: skip
    """Probability that each vote was attended, given its user's other votes and their attentiveness, NumPy, (entry,).

    Args:
        p, c: probability of each entry attended and not, (entry,).
        a: its user's attentiveness, (entry,).
        stay: probability of no toss, (state,).
        turns: indices of the users' first entries, of their second ones, ..., users with most entries first.
    """
    ahead, behind = np.ones((2, len(p))), np.ones((2, len(p)))  # casual, attended: before a vote, and after it
    fresh, chance = np.stack([1 - a, a]), np.stack([c, p])
    ahead[:] = fresh
    for last, rows in pairwise(turns):
        left = last[: len(rows)]
        seen = ahead[:, left] * chance[:, left]
        seen = seen / np.maximum(seen.sum(0), _TINY)
        tossed = ((1 - stay)[:, None] * seen).sum(0)
        ahead[:, rows] = stay[:, None] * seen + tossed * fresh[:, rows]
    for last, rows in reversed(list(pairwise(turns))):
        left = last[: len(rows)]
        seen = behind[:, rows] * chance[:, rows]
        seen = seen / np.maximum(seen.sum(0), _TINY)
        tossed = (fresh[:, rows] * seen).sum(0)
        behind[:, left] = stay[:, None] * seen + (1 - stay)[:, None] * tossed
    both = ahead * behind
    return np.asarray(both[1] / np.maximum(both.sum(0), _TINY))
