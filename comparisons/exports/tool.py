"""What the description of a tool's export consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import duckdb

from ..columns import find_column
from ..errors import InputError
from .json_sql import keys_of

__all__ = ["ROW_KEYS", "Export", "Tool"]

ROW_KEYS = ("file", "record", "part")
"""Where a row comes from: the file and its record, from 1, and the place among the votes of one record."""


@dataclass(frozen=True)
class Export:
    """An export that was opened: the relation `records` (file, record, json) of a connection.

    Attributes:
        label: What messages call it.
        connection: Where the relation is.
        keys: The keys of all records.
        named: What the caller named: standard name, or "question", to a field of the export.
    """

    label: str
    connection: duckdb.DuckDBPyConnection
    keys: tuple[str, ...]
    named: Mapping[str, str] = field(default_factory=dict)

    def keys_at(self, *path: str) -> tuple[str, ...]:
        """The keys of the objects that the records hold at a place, sorted."""
        return keys_of(self.connection, "records", "json", *path)

    def is_true(self, condition: str, relation: str = "records") -> bool:
        """Whether an SQL condition is true of any row."""
        [(found,)] = self.connection.sql(f"SELECT coalesce(bool_or({condition}), false) FROM {relation}").fetchall()
        return bool(found)

    def field(self, standard: str, fields: tuple[str, ...], usual: tuple[str, ...]) -> str | None:
        """The field that the caller named, or else the first of the usual ones that is there, capitals aside.

        Raises:
            InputError: The one that was named is not there.
        """
        if standard in self.named:
            return find_column(self.label, list(fields), standard, self.named[standard])
        lower = {name.lower(): name for name in fields}
        return next((lower[name] for name in usual if name in lower), None)

    def pair(
        self, standard: tuple[str, str], fields: tuple[str, ...], usual: tuple[tuple[str, str], ...]
    ) -> tuple[str, str] | None:
        """The two fields that the caller named, or the first of the usual pairs of which both are there.

        Raises:
            InputError: One of two was named, or one that was named is not there.
        """
        given = [name for name in standard if name in self.named]
        if len(given) == 1:
            other = next(name for name in standard if name not in given)
            raise InputError(f"{given[0]}={self.named[given[0]]!r}: name the other one, too, with {other}=")
        if given:
            first, second = (find_column(self.label, list(fields), name, self.named[name]) for name in standard)
            return first, second
        lower = {name.lower(): name for name in fields}
        return next(((lower[a], lower[b]) for a, b in usual if a in lower and b in lower), None)


@dataclass(frozen=True)
class Tool:
    """One tool's export: how it is told, and how it is read.

    Attributes:
        name: What `read_export` calls it.
        title: What people call it.
        unit: What one vote is called in its export, in the plural.
        published: Where its format is described.
        recognise: Whether records with these keys are of this tool.
        flatten: SQL of one row a unit: `ROW_KEYS`, `left_out` (why it is no vote; NULL for a vote), then standard
            columns and those that are carried through.
            Columns whose names begin with "_" are flags, not of the log.
        fields: What the caller may name, because the tool leaves it open.
        remarks: What a flag means, said with the number of votes that have it.
        outcomes: How winners are read unless the caller says; see `read_comparisons`.
    """

    name: str
    title: str
    unit: str
    published: str
    recognise: Callable[[frozenset[str]], bool]
    flatten: Callable[[Export], str]
    fields: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    outcomes: Literal["words", "names"] | None = None
