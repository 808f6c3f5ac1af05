"""What EM knows of effects shared across users, and counts in its terms.

Samplers see counts with an axis of effects. In EM's a vote is a few cells, one for each abscissa of its effect's
distribution and each with a part of the count: everything that looks at counts then averages a vote's log-likelihood
over that distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.errors import InputError
from ..comparisons.names import as_names, places
from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from ..models.crossed import NODES, WEIGHTS, Crossed

__all__ = ["Effects", "alike", "attached", "check_pairs", "detached", "known", "renumbered", "with_known"]


@dataclass(frozen=True)
class Effects:
    """What EM knows of the effects.

    Attributes:
        names: what has an effect, sorted, (item,).
        mean, sd: of q, log-odds, (item,) each.
    """

    names: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def detached(model: BehaviorModel, counts: Counts) -> tuple[Counts, Effects | None]:
    """Counts whose effects are EM's to know: no axis of any parameter, but columns of the cells; all 0 to begin with.

    Those of a model without such effects stay as they are.
    """
    crossed = model.crossed
    if crossed is None:
        return counts, None
    names = as_names(counts.cells.schema.coords()[crossed.column])
    effects = Effects(names, np.zeros(len(names)), np.zeros(len(names)))
    return with_known(crossed, counts, effects, 0.0), effects


def attached(crossed: Crossed, counts: Counts, effects: Effects) -> Counts:
    """The inverse: counts as samplers see them, with an axis of effects."""
    cells, first = counts.cells, np.asarray(counts.cells[crossed.node]) == NODES[0]
    ours = {crossed.effect, crossed.node}
    context = {name: column[first] for name, column in cells.context.items() if name not in ours}
    schema = replace(cells.schema, items=tuple(effects.names))
    kept = Cells(schema, cells.model_a[first], cells.model_b[first], cells.outcome[first], context)
    entry, number = first[counts.cell], np.cumsum(first) - 1
    whole = np.round(counts.count[entry] / WEIGHTS[0], 6)
    return Counts(counts.users, kept, counts.user[entry], number[counts.cell[entry]], whole)


def with_known(crossed: Crossed, counts: Counts, effects: Effects, scale: float) -> Counts:
    """Counts of any log with what is known of its effects; of unseen ones the population, integrated out.

    Args:
        crossed: the effects.
        counts: with an axis of effects.
        effects: what is known.
        scale: standard deviation of the unseen ones.
    """
    own = as_names(counts.cells.schema.coords()[crossed.column])
    place = places(effects.names, own)
    fresh = place < 0
    # Items that were never seen come after the others, by name.
    number = np.where(fresh, len(effects.names) + np.cumsum(fresh) - 1, place)
    at = place[np.asarray(counts.cells[crossed.column])]
    spread, whole = _spread_out(counts, np.where(at < 0, 1, len(NODES)))
    cells, seen = spread.cells, at[whole] >= 0
    node = np.where(seen, NODES[np.arange(len(whole)) - np.searchsorted(whole, whole)], 0.0)
    columns = {
        crossed.column: number[np.asarray(cells[crossed.column])],
        crossed.effect: np.where(seen, effects.mean[at[whole]] + effects.sd[at[whole]] * node, 0.0),
        crossed.node: node,
        **({} if seen.all() else {crossed.spread: np.where(seen, 0.0, scale)}),
    }
    schema = replace(cells.schema, items=())
    return replace(spread, cells=replace(cells, schema=schema, context={**cells.context, **columns}))


def _spread_out(counts: Counts, times: np.ndarray) -> tuple[Counts, np.ndarray]:
    """Counts in which a cell becomes 1 or several, by the weights of the nodes; and which cell each was, (cell,)."""
    cells, start = counts.cells, np.cumsum(times) - times
    whole = np.repeat(np.arange(len(cells)), times)
    context = {name: column[whole] for name, column in cells.context.items()}
    wider = Cells(cells.schema, cells.model_a[whole], cells.model_b[whole], cells.outcome[whole], context)
    each = times[counts.cell]
    entry = np.repeat(np.arange(len(each)), each)
    part = np.arange(len(entry)) - np.repeat(np.cumsum(each) - each, each)
    share = np.where(each[entry] > 1, WEIGHTS[part], 1.0)
    cell = start[counts.cell[entry]] + part
    return Counts(counts.users, wider, counts.user[entry], cell, counts.count[entry] * share), whole


def known(crossed: Crossed, counts: Counts, effects: Effects) -> Counts:
    """The counts that a fit was made from, with their effects."""
    index, node = np.asarray(counts.cells[crossed.column]), np.asarray(counts.cells[crossed.node])
    columns = {crossed.effect: effects.mean[index] + effects.sd[index] * node}
    return replace(counts, cells=replace(counts.cells, context={**counts.cells.context, **columns}))


def check_pairs(crossed: Crossed, own: Counts, counts: Counts) -> None:
    """Raise an `InputError` where counts have a known item on other models than it was fitted on.

    Args:
        crossed: the effects.
        own: what was fitted.
        counts: of another log, with the items' numbers in the fit.
    """
    n = own.cells.schema.n_models
    pairs = [np.minimum(c.model_a, c.model_b) * n + np.maximum(c.model_a, c.model_b) for c in (own.cells, counts.cells)]
    first, index = np.unique(own.cells[crossed.column], return_index=True)
    item = np.asarray(counts.cells[crossed.column])
    known = item <= first.max(initial=-1)
    wrong = known & (pairs[1] != pairs[0][index][np.where(known, item, 0)])
    if wrong.any():
        models = [counts.cells.schema.models[i] for i in divmod(int(pairs[1][np.argmax(wrong)]), n)]
        raise InputError(
            f"an item that the fit knows has votes on {models[0]} vs {models[1]}, but was fitted on another pair of "
            f"models; an item is one pair of responses: give each pair its own name in the column {crossed.column!r}"
        )


def alike(crossed: Crossed | None, first: Counts, second: Counts) -> Counts:
    """The first counts with the columns that the second have, where those have effects that no vote was fitted to."""
    if crossed is None or crossed.spread not in second.cells.context:
        return first
    context = {**first.cells.context, crossed.spread: np.zeros(len(first.cells))}
    return replace(first, cells=replace(first.cells, context=context))


def renumbered(crossed: Crossed, counts: Counts, schema: Schema) -> Counts:
    """Counts of a part of a log with the items' numbers in the whole.

    Raises:
        InputError: an item that the whole does not have.
    """
    names = counts.cells.schema.coords()[crossed.column]
    place = places(schema.coords()[crossed.column], names)
    if (place < 0).any():
        missing = str(np.asarray(names)[place < 0][0])
        raise InputError(
            f"the posterior holds no {crossed.effect} of {crossed.column} {missing!r}; sample the log with it, or use "
            "a fit, which integrates the effects of unseen ones out"
        )
    index = place[np.asarray(counts.cells[crossed.column])]
    context = {**counts.cells.context, crossed.column: index}
    return replace(counts, cells=replace(counts.cells, schema=schema, context=context))
