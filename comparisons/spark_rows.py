"""The rows of a Spark data frame, grouped and joined on its engine.

PySpark is imported by the functions that need it, so that nobody else does. Columns are called `c0`, `c1`, ... on the
engine, so that no name of a source can be mistaken; texts with a collation are compared as they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from .errors import InputError
from .recipe import LONGEST
from .values import EXACT

__all__ = ["MOST", "Rows", "UserFault", "by_user", "patterns", "spark_id_sql", "user_faults"]

MOST = 1_000_000
"""Different combinations of models, winner and context that the driver takes, at most."""

UserFault = tuple[str, str, str]
"""What makes a user's id unusable: SQL condition, what is wrong, remedy."""

_WHOLE = ("tinyint", "smallint", "int", "bigint", "boolean", "date", "void")
_PARTS = ("shiftrightunsigned(h, 42)", "(shiftrightunsigned(h, 21) & 2097151L)", "(h & 2097151L)")


def spark_id_sql(label: str, column: str, kind: str, value: str) -> str:
    """Spark SQL for the text of an id, that which `values.id_sql` makes locally; NULL where it is missing or blank.

    Args:
        label: What messages call the source.
        column: The column's name in messages.
        kind: Its type as Spark writes it.
        value: SQL of the column.

    Raises:
        InputError: The column's type is not one of an id.
    """
    if kind.startswith(("string", "char", "varchar")):
        return f"CASE WHEN {value} RLIKE r'[^\\p{{Zs}}]' THEN {value} END"
    if kind in _WHOLE:
        return f"CAST({value} AS STRING)"
    if kind in ("float", "double"):
        # What is no whole number, or too large for one, is a fault: Java and DuckDB write it differently.
        return f"CASE WHEN isnan({value}) THEN NULL ELSE CAST(TRY_CAST({value} AS BIGINT) AS STRING) END"
    if kind.startswith("decimal"):
        return f"CAST(TRY_CAST({value} AS DECIMAL(38, 0)) AS STRING)"
    raise InputError(
        f"{label}: the column {column!r} is of type {kind}, expected texts or numbers; "
        "name another column or turn it into text"
    )


def user_faults(kind: str, value: str, text: str) -> list[UserFault]:
    """What makes a user's id unusable; the first match counts."""
    faults = []
    if kind in ("float", "double"):
        exact = f"abs({value}) >= {EXACT}BD AND NOT isnan({value})"
        faults.append((exact, "a number too large to be an exact id", "write ids as texts"))
    if kind in ("float", "double") or kind.startswith("decimal"):
        whole = f"floor({value})" if kind.startswith("decimal") else f"rint({value}) AND NOT isnan({value})"
        faults.append((f"{value} <> {whole}", "a number with a fraction", "write such ids as texts"))
    return [
        *faults,
        (f"instr({text}, char(0)) > 0", "the value holds a NUL character", "remove it"),
        (
            f"length({text}) > {LONGEST}",
            f"the value is longer than {LONGEST} characters, expected a name or an id",
            "is this a column of texts? name the right one",
        ),
        (
            f"({text}) IS NULL",
            "the user is missing",
            "Earnest must know who cast each vote; fill it in or remove the row",
        ),
    ]


