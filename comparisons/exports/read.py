"""Reading the export of a tool that collects votes."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from ..errors import EarnestError, InputError
from ..files import InputFile, find_files, is_path
from ..limits import told_apart
from ..log import ComparisonLog
from ..outcomes import Outcomes
from ..read import read_comparisons
from ..sources import FileSource
from ..sql import connect, exact_path, ident, literal
from .argilla import ARGILLA
from .json_sql import explain, keys_of, open_records, without_marks
from .label_studio import LABEL_STUDIO
from .lmarena import LMARENA
from .open_webui import OPEN_WEBUI
from .tool import ROW_KEYS, Export, Tool

__all__ = ["TOOLS", "read_export", "recognised"]

TOOLS = {tool.name: tool for tool in (OPEN_WEBUI, LMARENA, ARGILLA, LABEL_STUDIO)}
"""The tools by name."""


@dataclass(frozen=True)
class FlattenedSource(FileSource):
    """An export whose votes lie flat in a temporary file, which goes when the source does.

    Attributes:
        flat: The temporary Parquet file.
    """

    flat: Path

    def numbered(self) -> str:
        """A row that is set aside has the number that messages give it: that of its record, not of its vote."""
        votes = f"SELECT record FROM read_parquet({exact_path(self.flat)}) WHERE left_out IS NULL"
        numbered = f"SELECT record, row_number() OVER () - 1 AS at FROM ({votes})"
        return f"(SELECT r.record FROM ({numbered}) r WHERE r.at = position)"

    def place(self, row: int) -> str:
        """The export's file and the record, both as its tool wrote them."""
        keys = f"SELECT file, record FROM read_parquet({exact_path(self.flat)}) WHERE left_out IS NULL"
        with connect() as connection:
            [(file, record)] = connection.sql(f"{keys} LIMIT 1 OFFSET {row}").fetchall()
        return f"{self.files[file].label}, record {record}"

    def _explain(self, error: duckdb.Error) -> EarnestError:
        self.check_unchanged()
        return InputError(f"{self.label}: its votes, kept in {self.flat}, cannot be read; read the export again")


def read_export(
    source: Any,
    tool: str = "auto",
    *,
    user: str | None = None,
    model_a: str | None = None,
    model_b: str | None = None,
    prompt: str | None = None,
    response_a: str | None = None,
    response_b: str | None = None,
    question: str | None = None,
    outcomes: Outcomes = None,
    on_bad_rows: Literal["error", "quarantine"] = "error",
    quarantine: str | os.PathLike[str] | None = None,
) -> ComparisonLog:
    """Read the votes out of an export of Open WebUI, LMArena, Argilla or Label Studio.

    What cannot be a vote (a skipped task, a draft, a thumb without a second response, ...) is left out; how many and
    why, and what the export does not tell, is in `log.notes`. The export is read once, into a temporary file that
    lasts as long as the log.

    Args:
        source: A path or pattern, or a list of them: JSON, JSONL, CSV or Parquet, as the tool writes it.
        tool: "open-webui", "lmarena", "argilla" or "label-studio"; "auto" tells it from the records.
        user: Field of who voted, where the tool leaves that open (LMArena).
        model_a: Field of the first response's model, where the tool leaves that open (Argilla, Label Studio).
        model_b: Field of the other one's.
        prompt: Field of the prompt.
        response_a: Field of the first response.
        response_b: Field of the other one.
        question: The question (Argilla) or control (Label Studio) whose answers are the votes, if there are several.
        outcomes: What the answers mean, such as {"1": "model_a", "2": "tie", "3": "model_b"}; see `read_comparisons`.
        on_bad_rows: What to do with a vote that cannot be used, see `read_comparisons`.
        quarantine: Where such votes go.

    Returns:
        The log, with the columns that `read_comparisons` gives and some that the tool knows beyond.

    Raises:
        InputError: It is no export of the tool, or something is wrong with it; the message names file and record.
    """
    if tool != "auto" and tool not in TOOLS:
        raise InputError(f"tool={tool!r}: expected 'auto' or one of {', '.join(map(repr, TOOLS))}")
    named = {"user": user, "model_a": model_a, "model_b": model_b, "prompt": prompt, "question": question}
    named |= {"response_a": response_a, "response_b": response_b}
    if not is_path(source):
        raise InputError(
            f"a {type(source).__name__} is no export: expected a path, a pattern or a list of them; write a data frame "
            "to a Parquet file first"
        )
    files = find_files(source)
    label = files[0].label if len(files) == 1 else f"{files[0].label} and {len(files) - 1} more"
    with connect() as connection, told_apart(label), without_marks(files) as plain:
        open_records(connection, plain)
        _check_records(connection, label)
        given = {name: value for name, value in named.items() if value is not None}
        export = Export(label, connection, keys_of(connection, "records", "json"), given)
        chosen = _recognise(export) if tool == "auto" else _check(export, TOOLS[tool])
        _check_named(export, chosen)
        flat = _flat(export, chosen, files, plain)
    opened, notes = _open(label, files, flat, chosen)
    if tool == "auto":
        notes.insert(0, f"recognised as an export of {chosen.title} (tool={chosen.name!r})")
    log = read_comparisons(
        opened,
        comparison="comparison" if "comparison" in opened.columns else None,
        outcomes=chosen.outcomes if outcomes is None else outcomes,
        on_bad_rows=on_bad_rows,
        quarantine=quarantine,
    )
    log.notes[:0] = notes
    _note_order(log)
    _note_contradictions(log)
    return log


