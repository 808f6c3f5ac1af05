"""What further columns of a log are good for."""

from __future__ import annotations

from collections.abc import Iterator

from ..inference.doubts import FEW, gold_missed
from ..inference.finding import Finding
from .doctor_counts import Holdings
from .doctor_findings_users import tells_users
from .doctor_looks import agreement_by_dwell, agreement_on_items

__all__ = ["of_columns"]

_SAYS_MUCH = 3.0  # a normal score


def of_columns(held: Holdings) -> Iterator[Finding]:
    """Everything found in columns beyond users, models and outcome."""
    for rule in (_gold, _items, _opportunities, _texts):
        yield from rule(held)


def _items(held: Holdings) -> Iterator[Finding]:
    columns, ids = held.log.columns, held.ids
    column = "item" if "item" in columns else ids[0] if ids is not None and ids[2] else None
    if (column is None and "prompt" not in columns) or held.evidence.decided < FEW:
        return
    shown = held.log.recipe.carried
    name = column if column in columns else next((k for k, v in shown.items() if v == column), None)
    several, score = agreement_on_items(held, name)
    if several < 20:
        return
    named = (
        "" if column == "item" else f" (--item {column})" if column else " (they need a column that names them: item)"
    )
    if score > _SAYS_MUCH:
        yield Finding(
            "items_agree",
            "note",
            f"Users who judge the same two responses agree beyond what the models explain ({several:,} "
            f"pairs of responses, {score:.1f} standard errors): somebody does look.",
            f"BehaviorModel(preference=er.ItemEffect(...)) learns from it{named}.",
        )


def _texts(held: Holdings) -> Iterator[Finding]:
    """Preference data need texts, and that is better known before a fit than after it."""
    there = set(held.log.columns)
    if {"response_a", "response_b"} <= there:
        return
    key = "" if "prompt" in there else " For that the log needs a column prompt with the prompt's id (--prompt COLUMN)."
    yield Finding(
        "no_texts",
        "note",
        "The log has no texts of the responses. A fit needs none; preference data for training do.",
        f"earnest export takes them from two tables, --prompts FILE --responses FILE.{key}",
    )


def _opportunities(held: Holdings) -> Iterator[Finding]:
    for column in held.dwell[:2]:
        fast, slow, score = agreement_by_dwell(held, column) if tells_users(held) else (0.0, 0.0, 0.0)
        seen = (
            f": the fastest quarter of votes goes with the better model {fast:.0%} of the time, the slowest {slow:.0%}"
        )
        yield Finding(
            "dwell",
            "note",
            f"{column!r} may say how long a vote took{seen if abs(score) > _SAYS_MUCH else ''}.",
            f"BehaviorModel(attention=er.Speedster({column!r})) learns from it, or er.SampleAttention(({column!r},)).",
        )
    if "timestamp" in held.log.columns:
        yield Finding(
            "timestamp",
            "note",
            "Votes have a time: attention that comes and goes can be followed.",
            "BehaviorModel(attention=er.Drift()), or casual=er.Habit() for who repeats the choice before.",
        )
    if "category" in held.log.columns:
        n = int(held.log.query("SELECT count(DISTINCT category) AS n FROM log")["n"][0].as_py())
        if n > 1:
            yield Finding(
                "category",
                "note",
                f"Votes are of {n:,} categories, in which models may rank differently.",
                "BehaviorModel(preference=er.BradleyTerry(by_category=True)); compare it by er.compare_models.",
            )


def _gold(held: Holdings) -> Iterator[Finding]:
    gold = held.gold
    if gold is None:
        return
    said = f"{gold['n']:,} answers have a known right outcome; {gold['right']:.0%} are right"
    missed = gold_missed(gold["winners"], gold["golds"], gold["each"])
    if missed is not None:
        yield missed
    else:
        yield Finding(
            "gold", "note", f"{said} (who does not look would have {gold['chance']:.0%}).",
            "Gold(), in the suggested model, fixes the scale by them.",
        )  # fmt: skip
