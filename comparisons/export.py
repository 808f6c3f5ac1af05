"""Exporting decided votes as preference data, in TRL's explicit-prompt format."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import atomic_file
from .context import label_match, relation
from .errors import EarnestError, InputError
from .log import ComparisonLog
from .protocols import Fitted
from .sql import ident, literal
from .texts import KeyColumns, Text, prompt_text, response_texts
from .write import copy_options

CLIPPED_NOISE = 0.49  # robust DPO divides by 1 - 2 * label_noise: at 0.49 a label counts up to 50 times
_LABELS = ("attentiveness", "weight", "label_noise", "label_noise_posterior")
_EXTRA = ("comparison", "item", "category", "timestamp")


@dataclass(frozen=True)
class PreferenceSummary:
    """What `write_preferences` wrote and left out; every comparison is accounted for.

    Attributes:
        path: The file.
        comparisons: Comparisons of the log.
        written: Rows of the file.
        ties: Comparisons left out because they are ties.
        noisy: Decided votes whose `label_noise` is 1/2 or more.
        noise: What was done with those: "keep", "clip" or "drop".
        missing: Decided votes left out because a text is missing.
        conversational: Whether the texts are lists of messages.
    """

    path: str
    comparisons: int
    written: int
    ties: int
    noisy: int
    noise: str
    missing: int
    conversational: bool

    def __str__(self) -> str:
        parts = [f"{self.written:,} preferences of {self.comparisons:,} comparisons written to {self.path}"]
        parts.append(f"{self.ties:,} ties left out")
        if self.missing:
            parts.append(f"{self.missing:,} left out for want of a text")
        if self.noisy:
            done = {"keep": "kept as they are", "clip": f"clipped to {CLIPPED_NOISE}", "drop": "left out"}[self.noise]
            parts.append(f"{self.noisy:,} with label_noise >= 0.5 (robust DPO cannot use such rows) {done}")
        return "; ".join(parts)


def write_preferences(
    log: ComparisonLog,
    path: str | os.PathLike[str],
    fit: Fitted | None = None,
    prompts: Any = None,
    responses: Any = None,
    *,
    prompt_id: str | None = None,
    prompt_text: str | None = None,
    response_prompt: str | None = None,
    response_model: str | None = None,
    response_text: str | None = None,
    noise: Literal["keep", "clip", "drop", "refuse"] = "keep",
    missing: Literal["refuse", "drop"] = "refuse",
) -> PreferenceSummary:
    """Write one row for each decided vote: prompt, chosen, rejected and how far the label is to be trusted.

    Columns: prompt, chosen, rejected; with a fit attentiveness, weight (the user's attentiveness without this very
    label; 0 where that is negative, of users who pick the worse), label_noise (the chance that a slip chose the other
    response) and label_noise_posterior; then user, chosen_model, rejected_model and those of comparison, item, category
    and timestamp that the log has. Conflicting votes on the same responses stay: they are data. Ties are left out and
    counted.

    Which column goes to which loss, by the names of `earnest.weighted_dpo.WeightedDPOTrainer`: `weight` alone times the
    usual loss (noise=None); `label_noise` to robust DPO (noise="robust", below 1/2: clip or drop here), unbiased where
    users who do not attend lean to no side; `label_noise` as it is and `weight` together to noise="by_side", unbiased
    where they do; `label_noise_posterior` to conservative DPO (noise="conservative", noise_column=...).

    Texts are the log's own (prompt, response_a, response_b) or come from two tables. Lists of messages, with role and
    content, give TRL's conversational format; what both conversations begin with is the prompt.

    Args:
        log: The votes.
        path: A .jsonl or .parquet file (.jsonl also with .gz or .zst); written whole or not at all.
        fit: A fit or posterior; without it only the votes are written.
        prompts: Table of prompts (file or data frame), keyed by `id`, with a `text`.
        responses: Table of responses, keyed by the prompt and the model, by the name that the log uses for it.
        prompt_id: Key column of `prompts`.
        prompt_text: Text column of `prompts`.
        response_prompt: Column of `responses` with the prompt's key.
        response_model: Column of `responses` with the model, as the log names it.
        response_text: Text column of `responses`.
        noise: What to do with rows whose label_noise is 1/2 or more, which robust DPO cannot use: "keep" writes and
            counts them, "clip" sets every label_noise above 0.49 to 0.49 (so those just below 1/2, too: no row then
            counts for more than 50), "drop" leaves the rows out, "refuse" raises.
        missing: What to do with decided votes one of whose texts is missing: "refuse" raises, "drop" counts them.

    Returns:
        What was written and what was left out.

    Reference: model.md, section 9.

    Raises:
        InputError: There are no texts, or one is missing or ambiguous; the message names the row.
        EarnestError: An option is not known, or `noise="refuse"` and there are such rows.
    """
    for option, value, known in (
        ("noise", noise, ("keep", "clip", "drop", "refuse")),
        ("missing", missing, ("refuse", "drop")),
    ):
        if value not in known:
            raise EarnestError(f"{option}={value!r}: expected one of {', '.join(known)}")
    options = copy_options(path, (".jsonl", ".ndjson", ".parquet"))
    keys = KeyColumns(prompt_id, prompt_text, response_prompt, response_model, response_text)
    with TemporaryDirectory(prefix="earnest-labels-") as folder:
        export = _Export.prepare(log, fit, prompts, responses, keys, Path(folder))
        counts = export.count()
        if counts["missing"] and missing == "refuse":
            raise export.first_missing()
        if counts["noisy"] and noise == "refuse":
            raise export.first_noisy(counts["noisy"])
        with atomic_file(path) as temporary:
            written = log.execute(f"COPY ({export.select(noise)}) TO {literal(str(temporary))} ({options})")
    return PreferenceSummary(
        path=os.fspath(path),
        comparisons=len(log),
        written=written,
        ties=counts["ties"],
        noisy=counts["noisy"],
        noise=noise,
        missing=counts["missing"],
        conversational=export.conversational,
    )


@dataclass(frozen=True)
class _Export:
    """The SQL of an export: texts and labels joined to the log."""

    log: ComparisonLog
    prompt: Text | None
    first: Text
    second: Text
    labels: str
    context: tuple[str, ...]

    @classmethod
    def prepare(
        cls, log: ComparisonLog, fit: Fitted | None, prompts: Any, responses: Any, keys: KeyColumns, folder: Path
    ) -> _Export:
        first, second = response_texts(log, responses, keys)
        prompt = prompt_text(log, prompts, keys)
        if prompt is None and not first.messages:
            raise InputError(
                f"{log.source}: there are no texts for the prompts: the log has no column prompt; name it when reading "
                "the log (prompt=, --prompt)"
            )
        return cls(log, prompt, first, second, _labels(log, fit, folder), () if fit is None else fit.context)

    @property
    def conversational(self) -> bool:
        return self.first.messages or (self.prompt is not None and self.prompt.messages)

    @property
    def rows(self) -> str:
        """SQL of all comparisons with row, winner, prompt, a, b and the labels; texts NULL where missing."""
        joins = " ".join(dict.fromkeys(text.join for text in (self.prompt, self.first, self.second) if text))
        prompt = self.prompt.value if self.prompt else "NULL"
        if self.conversational and self.prompt and not self.prompt.messages:
            prompt = f"CASE WHEN {prompt} IS NOT NULL THEN [{{'role': 'user', 'content': {prompt}}}] END"
        first, second = self.first.value, self.second.value
        if self.conversational and not self.first.messages:
            first, second = (
                f"CASE WHEN {side} IS NOT NULL THEN [{{'role': 'assistant', 'content': {side}}}] END"
                for side in (first, second)
            )
        wanted = ["user", "model_a", "model_b", *(name for name in _EXTRA if name in self.log.columns)]
        names = ", ".join(f"log.{ident(name)}" for name in wanted)
        labels = "".join(f", labels.{name}" for name in _LABELS) if self.labels else ""
        base = (
            f'SELECT log."row", log.winner, {names}, {prompt} AS prompt, {first} AS a, {second} AS b{labels} '
            f"FROM {relation(self.context)} log {joins} {self.labels}"
        )
        return self._split(base) if self.first.messages else base

    def _split(self, base: str) -> str:
        """Conversations: what both sides begin with is the prompt, but each keeps at least its last message."""
        shared = "coalesce(list_max(list_filter(range(0, least(len(a), len(b))), lambda i: a[1:i] = b[1:i])), 0)"
        return (
            f"SELECT * REPLACE (CASE WHEN shared > 0 THEN a[1:shared] ELSE prompt END AS prompt, "
            f"a[shared + 1:] AS a, b[shared + 1:] AS b) FROM (SELECT *, {shared} AS shared FROM ({base}))"
        )

    def _query(self, sql: str) -> dict[str, Any]:
        found: dict[str, Any] = self.log.query(sql).to_pylist()[0]
        return found

    def count(self) -> dict[str, int]:
        noisy = "label_noise >= 0.5" if self.labels else "false"
        return self._query(
            f"SELECT count(*) FILTER (winner = 'tie') AS ties, "
            f"count(*) FILTER (winner <> 'tie' AND ({_MISSING})) AS missing, "
            f"count(*) FILTER (winner <> 'tie' AND NOT ({_MISSING}) AND {noisy}) AS noisy FROM ({self.rows})"
        )

    def first_missing(self) -> InputError:
        found = self._query(
            f'SELECT "row", prompt IS NULL AS no_prompt, a IS NULL AS no_a, model_a, model_b '
            f"FROM ({self.rows}) WHERE winner <> 'tie' AND ({_MISSING}) ORDER BY 1 LIMIT 1"
        )
        text = self.prompt if found["no_prompt"] else self.first if found["no_a"] else self.second
        wrong = (
            text.missing if text else "the two conversations have no common beginning, and there is no prompt column"
        )
        key = ""
        if "prompt" in self.log.columns and (text is None or text.join):
            [value] = self.log.query(f'SELECT CAST(prompt AS VARCHAR) AS v FROM log WHERE "row" = {found["row"]}')["v"]
            key = f" (prompt {str(value)[:80]!r}, model_a {found['model_a']!r}, model_b {found['model_b']!r})"
        return InputError(
            f"{self.log.place(found['row'])}: {wrong}{key}; add the text, name the key columns, or leave such votes "
            "out with missing='drop'"
        )

    def first_noisy(self, n: int) -> EarnestError:
        found = self._query(
            f'SELECT "row", "user", label_noise FROM ({self.rows}) '
            "WHERE winner <> 'tie' AND label_noise >= 0.5 ORDER BY 1 LIMIT 1"
        )
        return EarnestError(
            f"{self.log.place(found['row'])}: label_noise is {found['label_noise']:.3f} (user {found['user']!r}), and "
            f"robust DPO needs it below 0.5; {n:,} rows are like that: noise='drop' leaves them out, noise='clip' sets "
            f"it to {CLIPPED_NOISE}, noise='keep' writes them as they are"
        )

    def select(self, noise: str) -> str:
        """SQL of the file's rows."""
        won = "winner = 'model_a'"
        parts = [
            "prompt",
            f"CASE WHEN {won} THEN a ELSE b END AS chosen",
            f"CASE WHEN {won} THEN b ELSE a END AS rejected",
        ]
        if self.labels:
            clip = f"least(label_noise, {CLIPPED_NOISE}) AS label_noise"
            written = {"weight": "greatest(weight, 0.0) AS weight"}  # a loss cannot be weighted by less than nothing
            if noise == "clip":
                written["label_noise"] = clip
            parts += [written.get(name, name) for name in _LABELS]
        parts += ['"user"', f"CASE WHEN {won} THEN model_a ELSE model_b END AS chosen_model"]
        parts.append(f"CASE WHEN {won} THEN model_b ELSE model_a END AS rejected_model")
        parts += [ident(name) for name in _EXTRA if name in self.log.columns]
        where = f"winner <> 'tie' AND NOT ({_MISSING})"
        if self.labels and noise == "drop":
            where += " AND label_noise < 0.5"
        return f'SELECT {", ".join(parts)} FROM ({self.rows}) WHERE {where} ORDER BY "row"'


