"""From votes to each user's counts of kinds of votes, in one pass of the database that keeps a few words a user.

A table with a row for each (user, kind) may be nearly as long as the log. Where there are few kinds, a user's counts
are bytes of a few 64-bit words instead, and one sum a word adds them all; else the database collects the kinds of a
user's votes into a list. Neither sorts votes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from .kinds import KINDS, few, told_by, told_by_kind
from .sql import ident

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .log import ComparisonLog

__all__ = ["UserKinds", "count_kinds", "count_users"]

_LANES = 7  # counts of a byte each in a word; the eighth stays free, so that a sum has no sign
_MOST = 255  # votes of a user up to which no byte can run over
_PACKED = 256  # kinds, up to which counts are packed
_WORDS = "earnest_words"

type Entries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class UserKinds:
    """How many votes of each kind each user gave.

    Attributes:
        names: of the users, sorted, (user,).
        matrix: (user, kind) counts up to 255 of the users who gave no more, 0 for the others; None with many kinds.
        rest: of the others (of all, with many kinds) user, kind and count, (entry,), sorted by user, then kind.
        kinds: how many there are.
    """

    names: pa.LargeStringArray
    matrix: NDArray[np.uint8] | None
    rest: Entries
    kinds: int

    def totals(self) -> NDArray[np.int64]:
        """Votes of each kind, (kind,)."""
        out = np.bincount(self.rest[1], weights=self.rest[2], minlength=self.kinds)
        if self.matrix is not None:
            out += self.matrix.sum(0, dtype=np.int64)
        return out.astype(np.int64)

    def in_cells(self, cell_of_kind: NDArray[np.int64], n_cells: int) -> Entries:
        """User, cell and count, (entry,), sorted by user, then cell.

        Args:
            cell_of_kind: (kind,); several kinds may be of one cell.
            n_cells: how many cells there are.
        """
        user, kind, count = self.rest
        rest = _summed(user * n_cells + cell_of_kind[kind], count)
        if self.matrix is None:
            return *np.divmod(rest[0], n_cells), rest[1]
        matrix = self.matrix
        if not np.array_equal(cell_of_kind, np.arange(n_cells)):
            merged = np.zeros((len(matrix), n_cells), dtype=np.uint8)  # a user's votes fit into a byte together
            for number, cell in enumerate(cell_of_kind):
                merged[:, cell] += matrix[:, number]
            matrix = merged
        key = np.flatnonzero(matrix)
        count = matrix.reshape(-1)[key].astype(np.float64)
        if len(rest[0]):
            at = np.searchsorted(key, rest[0])
            key, count = np.insert(key, at, rest[0]), np.insert(count, at, rest[1])
        return *np.divmod(key, n_cells), count

    def digest(self, told: str) -> str:
        """A hash of the counts, 32 hexadecimal digits.

        Args:
            told: what the numbers of the kinds mean.
        """
        words = hashlib.sha256(f"{told} {len(self.names)}".encode())
        _, ends, text = self.names.buffers()
        offsets = np.frombuffer(ends, dtype=np.int64)[self.names.offset :][: len(self.names) + 1]
        words.update(np.diff(offsets).astype("<i8").data)
        if text is not None and len(self.names):
            words.update(memoryview(text)[offsets[0] : offsets[-1]])
        if self.matrix is not None:
            words.update(np.ascontiguousarray(self.matrix).data)
        for array, kind in zip(self.rest, ("<i8", "<i4", "<f8"), strict=True):
            words.update(array.astype(kind).data)
        return words.hexdigest()[:32]


def _summed(key: NDArray[np.int64], count: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys, sorted, each once, with the sums of their counts."""
    if np.all(np.diff(key) > 0):
        return key, count
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return key[first], np.add.reduceat(count[order], first)


def count_kinds(log: ComparisonLog) -> UserKinds:
    """Count votes by user and kind; the log knows its fingerprint afterwards, where that follows from the counts."""
    with log.alone:
        return _counted(log)


def _counted(log: ComparisonLog) -> UserKinds:
    votes = log.votes_by_kind()
    names = ", ".join(map(ident, few(log.recipe)))
    told = log.query(f"SELECT DISTINCT kind, {names} FROM {KINDS} ORDER BY kind")
    found = count_users(log, votes, told.num_rows, single=log.tally[1] == "1")
    if told_by_kind(log.recipe):
        log.keep_fingerprint(found.digest(f"{told_by(log.recipe)} {told.to_pylist()}"))
    return found


