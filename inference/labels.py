"""Per-label quantities: responsibility, leave-one-out weight and flip rates of each comparison.

A label must not vouch for itself: the weight of a label is its user's attentiveness without that label,
m_(u,-n) = [sum_k p_k eta_k / m_kc] / [sum_k p_k / m_kc], with p_k the user's posterior over nodes and c the label's
cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..comparisons.cells import Counts
from ..comparisons.context import label_match, relation
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.names import among, as_names
from ..comparisons.schema import OUTCOMES, Schema
from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.gold import GOLD
from ..models.namespace import NUMPY
from .arrays import JNP, Sparse, float64, over_chunks
from .bracket import Chances, sparse_bracket
from .chain import attended_entries
from .cohorts import eta_at
from .effects import alike
from .label import fixed_point
from .marginal import Problem, chances_of, log_posterior_by_kind, nodes_at
from .merge import Joined, join, usable_schema
from .nodes import Nodes
from .posteriors import few_alike
from .results import Fit
from .sampled_users import votes_of
from .scoring import count_for
from .users import Workload, workload

__all__ = ["label_blocks", "label_entries", "label_table", "pattern_labels", "responsibilities", "restricted"]

_BLOCK = 32_768  # users whose votes are labelled at once
_MANY = 65_536  # users from whom effective labels are computed; as many more would change them by a 300th at most
_QUANTITIES, _RATES = ("attentiveness", "responsibility", "weight"), ("label_noise", "label_noise_posterior")


def label_table(fit: Fit, log: ComparisonLog, points: np.ndarray | None = None) -> pd.DataFrame:
    """Quantities of every (user, model_a, model_b, winner[, context]) that occurs in a log.

    Users whom the fit knows are judged by the votes that it was fitted on; a vote that is not among those is not taken
    out of its user's posterior, because it is not in it. Other users are judged by their votes in this log.

    Args:
        fit: the fit.
        log: whose votes.
        points: free vectors over which quantities are averaged, (draw, size); by default the fit's own alone.

    Returns:
        data frame with user, model_a, model_b, winner, the context columns, comparisons (where the model does not
        tell the order of the two models apart, each row is there in both orders, with the comparisons of both) and
        attentiveness: posterior mean m_u;
        weight: leave-one-out attentiveness m_(u,-n); where attention differs by comparison, that of the comparison;
        responsibility: Pr(z_n = 1 | data), attended to pick the better;
        label_noise: (1 - weight) times the casual probability of the other response given that one is chosen; it does
            not look at the vote under a coin flip; NaN for ties;
        label_noise_posterior: (1 - responsibility) times the probability that an attentive user would have chosen the
            other response; NaN for ties. Of users who attend to pick the worse, both count what was attended as wrong.
    """
    return pd.concat(label_blocks(fit, log, points), ignore_index=True)


def label_blocks(fit: Fit, log: ComparisonLog, points: np.ndarray | None = None) -> Iterator[pd.DataFrame]:
    """The same in pieces, some ten thousand users each: of a long log the whole may be larger than memory."""
    joined, schema = _with_history(fit, log)
    items = None if fit.effects is None else _item_names(fit, log)
    for some in joined.blocks(_BLOCK):
        frame = _named(fit, some, schema, label_entries(fit, some.counts, schema, points), some.second > 0)
        yield _both_orders(fit, frame if items is None else _whole(frame, items))


@float64
def _with_history(fit: Fit, log: ComparisonLog) -> tuple[Joined, Schema]:
    """A log's votes beside those by which its users are judged, and what both are counted by."""
    if log.by_pattern:
        raise EarnestError(f"{log.source}: the votes stay on the cluster; label them there: log.with_weights(fit)")
    counts, by_pair = count_for(fit, log)
    schema = usable_schema(fit.schema, counts, by_pair)
    if log.kept is None and log.fingerprint() == fit.fingerprint and _the_same(fit.counts, counts):
        joined = Joined(counts, counts.count, np.ones(len(counts.users), dtype=bool))
    else:
        joined = join(_history(fit, counts), counts, schema)
    fit.model.check_users(joined.counts, f"{log.source}, together with the fit's own votes")
    return joined, schema


