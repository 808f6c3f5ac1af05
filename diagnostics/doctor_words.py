"""A diagnosis in words: on a terminal of 80 columns, and as a card in a notebook."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..comparisons.markup import card, code, points, sentences
from ..comparisons.words import counted
from .doctor_counts import Holdings

if TYPE_CHECKING:
    from .doctor import Diagnosis

__all__ = ["as_html", "as_text", "facts_of", "headline", "numbers_of"]

_WIDTH = 80
_CANNOT = "This log cannot tell who was paying attention"
_SIGNS = {"stop": "STOP", "warning": "warning", "note": "note"}


def facts_of(held: Holdings) -> dict[str, str]:
    """What the log holds, name to value."""
    by, told, models = held.by_user, held.evidence, len(held.models)
    possible = models * (models - 1) // 2
    connected = "all connected" if len(held.islands) == 1 else f"in {len(held.islands)} groups that never met"
    facts = {
        "votes": f"{held.votes:,}, {held.ties:.0%} of them ties",
        "users": f"{by['users']:,.0f}, with {_votes_each(by)}",
        "models": f"{models:,}; {len(held.pairs):,} of {possible:,} pairs compared, {connected}",
    }
    if held.part > 1:
        facts["looked at"] = f"one user in {held.part}, for what follows"
    if told.decided:
        facts["left side"] = f"won {told.left_share:.0%} of the decided votes"
        p, df = told.gap
        if df and told.decided >= 20:
            facts["better model"] = (
                f"wins about {0.5 + told.advantage:.0%} of the decided votes (p {_p(p)})"
                if p < 0.01
                else f"none to be seen (p {_p(p)})"
            )
        if told.signal and told.decided >= 20 and by["several"] >= 0.5 and not held.sides_fixed:
            facts["users differ"] = (
                f"yes; a typical rating would correlate about {told.reliability:.1f} with the truth"
                if told.differ[0] > 2
                else "not to be seen"
            )
    return facts


def _votes_each(by: Mapping[str, Any]) -> str:
    if by["least"] == by["most"]:
        return f"{counted(by['most'], 'vote')} each"
    return f"{by['least']:,.0f} to {by['most']:,.0f} votes, {by['median']:,.0f} in the middle"


def numbers_of(held: Holdings) -> dict[str, float | int | None]:
    """The facts as numbers; None where the votes do not tell one."""
    by, told, models = held.by_user, held.evidence, len(held.models)
    found: dict[str, float | int | None] = {
        "votes": held.votes,
        "ties": held.outcomes["tie"],
        "decided": held.outcomes["model_a"] + held.outcomes["model_b"],
        "users": int(by["users"]),
        "least_votes": int(by["least"]),
        "median_votes": float(by["median"]),
        "most_votes": int(by["most"]),
        "models": models,
        "pairs_compared": len(held.pairs),
        "pairs_possible": models * (models - 1) // 2,
        "components": len(held.islands),
        "looked_at_one_user_in": held.part,
    }
    some = told.decided > 0
    found |= {
        "left_share": told.left_share if some else None,
        "better_model_share": 0.5 + told.advantage if some and told.gap[1] else None,
        "better_model_p": told.gap[0] if some and told.gap[1] else None,
        "users_differ_score": told.differ[0] if some and told.signal else None,
        "reliability": told.reliability if some and told.signal else None,
    }
    return {name: value if value is None or math.isfinite(value) else None for name, value in found.items()}


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def headline(diagnosis: Diagnosis, held: Holdings) -> str:
    """The verdict."""
    stops = [finding for finding in diagnosis.findings if finding.severity == "stop"]
    if stops:
        text = stops[0].text
        return f"{_CANNOT}: {text[0].lower() + text[1:]}"
    warned = [finding for finding in diagnosis.findings if finding.severity == "warning"]
    number = "One thing" if len(warned) == 1 else f"{len(warned)} things"
    odd = f" {number} to look at first, below." if warned else ""
    if held.sides_fixed:
        return (
            "This log can tell who was paying attention only if careless users click left as often as right, which it "
            f"cannot show.{odd}"
        )
    if held.evidence.differ[0] > 2 and held.evidence.signal:
        return f"This log can tell who was paying attention.{odd}"
    return f"This log can be fitted, but will tell little of single users.{odd}"


def as_text(diagnosis: Diagnosis, say: Callable[[str], str] = str) -> str:
    """Everything, no line longer than 80 characters but a command's, which must stay whole.

    Args:
        diagnosis: what was found.
        say: how a text is said where it is shown: on the command line in its options, not in Python's.
    """
    lines = [*_wrapped(diagnosis.source), ""]
    width = max(map(len, diagnosis.facts), default=0)
    for name, value in diagnosis.facts.items():
        lines += _wrapped(value, first=f"  {name:<{width}}  ", rest=" " * (width + 4))
    # What stops it is told below.
    lines += ["", *_wrapped(diagnosis.verdict if diagnosis.can_tell else f"{_CANNOT}:")]
    for finding in diagnosis.findings:
        sign = _SIGNS[finding.severity]
        lines += ["", *_wrapped(say(finding.text), first=f"  {sign}: ", rest="    ")]
        if finding.remedy:
            lines += _wrapped(say(finding.remedy), first="    -> ", rest="       ")
    return "\n".join([*lines, "", *_next_lines(diagnosis)])


def _next_lines(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.choices:
        return ["next, whichever is right:", *(f"  {command}" for command in diagnosis.choices)]
    lines = []
    if diagnosis.python and not diagnosis.can_tell and "\n" in diagnosis.python:  # a program that makes a log of it
        lines = ["in Python:", *(f"  {line}".rstrip() for line in diagnosis.python.split("\n")), ""]
        if not diagnosis.command:
            return lines[:-1]
    return [*lines, "next:", f"  {diagnosis.command or diagnosis.python}"]


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or [first]


def as_html(diagnosis: Diagnosis) -> str:
    """The same as a card."""
    found = [(_SIGNS[finding.severity], f"{finding.text} {finding.remedy}".strip()) for finding in diagnosis.findings]
    verdict = diagnosis.verdict if diagnosis.can_tell else f"{_CANNOT}:"  # what stops it is among the findings
    name = PurePath(diagnosis.source).name or diagnosis.source
    after = code("\n".join(_next_lines(diagnosis)))
    return card(f"Diagnosis of {name}", diagnosis.facts, sentences([verdict]), points(found), after)
