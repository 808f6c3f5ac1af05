"""From votes to each user's counts of cells, in one pass of the database that keeps nothing but a few words a user.

A table with a row for each (user, cell) may be nearly as long as the log. Where there are few cells, a user's counts
are bytes of a few 64-bit words instead, and one sum a word adds them all; else the database collects the cells of a
user into a list. Neither sorts votes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from .errors import InputError
from .kinds import PRINT, PRINTS_SQL, digest, told_by_kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .log import ComparisonLog

__all__ = ["count_users"]

_LANES = 7  # counts of a byte each in a word; the eighth stays free, so that a sum has no sign
_MOST = 255  # votes of a user up to which no byte can run over
_WORDS = "earnest_words"
_PACKED = 256  # cells, up to which counts are packed

type Entries = tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def count_users(log: ComparisonLog, votes: str, totals: NDArray[np.int64]) -> Entries:
    """Count votes by user and cell.

    Args:
        log: where the votes are.
        votes: SQL of them: name (of the user), cell (its number), n (how many of the like), and `kinds.PRINT` where
            user and kind are all that tells votes apart; then the log knows its fingerprint afterwards.
        totals: votes of each cell, (cell,), as an earlier pass found them.

    Returns:
        users (user,), sorted; user, cell and count (entry,), sorted by user, then cell.

    Raises:
        InputError: the votes are others than those of the earlier pass.
    """
    if not len(totals):
        return np.zeros(0, dtype=object), *(np.zeros(0, dtype=np.int64),) * 2, np.zeros(0)
    found = _packed(log, votes, len(totals)) if len(totals) <= _PACKED else _listed(log, votes, len(totals))
    if not np.array_equal(np.bincount(found[2], weights=found[3], minlength=len(totals)), totals):
        raise InputError(f"{log.source}: the log has changed while it was counted; count it when nothing writes to it")
    return found


def _packed(log: ComparisonLog, votes: str, n_cells: int) -> Entries:
    words = [f"w{i}" for i in range(-(-n_cells // _LANES))]
    lanes = pa.table({"cell": np.arange(n_cells, dtype=np.int32), **dict(zip(words, _lanes(n_cells), strict=True))})
    # A row of more votes than a byte holds belongs to a user who is counted again; the product must not run over.
    sums = ", ".join(f"coalesce(TRY_CAST(sum({w} * least(n, {_MOST + 1})) AS BIGINT), 0) AS {w}" for w in words)
    log.execute(f"CREATE OR REPLACE TEMP TABLE {_WORDS} AS SELECT * FROM lanes", lanes=lanes)
    table = _by_name(log, f"(SELECT * FROM {votes} JOIN {_WORDS} USING (cell))", sums)
    log.execute(f"DROP TABLE {_WORDS}")
    packed = np.stack([table[word].to_numpy() for word in words], axis=1).astype("<i8", copy=False)
    much = table["n"].to_numpy() > _MOST
    packed[much] = 0
    lanes = packed.view(np.uint8).reshape(len(packed), len(words), 8)[:, :, :_LANES]
    matrix = lanes.reshape(len(packed), -1)[:, :n_cells]
    # Rounds of users, so that the numbers of a matrix's entries never lie in memory for all of them.
    flat = np.flatnonzero(matrix)
    user, cell = np.divmod(flat, n_cells)
    count = matrix.reshape(-1)[flat].astype(np.float64)
    if much.any():
        numbers = np.flatnonzero(much)
        heavy = pa.table({"name": table["name"].filter(pa.array(much)), "number": pa.array(numbers)})
        again = log.query(
            f"SELECT number, cell, CAST(sum(n) AS DOUBLE) AS n FROM {votes} JOIN heavy USING (name) "
            "GROUP BY number, cell ORDER BY number, cell",
            heavy=heavy,
        )
        theirs = again["number"].to_numpy()
        at = np.searchsorted(user, theirs)
        user = np.insert(user, at, theirs)
        cell = np.insert(cell, at, again["cell"].to_numpy())
        count = np.insert(count, at, again["n"].to_numpy())
    return _names(table), user, cell, count


def _lanes(n_cells: int) -> NDArray[np.int64]:
    """What a vote for a cell adds to each word, (word, cell)."""
    cell = np.arange(n_cells)
    out = np.zeros((-(-n_cells // _LANES), n_cells), dtype=np.int64)
    out[cell // _LANES, cell] = np.int64(1) << 8 * (cell % _LANES)
    return out


def _listed(log: ComparisonLog, votes: str, n_cells: int) -> Entries:
    table = _by_name(log, votes, "list(cell) AS cells, list(n) AS votes")
    cells, votes_of = (table[column].combine_chunks() for column in ("cells", "votes"))
    user = np.repeat(np.arange(table.num_rows), np.diff(cells.offsets.to_numpy()))
    key = user * n_cells + cells.flatten().to_numpy()
    n = votes_of.flatten().to_numpy()
    single = bool(n.max(initial=1) == 1)
    if single:
        key.sort()
    else:
        order = np.argsort(key, kind="stable")
        key, n = key[order], n[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    count = np.diff(first, append=len(key)).astype(np.float64) if single else np.add.reduceat(n, first).astype(float)
    user, cell = np.divmod(key[first], n_cells)
    return _names(table), user, cell, count


def _by_name(log: ComparisonLog, votes: str, wanted: str) -> pa.Table:
    prints = told_by_kind(log.recipe) and PRINT in votes
    told = f"{PRINTS_SQL}, " if prints else ""
    table = log.query(
        f"SELECT name, CAST(sum(n) AS BIGINT) AS n, {told}{wanted} FROM {votes} GROUP BY name ORDER BY name"
    )
    if prints:
        log.keep_fingerprint(digest(log.recipe, table))
    return table


def _names(table: pa.Table) -> NDArray[np.object_]:
    return np.asarray(table["name"].to_numpy(zero_copy_only=False), dtype=object)
