"""A log of comparisons, read when needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import EarnestError
from .kinds import KINDS, few, kinds_sql, print_of_rows, source_columns, told_by_kind, written
from .limits import told_apart
from .recipe import Recipe
from .schema import OUTCOMES, Schema
from .sources import VIEW, Source
from .sql import connect, ident

if TYPE_CHECKING:
    from .cells import Counts

_WRITTEN = "earnest_written"  # the votes of a log with the source's own columns
_NAME, _VOTES = "__earnest_name", "__earnest_of_row"


@dataclass(eq=False)
class ComparisonLog:
    """A checked log: one row a comparison, scanned by DuckDB whenever something is asked of it.

    The view `log` has `row` (0-based position in the source; gaps where rows were quarantined or filtered out),
    `user`, `model_a`, `model_b`, `winner` ("model_a", "model_b" or "tie"), those of `comparison`, `item`, `prompt`,
    `response_a`, `response_b`, `category`, `timestamp` and `gold` that the source has, then the columns carried
    through. Rows are never held as Python objects.

    Made by `read_comparisons`, not by hand.

    Attributes:
        notes: What was guessed, set aside or noticed, in sentences.
        quarantined: Rows set aside because they cannot be used.
        quarantine_file: Where they are; None without any.
        recipe: How the source is read: columns, outcomes, filters.
        excluded: Positions of the rows that were set aside; None without any.
        kept: Names of the users whom a filter left; None without one.
    """

    recipe: Recipe
    by_pattern: ClassVar[bool] = False
    """Whether `count_cells` knows its users by the pattern of their votes, not by name (a log on a cluster)."""

    notes: list[str] = field(default_factory=list)
    quarantined: int = 0
    quarantine_file: str | None = None
    excluded: pa.Table | None = None  # (position) of quarantined rows
    kept: pa.Table | None = None  # (name) of the users a filter left
    _fingerprint: str | None = field(default=None, init=False, repr=False)
    # A report asks from several threads, and a connection answers one at a time.
    _busy: RLock = field(default_factory=RLock, init=False, repr=False)

    def __repr__(self) -> str:
        return f"<ComparisonLog of {self.source}: {len(self):,} comparisons by {len(self.users):,} users>"

    def _repr_html_(self) -> str:
        from .cards import log_card

        return log_card(self)

    @property
    def source(self) -> str:
        """The file, files or kind of data frame that the log was read from."""
        return self.recipe.source.label

    @property
    def mapping(self) -> dict[str, str]:
        """Standard name to the source's column."""
        return dict(self.recipe.columns)

    @property
    def outcomes(self) -> dict[str, str] | str | None:
        """How winners were read, where the user said it: see `read_comparisons`."""
        given = self.recipe.outcomes
        if given is None or isinstance(given, str):
            return given
        return {str(word): str(meaning) for word, meaning in given.items()}

    @property
    def columns(self) -> list[str]:
        """Standard names that the log has, then the carried columns."""
        return [*self.recipe.values, *self.recipe.carried]

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        connection = connect()
        self.recipe.source.attach(connection)
        where = []
        if self.excluded is not None:
            connection.register("earnest_excluded", self.excluded)
            where.append("__earnest_row NOT IN (SELECT position FROM earnest_excluded)")
        if self.kept is not None:
            connection.register("earnest_kept", self.kept)
            where.append(f"{self.recipe.values['user']} IN (SELECT name FROM earnest_kept)")
        kept = " AND ".join(where) or "true"
        connection.execute(f"CREATE TEMP VIEW log AS {self.recipe.select(kept)}")
        connection.execute(f"CREATE TEMP VIEW {_WRITTEN} AS SELECT * FROM {VIEW} WHERE {kept}")
        return connection

    @property
    def alone(self) -> RLock:
        """Held by who needs several statements after another to themselves."""
        return self._busy

    @property
    def counted(self) -> tuple[str, str]:
        """Relation from which votes are counted, as they are read, and SQL for how many a row of it stands for."""
        return "log", "1"

    @property
    def tally(self) -> tuple[str, str]:
        """The same with the source's own columns."""
        return _WRITTEN, "1"

    @cached_property
    def _kinds(self) -> bool:
        relation, votes = self.tally
        self.execute(f"CREATE OR REPLACE TEMP TABLE {KINDS} AS {kinds_sql(self.recipe, relation, votes)}")
        return True

    def votes_by_kind(self) -> str:
        """SQL of the votes: the user's `name`, the `kind`, and how many `n` of its like; makes the table of kinds."""
        _ = self._kinds
        relation, votes = self.tally
        pairs = zip(few(self.recipe), written(self.recipe), strict=True)
        same = " AND ".join(f"v.{ident(self.recipe.columns[name])} IS NOT DISTINCT FROM k.{raw}" for name, raw in pairs)
        user = self.recipe.columns["user"]
        # A text that is not blank is its own id, and others are not in a checked log.
        name = ident(user) if self.recipe.source.columns[user] == "VARCHAR" else self.recipe.values["user"]
        seen = ", ".join(source_columns(self.recipe))
        named = f"(SELECT {seen}, {name} AS {_NAME}, {votes} AS {_VOTES} FROM {relation})"
        return f"(SELECT v.{_NAME} AS name, v.{_VOTES} AS n, k.kind FROM {named} v JOIN {KINDS} k ON {same})"

    def counted_elsewhere(
        self, ties: bool, context: tuple[str, ...], symmetric: bool, schema: Schema | None
    ) -> Counts | None:
        """Counts of a log that is counted where its rows are, such as on a cluster; None: here.

        Args:
            ties, context, symmetric, schema: as of `count_cells`.
        """
        return None

    def query(self, sql: str, **tables: Any) -> pa.Table:
        """Run SQL over the view `log`.

        Quote the column names "user" and "row": they are SQL words.

        Args:
            sql: A SELECT.
            **tables: Arrow tables or pandas data frames that the SQL may name.

        Returns:
            The result.

        Raises:
            InputError: The source has changed since it was read.
            EarnestError: Memory, or room for temporary files, is not enough; see `limits`.
        """
        with self._busy:
            self.recipe.source.check_unchanged()
            connection = self._connection
            for name, table in tables.items():
                connection.register(name, table)
            try:
                with told_apart(self.source):
                    found = connection.sql(sql).to_arrow_table()
                self.recipe.source.check_unchanged()  # nor while it was read
                return found
            except duckdb.IOException as error:
                raise self.recipe.source.explain(error) from error
            finally:
                for name in tables:
                    connection.unregister(name)

    @contextmanager
    def batches(self, sql: str) -> Iterator[pa.RecordBatchReader]:
        """The result of SQL over the view `log` piece by piece; nobody else asks until the last one is taken.

        Raises:
            As `query`.
        """
        with self._busy:
            self.recipe.source.check_unchanged()
            try:
                with told_apart(self.source):
                    yield self._connection.sql(sql).to_arrow_reader(1 << 17)
                self.recipe.source.check_unchanged()
            except duckdb.IOException as error:
                raise self.recipe.source.explain(error) from error

    def execute(self, sql: str, **tables: Any) -> int:
        """Run SQL without a result, such as a COPY, otherwise as `query`; return how many rows it wrote."""
        with self._busy:
            return self._executed(sql, tables)

    def _executed(self, sql: str, tables: dict[str, Any]) -> int:
        self.recipe.source.check_unchanged()
        connection = self._connection
        for name, table in tables.items():
            connection.register(name, table)
        try:
            with told_apart(self.source):
                written = connection.execute(sql).fetchall()
            self.recipe.source.check_unchanged()
            return int(written[0][0]) if written and written[0] else 0
        except duckdb.IOException as error:
            raise EarnestError(f"cannot write from {self.source}: {error}") from error
        finally:
            for name in tables:
                connection.unregister(name)

    def attach(self, source: Source, view: str) -> None:
        """Let `query` name another source, such as a table of prompts, as `view`."""
        source.attach(self._connection, view)

    @cached_property
    def _n_rows(self) -> int:
        return int(self.query("SELECT count(*) AS n FROM log")["n"][0].as_py())

    def __len__(self) -> int:
        return self._n_rows

    @cached_property
    def users(self) -> NDArray[np.object_]:
        """(user,) names, sorted."""
        return _names(self.query('SELECT DISTINCT "user" AS name FROM log ORDER BY 1'))

    @cached_property
    def models(self) -> NDArray[np.object_]:
        """(model,) names, sorted."""
        return _names(self.query("SELECT DISTINCT unnest([model_a, model_b]) AS name FROM log ORDER BY 1"))

    def outcome_counts(self) -> dict[str, int]:
        """How often each outcome occurs."""
        found = self.query("SELECT winner, count(*) AS n FROM log GROUP BY 1").to_pydict()
        counts = dict(zip(found["winner"], found["n"], strict=True))
        return {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}

    def to_arrow(self) -> pa.Table:
        """All rows in the source's order, with the standard column names."""
        names = ", ".join(map(ident, self.columns))
        return self.query(f'SELECT {names} FROM log ORDER BY "row"')

    def original(self, name: str) -> str:
        """The source's name of a column of the log."""
        return {**self.recipe.columns, **self.recipe.carried}.get(name, name)

    def place(self, row: int) -> str:
        """Where `row` of the view is in the source, for messages: file, data row (from 1), line."""
        return self.recipe.source.place(row)

    def fingerprint(self) -> str:
        """A hash of the votes, 32 hexadecimal digits; the order of the rows does not matter.

        Raises:
            InputError: The source has changed since it was read.
        """
        self.recipe.source.check_unchanged()
        if self._fingerprint is None and told_by_kind(self.recipe):
            from .grouping import count_kinds

            count_kinds(self)  # the fingerprint comes about with the counts
        if self._fingerprint is None:
            self._fingerprint = print_of_rows(self)
        return self._fingerprint

    def keep_fingerprint(self, found: str) -> None:
        """Remember a fingerprint that came about with another pass over the votes."""
        self._fingerprint = found

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the log to CSV, JSONL or Parquet, by the suffix of `path`; whole or not at all.

        The file has the standard column names and is read back by `read_comparisons` with no options.

        Raises:
            EarnestError: The suffix is unknown or the file cannot be written.
        """
        from .write import write_log

        write_log(self, path)


def _names(table: pa.Table) -> NDArray[np.object_]:
    return np.asarray(table["name"].to_numpy(zero_copy_only=False), dtype=object)
