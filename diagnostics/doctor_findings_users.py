"""What a log tells of its users: how many votes each, whether they differ, who stands out."""

from __future__ import annotations

from collections.abc import Iterator

from ..comparisons.words import called, counted_users
from ..inference.doubts import FEW, LEAST_USERS, one_vote
from ..inference.finding import Finding
from .doctor_counts import Holdings

__all__ = ["contrary", "of_users", "tells_users"]

ALIKE = 0.2
"""Spread of attentiveness, relative to its mean, up to which all users count as alike.

Weights gain about the spread squared in effective labels (model.md, section 8), a cut less: under 0.2 no more than 4 %.
The bound is one-sided, 95 %. A variance below nothing is chance and does not tighten it: the log itself must be able to
show so little (of 720 simulated logs with spreads of 0.25 and 0.45 none came under 0.2, where with it 2 % did).
"""
_OUTCOME = {"model_a": "left", "model_b": "right", "tie": "tie"}


def of_users(held: Holdings) -> Iterator[Finding]:
    """Everything found about users."""
    for rule in (_votes_of_users, _taste, _users_differ, _one_sided):
        yield from rule(held)


def contrary(held: Holdings) -> bool:
    """Whether users hold opposite tastes: some against the others, or halves that cancel."""
    told = held.evidence
    opposed = told.gap[0] >= 0.01 and told.consistent > 4
    n, p = told.against
    return (
        not held.sides_fixed
        and held.by_user["median"] >= 4
        and (opposed or (p < 1e-4 and n >= 0.05 * held.by_user["users"]))
    )


def tells_users(held: Holdings) -> bool:
    """Whether there is something to tell users by at all: no use to speak of details elsewhere."""
    return held.evidence.decided >= FEW and held.evidence.signal


def _votes_of_users(held: Holdings) -> Iterator[Finding]:
    by = held.by_user
    alone = one_vote(by["several"], by["users"], held.votes)
    if alone is not None:
        yield alone
    elif by["median"] < 4:
        yield Finding(
            "few_votes",
            "warning",
            f"Half of the users gave {by['median']:.0f} votes or fewer: their ratings will stay near the average.",
            "Ask each user for 10 to 20 votes; use weights rather than a threshold.",
        )
    if by["most"] > max(0.2, 5 / by["users"]) * held.votes:
        yield Finding(
            "dominant",
            "warning",
            f"One user, {called(by['busiest'])}, gave {by['most'] / held.votes:.0%} of all votes "
            f"({by['most']:,.0f}; the median user gave {by['median']:.0f}): what models are worth is largely "
            "their word.",
            "See whether it is a bot, a test account or a missing value; fit once without them and compare.",
        )


def _one_sided(held: Holdings) -> Iterator[Finding]:
    same = [] if held.ties == 1 else held.one_sided
    if same:
        names = ", ".join(f"{called(name)} ({n} times {_OUTCOME[o]})" for name, n, o in same[:3])
        yield Finding(
            "one_sided",
            "warning",
            f"{counted_users(len(same))} never changed the answer: {names}{', ...' * (len(same) > 3)}.",
            "Bots, or nobody looking: a fit rates them low by itself. If they are many, leave them out beforehand.",
        )


def _users_differ(held: Holdings) -> Iterator[Finding]:
    told = held.evidence
    score, variance, error = told.differ
    few = held.by_user["users"] < LEAST_USERS  # which stops everything else
    if not tells_users(held) or contrary(held) or score > 2 or held.by_user["several"] < 0.5 or few:
        return
    spread = (max(variance, 0.0) + 1.64 * error) ** 0.5
    if spread < ALIKE:
        yield Finding(
            "users_alike",
            "warning",
            "Users hardly differ in how far they go with the better models: attentiveness is "
            f"about the same for all (its spread is probably under {spread:.0%} of its mean).",
            "Keep all votes; a threshold has nothing to gain here.",
        )
    else:
        yield Finding(
            "users_unclear",
            "note",
            "The votes show that models differ, but differences between users cannot be seen yet: what there is can be "
            "chance, and so can be that there is little.",
            "More votes of each user, or models that lie further apart; until then rather weights than a threshold.",
        )


def _taste(held: Holdings) -> Iterator[Finding]:
    if held.evidence.decided < FEW or not contrary(held):
        return
    n, _ = held.evidence.against
    halves = held.evidence.gap[0] >= 0.01
    text = (
        "Users agree with themselves but not with each other: their tastes are opposed and cancel in the sum"
        if halves
        else f"At least {counted_users(n)} consistently prefer what the others do not, far more than chance allows"
    )
    yield Finding(
        "contrarians",
        "warning",
        f"{text}. One ranking of the models for all would take half of them for careless."
        if halves
        else f"{text}. One ranking for all would take them for careless.",
        "The suggested model learns two tastes. See whether they read left and right the wrong way round.",
    )