_MISSING = "prompt IS NULL OR a IS NULL OR b IS NULL"


def _labels(log: ComparisonLog, fit: Fitted | None, folder: Path) -> str:
    """The join with the fit's numbers for each vote, which are put into a file: of a long log they are many."""
    if fit is None:
        return ""
    keys, matches = label_match(log, fit.context)
    path = folder / "labels.parquet"
    with closing(_Writer(path)) as writer:
        for frame in fit.label_blocks(log):
            _check_labels(frame, keys)
            writer.write(pd.DataFrame(frame[[*keys, *_LABELS]]))
    join = f"LEFT JOIN read_parquet({literal(str(path))}) labels ON {matches}"
    lost = log.query(
        f'SELECT min("row") AS r, count(*) AS n FROM {relation(fit.context)} log {join} WHERE labels."user" IS NULL'
    ).to_pylist()[0]
    if lost["n"]:
        raise EarnestError(f"{log.place(lost['r'])}: the fit says nothing about this vote; fit or score this log first")
    return join


def _check_labels(frame: pd.DataFrame, keys: list[str]) -> None:
    """Raise an `EarnestError` unless each vote of these users has one row of finite numbers."""
    finite = np.isfinite(frame[list(_LABELS)].to_numpy(dtype=np.float64)).all(axis=1)
    finite |= (frame["winner"] == "tie").to_numpy()  # a tie has no flip rate, and is not exported
    if not finite.all():
        row = int(np.argmin(finite))
        raise EarnestError(
            f"the fit gives no finite label quality for user {frame['user'].iloc[row]!r}; look at the fit's status"
        )
    if frame.duplicated(keys).any():
        raise EarnestError("the fit's label table has several rows for one kind of vote; fit again on this log")


class _Writer:
    """A Parquet file, filled by data frames of one kind. What is no number is text, also where all of it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetWriter | None = None

    def write(self, frame: pd.DataFrame) -> None:
        kinds = [
            (name, pa.from_numpy_dtype(dtype) if pd.api.types.is_numeric_dtype(dtype) else pa.string())
            for name, dtype in frame.dtypes.items()
        ]
        schema = pa.schema(kinds)
        self._file = self._file or pq.ParquetWriter(self._path, schema)
        self._file.write_table(pa.Table.from_pandas(frame, schema=self._file.schema, preserve_index=False))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
