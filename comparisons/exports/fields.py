"""Which fields of a task or record hold the models and the texts: the tool does not say, whoever set it up does."""

from __future__ import annotations

from collections.abc import Callable

from ..columns import PAIRS, USUAL
from ..errors import InputError
from .json_sql import MESSAGES, at, text
from .tool import Export

__all__ = ["OPEN", "Fields", "find_fields", "values"]

_MODELS, _TEXTS = ("model_a", "model_b"), ("response_a", "response_b")
_MORE_MODELS = (("model-1", "model-2"), ("model-a", "model-b"), ("generation_model_1", "generation_model_2"))
_MORE_TEXTS = (
    ("text1", "text2"), ("text_1", "text_2"), ("text-1", "text-2"), ("text_a", "text_b"), ("answer1", "answer2"),
    ("answer_1", "answer_2"), ("response1", "response2"), ("response-1", "response-2"), ("output1", "output2"),
    ("generation-0", "generation-1"), ("left", "right"),
)  # fmt: skip
_CARRIED = ("category", "language", "source")

OPEN = (*_MODELS, "prompt", *_TEXTS, "question")
"""What a caller may name of a tool that knows nothing of models."""

Fields = dict[str, str]
"""Standard name to the field's name."""


def find_fields(export: Export, fields: tuple[str, ...], where: str) -> Fields:
    """The fields of models, texts, prompt and category among those of a task or record.

    Args:
        export: The export, with what the caller named.
        fields: What is there.
        where: What holds them, for messages.

    Raises:
        InputError: No two fields say which models wrote the responses.
    """
    models = export.pair(_MODELS, fields, (*PAIRS[_MODELS], *_MORE_MODELS))
    if models is None:
        raise InputError(
            f"{export.label}: no two fields of {where} say which models wrote the two responses (looked for model_a "
            "and model_b, model_1 and model_2, ...); the tool does not know it, so they must be among what was "
            "imported into it. If they are, name them with model_a= and model_b=. Fields: "
            f"{', '.join(map(repr, fields))}"
        )
    found = dict(zip(_MODELS, models, strict=True))
    left = tuple(name for name in fields if name not in models)
    texts = export.pair(_TEXTS, left, (*PAIRS[_TEXTS], *_MORE_TEXTS))
    if texts is not None:
        found |= dict(zip(_TEXTS, texts, strict=True))
    prompt = export.field("prompt", left, USUAL["prompt"])
    if prompt is not None:
        found["prompt"] = prompt
    return found | {name: name for name in _CARRIED if name in left and name not in found.values()}


def values(export: Export, found: Fields, place: Callable[[str], tuple[str, ...]], json: str = "json") -> Fields:
    """SQL of each field's value: a conversation where a record has a list of messages there, else a text.

    Args:
        export: The export.
        found: What `find_fields` gave.
        place: The path of a field in a record.
        json: SQL of the record.
    """
    sql = {}
    for standard, name in found.items():
        path = place(name)
        if standard in ("prompt", *_TEXTS) and export.is_true(f"json_type({at('json', *path)}) = 'ARRAY'"):
            role = {"prompt": "user"}.get(standard, "assistant")
            alone = f"[{{'role': '{role}', 'content': {text(json, *path)}}}]"
            listed = f'from_json({at(json, *path)}, \'[{{"role": "VARCHAR", "content": "VARCHAR"}}]\')'
            sql[standard] = (
                f"CAST(CASE json_type({at(json, *path)}) WHEN 'ARRAY' THEN {listed} WHEN 'VARCHAR' THEN {alone} END "
                f"AS {MESSAGES})"
            )
        else:
            sql[standard] = text(json, *path)
    return sql
