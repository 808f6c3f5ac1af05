"""The words for an outcome, and the SQL that turns them into model_a, model_b or tie."""

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


def outcome_sql(value: str, model_a: str, model_b: str, outcomes: Outcomes) -> tuple[str, str]:
    """SQL for the outcome, NULL where it is unknown, and SQL for whether it is ambiguous.

    Args:
        value: SQL of the outcome as text.
        model_a: SQL of the first model's name.
        model_b: SQL of the second model's name.
        outcomes: An explicit mapping, which is then the whole vocabulary; "words" or "names" to accept only outcome
            words or only the winning model's name; None for both.
    """
    if isinstance(outcomes, Mapping):
        return _mapped(value, check_mapping(outcomes)), "false"
    word = _mapped(f"lower(trim({value}))", {w: o for o, ws in WORDS.items() for w in ws})
    name = f"CASE {value} WHEN {model_a} THEN 'model_a' WHEN {model_b} THEN 'model_b' END"
    if outcomes == "words":
        return word, "false"
    if outcomes == "names":  # a tie has no name of its own
        return f"coalesce({name}, CASE WHEN {word} = 'tie' THEN 'tie' END)", "false"
    if outcomes is not None:
        raise InputError(f"outcomes={outcomes!r}: expected a mapping such as {{'1': 'model_a'}}, 'words' or 'names'")
    return f"coalesce({word}, {name})", f"({word} <> {name})"


def _mapped(value: str, vocabulary: Mapping[str, str]) -> str:
    cases = []
    for outcome in OUTCOMES:
        words = [word for word, meaning in vocabulary.items() if meaning == outcome]
        if words:
            cases.append(f"WHEN {value} IN ({literals(words)}) THEN {literal(outcome)}")
    return f"CASE {' '.join(cases)} END"


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
