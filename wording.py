"""Prose on a terminal: no line wider than 80 columns, and options by the names that they have there."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from contextlib import suppress

__all__ = ["in_shell", "width", "wrapped"]

_USUAL, _LEAST = 80, 20
_OPTIONS = (
    "user|model_a|model_b|winner|comparison|item|prompt|response_a|response_b|category|timestamp|gold|tool|question|"
    "quarantine|prompts|responses|prompt_id|prompt_text|response_prompt|response_model|response_text|noise|missing|"
    "threshold|min_comparisons|criterion"
)
# `name=` as an argument, alone or with a value; not that of a function that is called: `plan(votes=20)`.
_ARGUMENT = re.compile(rf"(?<![\w.])(?<!\w\()({_OPTIONS})=('[^']*'|\"[^\"]*\"|\.\.\.(?! \w)|\d[\d.]*\d|\d)?(?![=\w])")
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"\w+=, (--[a-z-]+)", r"\1"),  # both are said: the one of the shell stays
        (r"on_bad_rows='(error|quarantine)'", r"--on-bad-rows \1"),
        (r"outcomes='words', outcomes='names' or a mapping", "--outcome WORD=model_a (or =model_b) for each such word"),
        (r"outcomes=(?=[,;. )]|$)", "--outcome"),
        (r"give the model casual=CoinFlip\(\)", "fit it with --model suggested, in which careless users toss a coin"),
        (r"read a table of votes with read_comparisons", "ask `earnest doctor` about a table of votes"),
        (r"see earnest\.identifiability\(fit\)", "`earnest report` says more"),
        (r"BehaviorModel\((\w+)=er\.(\w+\((?:[^()]|\([^()]*\))*\))\)", r"a model with \1 \2 (--model MODEL.toml)"),
        (r"(attention|casual|preference|attentiveness)=er\.(\w+)\(\)", r"\1 \2"),
        (r"\ber\.(?=[A-Z])", ""),
    )
)
_WORD = re.compile(r"outcomes=\{(.+): 'model_a'\}")


def width() -> int:
    """Columns of prose: those that COLUMNS says, else 80."""
    with suppress(KeyError, ValueError):
        return max(int(os.environ["COLUMNS"]), _LEAST)
    return _USUAL


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """A text in lines. Words, and with them paths and options, stay whole; so do line breaks that are there.

    Args:
        text: what is said.
        first, rest: what the first line and the others begin with.
    """
    lines: list[str] = []
    for part in text.split("\n"):
        begin = rest if lines else first
        lines += textwrap.wrap(
            part, width(), initial_indent=begin, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        ) or [begin]
    return "\n".join(lines)


def in_shell(text: str) -> str:
    """A message of the library with its arguments as options of the command line.

    Example:
        >>> in_shell("on_bad_rows='quarantine' sets such rows aside; name one with user=")
        '--on-bad-rows quarantine sets such rows aside; name one with --user'
        >>> in_shell("say what it means with outcomes={'a tie': 'model_a'}")
        "say what it means with --outcome 'a tie=model_a' (or =model_b, =tie)"
    """
    for pattern, said in _PHRASES:
        text = pattern.sub(said, text)
    text = _WORD.sub(_outcome, text)
    return _ARGUMENT.sub(_option, text)


def _outcome(found: re.Match[str]) -> str:
    word = found[1][1:-1]
    told = "WORD=model_a" if word == "..." else shlex.quote(f"{word}=model_a")
    return f"--outcome {told} (or =model_b, =tie)"


def _option(found: re.Match[str]) -> str:
    value = found[2] or ""
    name = f"--{found[1].replace('_', '-')}"
    if value in ("", "..."):
        return name
    return f"{name} {shlex.quote(value[1:-1]) if value[0] in '\'"' else value}"
