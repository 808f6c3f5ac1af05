"""Checking a source row by row, in one pass of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from .errors import EarnestError, InputError
from .kinds import few, source_columns
from .recipe import Fault, Recipe
from .sources import ROW, VIEW
from .sql import ident, literal
from .words import counted

MANY = 5_000_000
"""Rows up to which repeated ones are counted exactly."""

_SHOWN = 80  # characters of a wrong value that a message repeats


_SET_ASIDE = "on_bad_rows='quarantine' sets such rows aside in a file."


@dataclass(frozen=True)
class Findings:
    """What the first pass over a source found.

    Attributes:
        rows: Rows of the source.
        bad: Rows that cannot be used.
        repeated: Rows that equal an earlier one in every column; about, where there are more than `MANY` rows.
        ids: Distinct values of the column that may be a comparison id, None without one.
        missing_ids: Rows without that id.
        bad_gold: Rows whose gold outcome is unknown.
    """

    rows: int
    bad: int
    repeated: int
    ids: int | None
    missing_ids: int
    bad_gold: int


def fault_sql(recipe: Recipe) -> str:
    """SQL for the number of a row's first fault in `recipe.faults`, NULL for a usable row."""
    cases = " ".join(f"WHEN {condition} THEN {i}" for i, (_, condition, _, _) in enumerate(recipe.faults))
    return f"CASE {cases} END"


