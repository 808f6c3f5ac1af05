"""Counting a log into (user, cell), by one pass of the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from .cells import Cells, Counts, Floats, Integers
from .errors import InputError
from .log import ComparisonLog
from .schema import OUTCOMES, Schema
from .sql import ident, literal

_COUNTED = "earnest_counted"
_NAMED = {"category": "a category", "item": "an item"}
"""Context columns of names; the others are numbers."""


def count_cells(
    log: ComparisonLog,
    *,
    ties: bool,
    context: tuple[str, ...] = (),
    symmetric: bool = False,
    schema: Schema | None = None,
) -> Counts:
    """Count how often each user gave each cell.

    The result depends on the votes alone: not on the order of the rows, nor on how they are split over files.

    Args:
        log: The votes.
        ties: Whether the behavioural model knows ties.
        context: Further columns that tell cells apart: "category", "item", "gold" (0, or 1 + the right outcome;
            0 throughout where the log has no such column), or covariates (any numeric column).
        symmetric: Nothing in the model looks at the order of the two models: turn every comparison so that the model
            with the lower index comes first, and its outcome with it.
        schema: That of an earlier log, for scoring: models and categories must then be known to it; items need not.

    Returns:
        The counts; cells sorted by model_a, model_b, context, outcome.

    Raises:
        InputError: A tie where the model knows none, a model or category that `schema` does not know, or a context
            column that is missing, not numeric, or NaN in a row.
    """
    if schema is not None and schema.ties != ties:
        raise ValueError(
            f"ties={ties} but the schema has ties={schema.ties}; count with what the model was fitted with"
        )
    columns = _context_sql(log, context)
    keys = ", ".join(f"{value} AS c{i}" for i, value in enumerate(columns))
    log.execute(
        f'CREATE OR REPLACE TEMP TABLE {_COUNTED} AS SELECT "user" AS name, model_a AS a, model_b AS b, winner AS w'
        f"{', ' + keys if keys else ''}, count(*) AS n FROM log GROUP BY ALL"
    )
    try:
        _check_ties(log, ties)
        _check_context(log, context)
        _check_gold(log, ties, context)
        schema = schema or _schema(log, ties, context)
        if "item" in context:
            schema = replace(schema, items=_names_of(log, context, "item"))
        return _assemble(log, schema, context, symmetric)
    finally:
        log.execute(f"DROP TABLE {_COUNTED}")


def _context_sql(log: ComparisonLog, context: tuple[str, ...]) -> list[str]:
    parts = []
    for name in context:
        if name == "gold":
            parts.append(gold_code(ident(name)) if name in log.columns else "0")
            continue
        if name not in log.columns:
            option = f"; name its column with {name}=" if name in _NAMED else ""
            raise InputError(
                f"{log.source}: the model looks at {name!r}, but the log has no such column{option}. "
                f"Columns: {', '.join(map(repr, log.columns))}"
            )
        parts.append(ident(name) if name in _NAMED else f"TRY_CAST({ident(name)} AS DOUBLE)")
    return parts


def gold_code(column: str) -> str:
    """SQL for a column of right answers as a number: 0 without one, else 1 + the outcome."""
    words = " ".join(f"WHEN {literal(word)} THEN {number + 1}" for number, word in enumerate(OUTCOMES))
    return f"CASE {column} {words} ELSE 0 END"


def _check_ties(log: ComparisonLog, ties: bool) -> None:
    if ties:
        return
    [n] = log.query(f"SELECT coalesce(sum(n), 0) AS n FROM {_COUNTED} WHERE w = 'tie'")["n"].to_pylist()
    if n:
        place = _first_place(log, "winner = 'tie'")
        raise InputError(
            f"{place}: the outcome is a tie, and {int(n):,} comparisons of the log are, but the model knows no ties; "
            "add a rule for them, for example BradleyTerry(ties=er.Davidson())"
        )


def _check_context(log: ComparisonLog, context: tuple[str, ...]) -> None:
    for i, name in enumerate(context):
        if name == "gold":
            continue
        wrong = f"c{i} IS NULL" if name in _NAMED else f"(c{i} IS NULL OR NOT isfinite(c{i}))"
        [n] = log.query(f"SELECT coalesce(sum(n), 0) AS n FROM {_COUNTED} WHERE {wrong}")["n"].to_pylist()
        if n:
            value = ident(name) if name in _NAMED else f"TRY_CAST({ident(name)} AS DOUBLE)"
            place = _first_place(log, f"{value} IS NULL" + ("" if name in _NAMED else f" OR NOT isfinite({value})"))
            expected = _NAMED.get(name, "a finite number")
            raise InputError(
                f"{place}, column {log.original(name)!r}: the value is missing or not {expected}, which the model "
                f"needs in every row ({int(n):,} such rows); fill it in or leave {name!r} out of the model"
            )


def _check_gold(log: ComparisonLog, ties: bool, context: tuple[str, ...]) -> None:
    if ties or "gold" not in context or "gold" not in log.columns:
        return
    [n] = log.query("SELECT count(*) AS n FROM log WHERE gold = 'tie'")["n"].to_pylist()
    if n:
        raise InputError(
            f"{_first_place(log, "gold = 'tie'")}, column {log.original('gold')!r}: the right answer is a tie, as of "
            f"{int(n):,} comparisons, but the model knows no ties; add a rule for them, for example "
            "BradleyTerry(ties=er.Davidson()), or leave these answers empty"
        )


def _first_place(log: ComparisonLog, where: str) -> str:
    [row] = log.query(f'SELECT min("row") AS r FROM log WHERE {where}')["r"].to_pylist()
    return log.place(row)


def _schema(log: ComparisonLog, ties: bool, context: tuple[str, ...]) -> Schema:
    met = log.query(f"SELECT DISTINCT least(a, b) AS a, greatest(a, b) AS b FROM {_COUNTED} ORDER BY 1, 2").to_pydict()
    models = tuple(sorted({*met["a"], *met["b"]}))
    index = {model: i for i, model in enumerate(models)}
    categories = _names_of(log, context, "category") if "category" in context else ()
    pairs = sorted((index[a], index[b]) for a, b in zip(met["a"], met["b"], strict=True))
    return Schema(models, tuple(pairs), ties, categories)


def _names_of(log: ComparisonLog, context: tuple[str, ...], name: str) -> tuple[str, ...]:
    column = f"c{context.index(name)}"
    return tuple(log.query(f"SELECT DISTINCT {column} AS c FROM {_COUNTED} ORDER BY 1")["c"].to_pylist())


def _check_known(log: ComparisonLog, schema: Schema, context: tuple[str, ...]) -> None:
    known = [("model_a", "a", schema.models), ("model_b", "b", schema.models)]
    if "category" in context:
        known.append(("category", f"c{context.index('category')}", schema.categories))
    for name, column, names in known:
        allowed = pa.table({"name": pa.array(names, pa.string())})
        unknown = log.query(
            f"SELECT DISTINCT {column} AS v FROM {_COUNTED} "
            f"WHERE {column} NOT IN (SELECT name FROM allowed) ORDER BY 1",
            allowed=allowed,
        )["v"].to_pylist()
        if unknown:
            place = _first_place(log, f"{ident(name)} = {literal(unknown[0])}")
            kind = "category" if name == "category" else "model"
            shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            raise InputError(
                f"{place}, column {log.original(name)!r}: the fit does not know the {kind} {shown}; it knows "
                f"{len(names):,}. Fit again on a log with it, or leave its comparisons out"
            )


def _assemble(log: ComparisonLog, schema: Schema, context: tuple[str, ...], symmetric: bool) -> Counts:
    _check_known(log, schema, context)
    tables = {
        "models": numbered(schema.models),
        "outcomes": numbered(OUTCOMES),
        "categories": numbered(schema.categories),
        "items": numbered(schema.items),
    }
    extra = [f"c{i}" for i in range(len(context))]
    turned = "ma.number > mb.number" if symmetric else "false"
    coded = [_coded(name, column, turned) for name, column in zip(context, extra, strict=True)]
    coded_sql = "".join(f", {value} AS {column}" for value, column in zip(coded, extra, strict=True))
    log.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_COUNTED}_coded AS
        SELECT counted.name AS name, sum(n) AS n{coded_sql},
            CASE WHEN {turned} THEN mb.number ELSE ma.number END AS a,
            CASE WHEN {turned} THEN ma.number ELSE mb.number END AS b,
            CASE WHEN {turned} AND o.number < 2 THEN 1 - o.number ELSE o.number END AS w
        FROM {_COUNTED} counted JOIN models ma ON counted.a = ma.name JOIN models mb ON counted.b = mb.name
            JOIN outcomes o ON counted.w = o.name GROUP BY ALL""",
        **tables,
    )
    try:
        return _collect(log, schema, context, extra)
    finally:
        log.execute(f"DROP TABLE {_COUNTED}_coded")


