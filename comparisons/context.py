"""Columns that a model looks at beside models and winner, as SQL over the view `log`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .schema import OUTCOMES
from .sql import ident, literal

if TYPE_CHECKING:
    from .log import ComparisonLog

__all__ = [
    "NAMED", "PREVIOUS", "TIMESTAMP", "WHOLE", "gold_code", "label_match", "moment", "number", "relation", "sorting",
]  # fmt: skip

TIMESTAMP, PREVIOUS = "timestamp", "previous_choice"
"""When a vote was given, in seconds or whatever units the log has; and what its user chose in the vote before: 0
nothing, 1 the first response, 2 the second, 3 a tie."""

NAMED = {"category": "a category", "item": "an item"}
"""Context columns of names, and what a row of them is called."""

WHOLE = (*NAMED, "gold", PREVIOUS)
"""Context columns that are whole numbers in cells; all others are covariates."""


def moment(column: str) -> str:
    """SQL of a time as a number: numbers as they are (to 53 bits), dates in seconds; NULL for anything else."""
    text = f"CAST({column} AS VARCHAR)"
    return f"coalesce(TRY_CAST({text} AS DOUBLE), epoch(TRY_CAST({text} AS TIMESTAMP)))"


def gold_code(column: str) -> str:
    """SQL for a column of right answers as a number: 0 without one, else 1 + the outcome."""
    return f"CASE {column} {_coded()} ELSE 0 END"


def number(name: str, table: str = "") -> str:
    """SQL of a context column as a number (NULL where it is none); of a category or item its name."""
    column = f"{table}{ident(name)}"
    match name:
        case "gold":
            return gold_code(column)
        case "timestamp":
            return moment(column)
    return column if name in (*NAMED, PREVIOUS) else f"TRY_CAST({column} AS DOUBLE)"


def sorting(context: Iterable[str]) -> list[str]:
    """What cells are sorted by: time first, so that a user's are in its order, and the outcome last."""
    names = list(context)
    first = [name for name in names if name == TIMESTAMP]
    return [*first, "model_a", "model_b", *(name for name in names if name != TIMESTAMP), "outcome"]


def relation(context: Iterable[str]) -> str:
    """SQL of the log with the columns that follow from others; it can be called `log` again.

    Votes of one moment are put into order by what they are, so that the order of the rows does not matter.
    """
    if PREVIOUS not in context:
        return "log"
    before = f'lag(winner) OVER (PARTITION BY "user" ORDER BY {moment(TIMESTAMP)}, model_a, model_b, winner)'
    return f"(SELECT *, CASE {before} {_coded()} ELSE 0 END AS {PREVIOUS} FROM log)"


def label_match(log: ComparisonLog, context: Iterable[str]) -> tuple[list[str], str]:
    """Columns that tell the votes of a log apart in a table of labels, and SQL that joins `labels` with `log`."""
    told = [name for name in context if name in log.columns or name == PREVIOUS]
    matches = [f"labels.{ident(key)} = log.{ident(key)}" for key in ("user", "model_a", "model_b", "winner")]
    for name in told:
        # Most comparisons have no known answer, and a label's answer is the word itself.
        value = f"log.{ident(name)}" if name in (*NAMED, "gold") else number(name, "log.")
        matches.append(f"labels.{ident(name)} IS NOT DISTINCT FROM {value}")
    return ["user", "model_a", "model_b", "winner", *told], " AND ".join(matches)


def _coded() -> str:
    return " ".join(f"WHEN {literal(word)} THEN {place + 1}" for place, word in enumerate(OUTCOMES))
