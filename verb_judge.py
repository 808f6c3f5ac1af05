"""`earnest compare`, `threshold` and `report`: what to make of a fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from .console import Verb, check_output, curve_text, say, say_agreement, say_next, working
from .options import (
    A_FILE,
    after_threshold,
    curve_of,
    key_of,
    load_fit,
    load_posterior,
    offering,
    read_votes,
    reading_options,
    votes_of,
)

__all__ = ["compare", "report", "threshold"]


@click.command(cls=Verb)
@click.argument("folder", type=A_FILE)
@click.argument("posterior", type=A_FILE)
@click.option(
    "--csv",
    "part",
    type=click.Choice(["users", "parameters", "decisions"]),
    help="Print one of the three tables as CSV instead.",
)
def compare(folder: str, posterior: str, part: str | None) -> None:
    """EM beside the posterior: may the one stand in for the other?

    FOLDER: what `earnest fit` wrote. POSTERIOR: what `earnest sample` wrote, of the same votes and model.
    """
    fitted, tree = load_fit(folder), load_posterior(posterior)
    from .diagnostics.agreement import compare as hold_against

    agreement = hold_against(fitted, tree)
    if part is not None:
        click.echo(getattr(agreement, part).to_csv(index=False), nl=False)
    else:
        say_agreement(agreement)


@click.command(cls=Verb)
@click.argument("folder", type=A_FILE)
@click.argument("votes", nargs=-1, type=A_FILE)
@click.option(
    "--posterior", type=A_FILE, metavar="FILE.nc", help="What `earnest sample` wrote: adds bands. Needs VOTES."
)
@click.option("--json", "form", flag_value="json", help="Print the whole curve and the recommendation as JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the whole curve as CSV.")
@click.option("--rows", default=20, show_default=True, type=click.IntRange(2), help="Rows of the printed table.")
@click.option(
    "--criterion",
    default="effective_labels",
    show_default=True,
    shell_complete=offering("effective_labels", "precision>=0.9", "share>=0.5", "probability(0.5)>=0.9", "f1"),
    help="What is wanted: effective_labels, 'precision>=0.9', 'share>=0.5', 'probability(0.5)>=0.9' or f1.",
)
@reading_options
def threshold(
    folder: str,
    votes: tuple[str, ...],
    posterior: str | None,
    form: str | None,
    rows: int,
    criterion: str,
    reading: Mapping[str, Any],
) -> None:
    """Where to cut: the curve and the recommendation.

    FOLDER: what `earnest fit` wrote. VOTES: the votes to be cut, if not those that were fitted; with --posterior those
    that were sampled.
    """
    fitted = load_fit(folder)
    if posterior is not None and not votes:
        raise click.UsageError("--posterior needs the VOTES that were sampled: earnest threshold FOLDER VOTES...")
    log = read_votes(votes, reading, fitted, folder, quiet=form is not None) if votes else None
    curve = curve_of(fitted if posterior is None else load_posterior(posterior), log)
    best = curve.recommend(criterion)
    shown = curve.table[["threshold", "users", "labels", "share", "precision", "effective_labels"]]
    if form == "csv":
        click.echo(shown.to_csv(index=False), nl=False)
    elif form == "json":
        references = {
            name: getattr(curve, name) for name in ("unfiltered", "soft_weights", "soft_weights_leave_one_out")
        }
        recommended = {
            name: getattr(best, name) for name in ("threshold", "users", "labels", "effective_labels", "gain")
        }
        answer = {
            "recommendation": {
                **recommended,
                "criterion": criterion,
                "flat": best.flat,
                "interval": best.interval,
                "warning": best.warning,
                "reason": best.reason,
            },
            "references": references,
            "curve": shown.to_dict(orient="records"),
            "bands": None if curve.bands is None else curve.bands.to_dict(orient="records"),
        }
        click.echo(json.dumps(answer, default=float, indent=1))
    else:
        click.echo(curve_text(curve, best.threshold, rows))
        click.echo(f"every label kept:             {curve.unfiltered:>10,.0f} effective labels")
        click.echo(f"soft weights (leave one out): {curve.soft_weights_leave_one_out:>10,.0f} effective labels")
        say(f"recommended threshold {best.threshold:.4f}: {best.reason}")
        say_next(after_threshold(curve, best, folder, votes_of(folder, fitted, votes)))


@click.command(cls=Verb)
@click.argument("folder", type=A_FILE)
@click.argument("votes", nargs=-1, type=A_FILE)
@click.option(
    "--posterior", type=A_FILE, metavar="FILE.nc", help="What `earnest sample` wrote, of the same votes and model."
)
@click.option(
    "--out", default="report.html", show_default=True, type=A_FILE, metavar="FILE.html", help="Page to write."
)
@click.option(
    "--ids",
    type=click.Choice(["plain", "hash", "none"]),
    default="plain",
    show_default=True,
    help="How users are called: by name, by a keyed hash of it, or by number.",
)
@click.option(
    "--key-file", type=A_FILE, metavar="FILE", help="Key of the hash, so that it is the same in every report."
)
@reading_options
def report(
    folder: str,
    votes: tuple[str, ...],
    posterior: str | None,
    out: str,
    ids: str,
    key_file: str | None,
    reading: Mapping[str, Any],
) -> None:
    """A page that shows who attends and where to cut.

    It says how far to trust it, too.

    FOLDER: what `earnest fit` wrote. VOTES: those that were fitted; with them the model is checked against them, and a
    posterior's bands are drawn.
    """
    check_output(out)
    fitted = load_fit(folder)
    tree = load_posterior(posterior) if posterior else None
    log = read_votes(votes, reading, fitted, folder) if votes else None
    key = key_of(key_file)
    from pathlib import Path

    from .diagnostics.report import report as write

    with working("writing the report"):
        path = write(Path(out).parent, fitted, tree, log, ids=ids, key=key, name=Path(out).name)
    click.echo(f"wrote {path}; open it in a browser, it needs nothing else")
