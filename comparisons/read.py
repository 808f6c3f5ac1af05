"""Reading a log of votes."""

from __future__ import annotations

import os
from typing import Any, Literal

import duckdb
import pyarrow as pa

from .atomic import atomic_file
from .checks import MANY, Findings, bad_rows_sql, first_fault, query, reason_sql, settle_guesses, survey
from .errors import InputError
from .fields import choose_nested
from .frames import is_spark
from .log import ComparisonLog
from .outcomes import Outcomes, check_mapping
from .recipe import Recipe, check_distinct_columns
from .sources import ROW, VIEW, FileSource, open_source
from .sql import connect, ident, literal
from .words import counted
from .write import copy_options


def read_comparisons(
    source: Any,
    user: str | None = None,
    model_a: str | None = None,
    model_b: str | None = None,
    winner: str | None = None,
    comparison: str | None = None,
    item: str | None = None,
    prompt: str | None = None,
    response_a: str | None = None,
    response_b: str | None = None,
    category: str | None = None,
    timestamp: str | None = None,
    gold: str | None = None,
    *,
    outcomes: Outcomes = None,
    on_bad_rows: Literal["error", "quarantine"] = "error",
    quarantine: str | os.PathLike[str] | None = None,
) -> ComparisonLog:
    """Read a log of comparisons and check it.

    Columns that are not named are guessed from the usual names; what was guessed is in `log.notes`. Columns that
    Earnest does not know are carried through. One that clashes with a standard name is called "source_<name>".

    Args:
        source: A path or pattern, or a list of them (CSV, TSV, JSONL, JSON, Parquet; the text formats also .gz or
            .zst), or a data frame (pandas, Polars, Arrow, DuckDB relation, or any other that narwhals knows). The rows
            of a Spark data frame stay on Spark: see `comparisons.spark.SparkLog`.
        user: Column of who cast the vote; like all columns it may be a field inside a nested one, named by its path:
            "annotator.id", "responses.0.model".
        model_a: Column of the model whose response was shown first, on the left.
        model_b: Column of the other model.
        winner: Column of the outcome: model_a, model_b or tie (also left/right, a/b, "tie (bothbad)", ...) or the
            name of the winning model.
        comparison: Column of a unique id of the vote. Without it, equal rows are separate votes.
        item: Column of an id of the pair of responses that was judged, which several users may have seen.
        prompt: Column of the prompt, or of its key in a table of prompts.
        response_a: Column of the first response's text or conversation.
        response_b: Column of the second response's text or conversation.
        category: Column of the prompt's category.
        timestamp: Column of the time of the vote.
        gold: Column of the known right outcome of an attention check, where there is one.
        outcomes: What some of the winner's values mean, such as {"1": "model_a", "0": "model_b"}: they are added to the
            usual words and the models' names, and go before them, so that naming one odd word loses no other vote.
            (Where a usual word of a side is given the other side, the other usual words of sides count no more; where
            numbers are given, other numbers are no names.) "words" reads outcome words only, "names" the winning
            model's name (and ties) only.
        on_bad_rows: "error" stops at the first row that cannot be used; "quarantine" sets such rows aside in a file
            with the reason. Files that cannot be parsed at all always stop.
        quarantine: The file for them. By default beside the source, "<name>.quarantine.csv" (or .jsonl); for a data
            frame it must be given.

    Returns:
        The log, a lazy handle on the source.

    Raises:
        InputError: Something is wrong with the source; the message says what, where, and what to do.
    """
    if on_bad_rows not in ("error", "quarantine"):
        raise InputError(f"on_bad_rows={on_bad_rows!r}: expected 'error' or 'quarantine'")
    if outcomes is not None and not isinstance(outcomes, str):
        check_mapping(outcomes)
    named = {
        **{"user": user, "model_a": model_a, "model_b": model_b, "winner": winner, "comparison": comparison},
        **{"item": item, "prompt": prompt, "response_a": response_a, "response_b": response_b},
        **{"category": category, "timestamp": timestamp, "gold": gold},
    }
    if is_spark(source):
        from .spark_read import read_spark

        return read_spark(source, named, outcomes, on_bad_rows)
    opened, chosen = choose_nested(open_source(source), named)
    recipe = Recipe(opened, chosen.columns, outcomes)
    check_distinct_columns(recipe)
    with connect() as connection:
        opened.attach(connection)
        findings = survey(connection, recipe)
        if findings.rows == 0:
            raise InputError(f"{opened.label}: the log is empty, it has column names but no rows")
        settled, notes = settle_guesses(recipe, findings, chosen.guessed)
        if settled != recipe:
            recipe, findings = settled, survey(connection, settled)
        log = ComparisonLog(recipe, [*chosen.said(recipe.columns), *notes])
        n_bad = findings.bad + _repeated_ids(recipe, findings)
        if n_bad and on_bad_rows == "error":
            raise first_fault(connection, recipe, n_bad)
        if n_bad:
            _set_aside(connection, log, findings, quarantine)
    _note_repeats(log, findings)
    return log


