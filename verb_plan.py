"""`earnest plan`: what a comparison mode will be worth."""

from __future__ import annotations

import json
from typing import Any

import click

from .console import Verb, plan_text, say
from .options import A_FILE

__all__ = ["plan"]


@click.command(cls=Verb)
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
