"""The texts of prompts and responses: from the log's own columns, or looked up in tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .columns import find_column
from .errors import InputError
from .log import ComparisonLog
from .sources import ROW, Source, open_source
from .sql import ident
from .values import id_sql

_PROMPT_KEYS = ("id", "prompt_id", "question_id", "prompt")
_PROMPT_TEXTS = ("text", "prompt", "content", "question", "instruction")
_RESPONSE_PROMPTS = ("prompt", "prompt_id", "question_id", "question")
_RESPONSE_MODELS = ("model", "name", "model_name", "model_id")
_RESPONSE_TEXTS = ("text", "response", "result", "output", "content", "completion", "answer", "conversation")
_MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"


@dataclass(frozen=True)
class KeyColumns:
    """Names of the columns of the two tables; None: guessed from the usual ones."""

    prompt_id: str | None = None
    prompt_text: str | None = None
    response_prompt: str | None = None
    response_model: str | None = None
    response_text: str | None = None


@dataclass(frozen=True)
class Text:
    """SQL of a text, over `log` and the tables joined to it.

    Attributes:
        value: The text, or the list of its messages.
        messages: Whether it is a conversation, a list of messages with role and content.
        join: The join that it needs; empty for a column of the log.
        missing: What to say of a row that lacks it.
    """

    value: str
    messages: bool
    join: str
    missing: str


def prompt_text(log: ComparisonLog, prompts: Any, keys: KeyColumns) -> Text | None:
    """Where the prompts are; None where the log and the tables hold none."""
    if prompts is None:
        if "prompt" not in log.columns:
            return None
        kind = log.recipe.source.columns[log.mapping["prompt"]]
        return _text(log, "log", "log.prompt", kind, "", f"column {log.original('prompt')!r} is empty")
    _need_prompt(log, "a table of prompts")
    table = open_source(prompts)
    log.attach(table, "earnest_prompt_file")
    key = _key(log, table, "earnest_prompt_file", "prompt_id", keys.prompt_id, _PROMPT_KEYS, "SELECT prompt FROM log")
    rest = [name for name in table.columns if name != key]
    text = find_column(table.label, rest, "prompt_text", keys.prompt_text, _PROMPT_TEXTS, list(table.columns))
    _look_up(log, table, "earnest_prompt_file", "earnest_prompts", {"prompt": key}, text)
    return _text(
        log,
        "earnest_prompts",
        "p.text",
        table.columns[text],
        "LEFT JOIN earnest_prompts p ON p.prompt = log.prompt",
        f"{table.label} has no text for this prompt ({key!r})",
    )


def response_texts(log: ComparisonLog, responses: Any, keys: KeyColumns) -> tuple[Text, Text]:
    """Where the responses of model_a and of model_b are.

    Raises:
        InputError: Nowhere; or a column of the table is not found, or a key has several texts.
    """
    if responses is None:
        if not {"response_a", "response_b"} <= set(log.columns):
            raise InputError(
                f"{log.source}: there are no texts for chosen and rejected: the log has no columns response_a and "
                "response_b; name them when reading it (response_a=, --response-a), or give a table with the responses "
                "(responses=, --responses)"
            )
        kinds = [log.recipe.source.columns[log.mapping[name]] for name in ("response_a", "response_b")]
        first, second = (
            _text(log, "log", f"log.{name}", kind, "", f"column {log.original(name)!r} is empty")
            for name, kind in zip(("response_a", "response_b"), kinds, strict=True)
        )
    else:
        first, second = _from_table(log, open_source(responses), keys)
    if first.messages != second.messages:
        raise InputError(f"{log.source}: one response column holds texts and the other conversations; make them alike")
    return first, second


def _from_table(log: ComparisonLog, table: Source, keys: KeyColumns) -> tuple[Text, Text]:
    _need_prompt(log, "a table of responses")
    view = "earnest_response_file"
    log.attach(table, view)
    prompt = _key(
        log, table, view, "response_prompt", keys.response_prompt, _RESPONSE_PROMPTS, "SELECT prompt FROM log"
    )
    models = "SELECT unnest([model_a, model_b]) FROM log"
    model = _key(log, table, view, "response_model", keys.response_model, _RESPONSE_MODELS, models)
    rest = [name for name in table.columns if name not in (prompt, model)]
    text = find_column(table.label, rest, "response_text", keys.response_text, _RESPONSE_TEXTS, list(table.columns))
    _look_up(log, table, view, "earnest_responses", {"prompt": prompt, "model": model}, text)
    found = []
    for side in ("a", "b"):
        join = (
            f"LEFT JOIN earnest_responses r{side} ON r{side}.prompt = log.prompt AND r{side}.model = log.model_{side}"
        )
        missing = f"{table.label} has no text for this prompt ({prompt!r}) and model_{side} ({model!r})"
        found.append(_text(log, "earnest_responses", f"r{side}.text", table.columns[text], join, missing))
    return found[0], found[1]


def _need_prompt(log: ComparisonLog, what: str) -> None:
    if "prompt" not in log.columns:
        raise InputError(
            f"{log.source}: {what} is looked up by the log's prompt column, and it has none; name it when reading the "
            f"log (prompt=, --prompt). Columns: {', '.join(map(repr, log.columns))}"
        )


def _key(
    log: ComparisonLog,
    table: Source,
    view: str,
    option: str,
    named: str | None,
    usual: tuple[str, ...],
    wanted: str,
) -> str:
    """The key column of a table: the named one, or the usual one that knows most of the log's keys."""
    if named is not None:
        return find_column(table.label, list(table.columns), option, named, usual)
    lower = {name.lower(): name for name in table.columns}
    found = [lower[name] for name in usual if name in lower]
    if len(found) > 1:
        unknown = {}
        for name in found:
            try:
                value = id_sql(table.label, name, table.columns[name])
            except InputError:  # a list or an object cannot be a key
                continue
            keys = f"SELECT {value} AS k FROM {view}"
            counted = log.query(
                f"SELECT count(*) AS n FROM (SELECT DISTINCT * FROM ({wanted}) EXCEPT SELECT k FROM ({keys}))"
            )
            unknown[name] = counted["n"][0].as_py()
        if unknown:
            return min(unknown, key=lambda name: unknown[name])
    return find_column(table.label, list(table.columns), option, None, usual)