def query(connection: duckdb.DuckDBPyConnection, recipe: Recipe, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL over the source; what DuckDB cannot read becomes a located error."""
    try:
        return connection.execute(sql).fetchall()
    except duckdb.Error as error:
        raise recipe.source.explain(error) from error


def survey(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> Findings:
    """Look at every value of every row once.

    What concerns columns of few values alone is looked at once for each combination that occurs.
    """
    small = source_columns(recipe)
    of_kind, of_row = (
        [fault for fault in recipe.faults if (fault[0] in few(recipe)) == kind] for kind in (True, False)
    )
    gold = recipe.outcome("gold")[0] if "gold" in recipe.values else None
    n, bad = "__earnest_rows", "__earnest_bad"
    [(rows, n_bad, bad_gold)] = query(
        connection,
        recipe,
        f"""SELECT CAST(sum({n}) AS BIGINT), CAST(sum(CASE WHEN {_any(of_kind)} THEN {n} ELSE {bad} END) AS BIGINT),
        {f"CAST(sum({n}) FILTER ({recipe.values['gold']} IS NOT NULL AND {gold} IS NULL) AS BIGINT)" if gold else "0"}
        FROM (SELECT {", ".join(small)}, count(*) AS {n}, count(*) FILTER ({_any(of_row)}) AS {bad}
            FROM {VIEW} GROUP BY ALL)""",
    )
    rows = rows or 0
    ids, missing = _ids(connection, recipe)
    return Findings(rows, n_bad or 0, _repeated(connection, recipe, rows), ids, missing, bad_gold or 0)


def _any(faults: Iterable[Fault]) -> str:
    return " OR ".join(f"coalesce({condition}, false)" for _, condition, _, _ in faults) or "false"


def _ids(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> tuple[int | None, int]:
    """Distinct values of the comparison's id, None without one, and rows that have none."""
    comparison = recipe.values.get("comparison")
    if comparison is None:
        return None, 0
    sql = f"SELECT count(DISTINCT {comparison}), count(*) - count({comparison}) FROM {VIEW}"
    [(ids, missing)] = query(connection, recipe, sql)
    return ids, missing


def _repeated(connection: duckdb.DuckDBPyConnection, recipe: Recipe, rows: int) -> int:
    """Rows that equal an earlier one in every column; of many rows those of a sixteenth of all values, times 16.

    In a log that has nothing but who voted how, equal rows are the rule, tell nothing and are not looked for.
    """
    names = {recipe.columns[name] for name in ("user", *few(recipe)) if name in recipe.columns}
    if "comparison" in recipe.columns or names == set(recipe.source.columns):
        return 0
    everything = f"hash({', '.join(map(ident, recipe.source.columns))})"
    part = 1 if rows <= MANY else 16
    [(n,)] = query(
        connection,
        recipe,
        f"SELECT count(*) - count(DISTINCT h) FROM (SELECT {everything} AS h FROM {VIEW}) WHERE h % {part} = 0",
    )
    return int(n) * part


def settle_guesses(recipe: Recipe, findings: Findings, guessed: set[str]) -> tuple[Recipe, list[str]]:
    """Let go of guesses that the data contradict: a comparison id that repeats, a gold column without outcomes."""
    notes = []
    columns = dict(recipe.columns)
    if "comparison" in guessed and (findings.ids != findings.rows or findings.missing_ids):
        name = columns.pop("comparison")
        notes.append(
            f"the column {name!r} repeats ({findings.ids:,} values in {findings.rows:,} rows), so it is not taken for "
            "the comparison's id; if it marks the responses that were compared, name it with item="
        )
    if "gold" in guessed and findings.bad_gold:
        notes.append(
            f"the column {columns.pop('gold')!r} holds other values than outcomes, so it is not taken for gold"
        )
    return replace(recipe, columns=columns), notes


def bad_rows_sql(recipe: Recipe) -> str:
    """SQL of the unusable rows: their position, fault number (NULL for a repeated comparison id)."""
    fault = fault_sql(recipe)
    selected = f"SELECT {ident(ROW)} AS position, {fault} AS fault FROM {VIEW}"
    if "comparison" not in recipe.values:
        return f"SELECT * FROM ({selected}) WHERE fault IS NOT NULL"
    comparison, place = recipe.values["comparison"], ident(ROW)
    turn = f"row_number() OVER (PARTITION BY {comparison}, {fault} IS NULL ORDER BY {place})"
    numbered = f"SELECT {place} AS position, {fault} AS fault, {turn} AS turn FROM {VIEW}"
    return f"SELECT position, fault FROM ({numbered}) WHERE fault IS NOT NULL OR turn > 1"


def describe(recipe: Recipe, fault: int | None, value: object) -> tuple[str, str, str]:
    """Column, what is wrong with which value, and the remedy."""
    if fault is None:
        return (
            recipe.columns["comparison"],
            f"the comparison id {_shown(value)} occurs before",
            ("ids must be unique; remove the repeated vote, or do not name a comparison column"),
        )
    standard, _, wrong, remedy = recipe.faults[fault]
    shown = "" if "is missing" in wrong else f": {_shown(value)}"
    return recipe.columns[standard], wrong + shown, remedy.replace("'...'", _shown(value))


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def first_fault(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, n_bad: int, hint: str = _SET_ASIDE
) -> EarnestError:
    """The error for the first unusable row of `n_bad`; `hint` is the message's last sentence."""
    [(row, fault)] = query(connection, recipe, f"{bad_rows_sql(recipe)} ORDER BY position LIMIT 1")
    standard = "comparison" if fault is None else recipe.faults[fault][0]
    column = recipe.columns[standard]
    [(value,)] = query(
        connection, recipe, f"SELECT CAST({ident(column)} AS VARCHAR) FROM {VIEW} WHERE {ident(ROW)} = {row}"
    )
    _, wrong, remedy = describe(recipe, fault, value)
    others = f" ({counted(n_bad - 1, 'more row')} cannot be used)" if n_bad > 1 else ""
    return InputError(f"{recipe.source.place(row)}, column {column!r}: {wrong}; {remedy}{others}. {hint}")


def reason_sql(recipe: Recipe) -> str:
    """SQL for a bad row's reason in words, from its `fault`."""
    told = ((str(i), column, wrong) for i, (column, _, wrong, _) in enumerate(recipe.faults))
    return f"CASE fault {_reasons(told, recipe.columns)} ELSE 'the comparison id occurs before' END"


def reason_cases(faults: Iterable[Fault], columns: Mapping[str, str]) -> str:
    """SQL, inside a CASE, for the reason in words of the first of some faults that a row has."""
    return _reasons(((condition, column, wrong) for column, condition, wrong, _ in faults), columns)


def _reasons(cases: Iterable[tuple[str, str, str]], columns: Mapping[str, str]) -> str:
    return " ".join(f"WHEN {when} THEN {literal(f'column {columns[name]}: {wrong}')}" for when, name, wrong in cases)
