"""A log on Spark: checked and counted on the engine, fitted from the table of its users' patterns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .cells import Counts
from .context import PREVIOUS, TIMESTAMP
from .counting import count_cells
from .errors import EarnestError, InputError
from .kinds import FEW_OF_CONTEXT
from .log import ComparisonLog
from .protocols import FittedOnPatterns
from .schema import Schema
from .spark_rows import Rows, by_user, patterns
from .spark_votes import KEYS, VOTES, Different, different, full_recipe
from .sql import ident

__all__ = ["SparkLog"]

_BROADCAST = 200_000  # patterns that are sent to every worker
_ATTENTIVENESS = ("mean", "sd", "lower", "upper")
_LABELS = ("attentiveness", "responsibility", "weight", "label_noise", "label_noise_posterior")


@dataclass(eq=False, repr=False)
class SparkLog(ComparisonLog):
    """A checked log on Spark: votes stay there, and only the table of users' patterns comes to the driver.

    Made by `read_comparisons(spark_dataframe)`. `fit_em` takes it; of a fit `attentiveness` and `with_weights` give
    Spark data frames. Whatever else needs the rows raises an `EarnestError`: see docs/cluster.md.

    Attributes:
        rows: The data frame.
        read: Its different votes.
        found: Standard name to the data frame's column.
    """

    rows: Rows | None = None
    read: Different | None = None
    found: dict[str, str] = field(default_factory=dict)
    by_pattern: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"<SparkLog of {self.source}: {len(self):,} comparisons>"

    def __len__(self) -> int:
        return int(np.sum(self._read.table["votes"].to_numpy()))

    @property
    def _read(self) -> Different:
        if self.read is None:
            raise EarnestError("a SparkLog is made by read_comparisons(spark_dataframe)")
        return self.read

    @property
    def _rows(self) -> Rows:
        if self.rows is None:
            raise EarnestError("a SparkLog is made by read_comparisons(spark_dataframe)")
        return self.rows

    @property
    def mapping(self) -> dict[str, str]:
        return dict(self.found)

    @property
    def columns(self) -> list[str]:
        return self._read.log.columns

    @property
    def models(self) -> Any:
        """(model,) names, sorted."""
        return self._read.log.models

    def outcome_counts(self) -> dict[str, int]:
        counted = self._read.log.query(f"SELECT winner, sum({VOTES}) AS n FROM log GROUP BY 1").to_pydict()
        counts = dict(zip(counted["winner"], map(int, counted["n"]), strict=True))
        return {outcome: counts.get(outcome, 0) for outcome in ("model_a", "model_b", "tie")}

    def query(self, sql: str, **tables: Any) -> NoReturn:
        raise EarnestError(
            f"{self.source}: this needs the rows of the log, which stay on Spark. There a log can be fitted (fit_em), "
            "and its users and votes joined with the fit: log.attentiveness(fit), log.with_weights(fit). For anything "
            "else read a part of it: read_comparisons(frame.where(...).toArrow())"
        )

    def execute(self, sql: str, **tables: Any) -> NoReturn:
        self.query(sql)

    def attach(self, source: Any, view: str) -> NoReturn:
        self.query(view)

    def fingerprint(self) -> str:
        """A hash of the votes (user, models, winner, category, gold), 32 hexadecimal digits.

        Neither the order of the rows nor how they are partitioned matters. It is another one than the same log has
        when it is read from a file. Users enter by 64-bit hashes.
        """
        read = self._read
        names = [name for name in KEYS if name in read.log.recipe.values]
        listed = ", ".join(map(ident, names))
        said = read.log.query(f'SELECT {listed} FROM log ORDER BY "row"').to_pydict()
        numbers = [read.table[name].to_pylist() for name in ("votes", "s0", "s1", "s2", "x")]
        sums: dict[str, list[int]] = {}
        for vote, n, s0, s1, s2, x in zip(zip(*(said[name] for name in names), strict=True), *numbers, strict=True):
            total = sums.setdefault(repr(vote), [0, 0, 0])
            total[0], total[1], total[2] = total[0] + n, total[1] + (s0 << 42) + (s1 << 21) + s2, total[2] ^ x
        return hashlib.sha256(repr((names, sorted(sums.items()))).encode()).hexdigest()[:32]

    def counted_elsewhere(
        self, ties: bool, context: tuple[str, ...], symmetric: bool, schema: Schema | None
    ) -> Counts | None:
        """Counts whose users are patterns, each with its `multiplicity`; see `count_cells`."""
        found, cells = self._cells(ties, context, symmetric, schema)
        table = patterns(by_user(self._rows.coded(found.names, found.table, cells.cell)))
        counts = _counted(table, cells)
        if (n := float(counts.totals().sum())) != len(self):
            raise InputError(
                f"{self.source}: had {len(self):,} comparisons when it was read and has {n:,.0f} now; read it from "
                "what does not change, such as a table or files"
            )
        return counts

    def _cells(
        self, ties: bool, context: tuple[str, ...], symmetric: bool, schema: Schema | None
    ) -> tuple[Different, Counts]:
        """Combinations of what a model looks at, and their cells: entry i of the counts is combination i."""
        for name in context:
            if name in (TIMESTAMP, PREVIOUS, "item"):
                looks = "items" if name == "item" else "the order of a user's votes"
                raise EarnestError(
                    f"{self.source}: the model looks at {looks}, which is not supported on Spark, where users are "
                    "known by how often they gave each vote; leave that component out, or fit a part of the log: "
                    "read_comparisons(frame.where(...).toArrow())"
                )
        found = self._combinations(context)
        counts = count_cells(found.log, ties=ties, context=context, symmetric=symmetric, schema=schema)
        return found, counts

    def _combinations(self, context: tuple[str, ...]) -> Different:
        if set(context) <= set(FEW_OF_CONTEXT):
            return self._read
        rows, full = self._rows, full_recipe(self._rows, self.found)
        standard = [name for name in KEYS if name in self.found and (name in KEYS[:3] or name in context)]
        own = [full.carried[name] for name in context if name in full.carried]
        columns = {name: self.found[name] for name in ("user", *standard)}
        return different(rows, columns, own, self.recipe.outcomes, self.columns)

    def attentiveness(self, fit: FittedOnPatterns) -> Any:
        """Attentiveness of every user, a Spark data frame: user, comparisons, mean, sd, lower, upper.

        The users' patterns are made again on the engine and joined with the fit's table of patterns. Of a fit of
        another log the users are judged by this log's votes, with that fit's population (see `Fit.score`).

        Raises:
            EarnestError: `fit` is not a fit by `fit_em`, or knows other models or categories.
        """
        check_fit("attentiveness", fit)
        frame = fit.attentiveness_for(self)
        coded = self._coded(fit)
        known = self._sent(frame[["pattern", *_ATTENTIVENESS]])
        columns = ["earnest_user AS user", "comparisons", *_ATTENTIVENESS]
        return by_user(coded).join(known, "pattern", "left").selectExpr(*columns)

    def with_weights(self, fit: FittedOnPatterns) -> Any:
        """The data frame with per-vote quantities: attentiveness, responsibility, weight and flip rates.

        Columns are added to the data frame's own, on Spark; what they are says `inference.labels.label_table`. Users
        are judged by their votes in this log.

        Raises:
            InputError: The data frame has a column of one of these names.
            EarnestError: As `attentiveness`.
        """
        check_fit("with_weights", fit)
        taken = {name.lower() for name in self._rows.names}
        if clash := [name for name in _LABELS if name in taken]:
            raise InputError(f"{self.source}: has a column {clash[0]!r} already; rename it")
        labels = self._sent(fit.pattern_labels(self).rename(columns={"cell": "earnest_cell"}))
        coded = self._coded(fit)
        own = by_user(coded).select("earnest_user", "pattern")
        joined = coded.join(own, "earnest_user", "left").join(labels, ["pattern", "earnest_cell"], "left")
        names = self._rows.names
        return joined.selectExpr(*(f"c{i}" for i in range(len(names))), *_LABELS).toDF(*names, *_LABELS)

    def _coded(self, fit: FittedOnPatterns) -> Any:
        ties, context, symmetric, schema = fit.counted_by
        found, cells = self._cells(ties, context, symmetric, schema)
        return self._rows.coded(found.names, found.table, cells.cell)

    def _sent(self, frame: pd.DataFrame) -> Any:
        """A table of patterns on the engine; a small one to every worker."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        sent = self._rows.frame.sparkSession.createDataFrame(table)
        return sent.hint("broadcast") if len(frame) <= _BROADCAST else sent


def check_fit(what: str, fit: Any) -> None:
    """Raise an `EarnestError` unless something is a fit."""
    if not hasattr(fit, "pattern_labels"):
        raise EarnestError(f"{what}(fit=...): expected a fit by fit_em, got {type(fit).__name__}")


def _counted(table: pa.Table, cells: Counts) -> Counts:
    """Counts from the table of patterns."""
    texts = table["pattern"].combine_chunks()
    parts = pc.split_pattern(pc.replace_substring(texts, ":", " "), " ")
    numbers = pc.list_flatten(parts).cast(pa.int64()).to_numpy().reshape(-1, 2)
    lengths = pc.list_value_length(parts).to_numpy() // 2
    return Counts(
        users=np.asarray(table["pattern"].to_numpy(), dtype=object),
        cells=cells.cells,
        user=np.repeat(np.arange(len(lengths), dtype=np.int64), lengths),
        cell=numbers[:, 0],
        count=numbers[:, 1].astype(np.float64),
        multiplicity=table["users"].to_numpy().astype(np.float64),
    )