@float64
def pattern_labels(fit: Fit, log: ComparisonLog) -> pd.DataFrame:
    """Quantities (see `label_table`) of every cell of every pattern of a log on a cluster.

    Users are judged by their votes in this log.

    Returns:
        data frame with pattern, cell and the quantities.
    """
    counts, by_pair = count_for(fit, log)
    entries = label_entries(fit, counts, usable_schema(fit.schema, counts, by_pair))
    names = {"pattern": as_names(counts.users)[counts.user], "cell": counts.cell.astype(np.int32)}
    return pd.DataFrame({**names, **{name: entries[name] for name in (*_QUANTITIES, *_RATES)}})


def responsibilities(fit: Fit, log: ComparisonLog) -> np.ndarray:
    """See `Fit.responsibilities`."""
    table = label_table(fit, log)
    _, on = label_match(log, fit.context)
    rows = log.query(
        f"SELECT labels.responsibility FROM {relation(fit.context)} log JOIN labels ON {on} ORDER BY log.row",
        labels=table,
    )
    out = np.asarray(rows["responsibility"].to_numpy(), dtype=float)
    if len(out) != len(log):
        raise EarnestError(f"{log.source}: {len(log):,} comparisons, but responsibilities for {len(out):,}")
    return out


def _information(counts: Counts, weight: np.ndarray) -> float:
    """Effective labels under these weights of the counts' entries, (entry,)."""
    times = 1.0 if counts.multiplicity is None else counts.multiplicity[counts.user]
    return float((times * counts.count * np.maximum(weight, 0.0) ** 2).sum())


@float64
def leave_one_out_information(fit: Fit, log: ComparisonLog | None) -> float:
    """See `Fit.leave_one_out_information`."""
    if log is None or (not log.by_pattern and log.kept is None and log.fingerprint() == fit.fingerprint):
        some, share = _at_most(fit.counts, _MANY)
        return _information(some, label_entries(fit, some, fit.schema)["weight"]) / share
    if log.by_pattern:
        counts, by_pair = count_for(fit, log)
        entries = label_entries(fit, counts, usable_schema(fit.schema, counts, by_pair))
        return _information(counts, entries["weight"])
    # An undirected model lists each vote in both orders.
    twice = 1.0 if fit.model.directed else 2.0
    # A weight below 0 is written as 0: those votes are not turned round.
    return sum(
        float((table["comparisons"] * np.maximum(table["weight"], 0.0) ** 2).sum() / twice)
        for table in label_blocks(fit, log)
    )


def _at_most(counts: Counts, n: int) -> tuple[Counts, float]:
    """All users, or of a log with more patterns than this a random part; and which part of the votes they gave."""
    if len(counts.users) <= n or not (few_alike(counts) or len(counts.patterns()) > n):
        return counts, 1.0
    some = counts.of_users(np.sort(np.random.default_rng(0).permutation(len(counts.users))[:n]))
    return some, votes_of(some) / votes_of(counts)


def _the_same(first: Counts, second: Counts) -> bool:
    """Whether both list the same votes of the same users in the same order."""
    return (
        np.array_equal(first.user, second.user) and np.array_equal(first.cell, second.cell)
        and np.array_equal(first.count, second.count) and np.array_equal(first.users, second.users)
    )  # fmt: skip


def _history(fit: Fit, counts: Counts) -> Counts:
    """The fit's own counts of the log's users, and the log's counts of users whom the fit does not know."""
    own = fit.counts
    here = among(own.users, counts.users)
    new = ~among(counts.users, own.users)
    first, second = alike(fit.model.crossed, restricted(own, here), counts), restricted(counts, new)
    both = join(first, second, fit.schema)
    return Counts(
        both.counts.users, both.counts.cells, both.counts.user, both.counts.cell, both.counts.count + both.second
    )


def restricted(counts: Counts, keep: np.ndarray) -> Counts:
    """Counts of some users only."""
    entry = keep[counts.user]
    position = np.cumsum(keep) - 1
    times = None if counts.multiplicity is None else counts.multiplicity[keep]
    return Counts(
        counts.users[keep], counts.cells, position[counts.user[entry]], counts.cell[entry], counts.count[entry], times
    )


