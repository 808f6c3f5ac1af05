"""What each user was shown and chose, in the form that the samplers observe.

A unit is a user, or in the marginal form all users with equal counts (a pattern). Its votes are counts over what it was
shown (an ordered pair of models with its context) and the outcomes. With few different things to show, every unit has a
column for each of them; with many, a unit has as many slots as it needs and remembers what they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.context import sorting
from ..comparisons.errors import EarnestError
from ..comparisons.names import as_names
from ..comparisons.schema import Schema
from ..models.component import CellView

__all__ = ["Entries", "Tally", "tally"]

_DENSE_CELLS = 256
# Counts that a sampler observes: a user with very many different comparisons would make every row as long.
_MOST_SLOTS = 200_000_000


@dataclass(frozen=True)
class Entries:
    """Counts as a list: `count` votes of `unit` in `cell`, (entry,) each; `count` may be symbolic."""

    unit: np.ndarray
    cell: np.ndarray
    count: Any


@dataclass(frozen=True)
class Tally:
    """The observed votes.

    Attributes:
        schema: names of models, pairs, outcomes.
        cells: everything shown with every outcome; cell = shown * n_outcomes + outcome.
        names: names of what was shown, "A | B" for A on the left, (shown,).
        shown: index of what each slot stands for, -1 where padded, (unit, slot).
        count: votes, (unit, slot, outcome).
        multiplicity: users of each unit, (unit,).
        unit_of_user: (user,).
        users: names, (user,).
    """

    schema: Schema
    cells: CellView
    names: tuple[str, ...]
    shown: np.ndarray
    count: np.ndarray
    multiplicity: np.ndarray
    unit_of_user: np.ndarray
    users: np.ndarray

    def __len__(self) -> int:
        return len(self.multiplicity)

    @property
    def merged(self) -> bool:
        """Whether some units are several users."""
        return len(self) < len(self.users)

    @property
    def dense(self) -> bool:
        """Whether every unit has the same slots."""
        return bool(self.shown.shape[1] == len(self.names) and len(self.cells) <= _DENSE_CELLS)

    @cached_property
    def comparisons(self) -> np.ndarray:
        """Votes that a user of each unit gave, (unit,)."""
        return np.asarray(self.count.sum((1, 2)))

    @cached_property
    def cell_of_unit(self) -> np.ndarray:
        """One of the cells that each unit voted on, (unit,)."""
        slot = np.argmax(self.count.sum(2) > 0, axis=1)
        shown = np.take_along_axis(self.shown, slot[:, None], axis=1)[:, 0]
        return np.asarray(np.maximum(shown, 0) * self.count.shape[2])

    @cached_property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Slots of each unit's votes in their order, (unit, step), and which steps are votes: a power of two of steps.

        Of a model that minds their order, which has one vote a slot.
        """
        there = self.count.sum(2) > 0
        steps = 1 << max(int(there.sum(1).max(initial=1)) - 1, 0).bit_length()
        there = np.pad(there, ((0, 0), (0, max(steps - there.shape[1], 0))))
        order = np.argsort(~there, axis=1, kind="stable")[:, :steps]
        there = np.take_along_axis(there, order, axis=1)
        return np.where(there, order, 0), there

    @cached_property
    def _slots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit, cell and flat position of every slot and outcome that is not padding."""
        n_outcomes = self.count.shape[2]
        unit, slot = np.nonzero(self.shown >= 0)
        first = self.shown[unit, slot] * n_outcomes
        outcomes = np.arange(n_outcomes)
        position = (unit * self.shown.shape[1] + slot)[:, None] * n_outcomes + outcomes
        return np.repeat(unit, n_outcomes), (first[:, None] + outcomes).ravel(), position.ravel()

    def entries(self, value: Any) -> Entries:
        """Counts (unit, slot, outcome) as a list. Of known ones only those above zero: the others add nothing."""
        unit, cell, position = self._slots
        flat = value.reshape((-1,))
        if isinstance(value, np.ndarray):
            taken = flat[position] > 0
            return Entries(unit[taken], cell[taken], flat[position[taken]].astype(float))
        return Entries(unit, cell, flat[position])

    def of_users(self, values: np.ndarray, axis: int = -1) -> np.ndarray:
        """Values by unit as values by user, along an axis."""
        return np.take(values, self.unit_of_user, axis=axis)


def tally(counts: Counts, merge: bool) -> Tally:
    """Arrange counts.

    Args:
        counts: the counted log.
        merge: let users with equal counts be one unit.

    Raises:
        EarnestError: the arrays would not fit into memory.
    """
    cells, schema = counts.cells, counts.cells.schema
    shown_of_cell, first = _things_shown(cells)
    n_outcomes = schema.n_outcomes
    context = {name: np.repeat(column[first], n_outcomes) for name, column in cells.context.items()}
    all_cells = Cells(
        schema,
        np.repeat(cells.model_a[first], n_outcomes),
        np.repeat(cells.model_b[first], n_outcomes),
        np.tile(np.arange(n_outcomes), len(first)),
        context,
    )
    patterns = counts.patterns()
    if merge:
        unit_of_user, multiplicity = patterns.pattern_of_user, patterns.multiplicity
        unit = np.repeat(np.arange(len(patterns)), np.diff(patterns.indptr))
        cell, count = patterns.cell, patterns.count
    else:
        unit_of_user, multiplicity = np.arange(len(counts.users)), np.ones(len(counts.users))
        unit, cell, count = counts.user, counts.cell, counts.count
    shown, slot = _slots(unit, shown_of_cell[cell], len(multiplicity), len(first), n_outcomes)
    votes = np.zeros((*shown.shape, n_outcomes))
    votes[unit, slot, cells.outcome[cell]] = count
    return Tally(
        schema,
        CellView.of(all_cells),
        _names(cells, first),
        shown,
        votes,
        np.asarray(multiplicity, dtype=float),
        unit_of_user,
        as_names(counts.users),
    )


def _things_shown(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Index of what each cell shows, (cell,), and one cell that shows it, (shown,)."""
    names = sorting(cells.context)[:-1]  # a unit's slots are in the order of time, too
    columns = [cells.context.get(name, getattr(cells, name, None)) for name in names]
    keys = np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return np.asarray(inverse).ravel(), first