def _coded(name: str, column: str, turned: str) -> str:
    """A context column as a number, turned where the comparison is."""
    if name in _NAMED:
        table = {"category": "categories", "item": "items"}[name]
        return f"(SELECT number FROM {table} WHERE name = {column})"
    return (
        f"CASE WHEN {turned} AND {column} IN (1, 2) THEN 3 - {column} ELSE {column} END" if name == "gold" else column
    )


def _collect(log: ComparisonLog, schema: Schema, context: tuple[str, ...], extra: list[str]) -> Counts:
    keys = ", ".join(["a", "b", *extra, "w"])
    cells = log.query(f"SELECT DISTINCT {keys} FROM {_COUNTED}_coded ORDER BY {keys}")
    users = log.query(f"SELECT DISTINCT name FROM {_COUNTED}_coded ORDER BY 1")
    entries = log.query(
        f"""SELECT u.number AS u, c.number AS c, CAST(n AS DOUBLE) AS n FROM {_COUNTED}_coded counted
        JOIN users u USING (name) JOIN cells c USING ({keys}) ORDER BY 1, 2""",
        users=users.append_column("number", _range(users)),
        cells=cells.append_column("number", _range(cells)),
    )
    columns = dict(zip(context, extra, strict=True))
    return Counts(
        users=np.asarray(users["name"].to_numpy(zero_copy_only=False), dtype=object),
        cells=Cells(
            schema=schema,
            model_a=_integers(cells, "a"),
            model_b=_integers(cells, "b"),
            outcome=_integers(cells, "w"),
            context={
                name: _integers(cells, column) if name in (*_NAMED, "gold") else _floats(cells, column)
                for name, column in columns.items()
            },
        ),
        user=_integers(entries, "u"),
        cell=_integers(entries, "c"),
        count=_floats(entries, "n"),
    )


def numbered(names: Iterable[str]) -> pa.Table:
    """Names and their numbers from 0, to be joined with."""
    names = list(names)
    return pa.table({"name": pa.array(names, pa.string()), "number": pa.array(range(len(names)), pa.int64())})


def _range(table: pa.Table) -> pa.Array:
    return pa.array(np.arange(table.num_rows, dtype=np.int64))


def _integers(table: pa.Table, column: str) -> Integers:
    return np.asarray(table[column].to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].to_numpy(), dtype=np.float64)
