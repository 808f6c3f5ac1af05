"""More votes for a fit: counts add up, EM goes on from where it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.counting import check_one_at_a_time
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.names import places
from ..comparisons.schema import Schema
from .arrays import float64
from .effects import attached
from .fitting import Settings, fit_counts
from .merge import join
from .results import Fit

__all__ = ["update"]


@float64
def update(fit: Fit, more: ComparisonLog, **options: Any) -> Fit:
    """Add the comparisons of another log and fit again from where the fit stands.

    Raises:
        EarnestError: the other log cannot be counted in the fit's terms, or repeats the fit's own log.
    """
    fit.check_users_known("update")
    if more.by_pattern:
        raise EarnestError(f"update: {more.source}: votes on a cluster are added there; fit both logs as one")
    fingerprint = more.fingerprint()
    if fingerprint in fit.fingerprint.split("+"):
        raise EarnestError(f"{more.source}: the fit was made from this log already; its votes would count twice")
    added, crossed = fit.model.count(more), fit.model.crossed
    own = fit.counts if fit.effects is None or crossed is None else attached(crossed, fit.counts, fit.effects)
    names = sorted(set(fit.schema.models) | set(added.cells.schema.models))
    schema = _united(own.cells.schema, added.cells.schema, names)
    both = join(_renamed(own, schema), _renamed(added, schema), schema)
    counts = replace(both.counts, count=both.counts.count + both.second)
    fit.model.check_users(counts, f"{more.source}, together with the fit's own votes")
    if fit.model.chained:
        check_one_at_a_time(f"{more.source}, together with the fit's own votes", counts)
    settings = Settings(
        fit.method, fit.objective, options.pop("max_iterations", 2000), options.pop("tolerance", 1e-6), True,
        fit.user_prior, fit.level, fit.seed, options.pop("progress", None),
        options.pop("globals_from", "auto"),
    )  # fmt: skip
    if options:
        raise EarnestError(f"update: unknown option {next(iter(options))!r}")
    table = fit.model.table(replace(schema, items=fit.schema.items))  # EM's effects of items start anew
    same = [p.name for p in table.parameters if table.shape(p) == fit.table.shape(p)]
    start = {name: fit.parameters[name] for name in same}
    out = fit_counts(fit.model, counts, more, settings, restarts=False, start=start)
    return replace(
        out, columns=fit.columns, notes=(*fit.notes, *out.notes), fingerprint=f"{fit.fingerprint}+{fingerprint}"
    )


def _united(first: Schema, second: Schema, names: list[str]) -> Schema:
    index = {name: i for i, name in enumerate(names)}
    pairs = {
        tuple(sorted((index[schema.models[i]], index[schema.models[j]])))
        for schema in (first, second)
        for i, j in schema.pairs
    }
    categories = tuple(sorted(set(first.categories) | set(second.categories)))
    items = tuple(sorted(set(first.items) | set(second.items)))
    return Schema(tuple(names), tuple(sorted(pairs)), first.ties, categories, items)  # type: ignore[arg-type]  # of two


def _renamed(counts: Counts, schema: Schema) -> Counts:
    """The same counts with indices of another schema (sorted names keep every orientation)."""
    old = counts.cells.schema
    models = np.array([schema.models.index(name) for name in old.models])
    context = dict(counts.cells.context)
    if "category" in context:
        context["category"] = np.array([schema.categories.index(c) for c in old.categories])[context["category"]]
    if "item" in context:
        context["item"] = places(schema.items, old.items)[context["item"]]
    cells = replace(
        counts.cells,
        schema=schema,
        model_a=models[counts.cells.model_a],
        model_b=models[counts.cells.model_b],
        context=context,
    )
    return replace(counts, cells=cells)
