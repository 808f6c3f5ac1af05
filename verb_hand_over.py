"""`earnest filter` and `export`: votes for training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import click

from .console import Verb, check_log_output, check_output, say, say_next, say_notes, working
from .options import (
    A_FILE,
    fit_option,
    load_fit,
    offering,
    read_votes,
    reading_options,
    tables_for,
    threshold_of,
    votes_argument,
    votes_of,
)

__all__ = ["export", "filter_"]


@click.command("filter", cls=Verb)
@votes_argument
@fit_option
@click.option(
    "--threshold", "level", required=True, metavar="NUMBER|recommended", help="Least mean attentiveness.",
    shell_complete=offering("recommended"),
)  # fmt: skip
@click.option("--min-comparisons", default=1, show_default=True, type=click.IntRange(0), help="Least votes of a user.")
@click.option("--out", required=True, type=A_FILE, metavar="FILE", help="Log to write: .csv, .jsonl or .parquet.")
@reading_options
def filter_(
    votes: tuple[str, ...], folder: str, level: str, min_comparisons: int, out: str, reading: Mapping[str, Any]
) -> None:
    """Keep the votes of attentive users.

    Users that the fit has not seen are scored first.
    """
    check_log_output(out)
    fitted = load_fit(folder)
    cut = threshold_of(level, fitted)
    log = read_votes(votes, reading, fitted, folder)
    from .comparisons.filtering import filter_log

    with working("filtering"):
        kept = filter_log(log, fitted, threshold=cut, min_comparisons=min_comparisons)
        kept.write(out)
    say(f"wrote {out}: {kept.notes[-1]}")
    say_next(f"export {shlex.quote(out)} --fit {shlex.quote(folder)}{tables_for(kept)} --out preferences.jsonl")


@click.command(cls=Verb)
@votes_argument
@fit_option
@click.option("--prompts", type=A_FILE, metavar="FILE", help="Table of prompts, keyed by id.")
@click.option("--responses", type=A_FILE, metavar="FILE", help="Table of responses, keyed by prompt and model.")
@click.option("--prompt-id", metavar="COLUMN", help="Column of the prompts' ids, if not `id`.")
@click.option("--prompt-text", metavar="COLUMN", help="Column of the prompts' texts, if not `text`.")
@click.option("--response-prompt", metavar="COLUMN", help="Column of the responses' prompts, if not `prompt`.")
@click.option("--response-model", metavar="COLUMN", help="Column of the responses' models: ids or names.")
@click.option("--response-text", metavar="COLUMN", help="Column of the responses' texts.")
@click.option(
    "--noise",
    type=click.Choice(["keep", "clip", "drop", "refuse"]),
    default="keep",
    show_default=True,
    help="What to do with votes whose label_noise is 1/2 or more, which robust DPO cannot use.",
)
@click.option(
    "--missing",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="What to do with votes without a text.",
)
@click.option(
    "--threshold", "level", metavar="NUMBER|recommended", help="Filter users at once.",
    shell_complete=offering("recommended"),
)  # fmt: skip
@click.option("--min-comparisons", default=1, show_default=True, type=click.IntRange(0), help="Least votes of a user.")
@click.option("--out", required=True, type=A_FILE, metavar="FILE", help="Preference data to write: .jsonl or .parquet.")
@reading_options
def export(
    votes: tuple[str, ...],
    folder: str,
    level: str | None,
    min_comparisons: int,
    out: str,
    reading: Mapping[str, Any],
    **texts: Any,
) -> None:
    """Write preference data for training.

    One row a decided vote: prompt, chosen, rejected (TRL's preference format) and the vote's weights.
    """
    check_output(out)
    fitted = load_fit(folder)
    cut = 0.0 if level is None else threshold_of(level, fitted)
    log = read_votes(votes, reading, fitted, folder)
    from .comparisons.export import write_preferences
    from .comparisons.filtering import filter_log

    noted = len(log.notes)
    with working("exporting"):
        if level is not None or min_comparisons > 1:
            log = filter_log(log, fitted, threshold=cut, min_comparisons=min_comparisons)
        summary = write_preferences(log, out, fitted, **texts)
    say_notes(log.notes[noted:])
    say(str(summary))
    fitted_votes = votes_of(folder, fitted, blank="")  # not those of this command: the report is about the fit
    say_next(f"report {' '.join(filter(None, (shlex.quote(folder), fitted_votes)))} --out report.html")
