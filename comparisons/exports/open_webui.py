"""Open WebUI: the feedback that users leave on responses, as the admins' evaluation page exports it.

Format: open-webui/open-webui, `backend/open_webui/models/feedbacks.py` (`FeedbackModel`) and
`routers/evaluations.py` (`GET /api/v1/evaluations/feedbacks/all/export`); what `data`, `meta` and `snapshot` hold is
made in `src/lib/components/chat/Messages/ResponseMessage.svelte` (`feedbackHandler`), and the order in which responses
stand beside each other in `MultiResponseMessages.svelte` (by `modelIdx`, else as in the prompt's `childrenIds`).

A thumb up is a vote for the response, a thumb down one for the other, as in Open WebUI's own leaderboard. Who gives
both responses a thumb in one direction votes for a tie.
"""

from __future__ import annotations

from .json_sql import MESSAGES, at, text
from .tool import Export, Tool

__all__ = ["OPEN_WEBUI"]

_TREE = 'MAP(VARCHAR, STRUCT("parentId" VARCHAR, "childrenIds" VARCHAR[], "modelIdx" BIGINT))'
_TEXTS = "MAP(VARCHAR, STRUCT(role VARCHAR, content VARCHAR))"
_HISTORY = ("snapshot", "chat", "chat", "history", "messages")
_LATEST = "row_number() OVER (PARTITION BY {} ORDER BY timestamp DESC NULLS LAST, file DESC, record DESC)"
_DEEPEST = 10_000  # messages above a response: a chat that refers to itself must end


def _flatten(export: Export) -> str:
    """Rows of feedbacks: first decided without their texts, then joined to these as they stream by.

    The chats are by far the most of an export, and memory need not hold them.
    """
    export.connection.execute(f"CREATE TEMP TABLE decided AS {_decided()}")
    export.connection.execute(
        "SET disabled_optimizers = 'join_order,build_side_probe_side'"
    )  # `decided` is the small one
    texts = f"TRY_CAST({at('json', *_HISTORY)} AS {_TEXTS}) AS messages"
    return f"""SELECT file, record, 1 AS part, {_repeated()} AS left_out, "user",
        CASE WHEN first THEN rated ELSE other END AS model_a, CASE WHEN first THEN other ELSE rated END AS model_b,
        CASE WHEN tied THEN 'tie' WHEN (better = rated) = first THEN 'model_a' WHEN better IS NOT NULL THEN 'model_b'
        END AS winner, comparison, timestamp, {_conversation("first")} AS response_a,
        {_conversation("NOT first")} AS response_b, arena, chat, reason, beside IS NOT NULL AS sides_known,
        beside IS NULL AS _no_sides, arena IS DISTINCT FROM 'true' AS _named
        FROM (SELECT file, record, {texts} FROM records) JOIN decided USING (file, record)"""


def _read() -> str:
    """SQL of the feedbacks' parts: who, what of which model, and how the chat's messages follow each other."""
    told = {
        **{"comparison": ("id",), "user": ("user_id",), "kind": ("type",)},
        **{"thumb": ("data", "rating"), "rated": ("data", "model_id"), "reason": ("data", "reason")},
        **{"message": ("meta", "message_id"), "chat": ("meta", "chat_id"), "depth": ("meta", "message_index")},
        **{"arena": ("meta", "arena")},
    }
    parts = [f'{text("json", *path)} AS "{name}"' for name, path in told.items()]
    parts.append(f"TRY_CAST({text('json', 'updated_at')} AS BIGINT) AS timestamp")
    parts.append(f"TRY_CAST({at('json', 'data', 'sibling_model_ids')} AS VARCHAR[]) AS siblings")
    parts.append(f"TRY_CAST({at('json', *_HISTORY)} AS {_TREE}) AS tree")
    return f"SELECT file, record, {', '.join(parts)} FROM records"


