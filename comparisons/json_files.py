"""JSON: one object a line, or one array of objects.

DuckDB's own guess of the types is not used: it turns texts that look like dates or UUIDs into such values, and numbers
of more than 64 bits into rounded ones.
"""

import codecs
import io
import json
from typing import cast

import duckdb

from .csv_files import check_names
from .errors import EarnestError, InputError
from .files import InputFile, first_line
from .limits import shortage
from .sql import connect, exact_path, ident, literal

_INTEGERS = {"UBIGINT", "BIGINT"}
_NUMBERS = _INTEGERS | {"DOUBLE"}


def select_json(files: tuple[InputFile, ...]) -> tuple[str, dict[str, str]]:
    """SQL that reads the files in order, and the columns with their types.

    A key that some rows lack is missing there. Texts stay texts; numbers are BIGINT where all are whole, else DOUBLE;
    a mixture of texts and numbers is text; lists and objects stay JSON.
    """
    parts = [(exact_path(file.path), file.compression or "none", layout_of(file)) for file in files]
    with connect() as connection:
        try:
            names = _keys(connection, files, parts)
            return _typed(connection, parts, names)
        except duckdb.Error as error:
            if (words := shortage(error)) is not None:
                raise EarnestError(f"{files[0].label}: {words}") from error
            raise explain_json(str(error), files) from error


_MARKED = "starts with a byte order mark; save the file as UTF-8 without one"


def layout_of(file: InputFile) -> str:
    """How a JSON file is laid out, in DuckDB's word for it: one array, one object a line, or objects anyhow."""
    with file.open() as stream:
        if stream.read(3) == codecs.BOM_UTF8:  # refused here, because some versions of DuckDB read it and some do not
            raise InputError(f"{file.label}, line 1: {_MARKED}")
    try:
        start = first_line(file).decode("utf-8").lstrip()
    except UnicodeDecodeError as error:
        raise InputError(f"{file.label}, line 1: not UTF-8 text ({error.reason}); save the file as UTF-8") from error
    if start.startswith("["):
        return "array"
    return (
        "unstructured"
        if file.path.name.lower().split(".")[-1 - bool(file.compression)] == "json"
        else "newline_delimited"
    )


def _objects(part: tuple[str, str, str]) -> str:
    path, compression, layout = part
    return f"read_json_objects({path}, format = '{layout}', compression = '{compression}', hive_partitioning = false)"


def _keys(
    connection: duckdb.DuckDBPyConnection, files: tuple[InputFile, ...], parts: list[tuple[str, str, str]]
) -> list[str]:
    """The keys of all objects, in the order of the first object, then sorted."""
    first: list[str] = []
    found: set[str] = set()
    for file, part in zip(files, parts, strict=True):
        source = f"(SELECT json, row_number() OVER () AS n FROM {_objects(part)})"
        stray = connection.sql(f"SELECT n FROM {source} WHERE json_type(json) <> 'OBJECT' LIMIT 1").fetchall()
        if stray:
            raise InputError(
                f"{file.label}, data row {stray[0][0]}: not a JSON object; expected one object a row, such as "
                '{"user": "ann", "model_a": "x", "model_b": "y", "winner": "model_a"}'
            )
        rows = connection.sql(f"SELECT json_keys(json) FROM {_objects(part)} LIMIT 1").fetchall()
        keys = connection.sql(f"SELECT DISTINCT unnest(json_keys(json)) FROM {_objects(part)}").fetchall()
        first = first or (list(dict.fromkeys(rows[0][0])) if rows else [])
        found |= {key for (key,) in keys}
    if not found:
        raise InputError(f"{files[0].label}: the file holds no row")
    names = first + sorted(found - set(first))
    for name in names:
        if not name or "\0" in name:
            raise InputError(f"{files[0].label}: an object has the key {name!r}; give every key a name")
    check_names(names, files[0].label)
    return names


def _typed(
    connection: duckdb.DuckDBPyConnection, parts: list[tuple[str, str, str]], names: list[str]
) -> tuple[str, dict[str, str]]:
    fields = ", ".join(f"{literal(name)}: 'JSON'" for name in names)
    raw = " UNION ALL ".join(
        f"SELECT {', '.join(map(ident, names))} FROM read_json({path}, format = '{layout}', records = true, "
        f"compression = '{compression}', columns = {{{fields}}}, auto_detect = false, hive_partitioning = false)"
        for path, compression, layout in parts
    )
    texts = [(ident(name), f"({ident(name)} ->> '$')") for name in names]
    summaries = ", ".join(
        f"list(DISTINCT json_type({column})), bool_and({text} IS NULL OR TRY_CAST({text} AS BIGINT) IS NOT NULL)"
        for column, text in texts
    )
    [summary] = connection.sql(f"SELECT {summaries} FROM ({raw})").fetchall()
    chosen: dict[str, str] = {}
    wanted = []
    for name, kinds, whole in zip(names, summary[::2], summary[1::2], strict=True):
        chosen[name] = kind = _choose({k for k in kinds or () if k not in (None, "NULL")}, bool(whole))
        column = ident(name)
        value = column if kind == "JSON" else f"CAST({column} ->> '$' AS {kind})"
        wanted.append(f"{value} AS {column}")
    return f"SELECT {', '.join(wanted)} FROM ({raw})", chosen


def _choose(kinds: set[str], whole: bool) -> str:
    if kinds & {"OBJECT", "ARRAY"}:
        return "JSON"
    if kinds and kinds <= _INTEGERS:
        return "BIGINT" if whole else "VARCHAR"  # beyond 64 bits: exact as text
    if kinds and kinds <= _NUMBERS:
        return "DOUBLE"
    return "BOOLEAN" if kinds == {"BOOLEAN"} else "VARCHAR"


def explain_json(message: str, files: tuple[InputFile, ...]) -> InputError:
    """What is wrong with the first line that is not as it should be; else DuckDB's complaint in one line."""
    for file in files:
        if layout_of(file) == "newline_delimited":
            found = _first_bad_line(file)
            if found is not None:
                return InputError(f"{file.label}, line {found[0]}: {found[1]}")
    text = message.split("\n\nLINE ")[0].split("\nTry setting")[0].strip()
    text = text.removeprefix("Invalid Input Error: ")[:500]
    for file in files:
        text = text.replace(f'"{file.path}"', file.label).replace(str(file.path), file.label)
    return InputError(f"{text}; expected one JSON object a line, or one array of objects, in UTF-8")


def _first_bad_line(file: InputFile) -> tuple[int, str] | None:
    """DuckDB counts some lines twice, so the place is found anew."""
    with file.open() as stream:
        for number, line in enumerate(io.BufferedReader(cast(io.RawIOBase, stream)), start=1):
            if line.startswith(codecs.BOM_UTF8):
                return number, _MARKED
            try:
                if line.strip():
                    json.loads(line.decode("utf-8"), object_pairs_hook=_distinct)
            except UnicodeDecodeError as error:
                return number, f"not UTF-8 text ({error.reason} at byte {error.start + 1}); save the file as UTF-8"
            except json.JSONDecodeError as error:
                return number, f"not JSON ({error.msg} at character {error.colno}); expected one JSON object a line"
            except InputError as error:
                return number, str(error)
    return None


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    seen = dict(pairs)
    if len(seen) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"the key {twice!r} occurs twice in one object; keep one of the two values")
    return seen
