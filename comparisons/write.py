"""Writing query results to files, streamed by DuckDB and renamed when whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from .atomic import atomic_file
from .errors import EarnestError
from .limits import told_apart
from .sql import connect, ident, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .log import ComparisonLog

_FORMATS = {
    ".csv": "FORMAT csv, HEADER true, QUOTE '\"', ESCAPE '\"', DELIMITER ','",
    ".tsv": "FORMAT csv, HEADER true, QUOTE '\"', ESCAPE '\"', DELIMITER '\t'",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
}
_COMPRESSIONS = {".gz": ", COMPRESSION gzip", ".zst": ", COMPRESSION zstd"}


def copy_options(path: str | os.PathLike[str], allowed: tuple[str, ...] = tuple(_FORMATS)) -> str:
    """The options of COPY for a path, by its suffix.

    Raises:
        EarnestError: The suffix is not one that can be written.
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    compression = ""
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        compression = _COMPRESSIONS[suffixes.pop()]
    kind = suffixes[-1] if suffixes else ""
    if kind not in allowed or (kind == ".parquet" and compression):
        expected = ", ".join(allowed)
        raise EarnestError(
            f"cannot write {os.fspath(path)!r}: expected a name that ends in {expected} (the text formats also with "
            ".gz or .zst)"
        )
    # atomic_file makes the temporary; DuckDB's own would be left behind by a killed process
    return _FORMATS[kind] + compression + ", USE_TMP_FILE false"


def write_query(log: ComparisonLog, sql: str, path: str | os.PathLike[str], **tables: Any) -> int:
    """Write the rows of a SELECT over the view `log`; return how many."""
    options = copy_options(path)
    with atomic_file(path) as temporary:
        return log.execute(_copy(sql, str(temporary), options), **tables)


_PLAIN = {"VARCHAR", "BOOLEAN", "BIGINT", "INTEGER", "DOUBLE", "DATE", "TIMESTAMP"}  # the same after Arrow


class _OutOfOrderError(Exception):
    pass


def write_log(log: ComparisonLog, path: str | os.PathLike[str]) -> int:
    """Write all rows of a log in the order of its source; return how many.

    To sort a long log costs more than all else, and a scan leaves its rows in order as a rule: so they are written as
    they come while that is true, and sorted only where it is not.
    """
    options, names = copy_options(path), ", ".join(map(ident, log.columns))
    described = log.query(f"DESCRIBE SELECT {names} FROM log")["column_type"].to_pylist()
    if set(described) <= _PLAIN:
        with suppress(_OutOfOrderError), atomic_file(path) as temporary:
            return _as_they_come(log, names, str(temporary), options)
    return write_query(log, f'SELECT {names} FROM log ORDER BY "row"', path)


def _copy(sql: str, path: str, options: str) -> str:
    return f"COPY ({sql}) TO {literal(path)} ({options})"


def _as_they_come(log: ComparisonLog, names: str, path: str, options: str) -> int:
    disordered = False

    def in_order(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        nonlocal disordered
        last = -1
        for batch in batches:
            row = batch.column(0).to_numpy()
            disordered = bool(np.any(np.diff(row, prepend=last) <= 0))
            if disordered:
                raise _OutOfOrderError
            last = row[-1] if len(row) else last
            yield batch.select(range(1, batch.num_columns))

    with log.batches(f'SELECT "row", {names} FROM log') as batches, connect() as connection:
        schema = pa.schema(list(batches.schema)[1:])
        connection.register("earnest_passing", pa.RecordBatchReader.from_batches(schema, in_order(batches)))
        try:
            with told_apart(log.source):
                [(written,)] = connection.execute(_copy("FROM earnest_passing", path, options)).fetchall()
        except duckdb.Error as error:
            if disordered:
                raise _OutOfOrderError from error
            raise
    return int(written)


def write_csv(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table to a CSV file, as it is; missing values are empty."""
    with connect() as connection, told_apart(os.fspath(path)):
        connection.register("earnest_written_out", table)
        connection.execute(
            f"COPY earnest_written_out TO {literal(os.fspath(path))} ({_FORMATS['.csv']}, USE_TMP_FILE false)"
        )
