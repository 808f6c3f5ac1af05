"""Parquet files: typed columns, read as they are."""

from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from .csv_files import check_names, check_same_columns
from .errors import InputError
from .files import InputFile
from .sql import connect, exact_path, ident

_OPTIONS = "hive_partitioning = false, union_by_name = false"


def select_parquet(files: tuple[InputFile, ...]) -> tuple[str, dict[str, str]]:
    """SQL that reads the files in order, and the columns with their types."""
    described: dict[bytes, dict[str, str]] = {}  # files are many, their shapes few
    shapes = [(file, _columns(file, described)) for file in files]
    first = shapes[0][1]
    names = tuple(first)
    for file, columns in shapes[1:]:
        check_same_columns(file.label, tuple(columns), files[0].label, names)
    wanted = ", ".join(map(ident, names))
    parts = []
    for _, run in groupby(shapes, key=lambda item: tuple(item[1].items())):
        paths = ", ".join(exact_path(file.path) for file, _ in run)
        parts.append(f"SELECT {wanted} FROM read_parquet([{paths}], {_OPTIONS})")
    sql = " UNION ALL ".join(parts)
    return sql, _describe(sql)


def _columns(file: InputFile, described: dict[bytes, dict[str, str]]) -> dict[str, str]:
    where = file.label
    try:
        schema = pq.read_schema(file.path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{where}: not a whole Parquet file ({reason}); it may be truncated, write it again"
        ) from error
    check_names(list(schema.names), where)
    shape = schema.serialize().to_pybytes()  # with its metadata, from which DuckDB takes some types
    if shape not in described:
        described[shape] = _describe(f"SELECT * FROM read_parquet({exact_path(file.path)}, {_OPTIONS})")
    return described[shape]


def _describe(sql: str) -> dict[str, str]:
    with connect() as connection:
        return {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {sql}").fetchall()}
