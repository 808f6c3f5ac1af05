"""The kinds of votes that occur: models, outcome and what else has few values, as written and as read.

Votes are many, kinds of votes are few. What a value means, whether it can be used, and its part of the fingerprint are
found once for each kind; passes over the votes themselves then look at nothing but the source's own columns.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from .sql import ident

if TYPE_CHECKING:
    import pyarrow as pa

    from .log import ComparisonLog
    from .recipe import Recipe

__all__ = [
    "IDENTITY",
    "KINDS",
    "PRINT",
    "PRINTS_SQL",
    "VOTES",
    "digest",
    "few",
    "fingerprint",
    "kinds_sql",
    "told_by_kind",
    "written",
]  # fmt: skip

KINDS, PRINT, VOTES = "earnest_kinds", "__earnest_print", "__earnest_n"
"""Temporary table of the kinds of votes: `written` columns, standard columns, and the columns of a word of 64 bits that
stands for each, and of how many there are."""

IDENTITY = ("user", "model_a", "model_b", "winner", "comparison", "item", "category", "gold")
"""What makes a vote the vote that it is."""

_FEW = ("model_a", "model_b", "winner", "category", "gold")


def few(recipe: Recipe) -> list[str]:
    """Standard columns of a log that have few values."""
    return [name for name in _FEW if name in recipe.values]


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
    columns = [recipe.columns[name] for name in few(recipe)]
    distinct = list(dict.fromkeys(map(ident, columns)))
    values = {name: recipe.outcome(name)[0] if name in ("winner", "gold") else recipe.values[name]
              for name in few(recipe)}  # fmt: skip
    told = [f"{ident(column)} AS {raw}" for column, raw in zip(columns, written(recipe), strict=True)]
    told += [f"{value} AS {ident(name)}" for name, value in values.items()]
    text = " || ".join(f"coalesce(length({ident(name)}) || ':' || {ident(name)}, '-')" for name in values)
    grouped = f"SELECT {', '.join(distinct)}, CAST(sum({votes}) AS BIGINT) AS {VOTES} FROM {relation} GROUP BY ALL"
    # A selection of its own: the source's columns may have the standard names and mean something else.
    return f"SELECT *, md5_number_lower({text}) AS {PRINT} FROM (SELECT {', '.join(told)}, {VOTES} FROM ({grouped}))"


PRINTS_SQL = f"md5_number_lower(name) AS u, CAST(sum(n * {PRINT}::HUGEINT) % (1::HUGEINT << 64) AS UBIGINT) AS p"
"""SQL, in a selection of votes by name, for the word of the user and the sum of the words of the user's votes."""


def digest(recipe: Recipe, users: pa.Table) -> str:
    """The fingerprint of votes, 32 hexadecimal digits.

    The sum over votes of (word of the user) x (word of the kind of vote), modulo 2^64, which does not depend on the
    order of votes and is known from each user's counts.

    Args:
        recipe: how the source is read.
        users: n (votes) and the columns of `PRINTS_SQL`, one row a user.
    """
    words = users["u"].to_numpy() * users["p"].to_numpy()
    total = int(np.sum(words, dtype=np.uint64))  # wraps around on purpose
    n = int(np.sum(users["n"].to_numpy()))
    return hashlib.sha256(f"{told_by(recipe)} {n} {len(words)} {total}".encode()).hexdigest()[:32]


def told_by(recipe: Recipe) -> list[str]:
    """Columns that a vote of a log is told by."""
    return [name for name in IDENTITY if name in recipe.values]


def told_by_kind(recipe: Recipe) -> bool:
    """Whether user and kind are all that tells votes apart: then their counts have a fingerprint."""
    return set(told_by(recipe)) <= {"user", *_FEW}


def fingerprint(log: ComparisonLog) -> str:
    """See `ComparisonLog.fingerprint`."""
    present = told_by(log.recipe)
    if told_by_kind(log.recipe):
        found = log.query(f"SELECT sum(n) AS n, {PRINTS_SQL} FROM {log.votes_by_kind([PRINT])} GROUP BY name")
        return digest(log.recipe, found)
    text = " || ".join(f"coalesce(length({ident(n)}) || ':' || {ident(n)}, '-')" for n in present)
    rows = log.query(  # sums of 64-bit words are exact in 128 bits; of 128-bit ones DuckDB makes floats
        f"SELECT count(*) AS n, CAST(sum(h) AS VARCHAR) AS s, bit_xor(h) AS x "
        f"FROM (SELECT md5_number_lower({text}) AS h FROM log)"
    ).to_pylist()[0]
    return hashlib.sha256(f"{present} {rows['n']} {rows['s']} {rows['x']}".encode()).hexdigest()[:32]
