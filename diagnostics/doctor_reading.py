"""Opening a log for the doctor: as it is, or else with the likeliest columns and words, and without its bad rows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from ..comparisons import ComparisonLog, EarnestError, InputError, read_comparisons
from ..comparisons.columns import REQUIRED, STANDARD, choose_columns
from ..comparisons.fields import flattened
from ..comparisons.frames import is_spark
from ..comparisons.outcomes import Outcomes, check_mapping
from ..comparisons.sources import VIEW, Source, open_source
from ..comparisons.sql import connect
from .doctor_columns import Profile, chosen_and_rejected, likely_columns, profiles
from .doctor_words_guessed import guess_outcomes, is_usual, readings

__all__ = ["WHAT", "Opened", "check_named", "open_log"]

WHAT = {
    "user": "who cast each vote",
    "model_a": "the model shown first",
    "model_b": "the model shown second",
    "winner": "which of the two won",
}


@dataclass
class Opened:
    """A log, and what it took to read it.

    Attributes:
        label: what the source is called.
        seen: its columns.
        log: None where it cannot be read whatever is guessed.
        columns: standard name to column, as they must be named to read it.
        outcomes: what the winner's words mean, as it must be said.
        guessed: what was guessed, in phrases.
        bad: rows that cannot be used.
        why: reading's own message, where it refused.
        missing: standard names without a column.
        unknown: words of the winner column of which nothing can be said.
        ways: readings of the winner column's codes, where there are several and nothing tells them apart.
        winner: the winner column, where its words are in question.
        sides: columns that name the model that was chosen and the one that was not, where nothing says which was where.
    """

    label: str
    seen: list[str]
    log: ComparisonLog | None = None
    columns: dict[str, str] = field(default_factory=dict)
    outcomes: Outcomes = None
    guessed: list[str] = field(default_factory=list)
    bad: int = 0
    why: str = ""
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ways: list[dict[str, str]] = field(default_factory=list)
    winner: str = ""
    sides: tuple[str, str] | None = None


def open_log(source: Any, named: Mapping[str, str], outcomes: Outcomes) -> Opened:
    """Read a source, guessing as boldly as it takes.

    Raises:
        InputError: there is nothing to read, or a column that was named does not exist.
        EarnestError: the rows are on a cluster.
    """
    if getattr(source, "by_pattern", False) or is_spark(source):
        raise EarnestError(
            "doctor: the log's rows are on a cluster; look at a part of it: er.doctor(frame.limit(1_000_000).toArrow())"
        )
    if isinstance(source, ComparisonLog):
        said = {**source.mapping} if source.recipe.columns else {}
        seen = list(source.recipe.source.columns)
        return Opened(source.source, seen, source, _unusual(said), source.recipe.outcomes)
    table = open_source(source)
    opened = Opened(table.label, list(table.columns), columns=dict(named), outcomes=outcomes)
    try:
        given: dict[str, Any] = {**named, "outcomes": outcomes}
        opened.log = read_comparisons(source, **given)
        return opened
    except InputError as error:
        opened.why = str(error)
    _guess(table, opened, named)
    if not opened.missing and not opened.unknown and not opened.ways:
        _read_again(source, opened)
    return opened


def _unusual(columns: dict[str, str]) -> dict[str, str]:
    """The columns that reading would not find by itself in the same file."""
    return {} if all(columns.get(name) == name for name in REQUIRED) else columns


def _guess(table: Source, opened: Opened, named: Mapping[str, str]) -> None:
    """Fill in columns and outcomes of a source that reading refused."""
    table = flattened(table)
    with connect() as connection:
        table.attach(connection)
        try:
            if not connection.execute(f"SELECT 1 FROM {VIEW} LIMIT 1").fetchall():
                raise InputError(
                    f"{table.label}: the log is empty, it has column names but no rows; was it written to its end?"
                )
            seen = profiles(table, connection)
        except duckdb.Error as error:
            raise table.explain(error) from error
    try:
        columns = choose_columns(table.label, list(table.columns), named).columns
        chosen = {name: columns[name] for name in REQUIRED}
    except InputError:
        if any(column not in table.columns for column in named.values()):
            raise
        opened.sides = chosen_and_rejected(seen)
        chosen = {} if opened.sides else likely_columns(seen, named)
        opened.columns = chosen
        for role in REQUIRED:
            if role in chosen and role not in named and chosen[role] != role:
                opened.guessed.append(f"{role} from the column {chosen[role]!r}")
    opened.missing = [role for role in REQUIRED if role not in chosen]
    if not opened.missing and not isinstance(opened.outcomes, str):
        _guess_words(seen, chosen, opened)


def _guess_words(seen: Mapping[str, Profile], chosen: Mapping[str, str], opened: Opened) -> None:
    """What the winner's values mean, where they are neither usual words nor models nor told by the caller."""
    values = seen[chosen["winner"]].values if chosen["winner"] in seen else {}
    models = {value for side in ("model_a", "model_b") if chosen[side] in seen for value in seen[chosen[side]].values}
    said = {} if opened.outcomes is None else check_mapping(opened.outcomes)  # type: ignore[arg-type]
    words = {value: n for value, n in values.items() if value not in models}
    strange = [value for value in words if not is_usual(value) and value not in said]
    if not strange:
        return
    opened.winner = chosen["winner"]
    ways = readings(words, opened.winner, (chosen["model_a"], chosen["model_b"]))
    ways = [way for way in ways if all(way.get(value, mean) == mean for value, mean in said.items())]
    if len(ways) > 1:
        opened.ways = ways
        return
    told, unknown = guess_outcomes(words)
    told |= ways[0] if ways else {}
    unknown = [value for value in unknown if value not in said]
    lost = sum(words[value] for value in unknown) / max(sum(values.values()), 1)
    if lost > 0.2 or (unknown and not told and len(words) == len(values)):
        opened.unknown = unknown
        return
    guessed = {value: told[value] for value in strange if value in told}
    if guessed:
        both: dict[object, str] = dict([*said.items(), *guessed.items()])
        opened.outcomes = both
        opened.guessed += [f"{value!r} in {opened.winner!r} means {told[value]}" for value in guessed]


def _read_again(source: Any, opened: Opened) -> None:
    """With what was guessed; rows that cannot be used even so are left out."""
    given: dict[str, Any] = {**opened.columns, "outcomes": opened.outcomes}
    try:
        opened.log = read_comparisons(source, **given)
        return
    except InputError as error:
        opened.why = str(error)
    with tempfile.TemporaryDirectory() as folder:  # a doctor leaves nothing behind
        away = os.path.join(folder, "bad.jsonl")
        try:
            opened.log = read_comparisons(source, **given, on_bad_rows="quarantine", quarantine=away)
        except InputError:
            return
    opened.bad = opened.log.quarantined
    opened.log.notes = [note for note in opened.log.notes if away not in note]


def check_named(columns: Mapping[str, Any]) -> dict[str, str]:
    """The columns that were named.

    Raises:
        EarnestError: an option that is none.
    """
    unknown = [name for name in columns if name not in STANDARD]
    if unknown:
        raise EarnestError(f"doctor({unknown[0]}=...): expected one of {', '.join(STANDARD)}, or outcomes")
    return {name: column for name, column in columns.items() if column is not None}
