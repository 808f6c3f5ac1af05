"""The command line: `earnest VERB`, the same verbs as in Python.

Nothing but click is imported until a verb runs, so that `earnest --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from .console import Failure, Verbs, check_log_output, check_output, say_notes, table, working

if TYPE_CHECKING:
    from .comparisons import ComparisonLog
    from .diagnostics.thresholds import ThresholdCurve
    from .inference import Fit
    from .models import BehaviorModel

_COLUMNS = {
    "user": "who voted",
    "model_a": "the model shown first, on the left",
    "model_b": "the model shown second, on the right",
    "winner": "the outcome, as a word or as the winning model's name",
    "comparison": "a unique id of the vote",
    "item": "the pair of responses that was judged",
    "prompt": "the prompt: its text, or its id where prompts are a table",
    "response_a": "text of the first response",
    "response_b": "text of the second response",
    "category": "a category of the prompt",
    "timestamp": "when the vote was given",
    "gold": "the right answer of an attention check",
}

_votes = click.argument("votes", nargs=-1, required=True)
_fitted = click.option("--fit", "folder", required=True, metavar="FOLDER", help="Folder that `earnest fit` wrote.")


def _reading(verb: Callable[..., None]) -> Callable[..., None]:
    """Options that say how a log is read, gathered in the verb's argument `reading`."""

    def gathered(**options: Any) -> None:
        columns = {name: options.pop(name) for name in _COLUMNS}
        pairs = [text.partition("=") for text in options.pop("outcome")]
        if any(not word or meaning not in ("model_a", "model_b", "tie") for word, _, meaning in pairs):
            raise click.BadParameter("expected WORD=model_a, WORD=model_b or WORD=tie", param_hint="--outcome")
        reading = {
            "columns": {name: column for name, column in columns.items() if column is not None},
            "outcomes": {word: meaning for word, _, meaning in pairs} or None,
            "on_bad_rows": options.pop("on_bad_rows"),
            "quarantine": options.pop("quarantine"),
        }
        verb(reading=reading, **options)

    gathered.__doc__ = verb.__doc__
    gathered.__name__ = verb.__name__
    quarantine = "Where rows set aside go, with the reason."
    bad_rows = "A row that cannot be used stops the run, or is set aside and counted."
    outcome = "What a word in the winner column means; may be repeated."
    gathered = click.option("--quarantine", metavar="FILE", help=quarantine)(gathered)
    choice = click.Choice(["error", "quarantine"])
    gathered = click.option("--on-bad-rows", type=choice, default="error", show_default=True, help=bad_rows)(gathered)
    gathered = click.option("--outcome", multiple=True, metavar="WORD=OUTCOME", help=outcome)(gathered)
    for name, about in reversed(_COLUMNS.items()):
        option = "--" + name.replace("_", "-")
        gathered = click.option(option, name, metavar="COLUMN", help=f"Column with {about}.")(gathered)
    return gathered


def _read(votes: tuple[str, ...], reading: Mapping[str, Any], known: Mapping[str, str] | None = None) -> ComparisonLog:
    """Read the log, with the columns that the fit remembers where the user names none."""
    from .comparisons import read_comparisons

    columns = {**(known or {}), **reading["columns"]}
    rest = {name: value for name, value in reading.items() if name != "columns"}
    with working("reading votes"):
        log = read_comparisons(votes[0] if len(votes) == 1 else list(votes), **columns, **rest)
        counts = f"{len(log):,} votes of {len(log.users):,} users on {len(log.models):,} models"
    click.echo(f"read {log.source}: {counts}")
    say_notes(log.notes)
    return log


def _default_model(log: ComparisonLog) -> BehaviorModel:
    """Beta attentiveness, Bradley-Terry preference, free casual outcome shares; ties where the log has them."""
    from .models import BehaviorModel, Beta, BradleyTerry, Davidson, PositionBias

    ties = log.outcome_counts()["tie"]
    preference = BradleyTerry(ties=Davidson()) if ties else BradleyTerry()
    why = f"ties by Davidson, since the log has {ties:,}" if ties else "no ties, since the log has none"
    click.echo(
        f"model: Beta attentiveness, BradleyTerry preference ({why}), PositionBias casual (change it with --model)"
    )
    return BehaviorModel(attentiveness=Beta(), preference=preference, casual=PositionBias())


def _declared_model(path: str) -> BehaviorModel:
    from pathlib import Path

    from .models import BehaviorModel

    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: not a text in UTF-8 (byte {error.start}); expected a model in TOML") from error
    click.echo(f"model: as declared in {path}")
    return BehaviorModel.from_toml(text)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="earnest")
def main() -> None:
    """From votes between responses to who was paying attention, and to preference data worth training on."""