def recognised(source: Any) -> str:
    """The title of the tool whose export files seem to be, whether or not all of their votes can be used; "" if none.

    Raises:
        InputError: The files cannot be read as records.
    """
    files = find_files(source)
    with connect() as connection, told_apart(files[0].label), without_marks(files) as plain:
        open_records(connection, plain)
        keys = frozenset(keys_of(connection, "records", "json"))
    titles = [tool.title for tool in TOOLS.values() if tool.recognise(keys)]
    return titles[0] if len(titles) == 1 else ""


def _recognise(export: Export) -> Tool:
    """The tool whose records look like these.

    Raises:
        InputError: None, or several.
    """
    found = [tool for tool in TOOLS.values() if tool.recognise(frozenset(export.keys))]
    if len(found) == 1:
        return found[0]
    wrong = f"could be of {' or of '.join(t.title for t in found)}" if found else "is of no tool that is known here"
    raise InputError(
        f"{export.label}: the export {wrong}; say which with tool= (one of {', '.join(map(repr, TOOLS))}), or read a "
        f"table of votes with read_comparisons. Keys of its records: {', '.join(map(repr, export.keys[:30]))}"
    )


def _check(export: Export, tool: Tool) -> Tool:
    if tool.recognise(frozenset(export.keys)):
        return tool
    looks = [other.name for other in TOOLS.values() if other.recognise(frozenset(export.keys))]
    hint = f"it looks like tool={looks[0]!r}" if looks else f"the format is described in {tool.published}"
    raise InputError(
        f"{export.label}: not an export of {tool.title}; {hint}. Keys of its records: "
        f"{', '.join(map(repr, export.keys[:30]))}"
    )


def _check_named(export: Export, tool: Tool) -> None:
    """Raise an `InputError` where the caller named what the tool settles itself."""
    for name, value in export.named.items():
        if name not in tool.fields:
            may = f"name {', '.join(tool.fields)}" if tool.fields else "nothing is to be named"
            raise InputError(f"{name}={value!r}: an export of {tool.title} says this by itself; {may}")


def _check_records(connection: duckdb.DuckDBPyConnection, label: str) -> None:
    if not connection.sql("SELECT 1 FROM records LIMIT 1").fetchall():
        raise InputError(f"{label}: the export has no records; was anything selected when it was made?")


