"""Chunks of new rows as one table of the database: what is kept of each vote, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import duckdb
import pyarrow as pa

from .checks import reason_cases
from .context import NAMED, TIMESTAMP, moment
from .errors import InputError
from .growing import Chunk
from .limits import shortage
from .looks import Looks, Reading
from .outcomes import Outcomes
from .recipe import IDS, Fault, Recipe
from .sources import FrameSource, open_source
from .sql import ident, literal
from .values import EXACT

__all__ = ["BATCH", "available_columns", "key_sql", "tabulate"]

BATCH = "earnest_batch"
"""Temporary table: file, line, the columns that are kept, key of the vote's id, reason and raw (of unusable rows)."""

_VIEW, _ROWS = "earnest_source", "earnest_rows"
_FILE, _LINE, _RAW, _WRONG = (f"__earnest_{name}" for name in ("file", "line", "raw", "wrong"))


def available_columns(connection: duckdb.DuckDBPyConnection, chunk: Chunk) -> list[str]:
    """Names of the columns of a chunk; none where it has no row that could tell."""
    if chunk.kind == "parquet":
        return list(open_source(str(chunk.path)).columns)
    if chunk.rows is None or not chunk.rows.lines:
        return []
    if chunk.kind == "csv":
        return list(chunk.header)
    table = pa.table({"raw": pa.array(chunk.rows.raw, pa.string())})
    connection.register(_ROWS, table)
    kept = f"SELECT raw FROM {_ROWS} WHERE json_valid(raw) AND json_type(raw) = 'OBJECT'"
    first = connection.sql(f"SELECT json_keys(raw) FROM ({kept}) LIMIT 1").fetchall()
    keys = connection.sql(f"SELECT DISTINCT unnest(json_keys(raw)) FROM ({kept}) ORDER BY 1").fetchall()
    connection.unregister(_ROWS)
    names = list(dict.fromkeys([*(first[0][0] if first else []), *(key for (key,) in keys)]))
    return [name for name in names if name and "\0" not in name]


def tabulate(
    connection: duckdb.DuckDBPyConnection, label: str, chunks: Sequence[Chunk], reading: Reading, looks: Looks
) -> Reading:
    """Make the table `earnest_batch` of some chunks.

    Returns:
        The reading, with the kind of times settled.

    Raises:
        InputError: A file lacks a column that is read.
    """
    parts: list[tuple[str, dict[str, str], Chunk | None]] = []
    texts = [(number, chunk) for number, chunk in enumerate(chunks) if chunk.kind == "csv" and chunk.rows]
    objects = [(number, chunk) for number, chunk in enumerate(chunks) if chunk.kind == "json" and chunk.rows]
    plain = dict.fromkeys(reading.source_columns, "VARCHAR")
    if texts:
        connection.register(f"{_ROWS}_csv", _csv_table(texts, reading))
        parts.append((f"SELECT * FROM {_ROWS}_csv", plain, None))
    if objects:
        connection.register(f"{_ROWS}_json", _raw_table(objects))
        parts.append((_json_sql(reading), plain, None))
    for number, chunk in enumerate(chunks):
        if chunk.rows is None:
            parts.append((*_parquet_sql(number, chunk, reading), chunk))
    tables = []
    for number, (select, kinds, whole) in enumerate(parts):
        with _read(whole):
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {_VIEW} AS {select}")
        source = FrameSource(label if whole is None else str(whole.path), kinds, None)
        recipe = Recipe(source, reading.columns, cast(Outcomes, reading.outcomes))
        reading = _with_times(connection, recipe, reading)
        tables.append(f"{BATCH}_{number}")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {tables[-1]} AS {_select(recipe, reading, looks)}")
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM {table}" for table in tables)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {BATCH} AS {union}")
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    return reading


@contextmanager
def _read(whole: Chunk | None) -> Iterator[None]:
    """Name the Parquet file that cannot be read, or is not the one any more that was looked at."""
    try:
        yield
    except duckdb.Error as error:
        if whole is None or shortage(error) is not None:
            raise
        raise InputError(
            f"{whole.path}: the Parquet file is damaged ({str(error).splitlines()[0][:200]}); write it again, or take "
            "it out of the folder"
        ) from error
    if whole is not None and whole.path is not None:
        now, then = whole.path.stat(), whole.progress
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (then.inode, then.size, then.modified):
            raise InputError(f"{whole.path}: was changed while it was read; nothing of it is counted: start again")


