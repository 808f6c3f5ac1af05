"""Label Studio: annotations of the Pairwise control (or of Choices), as JSON, JSON_MIN, CSV or TSV.

Format: HumanSignal/label-studio, `docs/source/guide/export.md` and `docs/source/includes/task_format.md`; the control's
value `{"selected": "left"}` in HumanSignal/label-studio-sdk, `label_interface/control_tags.py` (`PairwiseTag`), and the
short forms in its `converter/converter.py` (`convert_to_json_min`) and `converter/utils.py` (`prettify_result`).
"""

from __future__ import annotations

from ..errors import InputError
from ..sql import literal
from .fields import OPEN, find_fields, values
from .json_sql import array, at, text
from .tool import Export, Tool

__all__ = ["LABEL_STUDIO"]

_SHORT = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "id", "agreement")
_KINDS = ("annotations", "completions")


def _flatten(export: Export) -> str:
    kind = next((name for name in _KINDS if name in export.keys), None)
    return _short(export) if kind is None else _whole(export, kind)


def _whole(export: Export, kind: str) -> str:
    """Tasks with all their annotations. A task without any, and a draft, are told, too."""
    found = find_fields(export, export.keys_at("data"), "the tasks' data")
    fields = values(export, found, lambda name: ("data", name))
    tasks = f"SELECT file, record, json, {array(at('json', kind))} AS annotations FROM records"
    units = f"""
        SELECT file, record, json, unnest(annotations) AS a, generate_subscripts(annotations, 1) AS part,
            NULL::VARCHAR AS why FROM tasks
        UNION ALL SELECT file, record, json, NULL, 0, 'task that nobody has annotated' FROM tasks
            WHERE len(coalesce(annotations, [])) = 0
        UNION ALL SELECT file, record, json, unnest({array(at("json", "drafts"))}), -1, 'draft' FROM tasks"""
    control = _control(export, f"({units})", tasks)
    chosen = f"list_filter({array(at('a', 'result'))}, lambda r: {control})[1]"
    value = " , ".join(
        (text(chosen, "value", "selected"), text(chosen, "value", "choices", "0"), text(chosen, "value", "rating"))
    )
    by = at("a", "completed_by")
    skipped = " OR ".join(f"coalesce({text('a', name)} = 'true', false)" for name in ("was_cancelled", "skipped"))
    columns = {
        "user": f"coalesce({text('a', 'completed_by', 'email')}, {text('a', 'completed_by', 'id')}, "
        f"CASE WHEN json_type({by}) <> 'OBJECT' THEN {text('a', 'completed_by')} END)",
        **fields, "winner": "choice", "comparison": text("a", "id"), "item": text("json", "id"),
        "timestamp": _seconds(text("a", "created_at")), "lead_time": f"TRY_CAST({text('a', 'lead_time')} AS DOUBLE)",
        "ground_truth": text("a", "ground_truth"),
    }  # fmt: skip
    listed = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    return f"""WITH tasks AS ({tasks}), chosen AS (SELECT *, coalesce({value}) AS choice FROM ({units}))
        SELECT file, record, part, coalesce(why, CASE WHEN {skipped} THEN 'skipped (was_cancelled)'
        WHEN choice IS NULL THEN 'no choice' END) AS left_out, {listed} FROM chosen"""


def _control(export: Export, units: str, tasks: str) -> str:
    """SQL condition on a result `r`: it is the vote.

    Raises:
        InputError: It is not clear which control's results are the votes.
    """
    results = f"WITH tasks AS ({tasks}) SELECT unnest({array(at('a', 'result'))}) AS r FROM {units}"
    rows = export.connection.sql(
        f"SELECT DISTINCT {text('r', 'from_name')} AS name, {text('r', 'type')} AS kind FROM ({results}) ORDER BY ALL"
    ).fetchall()
    names = [name for name, _ in rows]
    wanted = export.named.get("question")
    pairwise = [name for name, kind in rows if kind == "pairwise"]
    if wanted is None and len(pairwise) == 1:
        return f"{text('r', 'type')} = 'pairwise'"
    return f"{text('r', 'from_name')} = {_named(export, wanted, names, pairwise)}"


def _named(export: Export, wanted: str | None, names: list[str], pairwise: list[str]) -> str:
    listed = ", ".join(map(repr, dict.fromkeys(names))) or "none"
    if wanted is None:
        wrong = (
            "several Pairwise controls have results" if pairwise else "no annotation has a Pairwise control's result"
        )
        raise InputError(
            f"{export.label}: {wrong}; name the control whose results are the votes with question=. Controls: {listed}"
        )
    if wanted not in names:
        raise InputError(f"{export.label}: no result is of a control {wanted!r} (question=). Controls: {listed}")
    return literal(wanted)


def _short(export: Export) -> str:
    """JSON_MIN, CSV or TSV: one annotation a record, the tasks' data and the results beside each other."""
    parsed = {name: _parsed(name) for name in export.keys if name not in _SHORT}
    pairwise = [name for name, sql in parsed.items() if export.is_true(f"{text(sql, '0', 'selected')} IS NOT NULL")]
    pairwise = pairwise or [name for name in parsed if _holds_sides(export, name)]  # as JSON_MIN shortens it
    if export.named.get("question") is None and len(pairwise) == 1:
        control = pairwise[0]
    else:
        wanted = export.named.get("question")
        _named(export, wanted, list(parsed), pairwise)
        control = str(wanted)
    rest = tuple(name for name in export.keys if name not in (*_SHORT, control))
    fields = values(export, find_fields(export, rest, "the tasks' data"), lambda name: (name,))
    choice = f"coalesce({text(parsed[control], '0', 'selected')}, {text('json', control)})"
    columns = {
        "user": text("json", "annotator"), **fields, "winner": "choice", "comparison": text("json", "annotation_id"),
        "item": text("json", "id"), "timestamp": _seconds(text("json", "created_at")),
        "lead_time": f"TRY_CAST({text('json', 'lead_time')} AS DOUBLE)",
    }  # fmt: skip
    listed = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    return f"""SELECT file, record, 1 AS part, CASE WHEN choice IS NULL OR choice IN ('', '[]') THEN 'no choice'
        END AS left_out, {listed} FROM (SELECT *, {choice} AS choice FROM records)"""


def _holds_sides(export: Export, name: str) -> bool:
    """Whether a field holds nothing but the two words that a Pairwise control has."""
    value = text("json", name)
    return not export.is_true(f"{value} NOT IN ('left', 'right', '')") and export.is_true(
        f"{value} IN ('left', 'right')"
    )


def _parsed(name: str) -> str:
    """SQL of a field as JSON, also where a CSV file has it as a text."""
    value = at("json", name)
    read = f"TRY_CAST({text('json', name)} AS JSON)"
    return f"CASE WHEN json_type({value}) = 'VARCHAR' THEN {read} ELSE {value} END"


def _seconds(value: str) -> str:
    return f"epoch(TRY_CAST({value} AS TIMESTAMPTZ))"


LABEL_STUDIO = Tool(
    name="label-studio",
    title="Label Studio",
    unit="entries",
    published="HumanSignal/label-studio, docs/source/guide/export.md and docs/source/includes/task_format.md; "
    "HumanSignal/label-studio-sdk, converter/converter.py",
    recognise=lambda keys: (bool(set(_KINDS) & keys) and "data" in keys) or {"annotator", "annotation_id"} <= keys,
    flatten=_flatten,
    fields=OPEN,
)
