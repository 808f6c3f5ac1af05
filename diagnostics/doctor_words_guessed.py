"""What an outcome is called elsewhere: a bolder guess than reading makes, to be looked at by the user."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..comparisons.outcomes import WORDS

__all__ = ["guess_outcomes", "is_usual", "meaning", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_KNOWN = {word: outcome for outcome, usual in WORDS.items() for word in usual}
_FIRST = words("a 1 one first left l links gauche izquierda esquerda sinistra premier primero erste top upper")
_SECOND = words("b 2 two second right r rechts droite derecha direita destra second segundo zweite bottom lower")
_EVEN = words(
    "tie tied draw same equal equally both neither none neutral similar even undecided unsure equivalent gleich "
    "unentschieden egal empate igual pareil ex_aequo"
)
_WORSE = words("worse loses lost bad inferior rejected")
_NUMBERS: tuple[tuple[frozenset[str], dict[str, str]], ...] = (
    (frozenset("01"), {"1": "model_a", "0": "model_b"}),
    (frozenset("12"), {"1": "model_a", "2": "model_b"}),
    (frozenset("012"), {"0": "model_a", "1": "model_b", "2": "tie"}),
    (frozenset("123"), {"1": "model_a", "2": "model_b", "3": "tie"}),
    (frozenset({"-1", "1"}), {"1": "model_a", "-1": "model_b"}),
    (frozenset({"-1", "0", "1"}), {"1": "model_a", "0": "tie", "-1": "model_b"}),
    (frozenset({"0", "0.5", "1"}), {"1": "model_a", "0.5": "tie", "0": "model_b"}),
    (frozenset({"true", "false"}), {"true": "model_a", "false": "model_b"}),
)


def guess_outcomes(values: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What each value of a winner column may mean, and the values of which nothing can be said.

    Example:
        >>> guess_outcomes(["Left is better", "right is better", "about the same", "skipped"])[1]
        ['skipped']
        >>> guess_outcomes(["0", "1"])
        ({'0': 'model_b', '1': 'model_a'}, [])
    """
    seen = sorted(set(values))
    plain = {value: re.sub(r"\.0$", "", value.strip().lower()) for value in seen}
    numbers = set(plain.values())
    for known, told in _NUMBERS:
        if numbers <= known and len(numbers) > 1:
            return {value: told[plain[value]] for value in seen}, []
    scale = _on_a_scale(numbers)
    if scale:
        return {value: scale[plain[value]] for value in seen}, []
    told_of = {value: meaning(value) for value in seen}
    return {v: m for v, m in told_of.items() if m is not None}, [v for v, m in told_of.items() if m is None]


def meaning(value: str) -> str | None:
    """What a word or a phrase says, or None.

    Example:
        >>> [meaning(text) for text in ("Assistant B", "A >> B", "response 1 is worse", "about the same", "maybe")]
        ['model_b', 'model_a', 'model_b', 'tie', None]
        >>> [meaning(text) for text in ("first one", "the second one", "one", "two")]
        ['model_a', 'model_b', 'model_a', 'model_b']
    """
    text = value.strip().lower()
    if text in _KNOWN:
        return _KNOWN[text]
    if re.fullmatch(r"(\w+)\s*(=|==|~|≈)\s*(\w+)", text):
        return "tie"
    said = re.findall(r"[^\W_]+", text)
    if _EVEN.intersection(said):
        return "tie"
    named = [word for word in said if word in _FIRST | _SECOND]
    if len(named) > 1 and named[-1] == "one":  # "the second one"
        named = named[:-1]
    sides = ["model_a" if word in _FIRST else "model_b" for word in named]
    if not sides:
        return None
    if len(set(sides)) > 1 and not re.search(r"[<>]|better|worse|beats|over|than", text):
        return None
    turned = bool(_WORSE.intersection(said)) or ("<" in text and ">" not in text)
    return {"model_a": "model_b", "model_b": "model_a"}[sides[0]] if turned else sides[0]


def is_usual(value: str) -> bool:
    """Whether reading knows a word by itself."""
    return value.strip().lower() in _KNOWN


def _on_a_scale(numbers: set[str]) -> dict[str, str]:
    """A scale such as 1 to 5 or 1 to 7: its lower half is for the first, its middle a tie."""
    if not all(re.fullmatch(r"\d", number) for number in numbers) or len(numbers) < 4:
        return {}
    low, high = min(map(int, numbers)), max(map(int, numbers))
    if low not in (0, 1) or high - low not in (3, 4, 5, 6):
        return {}
    middle = (low + high) / 2
    return {n: "tie" if int(n) == middle else "model_a" if int(n) < middle else "model_b" for n in numbers}