def _raw_table(chunks: Sequence[tuple[int, Chunk]], columns: dict[str, pa.Array] | None = None) -> pa.Table:
    rows = [(number, chunk.rows) for number, chunk in chunks if chunk.rows is not None]
    return pa.table(
        {
            _FILE: pa.array([number for number, part in rows for _ in part.lines], pa.int32()),
            _LINE: pa.array([line for _, part in rows for line in part.lines], pa.int64()),
            _RAW: pa.array([raw for _, part in rows for raw in part.raw], pa.string()),
            _WRONG: pa.array([wrong for _, part in rows for wrong in part.wrong], pa.string()),
            **(columns or {}),
        }
    )


def _csv_table(chunks: Sequence[tuple[int, Chunk]], reading: Reading) -> pa.Table:
    values: dict[str, list[str | None]] = {name: [] for name in reading.source_columns}
    for _, chunk in chunks:
        _check_columns(chunk, chunk.header, reading)
        for name, column in values.items():
            place = chunk.header.index(name) if name in chunk.header else None
            rows = chunk.rows.fields if chunk.rows else ()
            column += [(row[place] or None) if row and place is not None else None for row in rows]
    return _raw_table(chunks, {name: pa.array(column, pa.string()) for name, column in values.items()})


def _check_columns(chunk: Chunk, available: Iterable[str], reading: Reading) -> None:
    """Raise where a column is missing, other than that of right answers, which not every file has."""
    there = set(available)
    missing = [name for name in reading.source_columns if name not in there and name != reading.columns.get("gold")]
    if missing:
        raise InputError(
            f"{chunk.path}: it has no column {missing[0]!r}, which the store was begun with; read files of one shape "
            f"together. Columns: {', '.join(map(repr, available))}"
        )


def _json_sql(reading: Reading) -> str:
    """Values as `read_comparisons` makes texts of them, each by itself: 7.0 is '7', whatever other rows hold."""
    names = reading.source_columns
    keys = ", ".join(literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in names)
    ids = {column for standard, column in reading.columns.items() if standard in IDS}
    wrong, values = [], []
    for place, name in enumerate(names, start=1):
        text, kind = f"x[{place}]", f"k[{place}]"
        wrong.append(f"WHEN {kind} IN ('OBJECT', 'ARRAY') THEN {literal(f'column {name}: a list or object')}")
        whole = f"{kind} = 'DOUBLE' AND suffix({text}, '.0')"
        if name in ids:
            large = f"{kind} = 'DOUBLE' AND abs(CAST({text} AS DOUBLE)) >= {EXACT}"
            wrong.append(f"WHEN {large} THEN {literal(f'column {name}: a number too large to be an exact id')}")
        values.append(f"CASE WHEN {whole} THEN left({text}, -2) ELSE {text} END AS {ident(name)}")
    return (
        f"SELECT {_FILE}, {_LINE}, {_RAW}, CASE WHEN {_WRONG} IS NOT NULL THEN {_WRONG} WHEN j IS NULL THEN 'not JSON' "
        f"WHEN t <> 'OBJECT' THEN 'not a JSON object' {' '.join(wrong)} END AS {_WRONG}, {', '.join(values)} "
        f"FROM (SELECT *, json_type(j) AS t, json_extract_string(j, [{keys}]) AS x, json_type(j, [{keys}]) AS k "
        f"FROM (SELECT *, CASE WHEN json_valid({_RAW}) THEN {_RAW} END AS j FROM {_ROWS}_json))"
    )


def _parquet_sql(number: int, chunk: Chunk, reading: Reading) -> tuple[str, dict[str, str]]:
    source = open_source(str(chunk.path))
    _check_columns(chunk, source.columns, reading)
    kinds = {name: source.columns.get(name, "VARCHAR") for name in reading.source_columns}
    there = ", ".join(
        ident(name) if name in source.columns else f"CAST(NULL AS VARCHAR) AS {ident(name)}" for name in kinds
    )
    names = ", ".join(map(ident, kinds))
    struct = ", ".join(f"{ident(name)} := {ident(name)}" for name in kinds)
    select: str = source.select  # type: ignore[attr-defined]  # of files
    return (
        f"SELECT {number} AS {_FILE}, row_number() OVER () AS {_LINE}, "
        f"CAST(to_json(struct_pack({struct})) AS VARCHAR) AS {_RAW}, CAST(NULL AS VARCHAR) AS {_WRONG}, {names} "
        f"FROM (SELECT {there} FROM ({select}))",
        kinds,
    )


