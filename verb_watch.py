"""`earnest watch`: attentiveness kept current while votes arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .console import Verb, check_output, interrupts_wait, say_notes, stopping, watch_summary, watching
from .options import A_FILE, declared_model, watching_options
from .wording import wrapped

if TYPE_CHECKING:
    from .inference.outputs import Status

__all__ = ["watch"]


@click.command(cls=Verb)
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
