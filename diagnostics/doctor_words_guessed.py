"""What an outcome is called elsewhere: a bolder guess than reading makes, to be looked at by the user."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..comparisons.outcomes import WORDS

__all__ = ["guess_outcomes", "is_usual", "meaning", "readings", "words"]


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
_NO_CHOICE = re.compile(r"\b(no|without) (\w+ )?(preference|difference|winner)\b|\bcan('?t|not) (decide|tell)\b")
_A, _B, _TIE = "model_a", "model_b", "tie"
# What codes may mean, the likeliest first. Nothing in the votes tells two readings apart: with the sides' codes
# exchanged the best model becomes the worst, and attentiveness stays as it is.
_CODES: tuple[tuple[dict[str, str], ...], ...] = (
    ({"1": _A, "0": _B}, {"0": _A, "1": _B}),
    ({"1": _A, "2": _B},),
    ({"0": _A, "1": _B, "2": _TIE}, {"0": _TIE, "1": _A, "2": _B}, {"0": _A, "1": _TIE, "2": _B}),
    ({"1": _A, "2": _B, "3": _TIE}, {"1": _A, "2": _TIE, "3": _B}),
    ({"1": _A, "-1": _B}, {"-1": _A, "1": _B}),
    ({"1": _A, "0": _TIE, "-1": _B}, {"-1": _A, "0": _TIE, "1": _B}),
    ({"1": _A, "0.5": _TIE, "0": _B},),  # the score of a game, which is the first player's
    ({"true": _A, "false": _B}, {"false": _A, "true": _B}),
)
_YES = {"1": True, "0": False, "true": True, "false": False}
_WINS = words("win wins won winner better best preferred prefer prefers beats chosen is")
_ONE = words("a left first one l")
_OTHER = words("b right second two r")


def readings(values: Iterable[str], column: str = "", sides: tuple[str, str] = ("", "")) -> list[dict[str, str]]:
    """Every reading of a winner column's codes, the likeliest first; none where it holds no codes.

    Args:
        values: the column's values.
        column: its name, which may tell: `a_wins` is 1 where the first model won.
        sides: names of the models' columns: beside `model_0` and `model_1` a winner 0 is the first.

    Example:
        >>> readings(["0", "1"])
        [{'0': 'model_b', '1': 'model_a'}, {'0': 'model_a', '1': 'model_b'}]
        >>> readings(["0", "1"], "a_wins")
        [{'0': 'model_b', '1': 'model_a'}]
        >>> readings(["left", "right"])
        []
    """
    plain = {value: re.sub(r"\.0$", "", value.strip().lower()) for value in sorted(set(values))}
    codes = {code for code in plain.values() if re.fullmatch(r"-?[\d.]+|true|false", code)}
    known = next((ways for ways in _CODES if codes <= ways[0].keys()), ()) if len(codes) > 1 else ()
    told = _told_by_names(codes, column, sides) if len(known) > 1 else None
    found: list[dict[str, str]] = []
    for way in known if told is None else (told,):
        mine = {value: way[code] for value, code in plain.items() if code in codes}
        if mine not in found:
            found.append(mine)
    return found


def _told_by_names(codes: set[str], column: str, sides: tuple[str, str]) -> dict[str, str] | None:
    """What the names of the columns say of two codes; None where they say nothing."""
    said, ends = set(name_words(column)), [name_words(side)[-1:] for side in sides]
    if ends == [["0"], ["1"]] and codes <= {"0", "1", "2"}:
        return {"0": _A, "1": _B, "2": _TIE}
    if ends == [["1"], ["2"]] and codes <= {"0", "1", "2", "3"} and {"1", "2"} <= codes:
        return {"0": _TIE, "1": _A, "2": _B, "3": _TIE}
    if not codes <= _YES.keys() or not said & _WINS or bool(said & _ONE) == bool(said & _OTHER):
        return None
    first = bool(said & _ONE)
    return {code: _A if _YES[code] == first else _B for code in codes}


def name_words(name: str) -> list[str]:
    """The words of a column's name: modelA, model-a and "Model A" alike."""
    spaced = re.sub(r"([a-z])([A-Z0-9])", r"\1 \2", name)
    return re.findall(r"[^\W_]+", spaced.lower())


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
    coded = next(iter(readings(seen)), {})
    if len(coded) == len(seen) > 0:
        return coded, []
    scale = _on_a_scale(numbers)
    if scale:
        return {value: scale[plain[value]] for value in seen}, []
    told_of = {value: coded.get(value) or meaning(value) for value in seen}
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
    if _EVEN.intersection(said) or _NO_CHOICE.search(text):
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