def _slots(
    unit: np.ndarray, shown: np.ndarray, n_units: int, n_shown: int, n_outcomes: int
) -> tuple[np.ndarray, np.ndarray]:
    """What every slot stands for, (unit, slot), and the slot of each entry."""
    pairs, inverse = np.unique(unit * n_shown + shown, return_inverse=True)
    owner = pairs // n_shown
    start = np.searchsorted(owner, np.arange(n_units))
    width = int(np.bincount(owner, minlength=n_units).max())
    if n_shown * n_outcomes <= _DENSE_CELLS:
        return np.broadcast_to(np.arange(n_shown), (n_units, n_shown)), shown
    if n_units * width * n_outcomes > _MOST_SLOTS:
        heavy = int(np.argmax(np.bincount(owner, minlength=n_units)))
        raise EarnestError(
            f"the sampler's table of votes would have {n_units:,} rows of {width * n_outcomes:,} entries, because user "
            f"number {heavy + 1} was shown {width:,} different comparisons: sample a part of the users, or use fit_em"
        )
    table = np.full((n_units, width), -1)
    position = np.arange(len(pairs)) - start[owner]
    table[owner, position] = pairs % n_shown
    return table, position[inverse]


def _names(cells: Cells, first: np.ndarray) -> tuple[str, ...]:
    models = cells.schema.models
    names = [f"{models[a]} | {models[b]}" for a, b in zip(cells.model_a[first], cells.model_b[first], strict=True)]
    for name, column in cells.context.items():
        known = {"category": cells.schema.categories, "item": cells.schema.items}.get(name)
        labels = [known[int(v)] if known else f"{v:g}" for v in column[first]]
        names = [f"{one}, {name}={label}" for one, label in zip(names, labels, strict=True)]
    return tuple(names)
