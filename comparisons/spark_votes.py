"""The different votes of a Spark data frame, users aside, as a log of this machine.

They are few, and are read, checked and coded by the very code that reads, checks and codes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from .kinds import FEW
from .log import ComparisonLog
from .outcomes import Outcomes
from .recipe import Recipe
from .sources import FrameSource
from .spark_rows import Rows

__all__ = ["KEYS", "VOTES", "Different", "DifferentLog", "different", "full_recipe", "shown"]

VOTES = "__earnest_votes"
"""Column of how often each was given."""

KEYS = FEW
"""What is read before it is known what a model looks at."""


@dataclass(frozen=True)
class Combinations(FrameSource):
    """The different votes of a Spark data frame, users aside; the column of users holds the vote's number instead."""

    keys: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        values = (f"{name} = {shown(self.table[name][row].as_py())}" for name in self.keys)
        return f"{self.label}, rows with {', '.join(values)}"


@dataclass(eq=False, repr=False)
class DifferentLog(ComparisonLog):
    """The different votes as a log, each of a user of its own, counted as often as it was given."""

    all_columns: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return self.all_columns

    @property
    def counted(self) -> tuple[str, str]:
        return "log", VOTES

    @property
    def tally(self) -> tuple[str, str]:
        return super().tally[0], VOTES


@dataclass(frozen=True)
class Different:
    """Combinations of some columns as Spark found them, and as a log of this machine."""

    names: list[str]
    table: pa.Table
    log: DifferentLog


def full_recipe(rows: Rows, columns: Mapping[str, str]) -> Recipe:
    """The recipe of the whole data frame, for the names of its carried columns."""
    return Recipe(FrameSource(rows.label, dict.fromkeys(rows.names, "VARCHAR"), None), dict(columns))


def different(
    rows: Rows, columns: dict[str, str], own: list[str], outcomes: Outcomes, all_columns: list[str]
) -> Different:
    """Combinations of standard columns (of which the first is the user) and of covariates."""
    names = [*(column for name, column in columns.items() if name != "user"), *own]
    table = rows.combinations(names)
    width = len(str(table.num_rows))
    numbers = pa.array([f"{i:0{width}d}" for i in range(table.num_rows)], pa.string())
    local = table.select(names).append_column(rows.user, numbers).append_column(VOTES, table["votes"])
    source = Combinations.of(rows.label, local)
    source = Combinations(source.label, source.columns, source.table, tuple(names))
    return Different(names, table, DifferentLog(Recipe(source, columns, outcomes), all_columns=all_columns))


def shown(value: object) -> str:
    """A value in a message."""
    text = str(value)
    return repr(value if len(text) <= 80 else text[:80] + "...")
