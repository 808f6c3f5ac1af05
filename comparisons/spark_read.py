"""Reading a log on Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .checks import fault_sql, first_fault, query, settle_guesses, survey
from .columns import Columns, choose_columns
from .csv_files import check_names
from .errors import InputError
from .outcomes import Outcomes
from .sources import VIEW
from .spark import SparkLog
from .spark_rows import Rows
from .spark_votes import KEYS, VOTES, Different, DifferentLog, different, full_recipe, shown
from .sql import connect

__all__ = ["read_spark"]

_LABEL = "the Spark data frame"


def read_spark(
    frame: Any, named: Mapping[str, str | None], outcomes: Outcomes = None, on_bad_rows: str = "error"
) -> SparkLog:
    """Read a log on Spark and check it; see `read_comparisons`, whose arguments these are.

    Raises:
        InputError: Something is wrong with the data frame.
    """
    if on_bad_rows != "error":
        raise InputError(
            f"{_LABEL}: on_bad_rows={on_bad_rows!r} is not supported on Spark; set such rows aside there, with "
            "frame.where(...)"
        )
    check_names(list(frame.columns), _LABEL)
    if not frame.columns:
        raise InputError(f"{_LABEL}: it has no columns")
    chosen = choose_columns(_LABEL, list(frame.columns), named)
    notes = _let_go(chosen)
    rows = Rows(frame, _LABEL, chosen.columns["user"])
    _check_ids(rows, chosen.columns.get("comparison"))
    keys = {name: chosen.columns[name] for name in ("user", *KEYS) if name in chosen.columns}
    full = full_recipe(rows, chosen.columns)
    found = different(rows, keys, [], outcomes, [*chosen.columns, *full.carried])
    if not found.table.num_rows:
        raise InputError(f"{_LABEL}: the log is empty, it has column names but no rows")
    _check_users(rows, found.table)
    recipe = found.log.recipe
    with connect() as connection:
        recipe.source.attach(connection)
        recipe, said = settle_guesses(recipe, survey(connection, recipe), chosen.guessed)
        bad = f"SELECT sum({VOTES}) FROM {VIEW} WHERE ({fault_sql(recipe)}) IS NOT NULL"
        [(n_bad,)] = query(connection, recipe, bad)
        if n_bad:
            raise first_fault(connection, recipe, int(n_bad), "On Spark leave such rows out with frame.where(...).")
    columns = {name: column for name, column in chosen.columns.items() if name in recipe.columns or name not in KEYS}
    log = DifferentLog(recipe, all_columns=[*columns, *full_recipe(rows, columns).carried])
    read = Different(found.names, found.table, log)
    return SparkLog(recipe, [*chosen.said(columns), *notes, *said], rows=rows, read=read, found=columns)


def _let_go(chosen: Columns) -> list[str]:
    """Ids of votes are looked at where they are named: whether they repeat takes a shuffle of all of them."""
    if "comparison" not in chosen.guessed:
        return []
    chosen.guessed.remove("comparison")
    name = chosen.columns.pop("comparison")
    return [f"the column {name!r} may be the votes' id: name it with comparison={name!r}, and it is checked"]


def _check_ids(rows: Rows, column: str | None) -> None:
    """Raise an `InputError` where the column of the votes' ids repeats one, or lacks one."""
    if column is None:
        return
    text = rows.text(column)
    wanted = [f"{text} AS id"]
    ids = rows.base.selectExpr(*wanted)
    counted = ids.groupBy("id").count()
    [missing] = [row["count"] for row in counted.where("id IS NULL").collect()] or [0]
    again = counted.where("id IS NOT NULL AND count > 1").limit(1).collect()
    if missing or again:
        wrong = f"the comparison id is missing ({missing:,} rows)"
        if again:
            wrong = f"the comparison id {shown(again[0]['id'])} occurs {again[0]['count']:,} times"
        raise InputError(
            f"{rows.label}, column {column!r}: {wrong}; ids must be there and unique: remove repeated votes "
            "(frame.dropDuplicates), or do not name a comparison column"
        )


def _check_users(rows: Rows, table: pa.Table) -> None:
    for i, (condition, wrong, remedy) in enumerate(rows.faults):
        if n := int(np.sum(table[f"f{i}"].to_numpy())):
            [example] = rows.base.where(condition).selectExpr(rows.at(rows.user)).limit(1).collect()
            value = "" if "is missing" in wrong else f": {shown(example[0])}"
            where = condition.replace(rows.at(rows.user), f"`{rows.user}`")
            raise InputError(
                f"{rows.label}, column {rows.user!r}: {wrong}{value}; {remedy} ({n:,} rows, which "
                f'frame.where("""{where}""") shows)'
            )