def count_users(log: ComparisonLog, votes: str, n_kinds: int, single: bool = False) -> UserKinds:
    """Count votes by user and kind.

    Args:
        log: where the votes are.
        votes: SQL of them: name (of the user), kind (a number below `n_kinds`), n (how many of the like).
        n_kinds: how many kinds there are.
        single: whether n is 1 throughout.
    """
    return (_packed if n_kinds <= _PACKED else _listed)(log, votes, n_kinds, single)


def _packed(log: ComparisonLog, votes: str, n_kinds: int, single: bool) -> UserKinds:
    lanes = _lanes(n_kinds)
    words = [f"w{i}" for i in range(len(lanes))]
    table = pa.table({"kind": np.arange(n_kinds, dtype=np.int32), **dict(zip(words, lanes, strict=True))})
    log.execute(f"CREATE OR REPLACE TEMP TABLE {_WORDS} AS SELECT * FROM lanes", lanes=table)
    # Who gave more votes than a byte holds is counted again; until then neither sum nor product may run over.
    times = "" if single else f" * least(n, {_MOST + 1})"
    sums = "".join(f", coalesce(TRY_CAST(sum({word}{times}) AS BIGINT), 0) AS {word}" for word in words)
    total = "count(*)" if single else "CAST(sum(n) AS BIGINT)"
    found = log.query(
        f"SELECT name, {total} AS n{sums} FROM {votes} JOIN {_WORDS} USING (kind) GROUP BY name ORDER BY name"
    )
    log.execute(f"DROP TABLE {_WORDS}")
    much = np.flatnonzero(found["n"].to_numpy() > _MOST)
    packed = np.empty((found.num_rows, len(words)), dtype="<i8")
    for number, word in enumerate(words):
        packed[:, number] = found[word].to_numpy()
    packed[much] = 0
    bytes_of = packed.view(np.uint8).reshape(len(packed), len(words), 8)[:, :, :_LANES]
    matrix = np.ascontiguousarray(bytes_of.reshape(len(packed), len(words) * _LANES)[:, :n_kinds])
    return UserKinds(_names(found), matrix, _again(log, votes, found, much), n_kinds)


def _lanes(n_kinds: int) -> NDArray[np.int64]:
    """What a vote of a kind adds to each word, (word, kind)."""
    kind = np.arange(n_kinds)
    out = np.zeros((-(-n_kinds // _LANES), n_kinds), dtype=np.int64)
    out[kind // _LANES, kind] = np.int64(1) << 8 * (kind % _LANES)
    return out


def _again(log: ComparisonLog, votes: str, found: pa.Table, users: NDArray[np.int64]) -> Entries:
    """Counts of some users, as rows."""
    if not len(users):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    wanted = pa.table({"name": found["name"].take(pa.array(users)), "number": pa.array(users)})
    rows = log.query(
        f"SELECT number, kind, CAST(sum(n) AS DOUBLE) AS n FROM {votes} JOIN wanted USING (name) "
        "GROUP BY number, kind ORDER BY number, kind",
        wanted=wanted,
    )
    return rows["number"].to_numpy(), rows["kind"].to_numpy().astype(np.int64), rows["n"].to_numpy()


def _listed(log: ComparisonLog, votes: str, n_kinds: int, single: bool) -> UserKinds:
    n = "" if single else ", list(n) AS n"
    found = log.query(f"SELECT name, list(kind) AS kinds{n} FROM {votes} GROUP BY name ORDER BY name")
    kinds = found["kinds"].combine_chunks()
    user = np.repeat(np.arange(found.num_rows), np.diff(kinds.offsets.to_numpy()))
    key = user * n_kinds + kinds.flatten().to_numpy()
    if single:
        key.sort()
        first = np.flatnonzero(np.diff(key, prepend=-1))
        key, count = key[first], np.diff(first, append=len(key)).astype(np.float64)
    else:
        key, count = _summed(key, found["n"].combine_chunks().flatten().to_numpy().astype(np.float64))
    return UserKinds(_names(found), None, (*np.divmod(key, n_kinds), count), n_kinds)


def _names(table: pa.Table) -> pa.LargeStringArray:
    return table["name"].cast(pa.large_string()).combine_chunks()
