"""A log of comparisons, read when needed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import EarnestError
from .limits import told_apart
from .recipe import Recipe
from .schema import OUTCOMES
from .sources import Source
from .sql import connect, ident

_IDENTITY = ("user", "model_a", "model_b", "winner", "comparison", "item", "category", "gold")


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
    """

    recipe: Recipe
    notes: list[str] = field(default_factory=list)
    quarantined: int = 0
    quarantine_file: str | None = None
    excluded: pa.Table | None = None  # (position) of quarantined rows
    kept: pa.Table | None = None  # (name) of the users a filter left
    # A report asks from several threads, and a connection answers one at a time.
    _busy: RLock = field(default_factory=RLock, init=False, repr=False)

    def __repr__(self) -> str:
        return f"<ComparisonLog of {self.source}: {len(self):,} comparisons by {len(self.users):,} users>"

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
        select = self.recipe.select(" AND ".join(where) or "true")
        connection.execute(f"CREATE TEMP VIEW log AS {select}")
        return connection

    @property
    def tally(self) -> tuple[str, str]:
        """Relation from which votes are counted, and SQL for how many are in a group of its rows."""
        return "log", "count(*)"

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
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        present = [name for name in _IDENTITY if name in self.recipe.values]
        text = " || ".join(f"coalesce(length({ident(n)}) || ':' || {ident(n)}, '-')" for n in present)
        found = self.query(  # sums of 64-bit words are exact in 128 bits; of 128-bit ones DuckDB makes floats
            f"SELECT count(*) AS n, CAST(sum(h) AS VARCHAR) AS s, bit_xor(h) AS x "
            f"FROM (SELECT md5_number_lower({text}) AS h FROM log)"
        ).to_pylist()[0]
        return hashlib.sha256(f"{present} {found['n']} {found['s']} {found['x']}".encode()).hexdigest()[:32]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the log to CSV, JSONL or Parquet, by the suffix of `path`; whole or not at all.

        The file has the standard column names and is read back by `read_comparisons` with no options.

        Raises:
            EarnestError: The suffix is unknown or the file cannot be written.
        """
        from .write import write_query

        names = ", ".join(map(ident, self.columns))
        write_query(self, f'SELECT {names} FROM log ORDER BY "row"', path)


def _names(table: pa.Table) -> NDArray[np.object_]:
    return np.asarray(table["name"].to_numpy(zero_copy_only=False), dtype=object)
