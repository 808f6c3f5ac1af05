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

_MESSAGE = '"parentId" VARCHAR, "childrenIds" VARCHAR[], "modelIdx" BIGINT, role VARCHAR, content VARCHAR'
_LATEST = (
    "row_number() OVER (PARTITION BY {} ORDER BY TRY_CAST(timestamp AS BIGINT) DESC NULLS LAST, file DESC, record DESC)"
)
_DEEPEST = 10_000  # messages above a response: a chat that refers to itself must end


def _read() -> str:
    """SQL of the feedbacks' parts: who, what of which model, and the chat's messages by their ids."""
    told = {
        **{"comparison": ("id",), "user": ("user_id",), "kind": ("type",), "timestamp": ("updated_at",)},
        **{"thumb": ("data", "rating"), "rated": ("data", "model_id"), "reason": ("data", "reason")},
        **{"message": ("meta", "message_id"), "chat": ("meta", "chat_id"), "depth": ("meta", "message_index")},
        **{"arena": ("meta", "arena")},
    }
    parts = [f'{text("json", *path)} AS "{name}"' for name, path in told.items()]
    siblings = f"TRY_CAST({at('json', 'data', 'sibling_model_ids')} AS VARCHAR[]) AS siblings"
    history = at("json", "snapshot", "chat", "chat", "history", "messages")
    messages = f"TRY_CAST({history} AS MAP(VARCHAR, STRUCT({_MESSAGE}))) AS messages"
    return f"SELECT file, record, {', '.join(parts)}, {siblings}, {messages} FROM records"


def _flatten(export: Export) -> str:
    """Rows of feedbacks.

    `beside` is the other response where the snapshot has exactly the two; a message's place is then known. The chat
    above them is walked upwards from the prompt, over messages without their texts.
    """
    del export
    paired = "len(children) = 2 AND list_contains(children, message)"
    return f"""
    WITH RECURSIVE read_ AS MATERIALIZED ({_read()}),
    placed AS MATERIALIZED (SELECT *, messages[message]."parentId" AS parent,
        messages[messages[message]."parentId"]."childrenIds" AS children, {_LATEST.format("comparison")} AS version
        FROM read_),
    met AS MATERIALIZED (SELECT *, siblings[1] AS other,
        CASE WHEN {paired} THEN children[3 - list_position(children, message)] END AS beside FROM placed),
    edges AS (SELECT file, record, entry.key AS id, entry.value."parentId" AS parent
        FROM (SELECT file, record, unnest(map_entries(messages)) AS entry FROM met WHERE beside IS NOT NULL)),
    walk AS (SELECT file, record, parent AS top, [parent] AS path FROM met WHERE beside IS NOT NULL
        UNION ALL SELECT w.file, w.record, e.parent, list_prepend(e.parent, w.path)
        FROM walk w JOIN edges e ON e.file = w.file AND e.record = w.record AND e.id = w.top
        WHERE e.parent IS NOT NULL AND len(w.path) < {_DEEPEST}),
    above AS (SELECT file, record, arg_max(path, len(path)) AS path FROM walk GROUP BY ALL),
    told AS (SELECT met.* EXCLUDE (timestamp), TRY_CAST(timestamp AS BIGINT) AS timestamp, path, {_first()} AS first,
        {_left_out()} AS no_vote, CASE thumb WHEN '1' THEN rated WHEN '-1' THEN other END AS better,
        {_comparison()} AS pair FROM met LEFT JOIN above USING (file, record)),
    counted AS (SELECT *, {_counted()} FROM told WINDOW one AS (PARTITION BY pair, no_vote IS NULL))
    SELECT file, record, 1 AS part, {_repeated()} AS left_out, "user", CASE WHEN first THEN rated ELSE other END AS
        model_a, CASE WHEN first THEN other ELSE rated END AS model_b,
        CASE WHEN tied THEN 'tie' WHEN (better = rated) = first THEN 'model_a' WHEN better IS NOT NULL THEN 'model_b'
        END AS winner, comparison, timestamp, {_conversation("first")} AS response_a,
        {_conversation("NOT first")} AS response_b, arena, chat, reason, beside IS NOT NULL AS sides_known,
        beside IS NULL AS _no_sides, arena IS DISTINCT FROM 'true' AS _named FROM counted
    """


def _first() -> str:
    """Whether the rated response stood first; where that is not known, a coin that is the same in every reading."""
    index, other = 'messages[message]."modelIdx"', 'messages[beside]."modelIdx"'
    order = f"coalesce(nullif({other} - {index}, 0) > 0, list_position(children, message) = 1)"
    return f"CASE WHEN beside IS NOT NULL THEN {order} ELSE md5(coalesce(comparison, '')) < '8' END"


def _left_out() -> str:
    return """CASE WHEN version > 1 AND comparison IS NOT NULL THEN 'there again, later'
        WHEN kind <> 'rating' THEN 'no rating'
        WHEN thumb IS NULL OR thumb NOT IN ('1', '-1') THEN 'thumb neither up nor down'
        WHEN len(coalesce(siblings, [])) = 0 THEN 'a response that stood beside no other'
        WHEN len(siblings) > 1 THEN 'one of three or more responses, so it is not known against which'
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
