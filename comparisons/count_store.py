"""A table of counts on disk to which votes are added, each once.

One DuckDB file:

    meta         what it was begun with: format, what the model looks at, the columns of the log; and the last fit
    counts       user, model_a, model_b, winner, the context that the model looks at, votes: counts are sums over rows
    sources      how far every file was read, and what came of it
    ids          votes' ids (their MD5), where the log has any; `moments`, where two votes at one moment are refused
    quarantine   rows that cannot be used: file, line, reason, text

A batch changes all of them in one transaction: after a kill at any moment the file says what was counted, and where to
go on. Counts are appended, and summed up when there are twice as many rows as after the last time: an index over names
would have to be written anew with every batch. Ids are looked up by a join with the batch for the same reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import pyarrow as pa

from .adding import advance, files_table, insert, judge, refuse_faults, sum_up
from .atomic import atomic_file
from .counted import VOTES, CountedLog, counted_log
from .errors import EarnestError, InputError
from .growing import Chunk, Progress
from .looks import Looks, Reading, settle
from .outcomes import Outcomes
from .sql import ident, literal
from .store_file import closed, explained, keep, opened, transaction
from .taking import BATCH, available_columns, tabulate
from .write import copy_options

__all__ = ["CountStore", "Taken"]

_LEAST = 50_000  # rows of counts that are not summed up yet, at least


@dataclass(frozen=True)
class Taken:
    """What came of a batch: votes counted, rows quarantined, votes whose id was counted before."""

    votes: int = 0
    quarantined: int = 0
    repeated: int = 0

    def plus(self, other: Taken) -> Taken:
        """Both together."""
        return Taken(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class CountStore:
    """Counts of votes in a file, begun or opened for a model.

    Attributes:
        path: The file.
        looks: What the model looks at.
        reading: Where the log has it; None before the first row.
        totals: Of everything that was ever taken.
        notes: What was guessed, or costs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        looks: Looks | None = None,
        columns: Mapping[str, str | None] | None = None,
        outcomes: Outcomes = None,
    ) -> None:
        """Open a store, or begin one.

        Args:
            path: The file.
            looks: What the model looks at; None to take what the store was begun with.
            columns: Standard name to the log's column, where it should not be guessed.
            outcomes: What winners mean; see `read_comparisons`.

        Raises:
            EarnestError: The file is no store, is in use, belongs to another model or other columns, or cannot be
                written; or there is none and no model.
        """
        self.path = os.fspath(path)
        self._columns, self._outcomes = dict(columns or {}), outcomes
        self._connection = opened(self.path, looks)
        try:
            with explained(self.path):
                self.looks = self._own_looks(looks)
                text = self.recall("reading")
                self.reading = None if text is None else Reading.from_json(text)
                self.totals = Taken(*self._one("SELECT sum(votes), sum(quarantined), sum(repeated) FROM sources"))
                self._summed = self._one("SELECT count(*) FROM counts")[0]
            if self.reading is not None:
                self.reading.check_named(self.path, self._columns, outcomes)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CountStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        closed(self.path, self._connection)

    def _one(self, sql: str) -> tuple[int, ...]:
        [row] = self._connection.execute(sql).fetchall()
        return tuple(int(value or 0) for value in row)

    def _own_looks(self, looks: Looks | None) -> Looks:
        known = json.loads(self.recall("looks") or "{}")
        own = Looks(**{**known, "context": tuple(known["context"])})
        if looks is not None and looks != own:
            raise EarnestError(
                f"{self.path}: was begun with another model; leave the model out to go on with that one (`declaration` "
                f"in it), or begin another store. It was begun with:\n{own.declaration}"
            )
        return own

    def recall(self, key: str) -> str | None:
        """A text that was kept under a key."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchall()
        return found[0][0] if found else None

    def keep(self, key: str, value: str) -> None:
        """Keep a text under a key, in a transaction of its own."""
        with explained(self.path), transaction(self._connection):
            keep(self._connection, key, value)

    def progress(self) -> dict[str, Progress]:
        """Name to how far every file was read."""
        names = ", ".join(ident(part.name) for part in fields(Progress))
        found = self._connection.execute(f"SELECT {names} FROM sources").fetchall()
        return {row[0]: Progress(*row) for row in found}

    def take(self, chunks: Sequence[Chunk], label: str, strict: bool = False) -> tuple[Taken, list[str]]:
        """Count chunks of new rows, in one transaction.

        Args:
            chunks: The rows, and how far their files are read with them.
            label: What messages call the source.
            strict: Raise at the first row that cannot be used, instead of quarantining it.

        Returns:
            What came of them, and the users who voted, sorted.

        Raises:
            InputError: The columns cannot be found, or a row cannot be used and `strict`.
            EarnestError: The file cannot be written; nothing of the chunks is counted then.
        """
        with explained(self.path):
            reading = self.reading or self._settled(label, chunks)
            if reading is None:
                self._finish(chunks, None)
                return Taken(), []
            reading = tabulate(self._connection, label, chunks, reading, self.looks)
            judge(self._connection, self.looks)
            if strict:
                refuse_faults(self._connection, chunks)
            self._finish(chunks, reading)
            fates = ", ".join(f"count(*) FILTER (fate = {fate})" for fate in range(3))
            taken = Taken(*self._one(f"SELECT {fates} FROM {BATCH}"))
            users = self._connection.execute(f'SELECT DISTINCT "user" FROM {BATCH} WHERE fate = 0 ORDER BY 1')
            names = [name for (name,) in users.fetchall()]
        self.totals = self.totals.plus(taken)
        return taken, names

    def _settled(self, label: str, chunks: Sequence[Chunk]) -> Reading | None:
        for chunk in chunks:
            available = available_columns(self._connection, chunk)
            if available:
                return settle(label, available, self._columns, self._outcomes, self.looks)
        for chunk in chunks:
            if chunk.rows is not None and chunk.rows.lines:
                where = f"{chunk.path or 'standard input'}, line {chunk.rows.lines[0]}"
                raise InputError(f'{where}: no row is an object; expected lines such as {{"user": "ann", ...}}')
        return None

    def _finish(self, chunks: Sequence[Chunk], reading: Reading | None) -> None:
        """Write counts and progress."""
        files = files_table(chunks)
        with transaction(self._connection):
            if reading is not None:
                if reading != self.reading:
                    keep(self._connection, "reading", reading.to_json())
                insert(self._connection, self._kept(reading), files)
            advance(self._connection, files, reading is not None)
        self.reading = reading
        [rows] = self._one("SELECT count(*) FROM counts")
        if rows > self._summed + max(self._summed, _LEAST):
            with transaction(self._connection):
                self._summed = sum_up(self._connection)

    def _kept(self, reading: Reading) -> list[str]:
        """Columns of the counts that the log has."""
        there = [name for name in self.looks.columns if name in reading.columns or name in reading.covariates]
        return ["user", "model_a", "model_b", "winner", *there]

    def log(self, users: Sequence[str] | None = None) -> CountedLog:
        """All votes that were counted, or those of some users, as a log; it stays as it is when more are taken.

        May be called from another thread than `take`.

        Raises:
            InputError: There are no votes yet.
        """
        if self.reading is None or not self.totals.votes:
            raise InputError(f"{self.path}: no votes have been counted yet")
        keys = ", ".join(map(ident, self._kept(self.reading)))
        with self._connection.cursor() as connection:
            where = ""
            if users is not None:
                connection.register("earnest_users", pa.table({"name": pa.array(users, pa.string())}))
                where = 'WHERE "user" IN (FROM earnest_users)'
            table = connection.sql(
                f"SELECT {keys}, CAST(sum(votes) AS BIGINT) AS {VOTES} FROM counts {where} GROUP BY ALL ORDER BY ALL"
            ).to_arrow_table()
        return counted_log(self.path, table, self.reading)

    def write_quarantine(self, path: str | os.PathLike[str]) -> int:
        """Write the rows that cannot be used to a file (file, line, reason, raw); return how many."""
        options = copy_options(path)
        with explained(self.path), atomic_file(path) as temporary:
            sql = f"COPY (FROM quarantine ORDER BY file, line) TO {literal(str(temporary))} ({options})"
            return int(self._connection.execute(sql).fetchall()[0][0])
