"""SQL that turns a typed column into the text of an id, the same for every kind of source."""

from .errors import InputError
from .sql import ident

EXACT = 2**53  # from here on a float no longer tells neighbouring integers apart
_WHOLE = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
}
_FLOATS = {"FLOAT", "DOUBLE"}
_PLAIN = {"VARCHAR", "UUID", "DATE", '"NULL"', "BOOLEAN"} | _WHOLE


def is_float(kind: str) -> bool:
    """Whether a DuckDB type is a binary floating-point number."""
    return kind in _FLOATS


def id_sql(label: str, column: str, kind: str) -> str:
    """SQL for the text of an id; NULL where it is missing or blank.

    Whole numbers lose their point (7.0 is '7', as in a CSV file) and NaN is missing.

    Raises:
        InputError: The column's type is not one of an id.
    """
    value = ident(column)
    if is_float(kind):
        whole = f"{value} = trunc({value}) AND abs({value}) < {EXACT}"
        text = f"CASE WHEN isnan({value}) THEN NULL WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS VARCHAR) "
        return text + f"ELSE CAST({value} AS VARCHAR) END"
    if kind.startswith("DECIMAL"):
        whole = f"{value} = trunc({value})"
        return f"CASE WHEN {whole} THEN CAST(CAST({value} AS HUGEINT) AS VARCHAR) ELSE CAST({value} AS VARCHAR) END"
    if kind in _PLAIN or kind.startswith(("ENUM", "TIME")):
        if kind != "VARCHAR" and not kind.startswith("ENUM"):
            return f"CAST({value} AS VARCHAR)"
        text = value if kind == "VARCHAR" else f"CAST({value} AS VARCHAR)"
        # What begins with a character that shows is not blank; the rest is trimmed to see, which costs ten times that.
        shows = f"{text} >= '!' AND {text} < chr(127)"
        return f"CASE WHEN {shows} THEN {text} WHEN trim({text}) <> '' THEN {text} END"
    raise InputError(
        f"{label}: the column {column!r} is of type {kind}, expected texts or numbers; "
        "name another column or turn it into text"
    )


def inexact_sql(column: str, kind: str) -> str:
    """SQL for whether an id is a float too large to be exact, so that different ids may have become one."""
    if not is_float(kind):
        return "false"
    value = ident(column)
    return f"(NOT isnan({value}) AND abs({value}) >= {EXACT})"
