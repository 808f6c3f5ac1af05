"""The words for an outcome, and the SQL that turns them into model_a, model_b or tie.

Words that a caller gives are added to the usual ones and to the models' names, and go before them: to say what one odd
word means must not make the others unreadable. Two rules keep that from reading a log wrongly. Who gives a word of a
side another meaning than the usual one (left is model_b) has a log with a convention of its own, so that the other
usual words of sides (right) mean nothing until they are given, too. And where numbers are given, the other numbers are
codes as well, not the names of models that are called 0, 1 and 2.
"""

import re
from collections.abc import Mapping
from typing import Literal

from .errors import InputError
from .schema import OUTCOMES
from .sql import literal, literals

Outcomes = Mapping[object, str] | Literal["words", "names"] | None

WORDS = {
    "model_a": ("model_a", "a", "left", "first", "model_1", "model_left", "left_model", "model_x", "response_a"),
    "model_b": ("model_b", "b", "right", "second", "model_2", "model_right", "right_model", "model_y", "response_b"),
    "tie": ("tie", "draw", "both_bad", "bothbad", "both bad", "tie (bothbad)", "tie (both bad)", "tie(bothbad)"),
}
_USUAL = {word: outcome for outcome, words in WORDS.items() for word in words}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def outcome_sql(value: str, model_a: str, model_b: str, outcomes: Outcomes) -> tuple[str, str]:
    """SQL for the outcome, NULL where it is unknown, and SQL for whether it is ambiguous.

    Args:
        value: SQL of the outcome as text.
        model_a: SQL of the first model's name.
        model_b: SQL of the second model's name.
        outcomes: A mapping of further words, which goes before what follows; "words" or "names" to accept only outcome
            words or only the winning model's name; None for both.
    """
    name = f"CASE {value} WHEN {model_a} THEN 'model_a' WHEN {model_b} THEN 'model_b' END"
    plain = f"lower(trim({value}))"
    if isinstance(outcomes, Mapping):
        given = check_mapping(outcomes)
        own = f"coalesce({_mapped(value, given)}, {_mapped(plain, _folded(given))})"
        word = _mapped(plain, _usual_beside(given))
        if any(_NUMBER.fullmatch(key.strip()) for key in given):
            name = f"CASE WHEN NOT regexp_full_match({value}, {literal(_NUMBER.pattern)}) THEN {name} END"
        return f"coalesce({own}, {word}, {name})", f"({own} IS NULL AND {word} <> {name})"
    word = _mapped(plain, _USUAL)
    if outcomes == "words":
        return word, "false"
    if outcomes == "names":  # a tie has no name of its own
        return f"coalesce({name}, CASE WHEN {word} = 'tie' THEN 'tie' END)", "false"
    if outcomes is not None:
        raise InputError(f"outcomes={outcomes!r}: expected a mapping such as {{'1': 'model_a'}}, 'words' or 'names'")
    return f"coalesce({word}, {name})", f"({word} <> {name})"


def _folded(given: Mapping[str, str]) -> dict[str, str]:
    """Given words without regard to capitals, as the usual ones are read; but for those that capitals tell apart."""
    meanings: dict[str, set[str]] = {}
    for key, meaning in given.items():
        meanings.setdefault(key.strip().lower(), set()).add(meaning)
    return {key: meaning for key, (meaning, *others) in ((k, sorted(m)) for k, m in meanings.items()) if not others}


def _usual_beside(given: Mapping[str, str]) -> dict[str, str]:
    """The usual words that still hold beside those that were given; see the top of this file."""
    plain = {key.strip().lower(): meaning for key, meaning in given.items()}
    turned = any("tie" not in (_USUAL.get(key, meaning), meaning) and _USUAL.get(key, meaning) != meaning
                 for key, meaning in plain.items())  # fmt: skip
    return {w: o for w, o in _USUAL.items() if w not in plain and not (turned and o != "tie")}


def _mapped(value: str, vocabulary: Mapping[str, str]) -> str:
    cases = []
    for outcome in OUTCOMES:
        words = [word for word, meaning in vocabulary.items() if meaning == outcome]
        if words:
            cases.append(f"WHEN {value} IN ({literals(words)}) THEN {literal(outcome)}")
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"


def check_mapping(outcomes: Mapping[object, str]) -> dict[str, str]:
    """The mapping with its keys as texts.

    Raises:
        InputError: It is empty, a meaning is no outcome, or two keys are the same text.
    """
    vocabulary: dict[str, str] = {}
    for key, meaning in outcomes.items():
        if meaning not in OUTCOMES:
            raise InputError(f"outcomes[{key!r}] = {meaning!r}: expected one of {', '.join(OUTCOMES)}")
        text = _text(key)
        if vocabulary.setdefault(text, meaning) != meaning:
            raise InputError(f"outcomes: {text!r} is mapped twice, to {vocabulary[text]} and to {meaning}")
    if not vocabulary:
        raise InputError("outcomes is empty; expected a mapping such as {'1': 'model_a', '0': 'model_b'}")
    return vocabulary


def _text(key: object) -> str:
    """A key as the log's values are written: True is 'true' and 1.0 is '1'."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)
