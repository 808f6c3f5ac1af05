"""Data frames of any library, brought into Arrow."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pyarrow as pa

from .csv_files import check_names
from .errors import InputError

_ACCEPTED = (
    "a path, a pattern such as 'votes-*.csv', a list of paths, or a data frame (pandas, Polars, Arrow, DuckDB, or any "
    "other that narwhals knows)"
)


def is_spark(source: Any) -> bool:
    """Whether something is a Spark data frame, classic or Connect; PySpark is not imported to find out."""
    return any(
        kind.__name__ == "DataFrame" and f"{kind.__module__}.".startswith("pyspark.sql.")
        for kind in type(source).__mro__
    )


def to_table(source: Any) -> tuple[str, pa.Table]:
    """The name of a data frame's kind for messages, and its rows in order.

    Lazy frames and relations are run once, here.

    Raises:
        InputError: Not a data frame, no columns, columns with equal names, or a column of mixed types.
    """
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    try:
        frame = nw.from_native(source)
    except TypeError as error:
        raise InputError(f"cannot read a log from {type(source).__name__!r}; expected {_ACCEPTED}") from error
    except ValueError as error:  # narwhals checks that column names are unique
        raise InputError(f"the data frame cannot be read: {' '.join(str(error).split())}") from error
    label = f"the {_library(frame)} data frame"
    native = nw.to_native(frame)
    if frame.implementation.is_pandas():
        check_names([str(name) for name in native.columns], label)
        table = _from_pandas(native, label)
    else:
        eager = frame.collect(backend="pyarrow") if isinstance(frame, nw.LazyFrame) else frame
        table = eager.to_arrow()
    check_names(list(table.column_names), label)
    if not table.column_names:
        raise InputError(f"{label}: it has no columns")
    return label, table


def _library(frame: Any) -> str:
    kind = str(frame.implementation.name)
    return {"PANDAS": "pandas", "POLARS": "Polars", "PYARROW": "Arrow", "DUCKDB": "DuckDB"}.get(kind, kind.title())


def _from_pandas(frame: Any, label: str) -> pa.Table:
    """Column by column, so that one which mixes types is named; NaN in a column of objects is missing."""
    arrays, names = [], []
    for name in frame.columns:
        try:
            arrays.append(pa.chunked_array(_as_chunks(pa.array(frame[name], from_pandas=True))))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            raise InputError(
                f"{label}: the column {str(name)!r} mixes types or holds objects that Arrow does not know ({error}); "
                f"make it one type, for example frame[{str(name)!r}].astype(str)"
            ) from error
        names.append(str(name))
    return pa.table(arrays, names=names)


def _as_chunks(array: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return array.chunks if isinstance(array, pa.ChunkedArray) else [array]
