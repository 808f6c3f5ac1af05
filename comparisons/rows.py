"""Complete rows at the end of a growing text file: from bytes to texts, and what is wrong with a row."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

from .csv_files import long_fields

__all__ = ["Rows", "csv_rows", "json_rows"]

_NOT_TEXT = "not UTF-8 text"


@dataclass
class Rows:
    """Rows of one piece of a file.

    Attributes:
        lines: (row,) the line on which each starts, from 1.
        raw: (row,) its text.
        wrong: (row,) why it is no row, or None.
        fields: (row,) its values; empty for JSON, which is taken apart by the database.
        n_lines: Lines that the rows take.
        n_bytes: Bytes that they take; what follows is not a whole row yet.
    """

    lines: list[int] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    wrong: list[str | None] = field(default_factory=list)
    fields: list[list[str]] = field(default_factory=list)
    n_lines: int = 0
    n_bytes: int = 0

    def add(self, line: int, raw: str, wrong: str | None = None) -> None:
        """One more row."""
        self.lines.append(line)
        self.raw.append(raw)
        self.wrong.append(wrong)


def _decoded(data: bytes) -> tuple[list[bytes], list[str], set[int]]:
    """The lines of `data` with their ends, as bytes and as texts, and which of them are not UTF-8."""
    pieces = io.BytesIO(data).readlines()
    try:
        data.decode()
    except UnicodeDecodeError:
        texts = [piece.decode(errors="replace") for piece in pieces]
        return pieces, texts, {i for i, piece in enumerate(pieces) if piece.decode(errors="ignore").encode() != piece}
    return pieces, [piece.decode() for piece in pieces], set()


def json_rows(data: bytes, first: int) -> Rows:
    """Lines of JSON. `data` must end where a line ends; its first line has the number `first`."""
    pieces, texts, garbled = _decoded(data)
    rows = Rows(n_lines=len(pieces), n_bytes=len(data))
    kept = [(number, text) for number, text in enumerate(texts, first) if not text.isspace()]
    rows.lines, rows.raw = [number for number, _ in kept], [text.rstrip("\r\n") for _, text in kept]
    rows.wrong = [_NOT_TEXT if number - first in garbled else None for number in rows.lines]
    return rows


def csv_rows(data: bytes, first: int, delimiter: str, width: int) -> Rows:
    """Rows of delimited text; a value may hold line breaks, so that the last lines may be no whole row yet."""
    pieces, texts, garbled = _decoded(data)
    rows, start = Rows(), 0
    with long_fields():
        reader = csv.reader(texts, delimiter=delimiter, strict=True)
        while start < len(texts):
            fields, wrong = [], None
            try:
                fields = next(reader)
            except csv.Error as error:
                if reader.line_num == len(texts) and "end of data" in str(error):
                    break
                wrong = f"a quote is not closed, or text follows a closing quote ({error})"
            end = reader.line_num
            if garbled and not garbled.isdisjoint(range(start, end)):
                wrong = _NOT_TEXT
            elif wrong is None and fields and len(fields) != width:
                wrong = f"{len(fields)} columns, expected {width} as in the header"
            if fields or wrong:
                rows.add(first + start, "".join(texts[start:end]).rstrip("\r\n"), wrong)
                rows.fields.append([] if wrong else fields)
            start = end
    rows.n_lines, rows.n_bytes = start, sum(map(len, pieces[:start]))
    return rows
