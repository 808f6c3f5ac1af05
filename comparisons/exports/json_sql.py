"""SQL over the records of an export, each one JSON object, in a column `json`."""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from ..csv_files import select_csv
from ..errors import EarnestError, InputError
from ..files import InputFile
from ..json_files import explain_json, layout_of
from ..limits import shortage
from ..parquet_files import select_parquet
from ..sql import exact_path, ident, literal

__all__ = ["MESSAGES", "array", "at", "keys_of", "open_records", "text", "without_marks"]

MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
"""The type of a conversation; `write_preferences` makes TRL's conversational format of it."""

_LONGEST = (1 << 24, 1 << 26)
"""Bytes of one record: each thread's buffer holds two, so that the larger is tried only where it is needed (a chat may
hold pictures)."""


def at(value: str, *path: str) -> str:
    """SQL of what an SQL value of type JSON holds at a place."""
    return f"json_extract({value}, {_pointer(path)})"


def text(value: str, *path: str) -> str:
    """SQL of a text or number at a place, as text; NULL where there is none."""
    return f"json_extract_string({value}, {_pointer(path)})"


def array(value: str) -> str:
    """SQL of the elements of a JSON array; NULL where it is none."""
    return f"TRY_CAST({value} AS JSON[])"


def _pointer(path: Iterable[str]) -> str:
    return literal("".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path))


def keys_of(connection: duckdb.DuckDBPyConnection, relation: str, value: str, *path: str) -> tuple[str, ...]:
    """The keys of the objects at a place, of all rows, sorted."""
    keys = f"json_keys({at(value, *path)})" if path else f"json_keys({value})"
    found = connection.sql(f"SELECT DISTINCT unnest({keys}) FROM {relation} ORDER BY 1").fetchall()
    return tuple(key for (key,) in found)


def open_records(connection: duckdb.DuckDBPyConnection, files: tuple[InputFile, ...]) -> None:
    """Make the view `records` of a connection: file (from 0), record (from 1) and the record as JSON.

    Raises:
        InputError: A file cannot be parsed, or a record is no object.
    """
    kinds = "SELECT file, record, json_type(json) FROM records WHERE json_type(json) <> 'OBJECT' LIMIT 1"
    for longest in _LONGEST:
        parts = [
            f"SELECT {number} AS file, row_number() OVER () AS record, json FROM ({_rows(file, longest)})"
            for number, file in enumerate(files)
        ]
        connection.execute(f"CREATE OR REPLACE TEMP VIEW records AS {' UNION ALL '.join(parts)}")
        try:
            odd = connection.sql(kinds).fetchall()
            break
        except duckdb.Error as error:
            if "maximum_object_size" not in str(error):
                raise explain(error, files) from error
    else:
        raise InputError(
            f"{files[0].label}: a record is longer than {_LONGEST[-1] >> 20} MiB, or the file is no JSON; export it "
            "again, or take that record out"
        )
    for file, record, kind in odd:
        raise InputError(
            f"{files[file].label}, record {record}: expected an object, got {kind}; the export is one array of objects "
            "or one object a line: export it again"
        )


@contextmanager
def without_marks(files: tuple[InputFile, ...]) -> Iterator[tuple[InputFile, ...]]:
    """The files, those of JSON that begin with a byte order mark as copies without it.

    Windows' programs write one, some versions of DuckDB read it and some do not. The copies go when the block ends.
    """
    with TemporaryDirectory(prefix="earnest-export-") as home:
        yield tuple(_unmarked(file, Path(home) / str(number)) for number, file in enumerate(files))


def _unmarked(file: InputFile, home: Path) -> InputFile:
    if file.format != "json":
        return file
    with file.open() as stream:
        if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            return file
        home.mkdir()
        name = file.path.name if file.compression is None else file.path.stem  # its ending says how it is laid out
        with (home / name).open("wb") as copy:
            shutil.copyfileobj(stream, copy)
    status = (home / name).stat()
    return InputFile(home / name, file.label, file.format, None, status.st_size, status.st_mtime_ns)


def _rows(file: InputFile, longest: int) -> str:
    if file.format == "json":
        return (
            f"SELECT json FROM read_json_objects({exact_path(file.path)}, format = '{layout_of(file)}', "
            f"compression = '{file.compression or 'none'}', hive_partitioning = false, "
            f"maximum_object_size = {longest})"
        )
    select, columns = (select_csv if file.format == "csv" else select_parquet)((file,))
    return f"SELECT to_json(t) AS json FROM (SELECT {', '.join(map(ident, columns))} FROM ({select})) t"


def explain(error: duckdb.Error, files: tuple[InputFile, ...]) -> EarnestError:
    """What to tell the user when DuckDB cannot read the files."""
    if (words := shortage(error)) is not None:
        return EarnestError(f"{files[0].label}: {words}")
    for file in files:
        file.check_unchanged()
    if files[0].format == "json":
        return explain_json(str(error), files)
    return InputError(f"{files[0].label}: cannot be read: {str(error).splitlines()[0][:300]}")