@main.command()
@click.option("--out", required=True, metavar="FILE", help="Log to write: .csv, .jsonl or .parquet.")
@click.option("--truth", metavar="FILE.json", help="Where to write the true parameters and attentiveness.")
@click.option("--users", default=1000, show_default=True)
@click.option("--comparisons", default=20, show_default=True, help="Comparisons a user gives.")
@click.option("--models", default=4, show_default=True)
@click.option("--model", "declaration", metavar="MODEL.toml", help="Behavioural model; by default with ties.")
@click.option("--texts", is_flag=True, help="Add made-up prompts and responses.")
@click.option("--seed", default=0, show_default=True)
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
    from .models import BehaviorModel, BradleyTerry, Davidson

    model = _declared_model(declaration) if declaration else BehaviorModel(preference=BradleyTerry(ties=Davidson()))
    with working("simulating"):
        made = model.simulate(users, comparisons, models, seed, texts=texts)
        made.log.write(out)
    click.echo(f"wrote {out}: {len(made.log):,} votes of {users:,} users on {models} models, seed {seed}")
    if truth is not None:
        from .demo import write_truth

        write_truth(made, truth)
        click.echo(f"wrote {truth}: true parameters and attentiveness")


@main.command()
@_votes
@click.option("--out", required=True, metavar="FOLDER", help="Folder to write; an earlier fit there is replaced.")
@click.option("--model", "declaration", metavar="MODEL.toml", help="Behavioural model; by default chosen by the log.")
@click.option("--method", type=click.Choice(["marginal", "label"]), default="marginal", show_default=True)
@click.option("--objective", type=click.Choice(["map", "ml"]), default="map", show_default=True)
@click.option("--seed", default=0, show_default=True)
@_reading
def fit(
    votes: tuple[str, ...],
    out: str,
    declaration: str | None,
    method: Any,
    objective: Any,
    seed: int,
    reading: Mapping[str, Any],
) -> None:
    """Learn who attends and which model is better.

    VOTES: files or patterns, CSV, JSONL or Parquet.
    """
    check_output(out)
    log = _read(votes, reading)
    model = _declared_model(declaration) if declaration else _default_model(log)
    from .inference import fit_em

    with working("fitting") as progress:
        fitted = fit_em(model, log, method=method, objective=objective, seed=seed, progress=progress)
    with working("saving"):
        fitted.save(out)
    _report_fit(fitted)
    click.echo(f"wrote {out}; next: earnest threshold {out}")


def _report_fit(fitted: Fit) -> None:
    """Print what was learned, the parameters with few entries in full."""
    import numpy as np

    click.echo(
        f"{fitted.status} after {fitted.iterations} iterations, objective {fitted.objective_trace[-1]:,.2f} nats"
    )
    if not fitted.converged:
        click.echo(f"earnest: warning: EM stopped with the status {fitted.status!r}", err=True)
    if len(fitted.modes) > 1:
        gap = fitted.modes[0].objective - fitted.modes[1].objective
        click.echo(f"{len(fitted.modes)} modes found; the best is kept, the next is {gap:,.1f} nats below")
    say_notes(fitted.notes)
    rows = []
    for name, value in fitted.parameters.items():
        values, errors = np.ravel(value), np.ravel(fitted.standard_errors[name])
        dims = fitted.dims[name]
        entries = [f" {entry}" for entry in fitted.coords[dims[0]]] if len(dims) == 1 else [""] * values.size
        if values.size > 12:
            top = np.argsort(-values)[:3]
            best = ", ".join(f"{entries[k].strip()} ({values[k]:+.2f})" for k in top)
            click.echo(f"{name}: {values.size} entries, highest {best}")
            continue
        rows += [[f"{name}{e}", f"{v:.3f}", f"{s:.3f}"] for e, v, s in zip(entries, values, errors, strict=True)]
    if rows:
        click.echo(table(["parameter", "estimate", "s.e."], rows))
    means = fitted.attentiveness["mean"]
    low, middle, high = means.quantile([0.25, 0.5, 0.75])
    click.echo(
        f"attentiveness of {len(means):,} users: quarter below {low:.2f}, half {middle:.2f}, quarter above {high:.2f}"
    )


def _loaded(folder: str) -> Fit:
    from .inference import load

    with working("loading the fit"):
        return load(folder)


def _curve(fitted: Fit) -> ThresholdCurve:
    from .diagnostics.thresholds import thresholds

    with working("weighing thresholds"):
        return thresholds(fitted)


def _threshold(text: str, fitted: Fit) -> float:
    """A number, or the recommendation of the fit's curve, said in a sentence."""
    if text == "recommended":
        best = _curve(fitted).recommend()
        click.echo(f"recommended threshold {best.threshold:.4f}: {best.reason}")
        return best.threshold
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise click.BadParameter(
            f"expected a number from 0 to 1 or 'recommended', got {text!r}", param_hint="--threshold"
        )
    return value


