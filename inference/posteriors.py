"""Every user's posterior, however many users there are: in blocks of patterns, each a small problem of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.patterns import Patterns, own_patterns
from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from .arrays import DENSE_CELLS, DENSE_SIZE, Dense, largest_size
from .marginal import nodes_at
from .nodes import Nodes
from .users import Summary, Workload, carried_intervals, summarise, workload

__all__ = ["Globals", "few_alike", "patterns_of", "posteriors"]

_BLOCK = 65_536  # patterns that lie in memory as arrays together
# From so many patterns on it is tried on some whether draws of the globals change anything; ends of intervals that move
# by less than this (root mean square) have not changed.
_MANY, _TRIED, _SAME = 2048, 256, 0.01
_OUTSIDE = 1e-12  # weight at the ends of shared nodes, up to which they reach far enough
_LOOKED_AT = 16_384


@dataclass(frozen=True)
class Globals:
    """A declaration with its globals.

    Attributes:
        model: the declaration (settled).
        free: the estimate on the free scale, (size,).
        centre, spread: centre (size,) and covariance (size, size) of the normal approximation of what else they may be.
        seed: of the draws from it.
    """

    model: BehaviorModel
    free: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    seed: int


def few_alike(counts: Counts) -> bool:
    """Whether hardly any two users have the same counts, judged by some users of a long log."""
    n = len(counts.users)
    if n <= _BLOCK:
        return False
    some = np.sort(np.random.default_rng(0).choice(n, _LOOKED_AT, replace=False))
    alike = _LOOKED_AT - len(counts.of_users(some).patterns())
    # Of k patterns about s^2 / (2 k) among s users have been met before.
    return n * max(alike, 1) < _LOOKED_AT**2


def patterns_of(counts: Counts) -> Patterns:
    """Patterns of users: merged where that helps."""
    return own_patterns(counts) if few_alike(counts) else counts.patterns()


def posteriors(
    at: Globals, counts: Counts, schema: Schema, levels: tuple[float, float], draws: int, patterns: Patterns
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attentiveness of every user.

    Mean and sd are given the globals' estimate. Intervals are of the posterior averaged over draws of the globals. With
    many patterns that is first tried on 256: where it moves the ends by less than 0.01 (root mean square), as in long
    logs, which leave little doubt of the globals, the intervals of all users are those at the estimate.

    Args:
        at: the globals.
        counts: the votes.
        schema: what the cells' numbers mean.
        levels: probabilities of the intervals' ends.
        draws: of the globals; 0 for intervals at the centre.
        patterns: of the users (see `patterns_of`).

    Returns:
        mean and sd (user,), intervals (user, 2).
    """
    certain = draws > 0 and len(patterns) > _MANY and not _matters(at, counts, schema, levels, draws, patterns)
    mean, sd, ends = np.empty(len(patterns)), np.empty(len(patterns)), np.empty((len(patterns), 2))
    rule: _Rule | None = None
    for which, work in _blocks(counts, schema, patterns):
        summary, rule = _summary(at, work, levels if certain else (), rule)
        mean[which], sd[which] = summary.mean, summary.sd
        ends[which] = summary.quantiles if certain else (
            carried_intervals(at.model, at.centre, at.spread, work, levels, draws, at.seed)
        )  # fmt: skip
    of_user = patterns.pattern_of_user
    return mean[of_user], sd[of_user], ends[of_user]


@dataclass(frozen=True)
class _Rule:
    """Shared nodes, and the most votes of a user for whom they are fine enough."""

    nodes: Nodes
    busiest: float


def _summary(
    at: Globals, work: Workload, levels: tuple[float, ...], rule: _Rule | None
) -> tuple[Summary, _Rule | None]:  # fmt: skip
    """A block's summary, and the nodes that it may share with the next.

    Where patterns share nodes, those of the block before are tried: to find where to put them costs twice as much as to
    use them. They are fine enough where nobody is busier; that they reach far enough is seen from the weights.
    """
    if not isinstance(work.problem.group, Dense):
        return summarise(at.model, at.free, work, levels), None
    busiest, chunks = largest_size(work.problem.group), work.problem.group.multiplicity.shape[0]
    if rule is not None and busiest <= rule.busiest:
        found = summarise(at.model, at.free, work, levels, rule.nodes.over(chunks))
        if found.edge < _OUTSIDE:
            return found, rule
    rule = _Rule(nodes_at(at.model, at.free, work.problem), busiest)
    return summarise(at.model, at.free, work, levels, rule.nodes), rule


def _matters(
    at: Globals, counts: Counts, schema: Schema, levels: tuple[float, float], draws: int, patterns: Patterns
) -> bool:
    """Whether draws of the globals move intervals, tried on some patterns."""
    some = np.sort(np.random.default_rng(at.seed).choice(len(patterns), _TRIED, replace=False))
    work = workload(counts, schema, patterns=patterns.some(some))
    moved = carried_intervals(at.model, at.centre, at.spread, work, levels, draws, at.seed)
    there = summarise(at.model, at.free, work, levels).quantiles
    return not bool(np.sqrt(np.mean((moved - there) ** 2)) < _SAME)


def _blocks(counts: Counts, schema: Schema, patterns: Patterns) -> Iterator[tuple[np.ndarray, Workload]]:
    """Numbers of some patterns and their workload. Busy users are apart: they would need finer nodes of everybody."""
    if len(patterns) <= _BLOCK:
        yield np.arange(len(patterns)), workload(counts, schema, patterns=patterns)
        return
    busy = patterns.size > (DENSE_SIZE if len(counts.cells) <= DENSE_CELLS else np.inf)
    for group in (np.flatnonzero(~busy), np.flatnonzero(busy)):
        if len(group):  # the busiest first, whose nodes are fine enough for the others
            busiest = int(np.argmax(patterns.size[group]))
            group[[0, busiest]] = group[[busiest, 0]]
        for start in range(0, len(group), _BLOCK):
            which = group[start : start + _BLOCK]
            yield which, workload(counts, schema, patterns=patterns.some(which))
