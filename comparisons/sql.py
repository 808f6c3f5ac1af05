"""Names and texts from users, made safe for SQL. Everything that reaches DuckDB passes through here."""

import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import duckdb

from .limits import limit_memory


def ident(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Several SQL strings, separated by commas."""
    return ", ".join(literal(text) for text in texts)


def exact_path(path: Path) -> str:
    """`path` as an SQL string that DuckDB does not expand as a pattern."""
    text = str(path)
    for special in "[*?":  # "[" first: the others are wrapped in brackets
        text = text.replace(special, f"[{special}]")
    return literal(text)


def connect(path: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A database, by default a private one in memory, that reads nothing but what it is told to.

    Raises:
        EarnestError: `EARNEST_MEMORY_LIMIT` is no size.
    """
    connection = duckdb.connect(path)
    spill = Path(tempfile.gettempdir()) / f"earnest-{uuid.uuid4().hex}"  # made when memory runs out, removed at the end
    with suppress(duckdb.InvalidInputException):  # Jupyter without ipywidgets has no bar and refuses to switch it off
        connection.execute("SET enable_progress_bar = false")
    for setting in (
        "preserve_insertion_order = true",  # the row order of a log is the order of its source
        "python_enable_replacements = false",  # a table name must never be looked up among Python variables
        "autoinstall_known_extensions = false",
        f"temp_directory = {literal(str(spill))}",
    ):
        connection.execute(f"SET {setting}")
    limit_memory(connection)
    return connection
