"""Where rows come from: files or a data frame, as one view of a DuckDB connection."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from .csv_files import diagnose_csv, line_of, select_csv
from .errors import EarnestError, InputError
from .files import InputFile, find_files, is_path
from .frames import to_table
from .json_files import explain_json, select_json
from .limits import shortage
from .parquet_files import select_parquet
from .sql import connect, ident

ROW = "__earnest_row"  # 0-based position in the source, across its files
VIEW = "earnest_source"


@dataclass(frozen=True)
class Source(ABC):
    """Rows that can be attached to a connection as a view.

    Attributes:
        label: What messages call it.
        columns: Column name to DuckDB type, in the source's order.
    """

    label: str
    columns: dict[str, str]

    @abstractmethod
    def attach(self, connection: duckdb.DuckDBPyConnection, view: str = VIEW) -> None:
        """Create the view: the source's columns and `__earnest_row`."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raise an InputError where the source is not what it was when it was opened."""

    @abstractmethod
    def place(self, row: int) -> str:
        """Where data row `row` (from 0) is, for messages: file, data row (from 1) and line."""

    def numbered(self) -> str:
        """SQL of the number that messages give to the row at `position` (from 0)."""
        return "position + 1"

    def explain(self, error: duckdb.Error) -> EarnestError:
        """What to tell the user when DuckDB cannot read the source, or has too little memory or room for it."""
        words = shortage(error)
        return self._explain(error) if words is None else EarnestError(f"{self.label}: {words}")

    @abstractmethod
    def _explain(self, error: duckdb.Error) -> EarnestError:
        """What is wrong with the source itself."""

    @property
    def folder_and_stem(self) -> tuple[Path, str] | None:
        """Folder and bare name of the first file; None for a data frame."""
        return None


@dataclass(frozen=True)
class FrameSource(Source):
    """A data frame, held as an Arrow table."""

    table: pa.Table

    @classmethod
    def of(cls, label: str, table: pa.Table) -> Self:
        """A table and what DuckDB calls the types of its columns."""
        with duckdb.connect() as connection:
            connection.register(VIEW, table)
            described = connection.execute(f"DESCRIBE SELECT * FROM {VIEW}").fetchall()
        return cls(label=label, columns={name: kind for name, kind, *_ in described}, table=table)

    def attach(self, connection: duckdb.DuckDBPyConnection, view: str = VIEW) -> None:
        numbered = self.table.append_column(ROW, _positions(self.table))
        connection.register(view, numbered)

    def check_unchanged(self) -> None:
        return

    def place(self, row: int) -> str:
        return f"{self.label}, data row {row + 1}"

    def _explain(self, error: duckdb.Error) -> EarnestError:
        return InputError(f"{self.label}: {_brief(error)}")


def _positions(table: pa.Table) -> pa.Array:
    import numpy as np

    return pa.array(np.arange(table.num_rows, dtype=np.int64))


@dataclass(frozen=True)
class FileSource(Source):
    """One or several files of one format."""

    files: tuple[InputFile, ...]
    select: str

    def attach(self, connection: duckdb.DuckDBPyConnection, view: str = VIEW) -> None:
        # a row number over nothing follows the order of the files, and is only computed where it is asked for
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {view} AS "
            f"SELECT *, row_number() OVER () - 1 AS {ident(ROW)} FROM ({self.select})"
        )

    def check_unchanged(self) -> None:
        for file in self.files:
            file.check_unchanged()

    def place(self, row: int) -> str:
        for file in self.files:
            if len(self.files) > 1:
                size = self._n_rows(file)
                if row >= size:
                    row -= size
                    continue
            line = line_of(file, row) if file.format == "csv" else None
            return f"{file.label}, data row {row + 1}" + (f" (line {line})" if line else "")
        return f"{self.label}, data row {row + 1}"

    def _n_rows(self, file: InputFile) -> int:
        source = _READERS[file.format]((file,))[0]
        with connect() as connection:
            [(size,)] = connection.sql(f"SELECT count(*) FROM ({source})").fetchall()
        return int(size)

    def _explain(self, error: duckdb.Error) -> EarnestError:
        self.check_unchanged()
        message = str(error)
        if self.files[0].format == "csv":
            for file in self.files:
                diagnose_csv(file)
        if self.files[0].format == "json":
            return explain_json(message, self.files)  # names the line where it can
        brief = _brief(error)
        if "invalid state" in brief:  # what DuckDB says of a lone carriage return
            brief = (
                "the ends of the lines differ, or a value holds a line break; give all lines the same end, quote values"
            )
        for file in self.files:
            brief = brief.replace(str(file.path), file.label)
        return InputError(f"{self.label}: cannot be read: {brief}")

    @property
    def folder_and_stem(self) -> tuple[Path, str] | None:
        path = Path(self.files[0].label)
        return path.parent, re.sub(r"(\.\w+)(\.(gz|zst))?$", "", path.name) or path.name


_READERS = {"csv": select_csv, "json": select_json, "parquet": select_parquet}


def open_source(source: Any) -> Source:
    """Open files (a path, a pattern, a list of both) or a data frame; a source that is open already is itself.

    Raises:
        InputError: There is nothing to read, or it is not a table.
    """
    if isinstance(source, Source):
        return source
    if is_path(source):
        files = find_files(source)
        select, columns = _READERS[files[0].format](files)
        label = files[0].label if len(files) == 1 else f"{files[0].label} and {len(files) - 1} more"
        return FileSource(label=label, columns=columns, files=files, select=select)
    return FrameSource.of(*to_table(source))


def _brief(error: duckdb.Error) -> str:
    return re.split(r"\n\s*\n|\nPossible|\nLINE", str(error))[0].replace("\n", " ").strip()[:300]