@dataclass(frozen=True, eq=False)
class Rows:
    """A Spark data frame with the text of each row's user.

    Attributes:
        frame: The data frame.
        label: What messages call it.
        user: Its column of users.
    """

    frame: Any
    label: str
    user: str

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.frame.columns)

    @cached_property
    def kinds(self) -> list[str]:
        """(column,) types as Spark writes them."""
        return [field.dataType.simpleString() for field in self.frame.schema.fields]

    def at(self, column: str) -> str:
        """What a column is called on the engine."""
        return f"c{self.names.index(column)}"

    def text(self, column: str) -> str:
        """SQL of the text of an id in a column."""
        return spark_id_sql(self.label, column, self.kinds[self.names.index(column)], self.at(column))

    @cached_property
    def faults(self) -> list[UserFault]:
        """What makes a row's user unusable."""
        return user_faults(self.kinds[self.names.index(self.user)], self.at(self.user), self.text(self.user))

    @cached_property
    def base(self) -> Any:
        """The rows with the engine's names."""
        renamed = self.frame.toDF(*(f"c{i}" for i in range(len(self.names))))
        collated = [f"c{i}" for i, kind in enumerate(self.kinds) if kind.startswith("string collate")]
        plain = {name: f"{name} COLLATE UTF8_BINARY AS {name}" for name in collated}
        return renamed.selectExpr(*(plain.get(name, name) for name in renamed.columns)) if collated else renamed

    def combinations(self, columns: list[str]) -> pa.Table:
        """The different rows of some columns, how many there are of each, and what is to be known of their users.

        Returns:
            Arrow table: the columns, `votes`; of the ids of their users exact sums of thirds of a 64-bit hash (`s0`,
            `s1`, `s2`) and the sum of another one's bits without carry (`x`); votes with each fault (`f0`, ...).

        Raises:
            InputError: A column cannot be told apart, or there are more combinations than `MOST`.
        """
        from pyspark.sql import functions as sql

        for name in columns:
            if (kind := self.kinds[self.names.index(name)]).startswith(("map", "struct", "array", "binary", "variant")):
                raise InputError(
                    f"{self.label}: the column {name!r} is of type {kind}, expected texts or numbers; "
                    "name another column or turn it into text"
                )
        keys = [self.at(name) for name in columns]
        text = self.text(self.user)
        hashed = self.base.selectExpr(
            *keys, f"xxhash64({text}, 1) AS h", f"xxhash64({text}, 2) AS g",
            *(f"CASE WHEN {condition} THEN 1 ELSE 0 END AS f{i}" for i, (condition, _, _) in enumerate(self.faults)),
        )  # fmt: skip
        known = [f"sum({part}) AS s{i}" for i, part in enumerate(_PARTS)] + ["bit_xor(g) AS x"]
        known += [f"sum(f{i}) AS f{i}" for i in range(len(self.faults))]
        grouped = hashed.groupBy(*keys).agg(sql.expr("count(*) AS votes"), *map(sql.expr, known))
        found = grouped.limit(MOST + 1).toArrow()
        if found.num_rows > MOST:
            listed = ", ".join(map(repr, columns))
            raise InputError(
                f"{self.label}: the columns {listed} have more than {MOST:,} different combinations, and each is a "
                "cell that the driver holds; round or bin numbers, or leave a column out: frame.drop(...)"
            )
        # A group has an order of its own on every run.
        order = [tuple(map(str, row)) for row in zip(*(found[key].to_pylist() for key in keys), strict=True)]
        found = found.take(pa.array(sorted(range(len(order)), key=order.__getitem__), pa.int64()))
        return found.rename_columns([*columns, *found.column_names[len(columns) :]])

    def coded(self, columns: list[str], table: pa.Table, cell: Any) -> Any:
        """The rows with `earnest_user` and `earnest_cell`.

        Args:
            columns: Those that say which cell a vote is.
            table: Their combinations.
            cell: (combination,) number of its cell.
        """
        from pyspark.sql import functions as sql

        keys = [f"k{i}" for i in range(len(columns))]
        named = pa.table([*table.select(columns).columns, pa.array(cell, pa.int32())], [*keys, "earnest_cell"])
        known = self.frame.sparkSession.createDataFrame(named).alias("known").hint("broadcast")
        same = " AND ".join(f"votes.{self.at(name)} <=> known.{key}" for name, key in zip(columns, keys, strict=True))
        joined = self.base.alias("votes").join(known, sql.expr(same), "left")
        return joined.selectExpr("votes.*", f"{self.text(self.user)} AS earnest_user", "earnest_cell")


def by_user(coded: Any) -> Any:
    """Each user's pattern: `earnest_user`, `comparisons`, `pattern`.

    A pattern lists the cells of a user's votes with how many there are of each, as "3:2 7:1". One shuffle of the votes.
    """
    from pyspark.sql import functions as sql

    listed = (
        "array_join(transform(sort_array(collect_list(struct(earnest_cell, n))), "
        "x -> concat(CAST(x.earnest_cell AS STRING), ':', CAST(x.n AS STRING))), ' ') AS pattern"
    )
    votes = coded.select("earnest_user", "earnest_cell").repartition("earnest_user")
    counted = votes.groupBy("earnest_user", "earnest_cell").agg(sql.expr("count(*) AS n"))
    return counted.groupBy("earnest_user").agg(sql.expr("sum(n) AS comparisons"), sql.expr(listed))


def patterns(users: Any) -> pa.Table:
    """The different patterns, sorted, and how many users have each: `pattern`, `users`; collected from the engine."""
    from pyspark.sql import functions as sql

    return users.groupBy("pattern").agg(sql.expr("count(*) AS users")).toArrow().sort_by("pattern")
