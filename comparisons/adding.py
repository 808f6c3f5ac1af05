"""The statements that add a batch to a count store; see `count_store` for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import duckdb
import pyarrow as pa

from .errors import InputError
from .growing import Chunk
from .looks import Looks
from .sql import ident, literal
from .taking import BATCH, key_sql

__all__ = ["advance", "files_table", "insert", "judge", "refuse_faults", "sum_up"]

_FILES, _STATE = "earnest_files", "earnest_state"
_REPEATED = "the comparison id occurs before"
_CROWDED = "the user judged these two models at this moment before, and the model needs the order of a user's votes"
_TYPES = {"inode": pa.uint64(), "size": pa.uint64(), "modified": pa.int64(), "offset": pa.uint64()}
_TYPES |= {"name": pa.string(), "lines": pa.uint64(), "crc": pa.uint32()}


def judge(connection: duckdb.DuckDBPyConnection, looks: Looks) -> None:
    """Give every row of the batch its fate: 0 to be counted, 1 to be quarantined, 2 counted before."""
    moment = key_sql(looks, looks.columns)
    keyed = f"SELECT *, {f'md5_number({moment})' if moment else 'NULL'} AS moment FROM {BATCH}"
    # Joined, not looked up with IN: of a join the database makes a hash table of the batch, not of all ids.
    known = ", ".join(
        f"known_{key} AS MATERIALIZED (SELECT old.id FROM {key}s old JOIN "
        f"(SELECT DISTINCT {key} AS id FROM keyed WHERE reason IS NULL) USING (id))"
        for key in ("id", "moment")
    )
    old = ", ".join(
        f"reason IS NULL AND {key} IS NOT NULL AND (row_number() OVER (PARTITION BY {key}, reason IS NULL "
        f"ORDER BY file, line) > 1 OR {key} IN (FROM known_{key})) AS old_{key}"
        for key in ("id", "moment")
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {BATCH} AS WITH keyed AS MATERIALIZED ({keyed}), {known}
        SELECT * EXCLUDE (old_id, old_moment) REPLACE (CASE WHEN old_id THEN {literal(_REPEATED)}
            WHEN old_moment THEN {literal(_CROWDED)} ELSE reason END AS reason),
            CASE WHEN old_id THEN 2 WHEN old_moment OR reason IS NOT NULL THEN 1 ELSE 0 END AS fate
        FROM (SELECT *, {old} FROM keyed)"""
    )


def refuse_faults(connection: duckdb.DuckDBPyConnection, chunks: Sequence[Chunk]) -> None:
    """Raise an `InputError` for the first row that cannot be used."""
    found = connection.execute(
        f"SELECT file, line, reason FROM {BATCH} WHERE fate = 1 ORDER BY file, line LIMIT 1"
    ).fetchall()
    for file, line, reason in found:
        chunk = chunks[file]
        raise InputError(
            f"{chunk.path or 'standard input'}, {'data row' if chunk.rows is None else 'line'} {line}: {reason}. "
            "on_bad_rows='quarantine' sets such rows aside."
        )


def files_table(chunks: Sequence[Chunk]) -> pa.Table:
    """Chunk to how far its file is read with it, and the name that the file had before."""
    states = [asdict(chunk.progress) for chunk in chunks]
    columns = {name: pa.array([state[name] for state in states], kind) for name, kind in _TYPES.items()}
    was = pa.array([chunk.was for chunk in chunks], pa.string())
    return pa.table({"file": pa.array(range(len(states)), pa.int32()), **columns, "was": was})


def insert(connection: duckdb.DuckDBPyConnection, kept: Sequence[str], files: pa.Table) -> None:
    """Add the batch to counts, ids and quarantine."""
    keys = ", ".join(map(ident, kept))
    connection.register(_FILES, files)
    for sql in (
        f"INSERT INTO counts BY NAME SELECT {keys}, count(*) AS votes FROM {BATCH} WHERE fate = 0 GROUP BY ALL",
        f"INSERT INTO ids SELECT id FROM {BATCH} WHERE fate = 0 AND id IS NOT NULL",
        f"INSERT INTO moments SELECT moment FROM {BATCH} WHERE fate = 0 AND moment IS NOT NULL",
        f"INSERT INTO quarantine SELECT name, line, reason, raw FROM {BATCH} JOIN {_FILES} USING (file) "
        "WHERE fate = 1 ORDER BY file, line",
    ):
        connection.execute(sql)


def advance(connection: duckdb.DuckDBPyConnection, files: pa.Table, counted: bool) -> None:
    """Say of every file of the batch how far it is read, and add up what came of it."""
    connection.register(_FILES, files)
    kinds = ("votes", "quarantined", "repeated")
    fates = ", ".join(f"count(*) FILTER (fate = {fate}) AS {kind}" for fate, kind in enumerate(kinds))
    batch = f"SELECT file, {fates} FROM {BATCH} GROUP BY 1" if counted else (
        f"SELECT 0 AS file, {', '.join(f'0 AS {kind}' for kind in kinds)} WHERE false"
    )  # fmt: skip
    sums = ", ".join(f"coalesce(old.{kind}, 0) + coalesce(new.{kind}, 0) AS {kind}" for kind in kinds)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_STATE} AS
        SELECT f.* EXCLUDE (file, was), {sums} FROM {_FILES} f
        LEFT JOIN sources old ON old.name = coalesce(f.was, f.name) LEFT JOIN ({batch}) new ON new.file = f.file"""
    )
    connection.execute(f"DELETE FROM sources WHERE name IN (SELECT unnest([name, was]) FROM {_FILES})")
    connection.execute(f"INSERT INTO sources BY NAME SELECT * FROM {_STATE}")


def sum_up(connection: duckdb.DuckDBPyConnection) -> int:
    """Sum up the counts; return how many there are then."""
    connection.execute(
        "CREATE TABLE summed AS SELECT * EXCLUDE (votes), CAST(sum(votes) AS BIGINT) AS votes FROM counts GROUP BY ALL"
    )
    connection.execute("DROP TABLE counts")
    connection.execute("ALTER TABLE summed RENAME TO counts")
    [(rows,)] = connection.execute("SELECT count(*) FROM counts").fetchall()
    return int(rows)