def _repeated_ids(recipe: Recipe, findings: Findings) -> int:
    if "comparison" not in recipe.columns or findings.ids is None:
        return 0
    return findings.rows - findings.missing_ids - findings.ids


def _note_repeats(log: ComparisonLog, findings: Findings) -> None:
    about = "" if findings.rows <= MANY else "about "
    if findings.repeated and "comparison" not in log.mapping:
        equal = "equals" if findings.repeated == 1 else "equal"
        log.notes.append(
            f"{about}{counted(findings.repeated, 'row')} {equal} an earlier row in every column; "
            "each is counted as a vote of its own (name a comparison column if votes have ids)"
        )
    for name, column in log.recipe.carried.items():
        if name != column:
            log.notes.append(f"the column {column!r} is carried through as {name!r}")


def _set_aside(
    connection: duckdb.DuckDBPyConnection, log: ComparisonLog, findings: Findings, wanted: str | os.PathLike[str] | None
) -> None:
    """Write the unusable rows to a file and leave them out of the log."""
    recipe = log.recipe
    path = os.fspath(wanted) if wanted is not None else _default_file(recipe)
    if isinstance(recipe.source, FileSource) and any(
        os.path.realpath(path) == str(file.path) for file in recipe.source.files
    ):
        raise InputError(f"quarantine={path!r}: is the log itself; name another file")
    options = copy_options(path)
    try:
        connection.execute(f"CREATE TEMP TABLE earnest_bad AS {bad_rows_sql(recipe)}").fetchall()
    except duckdb.Error as error:
        raise recipe.source.explain(error) from error
    excluded: pa.Table = connection.sql("SELECT position FROM earnest_bad ORDER BY 1").to_arrow_table()
    if excluded.num_rows == findings.rows:
        raise first_fault(connection, recipe, excluded.num_rows)
    names = ", ".join(map(ident, recipe.source.columns))
    with atomic_file(path) as temporary:
        query(
            connection,
            recipe,
            f"COPY (SELECT {recipe.source.numbered()} AS quarantine_row, {reason_sql(recipe)} AS quarantine_reason, "
            f"{names} FROM {VIEW} JOIN earnest_bad ON position = {ident(ROW)} ORDER BY position) "
            f"TO {literal(str(temporary))} ({options})",
        )
    log.excluded, log.quarantined, log.quarantine_file = excluded, excluded.num_rows, path
    log.notes.append(
        f"{excluded.num_rows:,} of {findings.rows:,} rows cannot be used and "
        f"{'is' if excluded.num_rows == 1 else 'are'} in {path} with the reason"
    )


def _default_file(recipe: Recipe) -> str:
    place = recipe.source.folder_and_stem
    if place is None:
        raise InputError("on_bad_rows='quarantine' with a data frame: name the file for the bad rows with quarantine=")
    nested = any(recipe.is_nested(column) for column in recipe.source.columns)
    return str(place[0] / f"{place[1]}.quarantine.{'jsonl' if nested else 'csv'}")
