"""What is said of a source that cannot be read as a log, whatever is guessed, and what would make it one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ..comparisons.outcomes import Outcomes
from ..inference.finding import Finding
from .doctor_reading import WHAT, Opened
from .words import listed as in_a_row

__all__ = ["quoted", "said", "unreadable"]

_MOST = 8  # words that are listed


def said(columns: Mapping[str, str], outcomes: Outcomes | Mapping[str, str]) -> list[str]:
    """Options that name columns and say what words mean."""
    given = [f"{_option(role)} {shlex.quote(column)}" for role, column in columns.items()]
    if isinstance(outcomes, Mapping):
        given += [f"--outcome {shlex.quote(f'{word}={meaning}')}" for word, meaning in outcomes.items()]
    return given


def quoted(files: list[str]) -> str:
    """Paths as they are typed."""
    return " ".join(map(shlex.quote, files)) or "VOTES"


def unreadable(opened: Opened, files: list[str]) -> dict[str, Any]:
    """The attributes of the diagnosis. Its command is one to be completed, since only the reader knows how."""
    seen = ", ".join(opened.seen[:30]) + (", ..." if len(opened.seen) > 30 else "")
    finding, command, more = _why(opened, files, seen)
    return {
        "source": opened.label,
        "facts": {"columns": seen},
        "findings": (finding,),
        "verdict": f"This log cannot tell who was paying attention: {finding.text[0].lower()}{finding.text[1:]}",
        "model": None,
        "command": command,
        "python": "",
        "columns": opened.columns,
        "outcomes": opened.outcomes,
    } | more


def _why(opened: Opened, files: list[str], seen: str) -> tuple[Finding, str, dict[str, Any]]:
    """What is wrong, the command, and further attributes."""
    if files and (tool := _export_of(files)):
        return _of_export(tool, files)
    if opened.sides:
        return _of_sides(opened.sides, files)
    if opened.missing:
        return _of_columns(opened, files, seen)
    if opened.ways:
        return _of_codes(opened, files)
    if opened.unknown:
        return _of_words(opened, files)
    finding = Finding("unreadable", "stop", opened.why, "Mend the file, and ask again.")
    return finding, f"earnest doctor {quoted(files)}", {}


def _of_export(tool: str, files: list[str]) -> tuple[Finding, str, dict[str, Any]]:
    finding = Finding(
        "export",
        "stop",
        f"It is the export of a tool that collects votes ({tool}), not yet a log of them.",
        "The command below makes a log of it; ask again about that.",
    )
    aside = "" if _is_clean(files) else " --on-bad-rows quarantine"
    return finding, f"earnest import {quoted(files)}{aside} --out votes.parquet", {}


def _of_sides(sides: tuple[str, str], files: list[str]) -> tuple[Finding, str, dict[str, Any]]:
    finding = Finding(
        "no_sides",
        "stop",
        f"The columns {sides[0]!r} and {sides[1]!r} say which model won and which lost, but none says which was shown "
        "on which side.",
        "Write model_a and model_b as they were shown, and a column winner. If that is lost, shuffle the sides as "
        "below, and do not believe what is said of sides.",
    )
    name = "shuffled.csv" if files else ""
    return finding, f"earnest doctor {name}" if name else "", {"python": _shuffle(sides, files)}


def _shuffle(sides: tuple[str, str], files: list[str]) -> str:
    """A program that gives every vote two sides by the toss of a coin."""
    won, lost = (repr(side) for side in sides)
    readers = {".parquet": "read_parquet({})", ".jsonl": "read_json({}, lines=True)", ".json": "read_json({})"}
    lines = ["import numpy as np", "import pandas as pd", ""]
    if files:
        reader = readers.get(PurePath(files[0]).suffix, "read_csv({})").format(repr(files[0]))
        lines.append(f"votes = pd.{reader}")
    lines += [
        "left = np.random.default_rng(0).random(len(votes)) < 0.5",
        f"votes['model_a'] = votes[{won}].where(left, votes[{lost}])",
        f"votes['model_b'] = votes[{lost}].where(left, votes[{won}])",
        "votes['winner'] = np.where(left, 'model_a', 'model_b')",
        f"votes = votes.drop(columns=[{won}, {lost}])",
    ]
    return "\n".join([*lines, "votes.to_csv('shuffled.csv', index=False)"] if files else lines)


def _of_columns(opened: Opened, files: list[str], seen: str) -> tuple[Finding, str, dict[str, Any]]:
    lacking = in_a_row([WHAT[name] for name in opened.missing])
    blanks = [f"{_option(role)} COLUMN" for role in opened.missing]
    remedy = "If there is one, name it in the place of COLUMN in the command below."
    if "user" in opened.missing:
        remedy += " If there is none, people cannot be told apart: log who votes, under any name."
    code = "no_user" if opened.missing[0] == "user" else "no_columns"
    finding = Finding(code, "stop", f"No column seems to say {lacking}. Columns: {seen}.", remedy)
    return finding, " ".join(["earnest doctor", quoted(files), *blanks, *said(opened.columns, None)]), {}


def _of_codes(opened: Opened, files: list[str]) -> tuple[Finding, str, dict[str, Any]]:
    given = _given(opened)
    told = "; or ".join(", ".join(f"{word} = {meaning}" for word, meaning in way.items()) for way in opened.ways)
    finding = Finding(
        "two_readings",
        "stop",
        f"The codes in {opened.winner!r} can be read in {len(opened.ways)} ways, and nothing in the log says which is "
        f"right: {told}.",
        "Ask whoever wrote the log, and run the command with that reading: the wrong one makes the best model the "
        "worst, and chosen responses the rejected ones.",
    )
    ask = f"earnest doctor {quoted(files)}"
    choices = tuple(" ".join([ask, *said(opened.columns, {**given, **way})]) for way in opened.ways)
    blanks = {word: "OUTCOME" for word in opened.ways[0]}
    return finding, " ".join([ask, *said(opened.columns, {**blanks, **given})]), {"choices": choices}


def _of_words(opened: Opened, files: list[str]) -> tuple[Finding, str, dict[str, Any]]:
    given = _given(opened)
    listed = ", ".join(map(repr, opened.unknown[:_MOST]))
    more = f" and {len(opened.unknown) - _MOST} more" if len(opened.unknown) > _MOST else ""
    finding = Finding(
        "unknown_words",
        "stop",
        f"The winner column {opened.winner!r} has words of which nothing can be said: {listed}{more}.",
        "Say what they mean: in the command below write model_a, model_b or tie in the place of OUTCOME. Usual words "
        "and the models' names need not be said.",
    )
    blanks = {word: "OUTCOME" for word in opened.unknown[:_MOST]}
    return finding, " ".join(["earnest doctor", quoted(files), *said(opened.columns, {**given, **blanks})]), {}


def _given(opened: Opened) -> dict[str, str]:
    """Words whose meaning is known already."""
    known = opened.outcomes if isinstance(opened.outcomes, Mapping) else {}
    return {str(word): meaning for word, meaning in known.items()}


def _export_of(files: list[str]) -> str:
    """The tool whose export it is, "" where it is none that `earnest import` reads."""
    from ..comparisons import EarnestError
    from ..comparisons.exports import recognised

    try:
        return recognised(files)
    except EarnestError:
        return ""


def _is_clean(files: list[str]) -> bool:
    """Whether every vote of an export can be used."""
    from ..comparisons import EarnestError
    from ..comparisons.exports import read_export

    try:
        return len(read_export(files)) > 0
    except EarnestError:
        return False


def _option(role: str) -> str:
    return "--" + role.replace("_", "-")
