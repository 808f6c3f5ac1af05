"""Writing query results to files, streamed by DuckDB and renamed when whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import atomic_file
from .errors import EarnestError
from .limits import told_apart
from .sql import connect, literal

if TYPE_CHECKING:
    import pyarrow as pa

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
        return log.execute(f"COPY ({sql}) TO {literal(str(temporary))} ({options})", **tables)


def write_csv(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table to a CSV file, as it is; missing values are empty."""
    with connect() as connection, told_apart(os.fspath(path)):
        connection.register("earnest_written_out", table)
        connection.execute(
            f"COPY earnest_written_out TO {literal(os.fspath(path))} ({_FORMATS['.csv']}, USE_TMP_FILE false)"
        )
