"""Users whose state drifts from vote to vote: the chain attended / casual, summed out.

A step of the chain is a 2 x 2 matrix, from the state of the vote before to that of this one, times the probability of
the vote in its state; a user's likelihood is the product of the steps. It is a polynomial with positive coefficients in
each of its factors, so that its logarithmic slopes are expected counts (Fisher's identity): in log p of the votes
attended, in log a of the tosses that came out attended.

Matrices are four arrays (m11, m10, m01, m00), state 1 attended; products are scaled as they grow.
"""

from __future__ import annotations

from collections.abc import Callable
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


def path_log_likelihood(group: Any, a: Any, rest: Any, p: Any, c: Any, stay: Any, toss: Any = None) -> Any:
    """Log-likelihood of every pattern of one chunk at every node, nats, (pattern, node): forward, vote after vote.

    Where all histories are short they go side by side; else one after the other, so that a long one among short ones
    costs no more than its votes.

    Args:
        group: entries in rows, each a vote (`Sparse.single`), in the order of time.
        a, rest: eta and its complement at the nodes, (pattern, node) or (1, node).
        p, c: probability of each entry attended and not, (row, width).
        stay: probability of no toss, (state,).
        toss: its complement, where slopes in both are wanted.
    """
    toss = 1.0 - stay if toss is None else toss
    rows, patterns = jnp.arange(p.shape[0]), group.multiplicity.shape[0]
    votes = p, c, 1.0 * (group.count > 0)
    if group.depth:
        row = jax.ops.segment_min(rows, group.owner, patterns)[:, None] + jnp.arange(group.depth)
        # Rows of the next pattern are no votes of this one; padding has patterns without rows.
        own = group.owner[jnp.clip(row, 0, len(rows) - 1)] == jnp.arange(patterns)[:, None]
        p, c, vote = (
            jnp.where(own[:, :, None], part[jnp.clip(row, 0, len(rows) - 1)], other).reshape(patterns, -1).T[:, :, None]
            for part, other in zip(votes, (1.0, 1.0, 0.0), strict=True)
        )
        begins = jnp.arange(p.shape[0])[:, None] == 0
        start = jnp.zeros((patterns, a.shape[1]))
        (_, _, total), _ = _forward(
            (start, start + 1.0, start), (p, c, vote, begins), lambda x: (a, rest), stay, toss, False
        )
        return total
    p, c, vote = (part.reshape(-1) for part in votes)
    first = jnp.concatenate([jnp.ones(1, dtype=bool), group.owner[1:] != group.owner[:-1]])
    begins = (first[:, None] & (jnp.arange(group.cell.shape[1]) == 0)).reshape(-1)
    owner = jnp.repeat(group.owner, group.cell.shape[1])
    fresh = tuple(part if part.shape[0] == 1 else part[owner] for part in (a, rest))
    xs = (p, c, vote, begins, *(part for part in fresh if part.shape[0] > 1))
    start = jnp.zeros(a.shape[1])
    _, reached = _forward((start, start + 1.0, start), xs, lambda x: x[4:] or (a[0], rest[0]), stay, toss, True)
    last = jax.ops.segment_max(rows, group.owner, patterns)
    at = (jnp.maximum(last, 0) + 1) * group.cell.shape[1] - 1
    return jnp.where((last >= 0)[:, None], reached[at], 0.0)


def _forward(start: Any, xs: tuple[Any, ...], fresh: Callable[[Any], Any], stay: Any, toss: Any, told: bool) -> Any:
    """Probabilities of both states, and the logarithm of what they were scaled by, along some votes.

    Args:
        start: attended, casual, logarithm; not both 0, whose slopes would be no numbers, though no vote looks at it.
        xs: p, c, whether there is a vote, whether a history begins with it; more for `fresh`.
        fresh: chances of a toss to come out attended and casual, from one of `xs`.
        stay, toss: of a state, (state,).
        told: whether the logarithm is wanted after every vote.
    """

    @jax.checkpoint
    def onward(state: tuple[Any, Any, Any], x: tuple[Any, ...]) -> tuple[tuple[Any, Any, Any], Any]:
        (one, zero, log_before), (p, c, vote, begins), (a, rest) = state, x[:4], fresh(x)
        # Before the first vote there is no state to stay in.
        tossed = jnp.where(begins, 1.0, toss[1] * one + toss[0] * zero)
        attended = (jnp.where(begins, 0.0, stay[1] * one) + tossed * a) * p
        casual = (jnp.where(begins, 0.0, stay[0] * zero) + tossed * rest) * c
        total = jnp.maximum(attended + casual, _TINY)
        reached = attended / total, casual / total, jnp.where(begins, 0.0, log_before) + jnp.log(total)
        kept = jnp.where(begins, 0.0, log_before)
        after = tuple(jnp.where(vote > 0, new, old) for new, old in zip(reached, (one, zero, kept), strict=True))
        return after, after[2] if told else None  # type: ignore[return-value]  # three of them

    return jax.lax.scan(onward, start, xs)


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
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Whether each vote was attended, given its user's other votes; and the vote, given those before it; NumPy.

    Probabilities given the user's attentiveness, (entry,) each. The second ones' product is the user's likelihood.

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
    return both[1] / np.maximum(both.sum(0), _TINY), (ahead * chance).sum(0)
