"""Counts of two logs on common users and cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.context import sorting
from ..comparisons.names import among, as_names, places
from ..comparisons.patterns import starts_of
from ..comparisons.schema import Schema

__all__ = ["Joined", "join", "usable_schema"]


@dataclass(frozen=True)
class Joined:
    """Two logs side by side.

    Attributes:
        counts: entries of the union; `count` is that of the first log (0 where only the second has the entry).
        second: count in the second log, (entry,).
        known: whether the user occurs in the first log, (user,).
    """

    counts: Counts
    second: np.ndarray
    known: np.ndarray

    def blocks(self, size: int) -> Iterator[Joined]:
        """The same in pieces of some users each."""
        start = starts_of(self.counts.user, len(self.counts.users))
        for first in range(0, max(len(self.counts.users), 1), size):
            which = np.arange(first, min(first + size, len(self.counts.users)))
            entry = slice(start[first], start[first + len(which)])
            yield Joined(self.counts.of_users(which), self.second[entry], self.known[which])


def usable_schema(schema: Schema, counts: Counts, parameters_by_pair: bool) -> Schema:
    """The fit's schema, extended by pairs that only met later, unless there is a parameter for each pair.

    Raises:
        InputError: a new pair, and the model has one parameter for each pair.
    """
    if parameters_by_pair:
        _ = Cells(schema, counts.cells.model_a, counts.cells.model_b, counts.cells.outcome).pair  # raises, naming it
        return schema
    low = np.minimum(counts.cells.model_a, counts.cells.model_b)
    high = np.maximum(counts.cells.model_a, counts.cells.model_b)
    met = {(int(i), int(j)) for i, j in np.unique(np.stack([low, high]), axis=1).T}
    return Schema(schema.models, tuple(sorted(met | set(schema.pairs))), schema.ties, schema.categories, schema.items)


def join(first: Counts, second: Counts, schema: Schema) -> Joined:
    """Entries of both logs on common users and cells, sorted by (user, cell)."""
    cells, cell_1, cell_2 = _join_cells(first.cells, second.cells, schema)
    users = as_names(sorted({*first.users, *second.users}))
    user_1 = places(users, first.users)[first.user] if len(first.user) else first.user
    user_2 = places(users, second.users)[second.user] if len(second.user) else second.user
    keys_1 = user_1.astype(np.int64) * max(len(cells), 1) + cell_1[first.cell]
    keys_2 = user_2.astype(np.int64) * max(len(cells), 1) + cell_2[second.cell]
    keys = np.union1d(keys_1, keys_2)
    count, other = np.zeros(len(keys)), np.zeros(len(keys))
    count[np.searchsorted(keys, keys_1)] = first.count
    other[np.searchsorted(keys, keys_2)] = second.count
    merged = Counts(users, cells, keys // max(len(cells), 1), keys % max(len(cells), 1), count)
    known = among(users, first.users)
    return Joined(merged, other, known)


def _join_cells(first: Cells, second: Cells, schema: Schema) -> tuple[Cells, np.ndarray, np.ndarray]:
    """Union of the cells, and where each of the two logs' cells lies in it."""
    names = sorting(first.context)
    pairs = ((_column(cells, name) for cells in (first, second)) for name in names)
    unique, inverse = np.unique(np.stack([np.concatenate([*pair]) for pair in pairs], 1), axis=0, return_inverse=True)
    inverse, column = np.asarray(inverse).ravel(), dict(zip(names, unique.T, strict=True))
    context: dict[str, Any] = {name: column[name].astype(np.asarray(first[name]).dtype) for name in first.context}
    a, b, outcome = (column[name].astype(np.int64) for name in ("model_a", "model_b", "outcome"))
    return Cells(schema, a, b, outcome, context), inverse[: len(first)], inverse[len(first) :]


def _column(cells: Cells, name: str) -> np.ndarray:
    return np.asarray(cells.context.get(name, getattr(cells, name, None)), dtype=float)
