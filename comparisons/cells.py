"""Cells, counts and patterns: a log compressed to what its likelihood looks at."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .patterns import Patterns, entries_of, find_patterns, starts_of
from .schema import Schema

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The distinct comparisons of a log, one entry a cell.

    Attributes:
        schema: What the indices stand for.
        model_a: (cell,) index of the model shown first.
        model_b: (cell,) index of the model shown second.
        outcome: (cell,) 0 where model_a won, 1 where model_b won, 2 for a tie.
        context: Further columns (cell,): "category" and "item" as an index into `schema.categories` and
            `schema.items`, any other as a covariate in the units of the log.
    """

    schema: Schema
    model_a: Integers
    model_b: Integers
    outcome: Integers
    context: dict[str, Integers | Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcome)

    def of(self, which: NDArray[np.bool_]) -> "Cells":
        """Some of the cells, (cell,) true where wanted."""
        context = {name: column[which] for name, column in self.context.items()}
        return Cells(self.schema, self.model_a[which], self.model_b[which], self.outcome[which], context)

    def __getitem__(self, name: str) -> Integers | Floats:
        """The context column `name`, (cell,)."""
        if name not in self.context:
            known = ", ".join(map(repr, self.context)) or "none"
            raise InputError(
                f"the cells carry no context column {name!r} (they carry: {known}); "
                f"a component that needs it must declare it as its context"
            )
        return self.context[name]

    @cached_property
    def pair(self) -> Integers:
        """(cell,) index into `schema.pairs`.

        Raises:
            InputError: A pair that the schema does not know, because its models never met in the log it came from.
        """
        low, high = np.minimum(self.model_a, self.model_b), np.maximum(self.model_a, self.model_b)
        n = max(self.schema.n_models, 1)
        known = np.array([i * n + j for i, j in self.schema.pairs], dtype=np.int64)
        code = low * n + high
        index = np.searchsorted(known, code)
        unknown = (index >= len(known)) | (known[np.minimum(index, len(known) - 1)] != code) if len(known) else low >= 0
        if unknown.any():
            first = int(np.argmax(unknown))
            names = self.schema.models[low[first]], self.schema.models[high[first]]
            raise InputError(
                f"models {names[0]!r} and {names[1]!r} meet here but never met in the log that the model was fitted "
                "on, so there is no parameter for their pair; use a preference with a skill per model "
                "(BradleyTerry) or fit on a log in which they meet"
            )
        return index.astype(np.int64)

    @cached_property
    def sign(self) -> Floats:
        """(cell,) +1 where model_a is the pair's first-named model, -1 where model_b is."""
        return np.where(self.model_a < self.model_b, 1.0, -1.0)


@dataclass(frozen=True)
class Counts:
    """How often each user gave each cell; a sparse (user, cell) matrix sorted by user, then cell.

    Attributes:
        users: (user,) names, sorted.
        cells: The cells.
        user: (entry,) index of the user.
        cell: (entry,) index of the cell.
        count: (entry,) comparisons.
        multiplicity: (user,) how many users each of these stands for; None: one. Where counting was done elsewhere,
            such as on a cluster, only users who differ are here.
    """

    users: NDArray[np.object_]
    cells: Cells
    user: Integers
    cell: Integers
    count: Floats
    multiplicity: Floats | None = None

    def n_comparisons(self) -> Floats:
        """(user,) comparisons that each user gave."""
        return np.bincount(self.user, weights=self.count, minlength=len(self.users))

    def totals(self) -> Floats:
        """(cell,) comparisons that all users together gave."""
        count = self.count if self.multiplicity is None else self.count * self.multiplicity[self.user]
        return np.bincount(self.cell, weights=count, minlength=len(self.cells))

    def patterns(self) -> Patterns:
        """Merge the users whose counts are equal in every cell."""
        return find_patterns(self)

    def of_users(self, which: Integers) -> "Counts":
        """Some of the users, (user,) rising, with all the cells."""
        entry, indptr = entries_of(starts_of(self.user, len(self.users)), which)
        user = np.repeat(np.arange(len(which)), np.diff(indptr))
        multiplicity = None if self.multiplicity is None else self.multiplicity[which]
        return Counts(self.users[which], self.cells, user, self.cell[entry], self.count[entry], multiplicity)

    def of_cells_there(self) -> "Counts":
        """The same without the cells that none of these users gave; the others stay in their order."""
        there = np.zeros(len(self.cells), dtype=bool)
        there[self.cell] = True
        return replace(self, cells=self.cells.of(there), cell=(np.cumsum(there) - 1)[self.cell])