def _is_date(column: str) -> str:
    return f"TRY_CAST(CAST({ident(column)} AS VARCHAR) AS DOUBLE) IS NULL"


def _with_times(connection: duckdb.DuckDBPyConnection, recipe: Recipe, reading: Reading) -> Reading:
    """The reading with what the first time is, a number or a date."""
    if TIMESTAMP not in reading.columns or reading.times is not None:
        return reading
    column = reading.columns[TIMESTAMP]
    found = connection.execute(
        f"SELECT {_is_date(column)} FROM {_VIEW} WHERE {_WRONG} IS NULL AND {moment(ident(column))} IS NOT NULL "
        f"ORDER BY {_FILE}, {_LINE} LIMIT 1"
    ).fetchall()
    return replace(reading, times=("dates" if found[0][0] else "numbers") if found else None)


def _select(recipe: Recipe, reading: Reading, looks: Looks) -> str:
    """SQL of what is kept of the rows of the view."""
    values = recipe.values
    kept = {name: values[name] for name in ("user", "model_a", "model_b")}
    kept["winner"] = recipe.outcome("winner")[0]
    for name in looks.columns:
        if name in reading.covariates:
            kept[name] = f"TRY_CAST({ident(reading.covariates[name])} AS DOUBLE)"
        elif name == TIMESTAMP:
            kept[name] = f"CAST({values[name]} AS VARCHAR)"
        elif name in values:
            kept[name] = recipe.outcome(name)[0] if name == "gold" else values[name]
    columns = ", ".join(f"{value} AS {ident(name)}" for name, value in kept.items())
    called = {**reading.columns, **reading.covariates}
    cases = reason_cases([*recipe.faults, *_more(recipe, reading, looks)], called)
    reason = f"CASE WHEN {_WRONG} IS NOT NULL THEN {_WRONG} {cases} END"
    checked = f"SELECT *, {reason} AS __earnest_reason FROM {_VIEW}"
    comparison = values.get("comparison")
    return (
        f"SELECT {_FILE} AS file, {_LINE} AS line, __earnest_reason AS reason, "
        f"CASE WHEN __earnest_reason IS NOT NULL THEN {_RAW} END AS raw, {columns}, "
        f"{f'md5_number({comparison})' if comparison else 'NULL'} AS id FROM ({checked})"
    )


def _more(recipe: Recipe, reading: Reading, looks: Looks) -> list[Fault]:
    """What makes a row unusable for this model, as `Recipe.faults`."""
    faults: list[Fault] = []
    for name in ("winner", "gold"):
        if not looks.ties and name in recipe.values:
            told = "the outcome" if name == "winner" else "the right answer"
            faults.append(
                (name, f"{recipe.outcome(name)[0]} = 'tie'", f"{told} is a tie, but the model knows no ties", "")
            )
    for name in looks.columns:
        missing = "the value is missing or not {}, which the model needs in every row"
        if name in reading.covariates:
            number = f"TRY_CAST({ident(reading.covariates[name])} AS DOUBLE)"
            wrong = f"{number} IS NULL OR NOT isfinite({number})"
            faults.append((name, wrong, missing.format("a finite number"), ""))
        elif name == TIMESTAMP:
            faults += _of_times(reading)
        elif name in NAMED:
            faults.append((name, f"{recipe.values[name]} IS NULL", missing.format(NAMED[name]), ""))
    return faults


def _of_times(reading: Reading) -> list[Fault]:
    column = reading.columns[TIMESTAMP]
    time, date = moment(ident(column)), _is_date(column)
    other = date if reading.times == "numbers" else f"NOT ({date})"
    mixed = f"expected {'a number' if reading.times == 'numbers' else 'a date'} as in other rows"
    return [
        (
            TIMESTAMP,
            f"{time} IS NULL OR NOT isfinite({time})",
            "the value is missing or not a number or a date, which the model needs in every row",
            "",
        ),
        (TIMESTAMP, other, mixed, ""),
    ]


def key_sql(looks: Looks, columns: Any) -> str | None:
    """SQL of a vote's moment, where the model allows only one vote at it; NULL-free."""
    if not looks.chained:
        return None
    pair = ("model_a", "model_b") if looks.directed else ("least(model_a, model_b)", "greatest(model_a, model_b)")
    others = [ident(name) for name in columns if name != TIMESTAMP]
    parts = ['"user"', *pair, moment(TIMESTAMP), *others]
    return " || chr(0) || ".join(f"coalesce(CAST({part} AS VARCHAR), '')" for part in parts)
