"""Votes that are known as counts, as a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from .log import ComparisonLog
from .looks import Reading
from .recipe import Recipe
from .sources import ROW, VIEW, FrameSource
from .sql import ident

__all__ = ["VOTES", "CountedLog", "counted_log"]

VOTES = "__earnest_votes"
"""Column of a table of counts: how many votes are alike."""

_TALLY = "earnest_tally"


@dataclass(frozen=True)
class _CountedSource(FrameSource):
    """A table of counts: its view has a row for every vote."""

    def attach(self, connection: duckdb.DuckDBPyConnection, view: str = VIEW) -> None:
        connection.register(f"{view}_counts", self.table)
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT t.* EXCLUDE ({VOTES}), row_number() OVER () - 1 AS "
            f"{ident(ROW)} FROM {view}_counts t, unnest(range({VOTES}))"
        )


@dataclass(eq=False, repr=False)
class CountedLog(ComparisonLog):
    """Counts as a log: one row a vote whenever it is looked at, and counted without that.

    Attributes:
        reading: Where the votes were in the log that was counted.
    """

    reading: Reading = field(default_factory=lambda: Reading({}))

    @property
    def mapping(self) -> dict[str, str]:
        return dict(self.reading.columns)

    @property
    def outcomes(self) -> dict[str, str] | str | None:
        return self.reading.outcomes

    @property
    def counted(self) -> tuple[str, str]:
        return super().counted if self.kept is not None else self.tally

    @cached_property
    def tally(self) -> tuple[str, str]:
        if self.kept is not None:  # by a filter
            return super().tally
        values = ", ".join(f"{value} AS {ident(name)}" for name, value in self.recipe.values.items())
        carried = "".join(f", {ident(column)} AS {ident(name)}" for name, column in self.recipe.carried.items())
        self.execute(f"CREATE TEMP VIEW {_TALLY} AS SELECT {values}{carried}, {VOTES} FROM {VIEW}_counts")
        return _TALLY, VOTES

    @property
    def _table(self) -> pa.Table:
        return self.recipe.source.table  # type: ignore[attr-defined]  # of a frame

    def of_users(self, names: Sequence[str]) -> CountedLog:
        """The votes of some users."""
        kept = pc.is_in(self._table["user"], value_set=pa.array(names, pa.string()))
        return counted_log(self.source, self._table.filter(kept), self.reading)

    def __len__(self) -> int:
        if self.kept is not None:
            return super().__len__()
        return int(self._table[VOTES].to_numpy().sum())


def counted_log(label: str, table: pa.Table, reading: Reading) -> CountedLog:
    """A log of counts.

    Args:
        label: What messages call it.
        table: user, model_a, model_b, winner (an outcome), context, and the votes of each.
        reading: Where they were.
    """
    kinds = {name: "DOUBLE" if pa.types.is_floating(kind) else "VARCHAR"
             for name, kind in zip(table.schema.names, table.schema.types, strict=True) if name != VOTES}  # fmt: skip
    columns = {name: name for name in kinds if name not in reading.covariates}
    recipe = Recipe(_CountedSource(label, kinds, table), columns, "words")
    return CountedLog(recipe, list(reading.notes), reading=reading)