@main.command()
@click.argument("folder")
@click.option("--json", "form", flag_value="json", help="Print the whole curve and the recommendation as JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the whole curve as CSV.")
@click.option("--rows", default=20, show_default=True, type=click.IntRange(2), help="Rows of the printed table.")
def threshold(folder: str, form: str | None, rows: int) -> None:
    """Where to cut: the curve and the recommendation.

    FOLDER: what `earnest fit` wrote.
    """
    curve = _curve(_loaded(folder))
    best = curve.recommend()
    if form == "csv":
        click.echo(curve.table.to_csv(index=False), nl=False)
    elif form == "json":
        references = {
            name: getattr(curve, name) for name in ("unfiltered", "soft_weights", "soft_weights_leave_one_out")
        }
        recommended = {
            name: getattr(best, name) for name in ("threshold", "users", "labels", "effective_labels", "gain")
        }
        answer = {
            "recommendation": {**recommended, "reason": best.reason},
            "references": references,
            "curve": curve.table.to_dict(orient="records"),
        }
        click.echo(json.dumps(answer, default=float, indent=1))
    else:
        click.echo(_curve_text(curve, best.threshold, rows))
        click.echo(f"every label kept:             {curve.unfiltered:>10,.0f} effective labels")
        click.echo(f"soft weights (leave one out): {curve.soft_weights_leave_one_out:>10,.0f} effective labels")
        click.echo(f"recommended threshold {best.threshold:.4f}: {best.reason}")


def _curve_text(curve: ThresholdCurve, best: float, rows: int) -> str:
    """An even selection of the curve's rows, the recommended one among them and marked."""
    import numpy as np

    frame = curve.table.reset_index(drop=True)
    chosen = int((frame["threshold"] - best).abs().argmin())
    shown = sorted({*np.linspace(0, len(frame) - 1, min(rows, len(frame))).round().astype(int).tolist(), chosen})
    lines = []
    for index in shown:
        row = frame.iloc[index]
        mark = "  <-" if index == chosen else ""
        counts = [f"{int(row['users']):,}", f"{int(row['labels']):,}", f"{row['share']:.1%}", f"{row['precision']:.1%}"]
        lines.append([f"{row['threshold']:.4f}{mark}", *counts, f"{row['effective_labels']:,.0f}"])
    return table(["threshold", "users", "labels", "share", "attended", "effective labels"], lines)


@main.command("filter")
@_votes
@_fitted
@click.option("--threshold", "level", required=True, metavar="NUMBER|recommended", help="Least mean attentiveness.")
@click.option("--min-comparisons", default=1, show_default=True, type=click.IntRange(0), help="Least votes of a user.")
@click.option("--out", required=True, metavar="FILE", help="Log to write: .csv, .jsonl or .parquet.")
@_reading
def filter_(
    votes: tuple[str, ...], folder: str, level: str, min_comparisons: int, out: str, reading: Mapping[str, Any]
) -> None:
    """Keep the votes of attentive users.

    Users that the fit has not seen are scored first.
    """
    check_log_output(out)
    fitted = _loaded(folder)
    cut = _threshold(level, fitted)
    log = _read(votes, reading, fitted.columns)
    from .comparisons import filter_log

    with working("filtering"):
        kept = filter_log(log, fitted, threshold=cut, min_comparisons=min_comparisons)
        kept.write(out)
        say_notes(kept.notes[len(log.notes) :])
        counts = f"{len(kept):,} of {len(log):,} votes, {len(kept.users):,} of {len(log.users):,} users"
    click.echo(f"wrote {out}: {counts}")


@main.command()
@_votes
@_fitted
@click.option("--prompts", metavar="FILE", help="Table of prompts, keyed by id.")
@click.option("--responses", metavar="FILE", help="Table of responses, keyed by prompt and model.")
@click.option("--threshold", "level", metavar="NUMBER|recommended", help="Filter users at once.")
@click.option("--min-comparisons", default=1, show_default=True, type=click.IntRange(0), help="Least votes of a user.")
@click.option("--out", required=True, metavar="FILE", help="Preference data to write: .jsonl or .parquet.")
@_reading
def export(
    votes: tuple[str, ...],
    folder: str,
    prompts: str | None,
    responses: str | None,
    level: str | None,
    min_comparisons: int,
    out: str,
    reading: Mapping[str, Any],
) -> None:
    """Write preference data for training.

    One row a decided vote: prompt, chosen, rejected (TRL's preference format) and the vote's weights.
    """
    check_output(out)
    fitted = _loaded(folder)
    cut = 0.0 if level is None else _threshold(level, fitted)
    log = _read(votes, reading, fitted.columns)
    from .comparisons import filter_log, write_preferences

    with working("exporting"):
        if level is not None or min_comparisons > 1:
            log = filter_log(log, fitted, threshold=cut, min_comparisons=min_comparisons)
        summary = write_preferences(log, out, fitted, prompts=prompts, responses=responses)
    click.echo(f"wrote {out}: {summary.written:,} preferences; {summary.ties:,} ties left out")


@main.command()
@click.option("--out", default="demo", show_default=True, metavar="FOLDER", help="Folder for everything it makes.")
@click.option("--users", default=1000, show_default=True)
@click.option("--comparisons", default=20, show_default=True, help="Comparisons a user gives.")
@click.option("--seed", default=0, show_default=True)
def demo(out: str, users: int, comparisons: int, seed: int) -> None:
    """All of it on a simulated log, against the truth."""
    check_output(out)
    from .demo import run

    run(out, users=users, comparisons=comparisons, seed=seed)


if __name__ == "__main__":
    main()
