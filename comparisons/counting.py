"""Counting a log into (user, cell), by one pass of the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from .cells import Cells, Counts, Floats, Integers
from .context import NAMED, PREVIOUS, TIMESTAMP, WHOLE, number, relation, sorting
from .errors import InputError
from .grouping import count_kinds, count_users
from .kinds import FEW_OF_CONTEXT, KINDS, VOTES
from .log import ComparisonLog
from .schema import OUTCOMES, Schema
from .sql import ident, literal

_COUNTED, _CELLS, _ROWS = "earnest_counted", "earnest_cell_of", "earnest_counted_rows"


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
            0 throughout where the log has no such column), "timestamp" (a number, or seconds), "previous_choice" (see
            `context`), or covariates (any numeric column).
        symmetric: Nothing in the model looks at the order of the two models: turn every comparison so that the model
            with the lower index comes first, and its outcome with it.
        schema: That of an earlier log, for scoring: models and categories must then be known to it; items need not.

    Returns:
        The counts; cells sorted by timestamp where the model looks at it, then model_a, model_b, context, outcome: a
        user's entries are then in the order of time.

    Raises:
        InputError: A tie where the model knows none, a model or category that `schema` does not know, or a context
            column that is missing, not numeric, or NaN in a row.
    """
    if schema is not None and schema.ties != ties:
        raise ValueError(
            f"ties={ties} but the schema has ties={schema.ties}; count with what the model was fitted with"
        )
    if (counts := log.counted_elsewhere(ties, context, symmetric, schema)) is not None:
        return counts
    with log.alone:
        return _counted(log, ties, context, symmetric, schema)


def _counted(
    log: ComparisonLog, ties: bool, context: tuple[str, ...], symmetric: bool, schema: Schema | None
) -> Counts:  # fmt: skip
    columns = _context_sql(log, context)
    try:
        source = _source(log, context, columns)
        _check_ties(log, ties)
        _check_context(log, context)
        _check_gold(log, ties, context)
        schema = schema or _schema(log, ties, context)
        if "item" in context:
            schema = replace(schema, items=_names_of(log, context, "item"))
        return _assemble(log, schema, context, symmetric, source)
    finally:
        for table in (_COUNTED, _CELLS, _ROWS):
            log.execute(f"DROP TABLE IF EXISTS {table}")


def check_one_at_a_time(source: str, counts: Counts) -> None:
    """Raise an `InputError` where a user judged the same two models twice at the same moment.

    Which came first is then not known, and the state between them is not either.
    """
    cells = counts.cells
    columns = [cells.model_a, cells.model_b, *cells.context.values()]
    keys = np.stack([counts.user, *(np.asarray(column, dtype=float)[counts.cell] for column in columns)], axis=1)
    different, first, votes = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    many = np.flatnonzero(np.bincount(votes.ravel(), weights=counts.count, minlength=len(different)) > 1)
    if len(many):
        entry = first[many[0]]
        cell = counts.cell[entry]
        names = [cells.schema.models[models[cell]] for models in (cells.model_a, cells.model_b)]
        raise InputError(
            f"{source}: user {counts.users[counts.user[entry]]!r} judged {names[0]!r} against {names[1]!r} more "
            f"than once at the same {TIMESTAMP} ({cells[TIMESTAMP][cell]:g}; {len(many):,} such cases), and the model "
            "needs the order of a user's votes: give times that differ, or leave out what was sent twice"
        )


