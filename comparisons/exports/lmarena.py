"""LMArena (Chatbot Arena): the battles that it publishes as data sets, and FastChat's cleaned battles.

Format: the data sets' cards and columns, lmsys/chatbot_arena_conversations (`judge`), lmarena-ai/
arena-human-preference-100k (`judge_hash`), -140k (`evaluation_session_id`, messages of several parts) and -55k
(`winner_model_a`, `winner_model_b`, `winner_tie`, nobody's votes); lm-sys/FastChat,
`fastchat/serve/monitor/clean_battle_data.py` for the words of a winner.
"""

from __future__ import annotations

from ..errors import InputError
from .json_sql import MESSAGES, array, at, text
from .tool import Export, Tool

__all__ = ["LMARENA"]

_USERS = ("judge", "judge_hash", "user_id", "user", "evaluation_session_id")
_IDS = ("question_id", "id")
_TIMES = ("tstamp", "timestamp")
_CARRIED = ("language", "turn", "anony", "is_code", "evaluation_session_id", "evaluation_order")


def _flatten(export: Export) -> str:
    fields = export.keys
    user = export.field("user", fields, _USERS)
    if user is None:
        raise InputError(
            f"{export.label}: no field says who voted (looked for {', '.join(_USERS)}); Earnest learns how attentively "
            "each user compares, so it cannot use a data set without users, such as arena-human-preference-55k. If a "
            f"field does say it, name it with user=. Fields: {', '.join(map(repr, fields))}"
        )
    columns = {"user": text("json", user), "model_a": text("json", "model_a"), "model_b": text("json", "model_b")}
    columns["winner"] = _winner(fields)
    for standard, usual in (("comparison", _IDS), ("timestamp", _TIMES)):
        found = export.field(standard, fields, usual)
        if found is not None:
            columns[standard] = text("json", found)
    if "timestamp" in columns:  # a number in some, a date in others
        number = f"TRY_CAST({columns['timestamp']} AS DOUBLE)"
        columns["timestamp"] = f"coalesce({number}, epoch(TRY_CAST({columns['timestamp']} AS TIMESTAMP)))"
    for side in ("a", "b"):
        if (conversation := _conversation(fields, side)) is not None:
            columns[f"response_{side}"] = conversation
    columns |= {name: text("json", name) for name in _CARRIED if name in fields and name != user}
    columns |= _flags(fields, user)
    listed = ", ".join(f'{value} AS "{name}"' for name, value in columns.items())
    return f"SELECT file, record, 1 AS part, NULL::VARCHAR AS left_out, {listed} FROM records"


def _winner(fields: tuple[str, ...]) -> str:
    if "winner" in fields:
        return text("json", "winner")
    cases = [
        f"WHEN {text('json', f'winner_{outcome}')} IN ('1', '1.0', 'true') THEN '{outcome}'"
        for outcome in ("model_a", "model_b", "tie")
    ]
    return f"CASE {' '.join(cases)} END"


def _conversation(fields: tuple[str, ...], side: str) -> str | None:
    if f"conversation_{side}" in fields:
        messages = _list(at("json", f"conversation_{side}"))
        parts = f"list_filter({array('m.content')}, lambda p: {text('p', 'text')} IS NOT NULL)"
        joined = f"array_to_string(list_transform({parts}, lambda p: {text('p', 'text')}), chr(10))"
        content = f"CASE json_type(m.content) WHEN 'ARRAY' THEN {joined} ELSE json_extract_string(m.content, '$') END"
        typed = f"TRY_CAST({messages} AS STRUCT(role VARCHAR, content JSON)[])"
        return f"CAST(list_transform({typed}, lambda m: {{'role': m.role, 'content': {content}}}) AS {MESSAGES})"
    if {"prompt", f"response_{side}"} <= set(fields):
        asked, answered = (
            f"coalesce(TRY_CAST({_list(at('json', name))} AS VARCHAR[]), [{text('json', name)}])"
            for name in ("prompt", f"response_{side}")
        )
        turn = "[{'role': 'user', 'content': z[1]}, {'role': 'assistant', 'content': z[2]}]"
        return f"CAST(flatten(list_transform(list_zip({asked}, {answered}), lambda z: {turn})) AS {MESSAGES})"
    return None


def _list(value: str) -> str:
    """SQL of a JSON list, also of one that was written as a text, as in a CSV file."""
    read = f"TRY_CAST(json_extract_string({value}, '$') AS JSON)"
    return f"CASE WHEN json_type({value}) = 'VARCHAR' THEN {read} ELSE {value} END"


def _flags(fields: tuple[str, ...], user: str) -> dict[str, str]:
    """SQL of what `remarks` tells."""
    flags = {"_session": "true"} if user == "evaluation_session_id" else {}
    if "anony" in fields:
        flags["_named"] = f"{text('json', 'anony')} = 'false'"
    if "evaluation_order" in fields:
        flags["_continued"] = f"TRY_CAST({text('json', 'evaluation_order')} AS BIGINT) > 1"
    if {"conversation_a", "conversation_b"} <= set(fields):
        both = " || ".join(f"CAST({at('json', f'conversation_{side}')} AS VARCHAR)" for side in ("a", "b"))
        empty = (f"coalesce(len({array(_list(at('json', f'conversation_{side}')))}), 0) = 0" for side in ("a", "b"))
        flags["_no_texts"] = " OR ".join(empty)
        flags["_pictures"] = f"""contains({both}, '"type":"image"')"""
    return flags


LMARENA = Tool(
    name="lmarena",
    title="LMArena",
    unit="battles",
    published="the data sets lmsys/chatbot_arena_conversations and lmarena-ai/arena-human-preference-100k, -140k and "
    "-55k; lm-sys/FastChat, fastchat/serve/monitor/clean_battle_data.py",
    recognise=lambda keys: (
        {"model_a", "model_b"} <= keys
        and bool({"winner", "winner_tie"} & keys)
        and bool({"conversation_a", "judge", "judge_hash", "evaluation_session_id", "winner_tie"} & keys)
    ),
    flatten=_flatten,
    fields=("user",),
    remarks={
        "_session": "name no user: each evaluation session is taken for one (a person may have had several)",
        "_named": "were cast with the models' names in sight (anony is false)",
        "_no_texts": "have no text of one or both responses: they can be fitted, and preference data cannot be made of "
        "them",
        "_pictures": "hold pictures, which the texts leave out",
        "_continued": "continue an earlier conversation (evaluation_order above 1): their texts are of the turn that "
        "was judged",
    },
    outcomes="words",
)
