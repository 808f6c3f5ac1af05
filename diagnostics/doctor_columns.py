"""Which column may be what, by its name and by what it holds, where reading does not dare to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import duckdb

from ..comparisons.columns import PAIRS, REQUIRED, USUAL
from ..comparisons.sources import VIEW, Source
from ..comparisons.sql import ident
from .doctor_words_guessed import guess_outcomes, name_words, words

__all__ = ["Profile", "chosen_and_rejected", "likely_columns", "profiles"]

_ROWS, _VALUES = 100_000, 2_000
_SIDES = (
    ("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("x", "y"), ("one", "two"), ("l", "r"),
)  # fmt: skip
_MODEL = words("model models system llm bot assistant player engine agent ai name candidate arm variant")
_TEXT = words("response answer text output conversation completion score rating tokens length len time")
_WINNER = words(
    "winner outcome result vote choice preference preferred label verdict better best chosen pick picked selected "
    "selection decision judgment judgement answer won winning favorite favourite"
)
_USER = words(
    "user judge worker annotator rater voter labeler labeller evaluator participant respondent assessor person who "
    "email account client player reviewer grader subject member uid turker performer coder name ip session visitor "
    "cookie fingerprint author annotation"
)
_PERSON = _USER - words("name ip session visitor cookie fingerprint client account author annotation")
_NO_USER = words(
    "model prompt question response answer text output category topic task domain lang language country time date "
    "timestamp turn score rating difficulty source dataset split version tokens length seconds duration dwell "
    "winner outcome battle comparison item pair vote"
)


@dataclass(frozen=True)
class Profile:
    """What a column holds.

    Attributes:
        kind: DuckDB's type.
        values: the most frequent values as texts, with how often they occur.
        rows: looked at.
        length: mean length of a value, characters.
    """

    kind: str
    values: dict[str, int]
    rows: int
    length: float

    @property
    def many(self) -> bool:
        """Whether there are more values than were kept."""
        return len(self.values) == _VALUES

    @property
    def is_measure(self) -> bool:
        """Whether it holds measurements or times rather than names."""
        return self.kind.startswith(("DOUBLE", "FLOAT", "DECIMAL", "TIMESTAMP", "DATE", "TIME", "INTERVAL"))


def profiles(source: Source, connection: duckdb.DuckDBPyConnection) -> dict[str, Profile]:
    """A look at the first hundred thousand rows of every column that holds no lists or objects."""
    found = {}
    for name, kind in source.columns.items():
        if kind == "JSON" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
            continue
        rows = connection.execute(
            f"SELECT CAST({ident(name)} AS VARCHAR) AS v, count(*) AS n FROM "
            f"(SELECT {ident(name)} FROM {VIEW} LIMIT {_ROWS}) GROUP BY 1 ORDER BY n DESC, v LIMIT {_VALUES}"
        ).fetchall()
        values = {value: n for value, n in rows if value is not None and value.strip()}
        n = sum(values.values())
        found[name] = Profile(kind, values, n, sum(len(v) * k for v, k in values.items()) / max(n, 1))
    return found


def likely_columns(seen: Mapping[str, Profile], named: Mapping[str, str]) -> dict[str, str]:
    """The likeliest columns of user, models and winner; those that were named stay, and what is not there is left out.

    Args:
        seen: the columns.
        named: standard name to column, as far as the caller says it.
    """
    chosen = dict(named)
    free = {name: look for name, look in seen.items() if name not in chosen.values()}
    if not {"model_a", "model_b"} & chosen.keys():
        pairs = [(_pair_score(one, two, free), one, two) for one, two in combinations(free, 2)]
        best = max(pairs, default=(0.0, "", ""))
        if best[0] >= 1.0:
            chosen["model_a"], chosen["model_b"] = _in_order(*best[1:])
    models: set[str] = set()
    for side in ("model_a", "model_b"):
        if side in chosen and chosen[side] in seen:
            models.update(seen[chosen[side]].values)
    for role in ("winner", "user"):
        if role in chosen:
            continue
        free = {name: look for name, look in seen.items() if name not in chosen.values()}
        scores = [
            (_winner_score(name, look, models) if role == "winner" else _user_score(name, look), name)
            for name, look in free.items()
        ]
        best_of = max(scores, default=(0.0, ""))
        if best_of[0] >= 1.0:
            chosen[role] = best_of[1]
    return {role: chosen[role] for role in (*REQUIRED, *(r for r in chosen if r not in REQUIRED)) if role in chosen}


def chosen_and_rejected(columns: Iterable[str]) -> tuple[str, str] | None:
    """Columns that seem to name the model that was chosen and the one that was not."""
    found = [
        next((name for name in columns if wanted.intersection(name_words(name))), None)
        for wanted in (
            words("chosen winner winning preferred better won win wins"),
            words("rejected loser losing dispreferred worse lost lose loses"),
        )
    ]
    return (found[0], found[1]) if found[0] and found[1] else None


def _in_order(one: str, two: str) -> tuple[str, str]:
    """Two columns with the left side's first, as far as their names say."""
    turned = any((b, a) in _SIDES for a, b in zip(name_words(one), name_words(two), strict=False) if a != b)
    return (two, one) if turned else (one, two)