def _source(log: ComparisonLog, context: tuple[str, ...], columns: list[str]) -> str | None:
    """Make the table of what occurs: kind, a, b, w, the context c0, c1, ... and votes n.

    Where the context has few values, these are the log's kinds of votes. What else a model looks at may differ from
    vote to vote: then votes are counted into a table, from which all else follows.

    Returns:
        SQL of the votes with their kind; None if it is the log's own.
    """
    keys = [f"c{i}" for i in range(len(columns))]
    told = "model_a AS a, model_b AS b, winner AS w" + "".join(
        f", {value} AS {key}" for key, value in zip(keys, columns, strict=True)
    )
    if set(context) <= set(FEW_OF_CONTEXT):
        log.votes_by_kind()  # makes the table of kinds
        log.execute(f"CREATE OR REPLACE TEMP TABLE {_COUNTED} AS SELECT kind, {told}, {VOTES} AS n FROM {KINDS}")
        return None
    table, of_row = (relation(context), "1") if PREVIOUS in context else log.counted
    log.execute(
        f'CREATE OR REPLACE TEMP TABLE {_ROWS} AS SELECT "user" AS name, {told}, CAST(sum({of_row}) AS BIGINT) AS n '
        f"FROM {table} GROUP BY ALL"
    )
    names = ", ".join(["a", "b", "w", *keys])
    log.execute(
        f"CREATE OR REPLACE TEMP TABLE {_COUNTED} AS SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS kind, * "
        f"FROM (SELECT {names}, CAST(sum(n) AS BIGINT) AS n FROM {_ROWS} GROUP BY ALL)"
    )
    same = " AND ".join(f"v.{key} = k.{key}" for key in ("a", "b", "w", *keys))
    return f"(SELECT v.name, v.n, k.kind FROM {_ROWS} v JOIN {_COUNTED} k ON {same})"


def _context_sql(log: ComparisonLog, context: tuple[str, ...]) -> list[str]:
    wanted = [TIMESTAMP if name == PREVIOUS else name for name in context if name != "gold"]
    if missing := [name for name in wanted if name not in log.columns]:
        name = missing[0]
        looks = "the order of a user's votes" if name == TIMESTAMP else repr(name)
        column = "column of times" if name == TIMESTAMP else "such column"
        option = f"; name its column with {name}=" if name in (*NAMED, TIMESTAMP) else ""
        raise InputError(
            f"{log.source}: the model looks at {looks}, but the log has no {column}{option}. "
            f"Columns: {', '.join(map(repr, log.columns))}"
        )
    if PREVIOUS in context and PREVIOUS in log.columns:
        raise InputError(
            f"{log.source}: the model looks at the choice before, which it derives, but the log has a column "
            f"{log.original(PREVIOUS)!r} of its own; give that another name"
        )
    return ["0" if name == "gold" and name not in log.columns else number(name) for name in context]


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
    for name in dict.fromkeys(TIMESTAMP if name == PREVIOUS else name for name in context):
        if name == "gold":
            continue
        counted = name in context
        n = _n_wrong(log, name, f"c{context.index(name)}", _COUNTED, "n") if counted else _n_wrong(log, name)
        if n:
            place = _first_place(log, _wrong(name, number(name)))
            expected = {**NAMED, TIMESTAMP: "a number or a date"}.get(name, "a finite number")
            raise InputError(
                f"{place}, column {log.original(name)!r}: the value is missing or not {expected}, which the model "
                f"needs in every row ({int(n):,} such rows); fill it in or leave {name!r} out of the model"
            )
        if name == TIMESTAMP:
            _check_times(log)


def _check_times(log: ComparisonLog) -> None:
    """Raise an `InputError` where some times are numbers and others are dates, whose order nobody knows."""
    number_ = f"TRY_CAST(CAST({TIMESTAMP} AS VARCHAR) AS DOUBLE) IS NULL"
    [n] = log.query(f"SELECT count(*) AS n FROM log WHERE {number_}")["n"].to_pylist()
    if 0 < n < len(log):
        raise InputError(
            f"{_first_place(log, number_)}, column {log.original(TIMESTAMP)!r}: a date, where other rows have a number "
            f"({int(n):,} rows with dates, {len(log) - int(n):,} with numbers); give all times in one form"
        )


def _wrong(name: str, value: str) -> str:
    return f"{value} IS NULL" if name in NAMED else f"({value} IS NULL OR NOT isfinite({value}))"


def _n_wrong(log: ComparisonLog, name: str, value: str = "", table: str = "log", rows: str = "1") -> int:
    """Comparisons in which a context column has no value that a model could use."""
    wrong = _wrong(name, value or number(name))
    return int(log.query(f"SELECT coalesce(sum({rows}), 0) AS n FROM {table} WHERE {wrong}")["n"][0].as_py())


