"""`earnest doctor`: a first look at a log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from .console import Verb, working
from .options import columns_options, votes_argument
from .wording import in_shell


@click.command(cls=Verb)
@votes_argument
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as JSON, for programs.")
@columns_options
def doctor(votes: tuple[str, ...], as_json: bool, reading: Mapping[str, Any]) -> None:
    """What a log holds, what it can tell, and what to run next.

    VOTES: files or patterns, CSV, JSONL or Parquet. Nothing is fitted or written. Columns and words with unusual names
    are guessed, and what was guessed is said.
    """
    from .diagnostics.doctor import doctor as look
    from .diagnostics.doctor_words import as_text

    source = votes[0] if len(votes) == 1 else list(votes)
    with working("looking at the votes"):
        found = look(source, outcomes=reading["outcomes"], **reading["columns"])
    if as_json:
        names = ("source", "verdict", "can_tell", "facts", "numbers", "columns", "outcomes", "choices")
        told = {name: getattr(found, name) for name in names}
        told["findings"] = [vars(finding) for finding in found.findings]
        told["model"] = None if found.model is None else found.model.to_toml()
        click.echo(json.dumps({**told, "command": found.command}, indent=1))
    else:
        click.echo(as_text(found, say=in_shell))
