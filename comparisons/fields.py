"""Fields inside nested columns, named by their path: annotator.id, responses.a.model, responses.0.model.

A log whose rows are objects inside objects is read as it is: a field that says who voted, on what and how becomes a
column of that name; the nested columns are carried through whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from .columns import REQUIRED, Columns, choose_columns
from .sources import VIEW, FileSource, FrameSource, Source
from .sql import connect, ident, literal

__all__ = ["Field", "available", "choose_nested", "fields_of", "flattened", "with_fields"]

_LOOKED_AT = 1000  # rows in which fields are looked for, unless one is named that is in none of them
_DEEPEST, _ELEMENTS = 5, 2  # levels of nesting; elements of a list (of two responses, say)


@dataclass(frozen=True)
class Field:
    """A field of a nested column.

    Attributes:
        sql: its value.
        kind: DuckDB's type of that.
    """

    sql: str
    kind: str


def choose_nested(source: Source, named: Mapping[str, str | None]) -> tuple[Source, Columns]:
    """What is what in a source (see `choose_columns`), which has the fields that were chosen as columns afterwards."""
    fields = _fields_with(source, named.values()) if _wanted(source, named) else {}
    chosen = choose_columns(source.label, list(source.columns), named, tuple(fields))
    taken = {name: fields[name] for name in chosen.columns.values() if name not in source.columns}
    return with_fields(source, taken), chosen


def available(source: Source, wanted: Iterable[str]) -> set[str]:
    """The columns of a source and the fields of its nested columns, those that are wanted in whatever row they are."""
    return {*source.columns, *_fields_with(source, wanted)}


def _fields_with(source: Source, wanted: Iterable[str | None]) -> dict[str, Field]:
    """The fields of the first rows; where one that is wanted is in none of these, those of all rows."""
    if not any(map(_nested, source.columns.values())):
        return {}
    found = fields_of(source)
    missing = any(_is_path(source, name) and name not in found for name in wanted)
    return fields_of(source, everywhere=True) if missing else found


def _is_path(source: Source, name: object) -> bool:
    return isinstance(name, str) and "." in name and name not in source.columns


def _wanted(source: Source, named: Mapping[str, str | None]) -> bool:
    """Whether fields matter: one is named, or columns alone do not say what a log must say."""
    if not any(_nested(kind) for kind in source.columns.values()):
        return False
    if any(_is_path(source, name) for name in named.values()):
        return True
    plain = [name for name, kind in source.columns.items() if not _nested(kind) or name in named.values()]
    found = choose_columns(source.label, plain, named, strict=False).columns
    return any(standard not in found for standard in REQUIRED)


def _nested(kind: str) -> bool:
    return kind == "JSON" or kind.startswith("STRUCT(")


def fields_of(source: Source, everywhere: bool = False) -> dict[str, Field]:
    """The fields of a source's nested columns by path: of its first rows, or of all."""
    nested = {name: kind for name, kind in source.columns.items() if _nested(kind)}
    found: dict[str, Field] = {}
    with connect() as connection:
        source.attach(connection)
        some = f"(SELECT * FROM {VIEW} {'' if everywhere else f'LIMIT {_LOOKED_AT}'})"
        for name, kind in nested.items():
            try:
                [(text,)] = connection.execute(
                    f"SELECT json_group_structure({_json(name, kind)}) FROM {some}"
                ).fetchall()
            except duckdb.Error as error:
                raise source.explain(error) from error
            for path, leaf in _leaves(json.loads(text) if text else None, ()):
                found[".".join([name, *map(str, path)])] = Field(_sql(name, kind, path), leaf)
    return found


def _leaves(shape: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Paths of all that is below a column; lists are values as well, as conversations are."""
    if isinstance(shape, list):
        if path:
            yield path, "JSON"
        inner = shape[0] if shape else None
        if isinstance(inner, dict) and len(path) < _DEEPEST:
            for number in range(_ELEMENTS):
                yield from _leaves(inner, (*path, number))
    elif isinstance(shape, dict) and len(path) < _DEEPEST:
        for key, below in shape.items():
            if "\0" not in key:
                yield from _leaves(below, (*path, key))
    elif path and not isinstance(shape, dict):
        yield path, "JSON" if shape == "JSON" else "VARCHAR"


def _sql(column: str, kind: str, path: tuple[str | int, ...]) -> str:
    steps = "".join(
        f"[{step}]" if isinstance(step, int) else f".{json.dumps(step, ensure_ascii=False)}" for step in path
    )
    return f"({_json(column, kind)} ->> {literal('$' + steps)})"


def _json(column: str, kind: str) -> str:
    return ident(column) if kind == "JSON" else f"to_json({ident(column)})"


def flattened(source: Source) -> Source:
    """The source with all fields of its nested columns as further columns."""
    return with_fields(source, fields_of(source) if any(map(_nested, source.columns.values())) else {})


def with_fields(source: Source, fields: Mapping[str, Field]) -> Source:
    """The source with these fields as further columns."""
    if not fields:
        return source
    columns = {**source.columns, **{name: field.kind for name, field in fields.items()}}
    values = ", ".join(
        f"{field.sql if field.kind != 'JSON' else f'CAST({field.sql} AS JSON)'} AS {ident(name)}"
        for name, field in fields.items()
    )
    if isinstance(source, FileSource):
        return replace(source, columns=columns, select=f"SELECT *, {values} FROM ({source.select})")
    if isinstance(source, FrameSource):
        with connect() as connection:
            connection.register("nested", source.table)
            table = connection.sql(f"SELECT *, {values} FROM nested").to_arrow_table()
        return replace(source, columns=columns, table=table)
    raise TypeError(f"no fields of a {type(source).__name__}")
