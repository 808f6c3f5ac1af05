"""A diagnosis in words: on a terminal of 80 columns, and as a card in a notebook."""

from __future__ import annotations

import textwrap
from pathlib import PurePath
from typing import TYPE_CHECKING

from ..comparisons.markup import card, code, points, sentences
from .doctor_counts import Holdings

if TYPE_CHECKING:
    from .doctor import Diagnosis

__all__ = ["as_html", "as_text", "facts_of", "headline"]

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
        "users": f"{by['users']:,.0f}, with {by['least']:,.0f} to {by['most']:,.0f} votes, "
        f"{by['median']:,.0f} in the middle",
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
        return f"This log can tell who was paying attention only if who does not favours no side.{odd}"
    if held.evidence.differ[0] > 2 and held.evidence.signal:
        return f"This log can tell who was paying attention.{odd}"
    return f"This log can be fitted, but will tell little of single users.{odd}"


def as_text(diagnosis: Diagnosis) -> str:
    """Everything, no line longer than 80 characters but a command's, which must stay whole."""
    lines = [*_wrapped(diagnosis.source), ""]
    width = max(map(len, diagnosis.facts), default=0)
    for name, value in diagnosis.facts.items():
        lines += _wrapped(value, first=f"  {name:<{width}}  ", rest=" " * (width + 4))
    # What stops it is told below.
    lines += ["", *_wrapped(diagnosis.verdict if diagnosis.can_tell else f"{_CANNOT}:")]
    for finding in diagnosis.findings:
        sign = _SIGNS[finding.severity]
        lines += ["", *_wrapped(finding.text, first=f"  {sign}: ", rest="    ")]
        if finding.remedy:
            lines += _wrapped(finding.remedy, first="    -> ", rest="       ")
    lines += ["", "next:", f"  {diagnosis.command or diagnosis.python}"]
    return "\n".join(lines)


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or [first]


def as_html(diagnosis: Diagnosis) -> str:
    """The same as a card."""
    found = [(_SIGNS[finding.severity], f"{finding.text} {finding.remedy}".strip()) for finding in diagnosis.findings]
    verdict = diagnosis.verdict if diagnosis.can_tell else f"{_CANNOT}:"  # what stops it is among the findings
    name = PurePath(diagnosis.source).name or diagnosis.source
    after = code(diagnosis.command or diagnosis.python)
    return card(f"Diagnosis of {name}", diagnosis.facts, sentences([verdict]), points(found), after)
