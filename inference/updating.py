"""More votes for a fit: counts add up, EM goes on from where it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.schema import Schema
from .arrays import float64
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
    fingerprint = more.fingerprint()
    if fingerprint in fit.fingerprint.split("+"):
        raise EarnestError(f"{more.source}: the fit was made from this log already; its votes would count twice")
    added = fit.model.count(more)
    names = sorted(set(fit.schema.models) | set(added.cells.schema.models))
    schema = _united(fit.schema, added.cells.schema, names)
    both = join(_renamed(fit.counts, schema), _renamed(added, schema), schema)
    counts = replace(both.counts, count=both.counts.count + both.second)
    settings = Settings(
        fit.method, fit.objective, options.pop("max_iterations", 2000), options.pop("tolerance", 1e-6), True,
        fit.user_prior, fit.level, fit.seed, options.pop("progress", None),
    )  # fmt: skip
    if options:
        raise EarnestError(f"update: unknown option {next(iter(options))!r}")
    table = fit.model.table(schema)
    same = {p.name: table.shape(p) == fit.table.shape(p) for p in table.parameters}
    start = {name: value for name, value in fit.parameters.items() if same[name]}
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
    return Schema(tuple(names), tuple(sorted(pairs)), first.ties, categories)  # type: ignore[arg-type]  # pairs of two


def _renamed(counts: Counts, schema: Schema) -> Counts:
    """The same counts with indices of another schema (sorted names keep every orientation)."""
    old = counts.cells.schema
    models = np.array([schema.models.index(name) for name in old.models])
    context = dict(counts.cells.context)
    if "category" in context:
        context["category"] = np.array([schema.categories.index(c) for c in old.categories])[context["category"]]
    cells = replace(
        counts.cells,
        schema=schema,
        model_a=models[counts.cells.model_a],
        model_b=models[counts.cells.model_b],
        context=context,
    )
    return replace(counts, cells=cells)