def _look_up(log: ComparisonLog, table: Source, view: str, name: str, keys: dict[str, str], text: str) -> None:
    """Make the temporary table `name` of keys and text, for the keys that the log needs.

    Raises:
        InputError: A key that the log needs has several texts.
    """
    values = {key: id_sql(table.label, column, table.columns[column]) for key, column in keys.items()}
    needed = {
        "prompt": "prompt IN (SELECT prompt FROM log)",
        "model": "model IN (SELECT unnest([model_a, model_b]) FROM log)",
    }
    selected = ", ".join(f"{value} AS {key}" for key, value in values.items())
    where = " AND ".join(needed[key] for key in keys)
    grouped = ", ".join(keys)
    log.execute(
        f"""CREATE OR REPLACE TEMP TABLE {name} AS SELECT {grouped}, min(text) AS text, min(place) AS place,
        max(place) AS last, count(DISTINCT text) AS texts
        FROM (SELECT {selected}, {ident(text)} AS text, {ident(ROW)} AS place FROM {view})
        WHERE {where} GROUP BY {grouped}"""
    )
    several = log.query(f"SELECT {grouped}, place, last, texts FROM {name} WHERE texts > 1 ORDER BY place LIMIT 1")
    for found in several.to_pylist():
        shown = ", ".join(f"{keys[key]} {found[key]!r}" for key in keys)
        raise InputError(
            f"{table.place(found['last'])}: {shown} has {found['texts']} different texts, another in data row "
            f"{found['place'] + 1}, so it is not clear which one was shown; keep one"
        )


def _text(log: ComparisonLog, table: str, value: str, kind: str, join: str, missing: str) -> Text:
    """Recognise conversations: a list of messages, as a nested column or as JSON."""
    if kind == "JSON":
        column = value.split(".")[1]
        odd = f"json_type({column}) <> 'ARRAY' OR json_extract({column}, '$[0].content') IS NULL"
        counted = log.query(f"SELECT count(*) AS n FROM {table} WHERE {column} IS NOT NULL AND ({odd})")["n"][0].as_py()
        if not counted:
            parsed = f'from_json({value}, \'[{{"role": "VARCHAR", "content": "VARCHAR"}}]\')'
            return Text(f"CAST({parsed} AS {_MESSAGES})", True, join, missing)
        return Text(f"({value} ->> '$')", False, join, missing)
    if kind.startswith("STRUCT(") and kind.endswith("[]"):
        messages = f"list_transform({value}, lambda m: {{'role': m.role, 'content': m.content}})"
        return Text(f"CAST({messages} AS {_MESSAGES})", True, join, missing)
    return Text(f"CAST({value} AS VARCHAR)", False, join, missing)
