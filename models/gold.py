"""What is known beforehand: users who attend, and comparisons whose right answer is known.

Both tie attentiveness to its absolute scale, which votes alone often leave open (model.md, section 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.errors import EarnestError
from ..comparisons.names import among, as_names
from .namespace import Namespace

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from .component import CellView

__all__ = ["GOLD", "GOLD_USER", "Gold", "gold_notes"]

GOLD, GOLD_USER = "gold", "gold_user"
"""Context of cells: 0, or 1 + the right outcome; and whether the comparison is a gold user's."""


@dataclass(frozen=True)
class Gold:
    """Gold users and gold answers.

    A gold user attends to every comparison: eta_u = 1, whatever the population; nor do they tell of the population,
    from which they were not drawn. Of a comparison whose right answer is known, an attentive user gives it with
    probability 1 - error, and any other outcome with error shared evenly; a casual user decides as always.

    Args:
        users: names of gold users.
        answers: look at the log's column `gold` (a log without it has no gold answers).
        error: how often an attentive user misses a known answer, between 0 and 1/2.

    Raises:
        EarnestError: a setting is not what it should be.

    Reference: model.md, section 7.
    """

    users: tuple[str, ...] = ()
    answers: bool = True
    error: float = 0.02

    def __post_init__(self) -> None:
        given: Any = self.users
        if not isinstance(given, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in given):
            raise EarnestError(f"Gold(users={given!r}): expected a list of users' names")
        object.__setattr__(self, "users", tuple(sorted(set(given))))
        if not isinstance(self.answers, bool):
            raise EarnestError(f"Gold(answers={self.answers!r}): expected True or False")
        if not isinstance(self.error, int | float | np.number) or not 0 < self.error < 0.5:
            raise EarnestError(f"Gold(error={self.error!r}): expected a number above 0 and below 0.5")
        object.__setattr__(self, "error", float(self.error))

    def known(self, users: Any) -> np.ndarray:
        """Which of some users attend, (user,) booleans."""
        return among(users, self.users)

    def mark(self, counts: Counts) -> Counts:
        """The same counts with gold users' votes in cells of their own."""
        gold = self.known(counts.users)[counts.user].astype(np.int64)
        n_cells = len(counts.cells)
        used, cell = np.unique(counts.cell + n_cells * gold, return_inverse=True)
        old, cells = used % max(n_cells, 1), counts.cells
        marked = Cells(
            cells.schema, cells.model_a[old], cells.model_b[old], cells.outcome[old],
            {**{name: column[old] for name, column in cells.context.items()}, GOLD_USER: used // max(n_cells, 1)},
        )  # fmt: skip
        return replace(counts, cells=marked, cell=np.asarray(cell).ravel().astype(np.int64))

    def answered(self, xp: Namespace, cells: CellView, log_p: Any) -> Any:
        """log P of every cell with the right answers known, from that without, nats, (cell,) or (kind, cell)."""
        if GOLD in cells.context:
            right, answer = cells[GOLD] > 0, 1.0 * (cells[GOLD] - 1 == cells.outcome)
            others = max(cells.schema.n_outcomes - 1, 1)
            known = answer * np.log1p(-self.error) + (1.0 - answer) * np.log(self.error / others)
            log_p = xp.where(right, known, log_p)
        return log_p

    def attended(self, xp: Namespace, cells: CellView, log_p: Any, log_c: Any) -> Any:
        """log C of every cell with the users known who attend, from that without, nats, (cell,) or (kind, cell)."""
        if GOLD_USER in cells.context:
            # P whether attended or not: the mixture over eta_u is then P itself, at any attentiveness.
            log_c = xp.where(cells[GOLD_USER] > 0, log_p, log_c)
        return log_c

    def weights(self, xp: Namespace, cells: CellView, attended: Any, casual: Any) -> tuple[Any, Any]:
        """Expected attended and casual comparisons from which the components learn, (cell,) each."""
        if GOLD_USER in cells.context:
            sure = cells[GOLD_USER] > 0
            attended, casual = xp.where(sure, attended + casual, attended), xp.where(sure, 0.0, casual)
        if GOLD in cells.context:
            # The answer was known: it tells of the user, not of the models.
            attended = xp.where(cells[GOLD] > 0, 0.0, attended)
        return attended, casual


def gold_notes(gold: Gold | None, log: ComparisonLog, users: Any) -> list[str]:
    """What the reader should know of a log's gold: what is not looked at, and what is looked for and not there."""
    there = GOLD in log.columns
    if gold is None or (there and not gold.answers):
        said = "the log has a column of gold answers, which the model does not look at: BehaviorModel(gold=er.Gold())"
        return [said] if there else []
    return [*_absent(gold, there, users)]


def _absent(gold: Gold, there: bool, users: Any) -> list[str]:
    missing = sorted(set(gold.users) - set(as_names(users)))
    notes = []
    if missing:
        notes.append(f"{len(missing)} of {len(gold.users)} gold users gave no votes here, {missing[0]!r} for one")
    if gold.answers and not there and len(missing) == len(gold.users):
        notes.append("the model looks at gold answers, but the log has no column of them (gold=...)")
    return notes
