"""`earnest import`: votes out of the export of a tool that collects them."""

from __future__ import annotations

import shlex
from typing import Any

import click

from .console import Failure, Verb, check_log_output, say, say_next, say_notes, working
from .options import A_FILE, sizes

__all__ = ["import_"]

_TOOLS = ("auto", "open-webui", "lmarena", "argilla", "label-studio")  # as in comparisons.exports, which takes DuckDB
_FILE = click.Path()  # for the shell's completion
_FIELDS = {
    "user": "who voted",
    "model_a": "the first response's model",
    "model_b": "the second response's model",
    "prompt": "the prompt",
    "response_a": "the first response",
    "response_b": "the second response",
}


def _fields(verb: Any) -> Any:
    for name, about in reversed(_FIELDS.items()):
        verb = click.option(f"--{name.replace('_', '-')}", name, metavar="FIELD", help=f"Field of {about}.")(verb)
    return verb


@click.command("import", cls=Verb)
@click.argument("exports", nargs=-1, required=True, type=A_FILE)
@click.option("--tool", type=click.Choice(_TOOLS), default="auto", show_default=True, help="Which tool's export it is.")
@click.option("--out", required=True, type=A_FILE, metavar="FILE", help="Log to write: .parquet, .jsonl or .csv.")
@click.option("--question", metavar="NAME", help="Question or control whose answers are the votes, of several.")
@_fields
@click.option("--outcome", multiple=True, metavar="WORD=OUTCOME", help="What an answer means; may be repeated.")
@click.option(
    "--on-bad-rows",
    type=click.Choice(["error", "quarantine"]),
    default="error",
    show_default=True,
    help="A vote that cannot be used stops the run, or is set aside and counted.",
)
@click.option("--quarantine", type=A_FILE, metavar="FILE", help="Where votes set aside go, with the reason.")
def import_(exports: tuple[str, ...], out: str, outcome: tuple[str, ...], **options: Any) -> None:
    """Make a log of another tool's export.

    Of Open WebUI, LMArena (Chatbot Arena), Argilla or Label Studio.

    EXPORTS: files or patterns, as the tool wrote them. The log is what the other verbs read; what is no vote is counted
    and said.
    """
    check_log_output(out)
    pairs = [text.rpartition("=") for text in outcome]
    if any(not word or meaning not in ("model_a", "model_b", "tie") for word, _, meaning in pairs):
        raise click.BadParameter("expected WORD=model_a, WORD=model_b or WORD=tie", param_hint="--outcome")
    from .comparisons.exports import read_export

    with working("reading the export"):
        words: dict[object, str] = {word: meaning for word, _, meaning in pairs}
        log = read_export(exports[0] if len(exports) == 1 else list(exports), outcomes=words or None, **options)
        counts = sizes(log)
    nested = [name for name in ("prompt", "response_a", "response_b") if _is_nested(log, name)]
    if nested and any(ending in out.lower() for ending in (".csv", ".tsv")):
        raise Failure(
            f"{out}: {' and '.join(nested)} hold conversations, which a CSV file cannot; give --out a name that "
            "ends in .parquet or .jsonl"
        )
    say(f"read {log.source}: {counts}")
    say_notes(log.notes)
    with working("writing the log"):
        log.write(out)
    click.echo(f"wrote {out}")
    say_next(f"doctor {shlex.quote(out)}")


def _is_nested(log: Any, name: str) -> bool:
    return name in log.mapping and log.recipe.is_nested(log.mapping[name])