def _check_gold(log: ComparisonLog, ties: bool, context: tuple[str, ...]) -> None:
    if ties or "gold" not in context or "gold" not in log.columns:
        return
    table, votes = log.counted
    [n] = log.query(f"SELECT coalesce(sum({votes}), 0) AS n FROM {table} WHERE gold = 'tie'")["n"].to_pylist()
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


def _assemble(
    log: ComparisonLog, schema: Schema, context: tuple[str, ...], symmetric: bool, source: str | None
) -> Counts:  # fmt: skip
    _check_known(log, schema, context)
    tables = {
        "models": numbered(schema.models),
        "outcomes": numbered(OUTCOMES),
        "categories": numbered(schema.categories),
        "items": numbered(schema.items),
    }
    turned = "ma.number > mb.number" if symmetric else "false"
    named = {
        "model_a": f"CASE WHEN {turned} THEN mb.number ELSE ma.number END",
        "model_b": f"CASE WHEN {turned} THEN ma.number ELSE mb.number END",
        "outcome": f"CASE WHEN {turned} AND o.number < 2 THEN 1 - o.number ELSE o.number END",
        **{name: _coded(name, f"c{i}", turned) for i, name in enumerate(context)},
    }
    coded = {name: f"k{i}" for i, name in enumerate(named)}
    keys = ", ".join(coded[name] for name in sorting(context))
    # What occurs in the log, and the number of its cell; several may have the same.
    log.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_CELLS} AS
        SELECT *, CAST(dense_rank() OVER (ORDER BY {keys}) - 1 AS INTEGER) AS cell
        FROM (SELECT counted.*, {", ".join(f"{named[name]} AS {coded[name]}" for name in named)}
            FROM {_COUNTED} counted JOIN models ma ON counted.a = ma.name JOIN models mb ON counted.b = mb.name
            JOIN outcomes o ON counted.w = o.name)""",
        **tables,
    )
    cells = log.query(f"SELECT DISTINCT cell, {keys} FROM {_CELLS} ORDER BY cell")
    of_kind = log.query(
        f"SELECT kind, any_value(cell) AS cell, CAST(sum(n) AS BIGINT) AS n FROM {_CELLS} GROUP BY kind ORDER BY kind"
    )
    totals = of_kind["n"].to_numpy()
    found = count_kinds(log) if source is None else count_users(log, source, len(totals))
    if not np.array_equal(found.totals(), totals):
        raise InputError(f"{log.source}: the log has changed while it was counted; count it when nothing writes to it")
    user, cell, count = found.in_cells(_integers(of_kind, "cell"), cells.num_rows)
    columns = {name: (_integers if name in WHOLE else _floats)(cells, coded[name]) for name in context}
    return Counts(
        users=np.asarray(found.names.to_numpy(zero_copy_only=False), dtype=object),
        cells=Cells(
            schema=schema,
            model_a=_integers(cells, coded["model_a"]),
            model_b=_integers(cells, coded["model_b"]),
            outcome=_integers(cells, coded["outcome"]),
            context=columns,
        ),
        user=user,
        cell=cell,
        count=count,
    )


def _coded(name: str, column: str, turned: str) -> str:
    """A context column as a number, turned where the comparison is."""
    if name in NAMED:
        table = {"category": "categories", "item": "items"}[name]
        return f"(SELECT number FROM {table} WHERE name = {column})"
    return (
        f"CASE WHEN {turned} AND {column} IN (1, 2) THEN 3 - {column} ELSE {column} END" if name == "gold" else column
    )


def numbered(names: Iterable[str]) -> pa.Table:
    """Names and their numbers from 0, to be joined with."""
    names = list(names)
    return pa.table({"name": pa.array(names, pa.string()), "number": pa.array(range(len(names)), pa.int64())})


def _integers(table: pa.Table, column: str) -> Integers:
    return np.asarray(table[column].to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, column: str) -> Floats:
    return np.asarray(table[column].to_numpy(), dtype=np.float64)