def _flat(export: Export, tool: Tool, files: tuple[InputFile, ...], plain: tuple[InputFile, ...]) -> Path:
    """Write one row a unit to a temporary file, in the export's order."""
    sql = tool.flatten(export)
    home = Path(tempfile.mkdtemp(prefix="earnest-export-"))
    flat = home / "votes.parquet"
    try:
        export.connection.execute(
            f"COPY (SELECT * FROM ({sql}) ORDER BY {', '.join(ROW_KEYS)}) TO {literal(str(flat))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        for file in files:  # it was read several times
            file.check_unchanged()
    except BaseException as error:
        shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, duckdb.Error):
            raise explain(error, plain) from error
        raise
    return flat


def _open(label: str, files: tuple[InputFile, ...], flat: Path, tool: Tool) -> tuple[FlattenedSource, list[str]]:
    """The flat file as a source, and what is to be said of what it leaves out and does not tell."""
    rows = f"read_parquet({exact_path(flat)})"
    with connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
        columns = {name: kind for name, kind, *_ in described if name not in (*ROW_KEYS, "left_out") and name[0] != "_"}
        select = f"SELECT {', '.join(map(ident, columns))} FROM {rows} WHERE left_out IS NULL"
        source = FlattenedSource(label=label, columns=columns, files=files, select=select, flat=flat)
        weakref.finalize(source, shutil.rmtree, flat.parent, ignore_errors=True)
        counts = connection.sql(f"SELECT left_out, count(*) FROM {rows} GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
        notes = _told(label, tool, dict(counts))
        for flag in (name for name, *_ in described if name in tool.remarks):
            [(n,)] = connection.sql(f"SELECT count(*) FROM {rows} WHERE left_out IS NULL AND {ident(flag)}").fetchall()
            if n:
                notes.append(f"{n:,} of the votes {tool.remarks[flag] if n > 1 else _of_one(tool.remarks[flag])}")
    return source, notes


_ONE = {"do": "does", "were": "was", "have": "has"}


def _of_one(remark: str) -> str:
    """A remark on several votes, its verb for one."""
    verb, rest = remark.split(" ", 1)
    return f"{_ONE.get(verb, verb + 's')} {rest}"


def _told(label: str, tool: Tool, counts: dict[str | None, int]) -> list[str]:
    """How many of the export's units are votes, and why the others are not."""
    votes, total = counts.get(None, 0), sum(counts.values())
    why = ", ".join(f"{reason} ({n:,})" for reason, n in counts.items() if reason is not None)
    if not votes:
        raise InputError(f"{label}: none of the {total:,} {tool.unit} of this export is a vote: {why or 'it is empty'}")
    if votes == total:
        return []
    return [f"{votes:,} of {total:,} {tool.unit} are votes; left out: {why}"]


def _note_order(log: ComparisonLog) -> None:
    """Say where no pair of models was ever shown the other way round."""
    pairs = (
        "SELECT count(DISTINCT model_a) AS sides FROM log GROUP BY least(model_a, model_b), greatest(model_a, model_b)"
    )
    found = log.query(f"SELECT max(sides) AS sides FROM ({pairs})").to_pylist()
    if found[0]["sides"] == 1:
        log.notes.append(
            "every pair of models always stood in the same order, so a leaning to one side cannot be told from a "
            "preference: give the model casual=CoinFlip(), and shuffle the sides when more votes are collected"
        )


def _note_contradictions(log: ComparisonLog) -> None:
    """Say where one user answered one and the same task in several ways."""
    if "item" not in log.columns:
        return
    chosen = "CASE winner WHEN 'tie' THEN chr(0) WHEN 'model_a' THEN model_a ELSE model_b END"
    several = (
        'SELECT "user" FROM log WHERE item IS NOT NULL GROUP BY "user", item, least(model_a, model_b), '
        f"greatest(model_a, model_b) HAVING count(DISTINCT {chosen}) > 1"
    )
    [found] = log.query(f'SELECT count(*) AS n, count(DISTINCT "user") AS users FROM ({several})').to_pylist()
    if found["n"]:
        times = "once" if found["n"] == 1 else f"{found['n']:,} times"
        who = "a user" if found["users"] == 1 else f"{found['users']:,} users"
        log.notes.append(
            f"{times} {who} answered one task in contradicting ways; each answer counts as a vote: keep the last one "
            "if they were corrections"
        )