def _decided() -> str:
    """SQL of what each feedback says, and why it is no vote.

    `beside` is the other response where the snapshot has exactly the two; a message's place is then known. `path` is
    the chat above them, walked upwards from the prompt.
    """
    parent = 'tree[message]."parentId"'
    paired = "len(children) = 2 AND list_contains(children, message)"
    index = 'tree[beside]."modelIdx" - tree[message]."modelIdx"'
    return f"""
    WITH RECURSIVE read_ AS MATERIALIZED (SELECT *, siblings[1] AS other, {parent} AS parent,
        tree[{parent}]."childrenIds" AS children FROM ({_read()})),
    met AS MATERIALIZED (SELECT *,
        CASE WHEN {paired} THEN children[3 - list_position(children, message)] END AS beside FROM read_),
    edges AS (SELECT file, record, entry.key AS id, entry.value."parentId" AS parent
        FROM (SELECT file, record, unnest(map_entries(tree)) AS entry FROM met WHERE beside IS NOT NULL)),
    walk AS (SELECT file, record, parent AS top, [parent] AS path FROM met WHERE beside IS NOT NULL
        UNION ALL SELECT w.file, w.record, e.parent, list_prepend(e.parent, w.path)
        FROM walk w JOIN edges e ON e.file = w.file AND e.record = w.record AND e.id = w.top
        WHERE e.parent IS NOT NULL AND len(w.path) < {_DEEPEST}),
    above AS (SELECT file, record, arg_max(path, len(path)) AS path FROM walk GROUP BY ALL),
    placed AS (SELECT * EXCLUDE (tree, siblings, children), len(siblings) AS n_siblings,
        {_LATEST.format("comparison")} AS version, CASE WHEN beside IS NOT NULL
        THEN coalesce(nullif({index}, 0) > 0, list_position(children, message) = 1)
        ELSE md5(coalesce(comparison, '')) < '8' END AS first FROM met),
    told AS (SELECT *, {_left_out()} AS no_vote, {_comparison()} AS pair,
        CASE thumb WHEN '1' THEN rated WHEN '-1' THEN other END AS better FROM placed)
    SELECT told.*, {_counted()}, path FROM told LEFT JOIN above USING (file, record)
    WINDOW one AS (PARTITION BY pair, no_vote IS NULL)"""


def _left_out() -> str:
    return """CASE WHEN version > 1 AND comparison IS NOT NULL THEN 'there again, later'
        WHEN kind <> 'rating' THEN 'no rating'
        WHEN thumb IS NULL OR thumb NOT IN ('1', '-1') THEN 'thumb neither up nor down'
        WHEN coalesce(n_siblings, 0) = 0 THEN 'a response that stood beside no other'
        WHEN n_siblings > 1 THEN 'one of three or more responses, so it is not known against which'
        WHEN other = rated THEN 'a model beside itself' END"""


def _comparison() -> str:
    """What two feedbacks on the two responses to one prompt have in common; a feedback's own place where unknown."""
    shared = 'concat_ws(chr(31), "user", chat, coalesce(parent, depth), least(rated, other), greatest(rated, other))'
    known = 'chat IS NOT NULL AND "user" IS NOT NULL AND coalesce(parent, depth) IS NOT NULL AND message IS NOT NULL'
    return f"CASE WHEN {known} THEN {shared} ELSE concat_ws(chr(31), file, record) END"


def _counted() -> str:
    return f"""count(*) OVER one > 1 AND min(better) OVER one = max(better) OVER one AS agreed,
        count(*) OVER one = 2 AND min(message) OVER one <> max(message) OVER one
        AND min(thumb) OVER one = max(thumb) OVER one AS tied,
        {_LATEST.format("pair, no_vote IS NULL")} AS turn"""


def _repeated() -> str:
    """Why a feedback is no vote, now that the others on the same two responses are known."""
    return """coalesce(no_vote, CASE WHEN turn > 1 AND tied THEN 'first half of a tie, both thumbs alike'
        WHEN turn > 1 AND agreed THEN 'said again by the same user of the same two responses' END)"""


def _conversation(rated: str) -> str:
    """The chat down to the prompt, and the response that was rated, or the other one."""
    step = "{'role': messages[m].role, 'content': messages[m].content}"
    last = f"CASE WHEN {rated} THEN message ELSE beside END"
    whole = f"list_transform(list_append(path, {last}), lambda m: {step})"
    return f"CAST(CASE WHEN path IS NOT NULL THEN {whole} END AS {MESSAGES})"


OPEN_WEBUI = Tool(
    name="open-webui",
    title="Open WebUI",
    unit="feedbacks",
    published="open-webui/open-webui, backend/open_webui/models/feedbacks.py and "
    "src/lib/components/chat/Messages/ResponseMessage.svelte",
    recognise=lambda keys: {"user_id", "type", "data", "meta"} <= keys,
    flatten=_flatten,
    remarks={
        "_no_sides": "do not tell which response stood first, nor the texts (they have no snapshot of the chat, or one "
        "without the two responses): a side is drawn for each by its id, so that none is favoured; where most are like "
        "that CoinFlip is the casual behaviour that fits, since PositionBias has nothing to learn from",
        "_named": "were cast with the models' names in sight (meta.arena is not true)",
    },
    outcomes="words",
)
