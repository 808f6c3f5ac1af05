"""The kinds of votes that occur: models, outcome and what else has few values, as written and as read.

Votes are many, kinds of votes are few. What a value means, whether it can be used, and its part of the fingerprint are
found once for each kind; passes over the votes themselves then look at nothing but the source's own columns.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .sql import ident

if TYPE_CHECKING:
    from .log import ComparisonLog
    from .recipe import Recipe

__all__ = [
    "FEW", "FEW_OF_CONTEXT", "IDENTITY", "KINDS", "VOTES", "few", "kinds_sql", "print_of_rows", "source_columns",
    "told_by", "told_by_kind", "written",
]  # fmt: skip

KINDS, VOTES = "earnest_kinds", "__earnest_n"
"""Temporary table of the kinds of votes, one row for each way of writing one: columns as `written`, the standard
columns, `kind` (its number, in the order of what is read) and how many votes there are."""

IDENTITY = ("user", "model_a", "model_b", "winner", "comparison", "item", "category", "gold")
"""What makes a vote the vote that it is."""

FEW_OF_CONTEXT = ("category", "gold")
"""Columns of few values that a model may look at beside models and winner."""

FEW = ("model_a", "model_b", "winner", *FEW_OF_CONTEXT)
"""Standard columns of few values."""


def few(recipe: Recipe) -> list[str]:
    """Standard columns of a log that have few values."""
    return [name for name in FEW if name in recipe.values]


def source_columns(recipe: Recipe) -> list[str]:
    """The source's columns behind them as SQL, each once."""
    return list(dict.fromkeys(ident(recipe.columns[name]) for name in few(recipe)))


def written(recipe: Recipe) -> list[str]:
    """Their columns in the table of kinds as the source has them, r0, r1, ..., in the order of `few`."""
    return [f"r{i}" for i in range(len(few(recipe)))]


def kinds_sql(recipe: Recipe, relation: str, votes: str) -> str:
    """SQL of the table of kinds.

    Args:
        recipe: how the source is read.
        relation: of votes, with the source's columns.
        votes: SQL for how many votes a row of it stands for.
    """
    names = few(recipe)
    told = [f"{ident(recipe.columns[name])} AS {raw}" for name, raw in zip(names, written(recipe), strict=True)]
    told += [f"{recipe.reading(name)} AS {ident(name)}" for name in names]
    columns, order = ", ".join(source_columns(recipe)), ", ".join(map(ident, names))
    grouped = f"SELECT {columns}, CAST(sum({votes}) AS BIGINT) AS {VOTES} FROM {relation} GROUP BY ALL"
    # A selection of its own: the source's columns may have the standard names and mean something else.
    return (
        f"SELECT *, CAST(dense_rank() OVER (ORDER BY {order}) - 1 AS INTEGER) AS kind "
        f"FROM (SELECT {', '.join(told)}, {VOTES} FROM ({grouped}))"
    )


def told_by(recipe: Recipe) -> list[str]:
    """Columns that a vote of a log is told by."""
    return [name for name in IDENTITY if name in recipe.values]


def told_by_kind(recipe: Recipe) -> bool:
    """Whether user and kind are all that tells votes apart: then their counts have a fingerprint."""
    return set(told_by(recipe)) <= {"user", *FEW}


def print_of_rows(log: ComparisonLog) -> str:
    """The fingerprint of a log whose votes have an id or an item, from every row."""
    present = told_by(log.recipe)
    text = " || ".join(f"coalesce(length({ident(n)}) || ':' || {ident(n)}, '-')" for n in present)
    rows = log.query(  # sums of 64-bit words are exact in 128 bits; of 128-bit ones DuckDB makes floats
        f"SELECT count(*) AS n, CAST(sum(h) AS VARCHAR) AS s, bit_xor(h) AS x "
        f"FROM (SELECT md5_number_lower({text}) AS h FROM log)"
    ).to_pylist()[0]
    return hashlib.sha256(f"{present} {rows['n']} {rows['s']} {rows['x']}".encode()).hexdigest()[:32]
