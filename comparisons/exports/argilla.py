"""Argilla 2: responses to a label, rating or ranking question about two responses of models.

Format: argilla-io/argilla, `argilla/src/argilla/records/_resource.py` (`Record.to_dict`) and
`records/_io/_generic.py` (`GenericIO`): `dataset.records.to_json(path)` writes records with nested `fields`, `metadata`
and `responses`; `to_list(flatten=True)` and `to_datasets()` lay them flat, with the status of every response in
`"<question>.responses.status"`.
"""

from __future__ import annotations

from ..errors import InputError
from ..sql import literal
from .fields import OPEN, Fields, find_fields, values
from .json_sql import array, at, text
from .tool import Export, Tool

__all__ = ["ARGILLA"]

_ENDING = ".responses"


def _flatten(export: Export) -> str:
    nested = "responses" in export.keys
    if nested:
        questions = export.keys_at("responses")
        groups = {name: group for group in ("metadata", "fields") for name in export.keys_at(group)}
    else:
        questions = tuple(name.removesuffix(_ENDING) for name in export.keys if name.endswith(_ENDING))
        groups = {name: "" for name in export.keys if not name.startswith(tuple(f"{q}." for q in questions))}
    question = _question(export, questions)
    found = find_fields(export, tuple(sorted(groups)), "the records")
    columns = values(export, found, lambda name: (groups[name], name) if groups[name] else (name,))
    units = _nested(question) if nested else _laid_flat(question)
    listed = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    return f"""WITH answers AS ({units}), read_ AS (SELECT *, {_elements()} AS elements FROM answers)
        SELECT file, record, part, {_left_out()} AS left_out, "user", {listed}, {_winner(found)} AS winner,
        {text("json", "id")} AS item, status IS NULL AS _no_status FROM read_"""


def _question(export: Export, questions: tuple[str, ...]) -> str:
    if not questions:
        raise InputError(f"{export.label}: nobody has responded yet: no record has a response; export again later")
    listed = ", ".join(map(repr, questions))
    wanted = export.named.get("question")
    if wanted is None and len(questions) == 1:
        return questions[0]
    if wanted is None:
        raise InputError(
            f"{export.label}: there are responses to {len(questions)} questions; name the one that asks which response "
            f"is better with question=. Questions: {listed}"
        )
    if wanted not in questions:
        raise InputError(f"{export.label}: no response is to a question {wanted!r} (question=). Questions: {listed}")
    return wanted


def _nested(question: str) -> str:
    """SQL of one row a response: record, user, status, value; a record without any has one, too."""
    answers = array(at("json", "responses", question))
    listed = f"SELECT file, record, json, {answers} AS list FROM records"
    told = f'{text("a", "user_id")} AS "user", {text("a", "status")} AS status, {at("a", "value")} AS value'
    return f"""SELECT file, record, json, part, {told} FROM (
        SELECT * EXCLUDE (list), unnest(list) AS a, generate_subscripts(list, 1) AS part FROM ({listed})
        UNION ALL SELECT * EXCLUDE (list), NULL, 0 FROM ({listed}) WHERE len(coalesce(list, [])) = 0)"""


def _laid_flat(question: str) -> str:
    def column(ending: str) -> str:
        value = at("json", f"{question}{_ENDING}{ending}")
        read = f"TRY_CAST({text('json', f'{question}{_ENDING}{ending}')} AS JSON)"
        return array(f"CASE WHEN json_type({value}) = 'VARCHAR' THEN {read} ELSE {value} END")

    lists = f"{column('')} AS list, {column('.users')} AS users, {column('.status')} AS statuses"
    plain = "json_extract_string"
    return f"""SELECT file, record, json, part, {plain}(users[part], '$') AS "user",
        {plain}(statuses[part], '$') AS status, list[part] AS value FROM (
        SELECT *, unnest(CASE WHEN len(coalesce(list, [])) = 0 THEN [0] ELSE range(1, len(list) + 1) END) AS part
        FROM (SELECT file, record, json, {lists} FROM records))"""


def _elements() -> str:
    """SQL of what a ranking names, with the ranks: those given, or the places. NULL for a label or rating."""
    name, rank = f"coalesce({text('e', 'value')}, json_extract_string(e, '$'))", f"TRY_CAST({text('e', 'rank')} AS INT)"
    listed = array("value")
    return (
        f"CASE WHEN json_type(value) = 'ARRAY' AND len({listed}) > 1 THEN list_transform({listed}, "
        f"lambda e, i: {{'name': {name}, 'rank': coalesce({rank}, i)}}) END"
    )


def _left_out() -> str:
    return """CASE WHEN part = 0 THEN 'record to which nobody has responded'
        WHEN status = 'draft' THEN 'draft' WHEN status = 'discarded' THEN 'discarded'
        WHEN json_type(value) IS NULL OR json_type(value) = 'NULL' THEN 'no value'
        WHEN len(elements) > 2 THEN 'ranking of three or more responses' END"""


def _winner(found: Fields) -> str:
    """SQL of the outcome: a value that is the name of a response's field or model stands for it, others as they are.

    Of a ranking the response with the lower rank wins, and equal ranks are a tie.
    """
    single = "coalesce(json_extract_string(value, '$[0]'), json_extract_string(value, '$'))"
    names = [(name, side) for side in ("a", "b") if (name := found.get(f"response_{side}")) is not None]
    cases = " ".join(f"WHEN {literal(name)} THEN 'model_{side}'" for name, side in names)

    def ranked(side: str) -> str:
        known = [literal(name) for name, which in names if which == side] + [literal(f"model_{side}")]
        return f"list_filter(elements, lambda e: e.name IN ({', '.join(known)}))[1].rank"

    first, second = ranked("a"), ranked("b")
    order = (
        f"CASE WHEN {first} < {second} THEN 'model_a' WHEN {first} > {second} THEN 'model_b' WHEN {first} = {second}"
    )
    label = f"CASE {single} {cases} ELSE {single} END" if cases else single
    return f"CASE WHEN elements IS NULL THEN {label} ELSE coalesce({order} THEN 'tie' END, CAST(value AS VARCHAR)) END"


def _recognised(keys: frozenset[str]) -> bool:
    return {"fields", "responses"} <= keys or any(f"{name}.users" in keys for name in keys if name.endswith(_ENDING))


ARGILLA = Tool(
    name="argilla",
    title="Argilla",
    unit="entries",
    published="argilla-io/argilla, argilla/src/argilla/records/_resource.py and records/_io/_generic.py",
    recognise=_recognised,
    flatten=_flatten,
    fields=OPEN,
    remarks={
        "_no_status": "do not tell whether they were submitted: records.to_json leaves the status out, so drafts and "
        "discarded responses that have a value count, too; to_datasets() and to_list(flatten=True) tell it",
    },
)
