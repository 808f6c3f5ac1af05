"""The command line: `earnest VERB`, the same verbs as in Python.

Nothing but click is imported until a verb runs, so that `earnest --help` answers at once.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .console import (
    Verbs,
    check_log_output,
    check_output,
    curve_text,
    interrupts_wait,
    keep_compiled_programs,
    plan_text,
    say,
    say_agreement,
    say_doubts,
    say_fit,
    say_next,
    say_notes,
    say_posterior,
    stages,
    stopping,
    watch_summary,
    watching,
    working,
)  # fmt: skip
from .options import (
    A_FILE,
    after_threshold,
    curve_of,
    declared_model,
    fit_option,
    key_of,
    load_fit,
    load_posterior,
    model_for,
    offering,
    read_votes,
    reading_options,
    remember,
    said,
    tables_for,
    threshold_of,
    votes_argument,
    votes_of,
    watching_options,
)  # fmt: skip
from .verb_doctor import doctor
from .verb_import import import_
from .wording import wrapped

if TYPE_CHECKING:
    from .inference.outputs import Status


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="earnest")
def main() -> None:
    """From votes between responses to who was paying attention, and to preference data worth training on.

    Begin with `earnest doctor VOTES`: it says what a log can tell, and which command to run next. Without a log,
    `earnest demo` makes one, and shows everything on it.
    """
    keep_compiled_programs()


main.add_command(doctor)
main.add_command(import_)


@main.command()
@click.option("--out", required=True, type=A_FILE, metavar="FILE", help="Log to write: .csv, .jsonl or .parquet.")
@click.option("--truth", type=A_FILE, metavar="FILE.json", help="Where to write the true parameters and attentiveness.")
@click.option("--users", default=1000, show_default=True)
@click.option("--comparisons", default=20, show_default=True, help="Comparisons a user gives.")
@click.option("--models", default=4, show_default=True)
@click.option(
    "--model", "declaration", type=A_FILE, metavar="MODEL.toml", help="Behavioural model; by default with ties."
)
@click.option("--texts", is_flag=True, help="Add made-up prompts and responses.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def simulate(
    out: str,
    truth: str | None,
    users: int,
    comparisons: int,
    models: int,
    declaration: str | None,
    texts: bool,
    seed: int,
) -> None:
    """Make a log of which everything is known."""
    check_log_output(out)
    if truth is not None:
        check_output(truth)
    from .models.behavior import usual

    model = declared_model(declaration) if declaration else usual(ties=True)
    with working("simulating"):
        made = model.simulate(users, comparisons, models, seed, texts=texts)
        made.log.write(out)
    say(f"wrote {out}: {len(made.log):,} votes of {users:,} users on {models} models, seed {seed}")
    if truth is not None:
        from .demo import write_truth

        write_truth(made, truth)
        click.echo(f"wrote {truth}: true parameters and attentiveness")


@main.command()
@votes_argument
@click.option(
    "--out", required=True, type=A_FILE, metavar="FOLDER", help="Folder to write; an earlier fit there is replaced."
)
@click.option(
    "--model",
    "declaration",
    type=A_FILE,
    shell_complete=offering("suggested", files=True),
    metavar="MODEL.toml|suggested",
    help="Behavioural model: a file, or what `earnest doctor` suggests; by default with ties if there are any.",
)
@click.option("--method", type=click.Choice(["marginal", "label"]), default="marginal", show_default=True)
@click.option("--objective", type=click.Choice(["map", "ml"]), default="map", show_default=True)
@click.option(
    "--globals-from", metavar="auto|all|N", default="auto", show_default=True,
    help="Users who tell the globals of a long log: as many as it takes, all, or so many. All users are rated.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@reading_options
def fit(
    votes: tuple[str, ...],
    out: str,
    declaration: str | None,
    method: Any,
    objective: Any,
    seed: int,
    globals_from: str,
    reading: Mapping[str, Any],
) -> None:
    """Learn who attends and which model is better.

    VOTES: files or patterns, CSV, JSONL or Parquet.
    """
    check_output(out)
    log = read_votes(votes, reading)
    model = model_for(log, declaration)
    with interrupts_wait():
        from .inference import fit_em

    with working("fitting") as progress:
        fitted = fit_em(
            model, log, method=method, objective=objective, seed=seed,
            globals_from=int(globals_from) if globals_from.isdecimal() else globals_from,
            progress=lambda stage, iteration, value: progress(f"{stage}, iteration {iteration}, {value:,.1f} nats"),
        )  # fmt: skip
    with working("saving"):
        fitted.save(out)
        remember(out, fitted, votes, reading)
    say_fit(fitted, log)
    doubted = say_doubts(fitted)
    named = " ".join(said(reading["columns"], reading["outcomes"]))
    go_on = f"doctor {shlex.join(votes)} {named}".rstrip() if doubted else f"threshold {shlex.quote(out)}"
    click.echo(f"wrote {out}; next: earnest {go_on}")


@main.command()
@votes_argument
@click.option("--out", required=True, type=A_FILE, metavar="FILE.nc", help="NetCDF file to write, for ArviZ.")
@click.option(
    "--model",
    "declaration",
    type=A_FILE,
    shell_complete=offering("suggested", files=True),
    metavar="MODEL.toml|suggested",
    help="Behavioural model: a file, or what `earnest doctor` suggests; by default with ties if there are any.",
)
@click.option("--backend", type=click.Choice(["numpyro", "pymc"]), default="numpyro", show_default=True)
@click.option(
    "--latent",
    type=click.Choice(["auto", "marginal", "explicit"]),
    default="auto",
    show_default=True,
    help="Whether users' attentiveness is integrated out.",
)
@click.option("--chains", default=4, show_default=True, type=click.IntRange(1))
@click.option("--draws", default=1000, show_default=True, type=click.IntRange(4), help="Draws a chain.")
@click.option("--tune", default=1000, show_default=True, type=click.IntRange(20), help="Warm-up iterations a chain.")
@click.option("--init", type=click.Choice(["modes", "prior"]), default="modes", show_default=True)
@click.option(
    "--keep-users",
    type=click.Choice(["auto", "draws", "summary", "none"]),
    default="auto",
    show_default=True,
    help="What is kept of each user's attentiveness.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--strict", is_flag=True, help="Exit with code 1 if a chain diverged or any R-hat is above 1.01.")
@reading_options
def sample(
    votes: tuple[str, ...], out: str, declaration: str | None, strict: bool, reading: Mapping[str, Any], **options: Any
) -> None:
    """Sample the whole posterior, not only its best point.

    VOTES: files or patterns, CSV, JSONL or Parquet.
    """
    if not out.endswith(".nc"):
        raise click.BadParameter(f"expected a name that ends in .nc (NetCDF), got {out!r}", param_hint="--out")
    check_output(out)
    log = read_votes(votes, reading)
    model = model_for(log, declaration)
    from .comparisons.atomic import atomic_file

    with interrupts_wait():
        from .inference.sampling import sample as draw

    with stages("sampling") as progress:
        tree = draw(model, log, progress=progress, **options)
    with working("saving"), atomic_file(out) as temporary:
        tree.to_netcdf(temporary)
    good = say_posterior(tree, log.notes)
    click.echo(f"wrote {out}; in Python: arviz.from_netcdf({out!r})")
    if strict and not good:
        click.echo("earnest: --strict: the chains did not converge; see above", err=True)
        raise click.exceptions.Exit(1)


@main.command()
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


@main.command()
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


@main.command()
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


@main.command("filter")
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


@main.command()
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


@main.command()
@click.option("--users", default=1000, show_default=True, type=click.IntRange(1), help="How many users.")
@click.option("--votes", default=20, show_default=True, type=click.IntRange(1), help="Votes of each.")
@click.option("--attentive", default=0.5, show_default=True, type=float, help="Share of all votes that are attended.")
@click.option("--gap", type=float, help="Gap between the two models, log-odds [default: 1.0].")
@click.option("--advantage", type=float, help="The gap as how often who attends takes the better model (0.5 to 1).")
@click.option("--concentration", default=1.2, show_default=True, type=float, help="alpha + beta of the population.")
@click.option("--precision", type=float, help="A goal: mean attentiveness of the users kept.")
@click.option("--effective-labels", type=float, help="A goal: effective labels after the cut.")
@click.option("--figure", type=A_FILE, metavar="FILE", help="Also draw it: FILE.png and FILE.svg.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="For programs.")
def plan(gap: float | None, advantage: float | None, figure: str | None, form: str | None, **design: Any) -> None:
    """Before any vote: what will they be worth?

    And what does a goal take? Nothing of a log is looked at: the numbers are those of the design that is asked for.
    """
    import math

    from .diagnostics.planning import MOST_ADVANTAGE
    from .diagnostics.planning import plan as planned

    if gap is not None and advantage is not None:
        raise click.UsageError("--gap and --advantage say the same; give one")
    if advantage is not None and not 0.5 <= advantage <= MOST_ADVANTAGE:
        raise click.BadParameter(f"expected a probability from 0.5 to {MOST_ADVANTAGE}", param_hint="--advantage")
    odds = 1.0 if gap is None else gap
    found = planned(gap=odds if advantage is None else math.log(advantage / (1 - advantage)), **design)
    if figure is not None:
        from .diagnostics import plots

        plots.save_figure(plots.plan_outlook(found)[0].figure, figure)  # type: ignore[arg-type]
    if form == "csv":
        click.echo(found.table.to_csv(index=False), nl=False)
    elif form == "json":
        told = {"here": found.here.to_dict(), "ideal": found.ideal, "needed": found.needed, "verdict": found.verdict}
        click.echo(json.dumps({**told, "table": found.table.to_dict(orient="records")}, default=float, indent=1))
    else:
        for text in (found.verdict, *found.needed):
            say(text)
        click.echo("\n" + plan_text(found))


@main.command()
@click.argument("folder", type=A_FILE)
@click.option(
    "--store", default="votes.earnest.duckdb", show_default=True, type=A_FILE, metavar="FILE", help="Counts, kept here."
)
@click.option(
    "--out", required=True, type=A_FILE, metavar="FILE", help="Table of users to keep current: .parquet or .csv."
)
@click.option(
    "--fit", type=A_FILE, metavar="FOLDER", help="Save each fit here, for `earnest threshold` and the others."
)
@click.option(
    "--model", "declaration", type=A_FILE, metavar="MODEL.toml", help="Behavioural model; by default with ties."
)
@click.option("--every", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds between two fits.")
@click.option("--every-votes", type=click.IntRange(1), help="New votes between two fits, at least.")
@click.option("--once", is_flag=True, help="Count what is there, fit, and end.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@watching_options
def watch(
    folder: str, out: str, declaration: str | None, store: str, reading: Mapping[str, Any], **options: Any
) -> None:
    """Keep attentiveness current while votes arrive.

    FOLDER: holds JSONL and CSV files that grow, and whole Parquet files; or - for JSON lines from standard input. Every
    vote is counted once, whenever this is ended or killed and started again. Ctrl-C ends it.
    """
    for path in (out, store, options["fit"], reading["quarantine"]):
        if path is not None:
            check_output(path)
    model = declared_model(declaration) if declaration else None
    with interrupts_wait():
        from .inference.watching import watch as go_on
    rest = {name: value for name, value in reading.items() if name != "columns"}
    told: list[Status] = []

    def kept(status: Status) -> None:
        told[:] = [status]
        show(status)

    with stopping() as stop, watching() as show:
        go_on(
            folder, store, model, out=out, stop=stop, progress=kept,
            note=lambda text: say_notes([text], err=True), **options, **rest, **reading["columns"],
        )  # fmt: skip
    for line in watch_summary(told[-1], store) if told else ():
        click.echo(wrapped(line, rest="    "))


@main.command()
@click.option(
    "--out", default="demo", show_default=True, type=A_FILE, metavar="FOLDER", help="Folder for everything it makes."
)
@click.option("--users", default=1000, show_default=True, type=click.IntRange(20))
@click.option("--comparisons", default=20, show_default=True, type=click.IntRange(4), help="Comparisons a user gives.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def demo(out: str, users: int, comparisons: int, seed: int) -> None:
    """All of it on a simulated log, against the truth."""
    check_output(out)
    from .demo import run

    run(out, users=users, comparisons=comparisons, seed=seed)


if __name__ == "__main__":
    main()