def _pair_score(one: str, two: str, free: Mapping[str, Profile]) -> float:
    """1 or more where two columns may hold the models."""
    first, second = free[one], free[two]
    if first.is_measure or second.is_measure or first.many or second.many or max(first.length, second.length) > 80:
        return 0.0
    if len(first.values.keys() | second.values.keys()) < 2:
        return 0.0
    tokens = (name_words(one), name_words(two))
    if _TEXT.intersection(tokens[0]) or (one.lower(), two.lower()) in PAIRS["response_a", "response_b"]:
        return 0.0
    apart = [(a, b) for a, b in zip(*tokens, strict=False) if a != b]
    sided = len(tokens[0]) == len(tokens[1]) and len(apart) == 1 and {apart[0], apart[0][::-1]} & {*_SIDES}
    usual = {(one.lower(), two.lower()), (two.lower(), one.lower())} & {*PAIRS["model_a", "model_b"]}
    shared = len(first.values.keys() & second.values.keys()) / len(first.values.keys() | second.values.keys())
    called = bool(_MODEL.intersection(tokens[0]) and _MODEL.intersection(tokens[1]))
    flat = 0.0 if shared < 0.5 else 0.8 + 0.2 * shared
    numbers = all(re.fullmatch(r"-?\d+(\.\d+)?", v) for v in first.values)
    return flat + 0.7 * bool(sided) + 0.5 * called + 0.5 * bool(usual) - 0.3 * numbers


def _winner_score(name: str, look: Profile, models: set[str]) -> float:
    if look.many or not look.values or (look.is_measure and len(look.values) > 7):
        return 0.0
    hint = 0.5 if _WINNER.intersection(name_words(name)) or name.lower() in USUAL["winner"] else 0.0
    told, _ = guess_outcomes(look.values)
    readable = sum(n for value, n in look.values.items() if value in told or value in models) / look.rows
    if len(look.values) < 2 and not hint:
        return 0.0
    few = len(look.values) <= 12 or set(look.values) <= models | told.keys()
    # Words of which nothing can be said may still be outcomes where the name says so.
    return (readable + hint if readable >= 0.5 else 2 * hint) if few else 0.0


def _user_score(name: str, look: Profile) -> float:
    called = name_words(name)
    if look.is_measure or look.length > 100 or len(look.values) < 2:
        return 0.0
    known = name.lower() in USUAL["user"]
    if known or _USER.intersection(called):
        return 2.0 + known + 0.5 * bool(_PERSON.intersection(called))
    if _NO_USER.intersection(called) or len(look.values) < 8:
        return 0.0
    votes = look.rows / len(look.values)
    if look.many or votes < 2:
        return 0.0
    return 1.0 + min(votes, 50.0) / 100
