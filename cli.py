"""The command line: `earnest VERB`, the same verbs as in Python.

Nothing but click is imported until a verb runs, so that `earnest --help` answers at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .console import (
    Verbs,
    check_log_output,
    check_output,
    interrupts_wait,
    keep_compiled_programs,
    say,
    say_doubts,
    say_fit,
    say_posterior,
    stages,
    working,
)
from .options import A_FILE, declared_model, model_for, offering, read_votes, reading_options, remember, votes_argument
from .verb_doctor import doctor
from .verb_hand_over import export, filter_
from .verb_import import import_
from .verb_judge import compare, report, threshold
from .verb_plan import plan
from .verb_watch import watch

if TYPE_CHECKING:
    pass


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
    go_on = f"threshold {shlex.quote(out)}"
    if doubted:
        from .diagnostics.doctor_unreadable import said

        go_on = " ".join(["doctor", shlex.join(votes), *said(reading["columns"], reading["outcomes"])])
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


for _verb in (compare, threshold, report, filter_, export, plan, watch):
    main.add_command(_verb)


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
