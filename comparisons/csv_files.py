"""Comma-, tab-, semicolon- or bar-separated text, read strictly.

DuckDB's sniffer is switched off: left to itself it skips leading rows, takes "#..." for comments and turns the id
"007" into the number 7. Here every value is text, every row counts, and a row that does not fit is an error.
"""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import cast

from .errors import InputError
from .files import InputFile, first_line
from .sql import exact_path, ident, literal

_DELIMITERS = ",\t;|"
_LONGEST_ROW = 2_000_000
_OPTIONS = (
    "header = true, skip = 0, auto_detect = false, all_varchar = true, strict_mode = true, ignore_errors = false, "
    "null_padding = false, comment = '', quote = '\"', escape = '\"', nullstr = '', hive_partitioning = false, "
    f"max_line_size = {_LONGEST_ROW}"
)


def read_header(file: InputFile) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names.

    The delimiter is the one of `, tab ; |` that splits the header into most columns. A column without a name, such
    as an index that pandas wrote, is called "column1", "column2", ... by its position.

    Raises:
        InputError: The header is blank, not UTF-8, holds a NUL, an unclosed quote, or two equal names.
    """
    where = f"{file.label}, line 1"
    try:
        line = first_line(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: the header is not UTF-8 text ({error.reason}); save the file as UTF-8") from error
    if not line.strip():
        raise InputError(f"{where}: a blank line, expected the column names; remove the blank lines at the top")
    if "\0" in line:
        raise InputError(f"{where}: the header holds a NUL character; is this really a text file?")
    order = "\t,;|" if ".tsv" in file.label.lower() or ".tab" in file.label.lower() else _DELIMITERS
    delimiter = max(order, key=lambda mark: len(_split(line, mark, where)))
    names = [name.strip() or f"column{i}" for i, name in enumerate(_split(line, delimiter, where), start=1)]
    check_names(names, where)
    return delimiter, tuple(names)


def _split(line: str, delimiter: str, where: str) -> list[str]:
    with long_fields():
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise InputError(
                f"{where}: the header cannot be split into columns ({error}); names must not hold a line break, and a "
                "quote must be closed"
            ) from error


def check_names(names: list[str], where: str) -> None:
    """Raise where two columns have the same name; capitals do not tell names apart in SQL."""
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.lower(), name)
        if twin is not name:
            how = "twice" if twin == name else f"beside {twin!r}, which differs in capitals only"
            raise InputError(f"{where}: the column {name!r} occurs {how}; rename or remove one of the two")


def select_csv(files: tuple[InputFile, ...]) -> tuple[str, dict[str, str]]:
    """SQL that reads the files in order, and the columns with their types (all text)."""
    headers = [(file, *read_header(file)) for file in files]
    names = headers[0][2]
    for file, _, columns in headers[1:]:
        check_same_columns(file.label, columns, files[0].label, names)
    parts = []
    for (delimiter, columns, _), run in groupby(headers, key=lambda item: (item[1], item[2], item[0].compression)):
        listed = list(run)
        position = {name: f"c{i}" for i, name in enumerate(columns)}
        types = ", ".join(f"'{c}': 'VARCHAR'" for c in position.values())
        wanted = ", ".join(f"{position[name]} AS {ident(name)}" for name in names)
        paths = ", ".join(exact_path(file.path) for file, *_ in listed)
        parts.append(
            f"SELECT {wanted} FROM read_csv([{paths}], columns = {{{types}}}, delim = {literal(delimiter)}, "
            f"compression = '{listed[0][0].compression or 'none'}', {_OPTIONS})"
        )
    return " UNION ALL ".join(parts), dict.fromkeys(names, "VARCHAR")


def check_same_columns(label: str, columns: tuple[str, ...], first: str, names: tuple[str, ...]) -> None:
    """Raise where a further file of a source has other columns than the first one; their order may differ."""
    missing, extra = sorted(set(names) - set(columns)), sorted(set(columns) - set(names))
    if missing or extra:
        told = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        told += [f"has {', '.join(map(repr, extra))} besides"] if extra else []
        raise InputError(
            f"{label}: other columns than {first}: it {' and '.join(told)}; read files of one shape together"
        )


@contextmanager
def long_fields() -> Iterator[None]:
    """Lift Python's limit of 128 KiB a field, which is global, for a moment."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _records(file: InputFile, errors: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which a record starts (from 1) and its fields, header first; blank lines are no records."""
    delimiter, _ = read_header(file)
    with long_fields(), file.open() as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors, newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        start = 1
        try:
            for fields in reader:
                if fields:
                    yield start, fields
                start = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{file.label}, line {start}: a quote is not closed, or text follows a closing quote ({error}); "
                'write a quote inside a quoted value as ""'
            ) from error


def line_of(file: InputFile, row: int) -> int | None:
    """The line (from 1) on which data row `row` (from 0) of the file starts."""
    try:
        for index, (line, _) in enumerate(_records(file, "replace")):
            if index == row + 1:
                return line
    except InputError:  # the place is a courtesy: its own failure must not hide the error that it belongs to
        return None
    return None


def diagnose_csv(file: InputFile) -> None:
    """Raise an error that names the first line which is not what it should be, in a file that DuckDB refused."""
    _check_text(file)
    width = 0
    for row, (line, fields) in enumerate(_records(file, "replace")):
        width = width or len(fields)
        if sum(len(field.encode()) for field in fields) > _LONGEST_ROW:
            raise InputError(
                f"{file.label}, line {line}: the row is longer than {_LONGEST_ROW:,} bytes; is a quote not closed? "
                "Otherwise store the log as Parquet or JSONL"
            )
        if len(fields) != width:
            raise InputError(
                f"{file.label}, data row {row} (line {line}): {len(fields)} columns, expected {width} as in the "
                f"header; {_mend(len(fields), width)}"
            )


def _mend(found: int, expected: int) -> str:
    if found < expected:
        return (
            "complete the row, or take it out (which value is in which column is not known, so that it cannot be set "
            "aside by its columns)"
        )
    return "quote values that hold the delimiter or a line break, or take the row out"


def _check_text(file: InputFile) -> None:
    """Raise at the first line that is not UTF-8, or whose line end differs from the first line's."""
    ending = b""
    with file.open() as stream:
        for number, line in enumerate(io.BufferedReader(cast(io.RawIOBase, stream)), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{file.label}, line {number}: not UTF-8 text ({error.reason} at byte {error.start + 1} of the "
                    "line); save the file as UTF-8"
                ) from error
            if line.endswith(b"\n"):
                mine = b"\r\n" if line.endswith(b"\r\n") else b"\n"
                ending = ending or mine
                if mine != ending:
                    raise InputError(
                        f"{file.label}, line {number}: ends in {mine!r} but the lines before it in {ending!r}; "
                        "give all lines the same end, or quote values that hold a line break"
                    )
