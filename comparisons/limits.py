"""How much memory the database may take, and what to say where memory or the disk is not enough."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import duckdb

from .errors import DiskFullError, EarnestError

__all__ = ["MEMORY_LIMIT", "disk_is_full", "limit_memory", "shortage", "told_apart"]

MEMORY_LIMIT = "EARNEST_MEMORY_LIMIT"
"""Environment variable: memory of each query, such as 2GiB."""

_SHARE = 5 / 8  # of DuckDB's own 80 % of the memory there is: the other half is for arrays and compiled programs
_UNITS = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5}
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = re.compile(r"no space left|disk quota exceeded|file too large", re.IGNORECASE)


def limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Hold a connection to `EARNEST_MEMORY_LIMIT`, by default half of the memory of the machine (or its container).

    What a query needs beyond that goes to files in the folder for temporary files.

    Raises:
        EarnestError: The variable is no size.
    """
    wanted = os.environ.get(MEMORY_LIMIT)
    size = wanted or _half(connection)
    if size is None:
        return
    try:
        connection.execute("SET memory_limit = '" + size.replace("'", "''") + "'")
    except duckdb.Error as error:
        raise EarnestError(f"{MEMORY_LIMIT}={wanted!r}: expected a size with a unit, such as 2GiB or 500MB") from error


@cache
def _own_limit(text: str) -> str | None:
    """A share of a size such as '18.8 GiB', as DuckDB reads it."""
    number, _, unit = text.partition(" ")
    with suppress(KeyError, ValueError):
        return f"{int(float(number) * _SHARE * 1024 ** _UNITS[unit])}B"
    return None  # DuckDB's own limit stays


def _half(connection: duckdb.DuckDBPyConnection) -> str | None:
    [(text,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    return _own_limit(str(text))


def shortage(error: BaseException) -> str | None:
    """What to do where memory or the disk was not enough; None where the error is another one."""
    said = str(error)
    if "max_temp_directory_size" in said or (_FULL.search(said) and "duckdb_temp" in said):
        return (
            "the query needs more memory than it may have, and there is no room for its temporary files; raise "
            f"{MEMORY_LIMIT} (such as 8GiB), or let TMPDIR name a folder on a disk with room"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return (
            f"the query needs more memory than it may have ({said.splitlines()[0][:200]}); raise {MEMORY_LIMIT} (such "
            "as 8GiB), or work on a machine with more memory"
        )
    return "the disk is full; free some room and run this again" if disk_is_full(error) else None


def disk_is_full(error: BaseException) -> bool:
    """Whether something could not be written for want of room."""
    return getattr(error, "errno", None) in _FULL_NUMBERS or bool(_FULL.search(str(error)))


@contextmanager
def told_apart(label: str) -> Iterator[None]:
    """Turn a shortage of memory or room into an `EarnestError` that says what to do; other errors stay.

    Raises:
        DiskFullError: The disk of what is written is full.
        EarnestError: Memory, or room for temporary files, is not enough.
    """
    try:
        yield
    except duckdb.Error as error:
        if (words := shortage(error)) is None:
            raise
        raise (DiskFullError if words.startswith("the disk") else EarnestError)(f"{label}: {words}") from error
