"""The file of a count store: made whole or not at all, opened by one process, changed in transactions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import duckdb

from .atomic import atomic_file, remove_stale
from .errors import EarnestError
from .limits import shortage
from .looks import Looks
from .sql import connect, ident

__all__ = ["FORMAT", "closed", "explained", "keep", "opened", "transaction"]

FORMAT = 1
_TEXTS = ("category", "item", "gold", "timestamp")

# Stores that this process has open, by their real path: DuckDB lets one process open a file as often as it likes.
_open: WeakValueDictionary[str, duckdb.DuckDBPyConnection] = WeakValueDictionary()
_opening = Lock()


def opened(path: str, looks: Looks | None) -> duckdb.DuckDBPyConnection:
    """A connection to a store, begun for what a model looks at where there is none.

    Raises:
        EarnestError: The file is no store, is in use, or cannot be written; or there is none and no model.
    """
    place = os.path.realpath(path)
    if not os.path.exists(place):
        if looks is None:
            raise EarnestError(f"{path}: there is no such store yet, so a model is needed to begin it")
        _refuse_leftover(path, place)
        _make(path, looks)
    with _opening:
        if place in _open:
            raise EarnestError(f"{path}: the store is in use by this process already; end that watch first")
        _open[place] = connection = _connected(path)
    try:
        _check_store(path, connection)
    except BaseException:
        closed(path, connection)
        raise
    remove_stale(Path(place))
    return connection


def closed(path: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Let go of a store."""
    connection.close()
    _open.pop(os.path.realpath(path), None)


def _refuse_leftover(path: str, place: str) -> None:
    """Raise where the write-ahead log of a store that is gone would be taken for the new one's."""
    if os.path.exists(f"{place}.wal"):
        raise EarnestError(
            f"{path}: there is no such store, but {path}.wal, which belongs to one that was here: put that store back, "
            "or remove the .wal file to begin anew"
        )


def _check_store(path: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Raise where a database is no store, or one of another version."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not {"meta", "counts", "sources"} <= tables:
        raise EarnestError(f"{path}: is a database, but no store of counts; name another file")
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if (found := meta.get("format")) != str(FORMAT):
        raise EarnestError(
            f"{path}: a store of format {found}; this version of Earnest reads format {FORMAT}. Go on with the version "
            "that began it, or count the votes anew in another store"
        )
    if "looks" not in meta:
        raise EarnestError(f"{path}: the store is damaged (no model in it); count the votes anew in another store")


def _connected(path: str) -> duckdb.DuckDBPyConnection:
    try:
        return connect(path)
    except duckdb.Error as error:
        if "lock" in str(error):
            raise EarnestError(f"{path}: the store is in use by another process; end that one first") from error
        brief = str(error).splitlines()[0]
        remedy = shortage(error) or "name another file, in a folder that may be written"
        if "WAL" in brief:
            remedy = f"put the store back that {path}.wal belongs to, or remove both files and count the votes anew"
        raise EarnestError(f"{path}: cannot be opened as a store ({brief}); {remedy}") from error


def _make(path: str, looks: Looks) -> None:
    names = ("user", "model_a", "model_b", "winner")
    kinds = [(name, "VARCHAR") for name in names]
    kinds += [(name, "VARCHAR" if name in _TEXTS else "DOUBLE") for name in looks.columns]
    columns = ", ".join(f"{ident(name)} {kind}" for name, kind in kinds)
    # Where another process has just begun the same store, that one stands.
    with suppress(FileExistsError), atomic_file(path, replace=False) as temporary:
        temporary.unlink()  # the database wants to make its file itself
        with explained(path), _connected(str(temporary)) as connection:
            for sql in (
                "CREATE TABLE meta (key VARCHAR, value VARCHAR)",
                f"CREATE TABLE counts ({columns}, votes BIGINT)",
                'CREATE TABLE sources (name VARCHAR, inode UBIGINT, size UBIGINT, modified BIGINT, "offset" UBIGINT, '
                "lines UBIGINT, crc UINTEGER, votes BIGINT, quarantined BIGINT, repeated BIGINT)",
                "CREATE TABLE ids AS SELECT md5_number('') AS id LIMIT 0",
                "CREATE TABLE moments AS SELECT md5_number('') AS id LIMIT 0",
                "CREATE TABLE quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)",
            ):
                connection.execute(sql)
            keep(connection, "format", str(FORMAT))
            keep(connection, "looks", json.dumps(asdict(looks)))
            connection.execute("CHECKPOINT")


def keep(connection: duckdb.DuckDBPyConnection, key: str, value: str) -> None:
    """Keep a text under a key."""
    connection.execute("DELETE FROM meta WHERE key = ?", [key])
    connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value])


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the database complains of into an `EarnestError`."""
    try:
        yield
    except duckdb.Error as error:
        why = shortage(error) or str(error).splitlines()[0]
        raise EarnestError(
            f"{path}: cannot be written ({why}); what was counted before is whole: mend that and start again"
        ) from error


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing of what is done inside."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        with suppress(duckdb.Error):  # one that failed while it was committed is over already
            connection.rollback()
        raise
