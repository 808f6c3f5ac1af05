"""What a log holds, counted by the database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, reduce
from math import gcd
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from ..comparisons import ComparisonLog
from ..comparisons.columns import USUAL
from ..comparisons.sql import ident
from ..inference.evidence import Evidence, Votes

__all__ = ["Holdings"]

_MOST = 2_000_000
"""Votes of which the tests look; of a longer log at those of some of its users."""
_FIXED, _REPEATS = 0.95, 50
_DWELL = re.compile(
    r"dwell|duration|elapsed|latency|seconds|time_?spent|(response|reaction|reading)_?time|(^|_)(rt|ms|secs?)$"
)
_TEXTS = ("prompt", "response_a", "response_b", "timestamp", "item")


@dataclass(frozen=True)
class Holdings:
    """A log and its counts, each asked for once.

    Attributes:
        log: the log.
    """

    log: ComparisonLog = field(repr=False)

    @cached_property
    def votes(self) -> int:
        """Votes."""
        return len(self.log)

    @cached_property
    def models(self) -> list[str]:
        """Names."""
        return [str(name) for name in self.log.models]

    @cached_property
    def by_user(self) -> dict[str, Any]:
        """Users; median, least and most votes of one; the busiest; several: share of votes by who gave two or more."""
        table = self.log.query(
            "SELECT count(*) AS users, median(n) AS median, min(n) AS least, max(n) AS most, "
            "arg_max(name, n) AS busiest, "
            'sum(n) FILTER (n > 1) / sum(n) AS several FROM (SELECT "user" AS name, count(*) AS n FROM log GROUP BY 1)'
        )
        found = table.to_pylist()[0]
        return {**found, "several": float(found["several"] or 0.0)}

    @property
    def part(self) -> int:
        """Of how many users one is looked at by the tests."""
        return max(-(-self.votes // _MOST), 1)

    @cached_property
    def cells(self) -> pa.Table:
        """Counts of (user, model_a, model_b, winner), of some of the users where the log is long."""
        where = f'WHERE hash("user") % {self.part} = 0' if self.part > 1 else ""
        return self.log.query(
            f'SELECT "user", model_a, model_b, winner, count(*) AS n FROM log {where} GROUP BY ALL ORDER BY ALL'
        )

    @cached_property
    def evidence(self) -> Evidence:
        """The tests on them."""
        return Evidence(Votes.of(self.cells, self.models))

    @cached_property
    def met(self) -> list[tuple[str, str, dict[str, int]]]:
        """(left model, right model, how often each outcome)."""
        rows: dict[tuple[str, str], dict[str, int]] = {}
        table = self.log.query("SELECT model_a, model_b, winner, count(*) AS n FROM log GROUP BY ALL ORDER BY ALL")
        for row in table.to_pylist():
            rows.setdefault((row["model_a"], row["model_b"]), {})[row["winner"]] = row["n"]
        return [(*pair, counts) for pair, counts in rows.items()]

    @cached_property
    def pairs(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Unordered pair to votes with the alphabetically first on the left, and on the right."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for left, right, counts in self.met:
            key, n = (min(left, right), max(left, right)), sum(counts.values())
            there, back = found.get(key, (0, 0))
            found[key] = (there + n, back) if left == key[0] else (there, back + n)
        return found

    @cached_property
    def outcomes(self) -> dict[str, int]:
        """How often each outcome occurs."""
        return {name: sum(counts.get(name, 0) for *_, counts in self.met) for name in ("model_a", "model_b", "tie")}

    @property
    def ties(self) -> float:
        """Share of ties."""
        return self.outcomes["tie"] / max(self.votes, 1)

    @cached_property
    def both_bad(self) -> int:
        """Ties that were written as "both bad"."""
        if not self.ties:
            return 0
        column, (relation, votes) = ident(self.log.mapping["winner"]), self.log.tally
        said = f"lower(CAST({column} AS VARCHAR))"
        sql = f"SELECT sum({votes}) AS n FROM {relation} WHERE contains({said}, 'both') AND contains({said}, 'bad')"
        _ = len(self.log)  # the relation comes with the first query
        return min(int(self.log.query(sql)["n"][0].as_py() or 0), self.outcomes["tie"])

    @property
    def fixed(self) -> float:
        """Share of the votes that show their pair in its more frequent order: 0.5 where sides are shuffled."""
        return sum(max(ways) for ways in self.pairs.values()) / max(self.votes, 1)

    @cached_property
    def fixed_for_users(self) -> float:
        """The same within users, of pairs that a user saw more than once; 0 where there are too few such votes."""
        found = self.log.query(
            "SELECT sum(greatest(n - k, k)) AS most, sum(n) AS n FROM (SELECT count(*) AS n, "
            'count(*) FILTER (model_a < model_b) AS k FROM log GROUP BY "user", least(model_a, model_b), '
            "greatest(model_a, model_b) HAVING n > 1)"
        ).to_pylist()[0]
        return float(found["most"] / found["n"]) if (found["n"] or 0) >= _REPEATS else 0.0

    @property
    def sides_fixed(self) -> bool:
        """Whether pairs are shown in one order, to all or to each user, so that side and model cannot be told apart."""
        return self.votes >= 20 and max(self.fixed, self.fixed_for_users) > _FIXED

    @cached_property
    def islands(self) -> list[list[str]]:
        """Models that are connected by comparisons, largest group first."""
        return groups(self.models, list(self.pairs))

    @cached_property
    def unbeaten(self) -> tuple[list[str], list[str]]:
        """Models that won every decided vote, and those that lost every one."""
        wins, losses = dict.fromkeys(self.models, 0), dict.fromkeys(self.models, 0)
        for left, right, counts in self.met:
            for outcome, winner, loser in (("model_a", left, right), ("model_b", right, left)):
                wins[winner] += counts.get(outcome, 0)
                losses[loser] += counts.get(outcome, 0)
        always = [m for m in self.models if wins[m] and not losses[m]]
        return always, [m for m in self.models if losses[m] and not wins[m]]

    @cached_property
    def one_sided(self) -> list[tuple[str, int, str]]:
        """Users of ten votes or more who always answered alike, where that cannot be chance: (name, votes, outcome).

        Most votes first. That of a careless user is taken to have an answer that they give six times in ten.
        """
        per_user = self.log.query(
            'SELECT "user" AS name, count(*) AS n, min(winner) AS o, min(winner) = max(winner) AS alike FROM log '
            "GROUP BY 1 HAVING n >= 10 ORDER BY n DESC, name"
        )
        votes = per_user["n"].to_numpy(zero_copy_only=False).astype(float)
        alike = per_user["alike"].to_numpy(zero_copy_only=False).astype(bool)
        usual = max(0.6, max(self.log.outcome_counts().values()) / max(self.votes, 1))
        chance = np.minimum(usual, 0.999) ** votes
        surely = alike & (chance * max(len(votes), 1) < 1e-4)
        if stats.poisson.sf(alike.sum() - 1, chance.sum()) < 1e-4:
            surely = alike
        return [(row["name"], row["n"], row["o"]) for row in per_user.filter(pa.array(surely)).to_pylist()]

    @property
    def multiple(self) -> int:
        """Every count of equal votes is a multiple of it: 2 where a file was read twice."""
        counts = [int(n) for n in self.cells["n"].to_pylist()]
        return reduce(gcd, counts) if len(counts) >= 20 else 1

    @cached_property
    def repeated(self) -> int:
        """Rows that equal another in every column, of a log whose rows should differ; 0 where they need not."""
        if not set(_TEXTS) & set(self.log.columns) or self.votes > _MOST or "comparison" in self.log.columns:
            return 0
        names = ", ".join(map(ident, self.log.columns))
        sql = f"SELECT count(*) - count(DISTINCT hash({names})) AS n FROM log"
        return int(self.log.query(sql)["n"][0].as_py())

    @cached_property
    def ids(self) -> tuple[str, int, bool] | None:
        """A column that looks like an id of the vote and repeats.

        Its name, how many votes have the id of another vote of the same user, and whether each of its values is of one
        pair of models: then it names what was compared, not the vote.
        """
        carried = [name for name in self.log.recipe.carried if name.lower() in USUAL["comparison"]]
        if not carried or "comparison" in self.log.columns:
            return None
        name = ident(carried[0])
        pair = "least(model_a, model_b) || chr(1) || greatest(model_a, model_b)"
        [found] = self.log.query(
            f'SELECT count(*) AS n, count(DISTINCT ({name}, "user")) AS own, count(DISTINCT {name}) AS ids, '
            f"count(DISTINCT ({name}, {pair})) AS paired FROM log"
        ).to_pylist()
        if found["ids"] == found["n"]:
            return None
        return self.log.original(carried[0]), int(found["n"] - found["own"]), found["paired"] == found["ids"]

    @cached_property
    def dwell(self) -> list[str]:
        """Numeric columns, above 0, that may say how long a vote took."""
        recipe, found = self.log.recipe, []
        for name, column in recipe.carried.items():
            numeric = recipe.source.columns[column].startswith(
                ("DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "INTEGER", "HUGEINT")
            )
            if numeric and _DWELL.search(name.lower()):
                [least] = self.log.query(f"SELECT min({ident(name)}) AS n FROM log")["n"].to_pylist()
                if least is not None and least > 0:
                    found.append(name)
        return found

    @cached_property
    def gold(self) -> dict[str, Any] | None:
        """Answers whose right outcome is known: how many, right, and how many of them careless users would hit.

        Outcomes, right ones and how many of each kind, too (kind,).
        """
        if "gold" not in self.log.columns:
            return None
        table = self.log.query(
            "SELECT winner, gold, count(*) AS n FROM log WHERE gold IS NOT NULL GROUP BY ALL"
        ).to_pylist()
        n = sum(row["n"] for row in table)
        if not n:
            return None
        place = {"model_a": 0, "model_b": 1, "tie": 2}
        winners, golds = (np.array([place[row[side]] for row in table]) for side in ("winner", "gold"))
        each = np.array([float(row["n"]) for row in table])
        shares = [np.bincount(side, each, 3) / n for side in (winners, golds)]
        return {
            "n": n,
            "right": float(each[winners == golds].sum()) / n,
            "chance": float(shares[0] @ shares[1]),
            "winners": winners,
            "golds": golds,
            "each": each,
        }


def groups(names: list[str], links: list[tuple[str, str]]) -> list[list[str]]:
    """Connected names, largest group first.

    Example:
        >>> groups(["a", "b", "c", "d"], [("a", "c")])
        [['a', 'c'], ['b'], ['d']]
    """
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for one, other in links:
        leader[find(one)] = find(other)
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(find(name), []).append(name)
    return sorted(found.values(), key=lambda group: (-len(group), group))