@float64
def label_entries(
    fit: Fit, counts: Counts, schema: Schema, points: np.ndarray | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """`attentiveness`, `responsibility`, `weight` and flip rates (see `label_table`) of every entry, (entry,) each.

    Entries with count 0 are votes that their user's posterior does not contain. With `points`, free vectors
    (draw, size), quantities are means over them.
    """
    work = workload(counts, schema, dense=False)
    patterns = counts.patterns()
    each = [_parts(fit, free, work, schema) for free in ([fit.free] if points is None else points)]
    by_pattern = [np.mean(parts, axis=0) for parts in zip(*each, strict=True)]
    # Users share patterns: entry e of a user is entry e of their pattern.
    start = np.searchsorted(counts.user, np.arange(len(counts.users)))
    source = (
        patterns.indptr[:-1][patterns.pattern_of_user[counts.user]] + np.arange(len(counts.user)) - start[counts.user]
    )
    found = [values[source] for values in by_pattern]
    if fit.method == "label":
        _, responsibility, weight = found
        other_p, other_c = (part[0, counts.cell] for part in _others(fit, fit.free, counts, schema))
        found += [(1 - weight) * other_c, (1 - responsibility) * other_p]
    sure = fit.model.attends(counts.users)[counts.user]
    decided = np.asarray(counts.cells.outcome)[counts.cell] < 2
    entries = {name: np.where(sure, 1.0, values) for name, values in zip(_QUANTITIES, found, strict=False)}
    rates = (np.where(decided, np.where(sure, 0.0, values), np.nan) for values in found[len(_QUANTITIES) :])
    return entries | dict(zip(_RATES, rates, strict=True))


def _parts(fit: Fit, free: np.ndarray, work: Workload, schema: Schema) -> list[np.ndarray]:
    """Quantities of the patterns' entries at one point of the globals, (entry,) each; label EM gives no flip rates."""
    if fit.method == "label":
        parts = _label_parts(fit.model, free, work.problem, fit.user_prior)
    else:
        extra = len(work.problem.cells) - len(work.counts.cells)
        others = _others(fit, free, work.counts, schema)
        padded = tuple(np.pad(part, ((0, 0), (0, extra))) for part in others)
        nodes = nodes_at(fit.model, free, work.problem)
        real = np.zeros(np.shape(work.problem.group.count))
        real.reshape(-1)[work.layout.entry] = 1.0
        parts = _marginal_parts(fit.model, free, work.problem, nodes, padded, real)
    return [work.layout.entries(part) for part in parts]


@partial(jax.jit, static_argnames=("model",))
def _marginal_parts(
    model: BehaviorModel, free: Any, problem: Problem, nodes: Nodes, others: tuple[Any, Any], real: Any
) -> tuple[Any, ...]:
    """The quantities of every entry, (chunk, row, width) each; `others` as in `_others`, `real` what is no padding."""
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances, kinds = chances_of(model, values, problem.cells), model.kinds(schema)
    factor = jnp.asarray(kinds.factor, dtype=float)

    def one(group: Sparse, at: Nodes, real: Any) -> tuple[Any, ...]:
        weights = jnp.exp(log_posterior_by_kind(model, schema, values, group, at, chances)[1])
        log_a, log_rest = model.attentiveness.attention(JNP, values, at.latent)
        eta, rest = jnp.exp(log_a), jnp.exp(log_rest)

        def of_kind(kind: tuple[Any, ...]) -> tuple[Any, ...]:
            own, p, c, sign, other_p, other_c = kind
            able, earnest, against = (1.0 * (sign != 0), 1.0 * (sign > 0), 1.0 * (sign < 0))
            if chances.stay is None:
                total, attended, outside, left = _tossed(group, own, eta, rest, p, c, chances, sign)
            else:
                total, attended, outside, left = _chained(group, own, eta, rest, p, c, chances.stay, real)
            noise = (outside - able * left) * other_c[group.cell] + against * left
            noise_posterior = (total - able * attended) * other_p[group.cell] + against * attended
            return total, earnest * attended, noise_posterior, outside, sign * left, noise

        p, c = (jnp.atleast_2d(part) for part in (chances.p, chances.c))
        sums = jax.lax.map(of_kind, (weights, p, c, factor, *others))
        total, attended, noise_posterior, outside, left, noise = (part.sum(0) for part in sums)
        own_eta = eta_at(model, values, group, at.latent, chances)
        mean = jnp.sum(factor[:, None] * jnp.sum(weights * own_eta, axis=2), axis=0)[group.owner][:, None]
        return (
            jnp.broadcast_to(mean, left.shape), attended / total, left / outside, noise / outside,
            noise_posterior / total,
        )  # fmt: skip

    return over_chunks(one, problem.group, nodes, real)  # type: ignore[no-any-return]  # shapes of `one`, stacked


def _tossed(
    group: Sparse, own: Any, eta: Any, rest: Any, p: Any, c: Any, chances: Chances, sign: Any
) -> tuple[Any, Any, Any, Any]:
    """Sums over one kind's nodes, of every entry, (row, width) each, where each vote is a toss of its own.

    Returns:
        with the vote: of the posterior, and of it where attended; without the vote: the same two.
    """
    attended, m = sparse_bracket(group, eta, rest, p, c)
    # Attention that the comparison got before its vote is share over whole: eta over the denominator of the odds, or
    # what came about with the vote, which is known whatever the vote.
    share, whole, known = jnp.broadcast_to(eta, own.shape)[group.owner][:, None, :], jnp.ones(1), jnp.ones(1)
    if chances.odds is not None:
        share, whole = sparse_bracket(group, eta, rest, *chances.odds)
        known = whole
    if chances.evidence is not None:
        share, whole = sparse_bracket(group, eta, rest, *chances.evidence)
        whole = jnp.where(sign == 0, chances.evidence[1][group.cell][:, :, None], whole)
    at_row = own[group.owner][:, None, :]

    def over_nodes(values: Any) -> Any:
        return jnp.sum(at_row * values, axis=2) + jnp.zeros(group.cell.shape)

    with_it = over_nodes(1.0), over_nodes(attended / m), over_nodes(whole / m), over_nodes(share / m)
    # A vote that is not in the posterior bears on itself like one that is.
    likely = over_nodes(m / known), over_nodes(attended / known), over_nodes(whole / known), over_nodes(share / known)
    total, one, outside, left = (
        jnp.where(group.count > 0, there, absent) for there, absent in zip(with_it, likely, strict=True)
    )
    return total, one, outside, left


def _chained(
    group: Sparse, own: Any, eta: Any, rest: Any, p: Any, c: Any, stay: Any, real: Any
) -> tuple[Any, Any, Any, Any]:
    """The same where the state drifts from vote to vote: a vote is left out, and its moment stays.

    A vote that is not in the posterior has its moment in the chain, of which it tells nothing.
    """
    there = group.count > 0
    p, c = (jnp.maximum(part[group.cell], 1e-300) for part in (p, c))
    one, zero = (jnp.where(there, part, 1.0) for part in (p, c))
    attends, *_ = attended_entries(replace(group, count=real), own, eta, rest, one, zero, stay)
    whole = jnp.broadcast_to(own.sum(1)[group.owner][:, None], p.shape)
    casual = jnp.maximum(whole - attends, 0.0)
    return (
        jnp.where(there, whole, attends * p + casual * c), jnp.where(there, attends, attends * p),
        jnp.where(there, attends / p + casual / c, whole), jnp.where(there, attends / p, attends),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("model", "prior"))
def _label_parts(model: BehaviorModel, free: Any, problem: Problem, prior: tuple[float, float]) -> tuple[Any, Any, Any]:
    """The same for label EM: attentiveness is estimated again without the label."""
    values = model.table(problem.cells.schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)
    p, c = chances.p, chances.c

    def one(group: Sparse) -> tuple[Any, Any, Any]:
        full = fixed_point(group, p, c, prior)
        rank = _rank_in_pattern(group)

        def without(j: Any) -> Any:
            # Every pattern drops its j-th entry; patterns do not touch, so one pass serves all.
            dropped = replace(group, count=group.count - ((rank == j) & (group.count > 0)))
            return jnp.where(rank == j, fixed_point(dropped, p, c, prior)[group.owner][:, None], 0.0)

        weight = jax.lax.fori_loop(
            0,
            jnp.max(jnp.where(group.count > 0, rank, -1)) + 1,
            lambda j, total: total + without(j),
            jnp.zeros(group.count.shape),
        )
        eta = full[group.owner][:, None]
        attended = eta * p[group.cell]
        responsibility = attended / (attended + (1 - eta) * c[group.cell])
        mean = jnp.broadcast_to(eta, weight.shape)
        return mean, responsibility, jnp.where(group.count > 0, weight, mean)

    return over_chunks(one, problem.group)  # type: ignore[no-any-return]  # shapes of `one`, stacked


def _rank_in_pattern(group: Sparse) -> Any:
    """Number of each entry among its pattern's, from 0, (row, width)."""
    rows, width = group.cell.shape
    first_row = jax.ops.segment_min(jnp.arange(rows), group.owner, group.multiplicity.shape[0])
    return (jnp.arange(rows) - first_row[group.owner])[:, None] * width + jnp.arange(width)[None, :]


def _named(
    fit: Fit, joined: Joined, schema: Schema, entries: dict[str, np.ndarray], wanted: np.ndarray
) -> pd.DataFrame:
    """Entries as a data frame with names."""
    counts = joined.counts
    names, cell = np.array(schema.models, dtype=object), counts.cell[wanted]
    a, b, outcome = counts.cells.model_a[cell], counts.cells.model_b[cell], counts.cells.outcome[cell]
    return pd.DataFrame(
        {
            "user": as_names(counts.users)[counts.user[wanted]],
            "model_a": names[a],
            "model_b": names[b],
            "winner": np.array(OUTCOMES)[outcome],
            **{name: _context_values(schema, name, counts.cells[name][cell]) for name in fit.context},
            "comparisons": joined.second[wanted],
            **{name: entries[name][wanted] for name in (*_QUANTITIES, *_RATES)},
        }
    )


def _item_names(fit: Fit, log: ComparisonLog) -> np.ndarray:
    """Names of the items by their number: the fit's own, then the log's others."""
    own = fit.effects.names if fit.effects is not None else np.zeros(0, dtype=object)
    found = as_names(log.query("SELECT DISTINCT item FROM log ORDER BY 1")["item"].to_pylist())
    return np.concatenate([own, found[~among(found, own)]])


def _whole(frame: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """Votes in one piece again, their quantities averaged over the distribution of the item's effect."""
    quantities = [*_QUANTITIES, *_RATES]
    keys = [column for column in frame if column not in (*quantities, "comparisons")]
    share = frame["comparisons"].to_numpy()
    weighted = frame[keys].assign(comparisons=share, **{name: share * frame[name] for name in quantities})
    # A sum that skipped what is no number would make flip rates of ties 0.
    found = weighted.groupby(keys, sort=False, dropna=False).agg(lambda part: part.sum(skipna=False)).reset_index()
    found[quantities] = found[quantities].div(found["comparisons"], axis=0)
    return found.assign(item=names[found["item"].to_numpy()])[list(frame)]


def _both_orders(fit: Fit, frame: pd.DataFrame) -> pd.DataFrame:
    """With whole counts; and in both orders of the two models where the model does not tell them apart."""
    frame = frame.assign(comparisons=np.rint(frame["comparisons"]).astype(np.int64))
    if fit.model.directed:
        return frame
    swapped = frame.rename(columns={"model_a": "model_b", "model_b": "model_a"})[frame.columns]
    turned = {"model_a": "model_b", "model_b": "model_a"}
    for column in {"winner", GOLD} & set(frame):
        swapped[column] = frame[column].map(lambda side: turned.get(side, side))
    return pd.concat([frame, swapped], ignore_index=True)


def _context_values(schema: Schema, name: str, values: np.ndarray) -> np.ndarray:
    if name == GOLD:
        return np.asarray(np.array([None, *OUTCOMES], dtype=object)[values])
    names = {"category": schema.categories, "item": schema.items}.get(name)  # EM's items are named at the end
    return np.array(names, dtype=object)[values] if names else values


def _others(fit: Fit, free: np.ndarray, counts: Counts, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the other response, given that one is chosen, under preference and casual component.

    (kind, cell) each, of tie cells as if model_b had won.
    """
    view, values = CellView.of(counts.cells, schema), fit.model.table(schema).unpack(NUMPY, free)
    won = [fit.model.plain_log_prob(NUMPY, values, view.with_outcome(y)) for y in (0, 1)]
    first = (np.exp(-np.logaddexp(0.0, won[1][k] - won[0][k])) for k in (0, 1))  # Pr(model_a wins | decided)
    preferred, casual = (np.where(np.asarray(view.outcome) == 0, 1 - share, share) for share in first)
    return preferred, casual
