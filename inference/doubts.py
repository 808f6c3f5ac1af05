"""Whether votes carry anything to learn attentiveness from: asked of a log before a fit, and of a fit afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.words import counted_users
from .evidence import Evidence, Votes
from .finding import Finding

if TYPE_CHECKING:
    from ..comparisons.cells import Counts
    from .results import Fit

__all__ = [
    "FEW",
    "LEAST_USERS",
    "doubts_of_counts",
    "doubts_of_fit",
    "few_users",
    "gold_missed",
    "no_signal",
    "one_vote",
]

FEW = 100
"""Decided votes below which nothing is told."""
LEAST_USERS = 3
_TOO_SMALL = 0.1  # a gap that a log must be able to show before its absence says something
_FEW_ANSWERS = 50  # below which right answers tell nothing
_MOST = 2_000_000  # counts that are looked at; of longer logs the doctor looks at a part


def few_users(users: float) -> Finding | None:
    """That there is nobody to differ from."""
    if users >= LEAST_USERS:
        return None
    return Finding(
        "few_users",
        "stop",
        f"The log has votes of {counted_users(int(users))} only: attentiveness is told by how users differ.",
        "Add the votes of more users, a dozen at the least.",
    )


def one_vote(several: float, users: float, votes: float) -> Finding | None:
    """That most votes stand alone; `several` is the share of votes by who gave two or more."""
    if several >= 0.5:
        return None
    return Finding(
        "one_vote",
        "stop",
        f"Most votes are by users who gave no other ({users:,.0f} users, {votes:,.0f} votes): one vote does not tell "
        "who attends.",
        "Ask each user for 10 to 20 votes, or see whether the user column names sessions instead of people.",
    )


def gold_missed(winner: np.ndarray, gold: np.ndarray, n: np.ndarray) -> Finding | None:
    """That known answers are given no more often than by chance, from outcomes (row,), right ones and how many."""
    asked = float(n.sum())
    if asked < _FEW_ANSWERS:
        return None
    shares = [np.bincount(side, n, 3) / asked for side in (winner, gold)]
    right, chance = float(n[winner == gold].sum() / asked), float(shares[0] @ shares[1])
    if (right - chance) / np.sqrt(max(chance * (1 - chance), 1e-6) / asked) >= 2:
        return None
    return Finding(
        "gold_missed",
        "stop",
        f"{asked:,.0f} answers have a known right outcome; {right:.0%} are right, and who does not look would have "
        f"{chance:.0%}: nobody seems to attend.",
        "See whether the gold column is written as the winner column is; else ask other users.",
    )


def no_signal(told: Evidence) -> Finding | None:
    """That the votes are too few, or have nothing to do with the models."""
    if told.decided == 0:
        return Finding(
            "ties_only",
            "stop",
            "Every vote is a tie, so none says which model is better, nor who looked.",
            "See whether the winner column was written right; ask for a choice; compare models that lie further apart.",
        )
    if told.left_share in (0.0, 1.0):
        side = "left" if told.left_share else "right"
        return Finding(
            "one_side",
            "stop",
            f"Every decided vote is for the {side} side: it does not depend on which models were shown.",
            "See whether the winner column was written right, and whether the winner was always put on one side.",
        )
    if told.decided < FEW or (not told.signal and told.detectable > _TOO_SMALL):
        return Finding(
            "too_few",
            "stop",
            f"With {told.decided:,.0f} decided votes the better model of a pair would have to win "
            f"{0.5 + min(told.detectable, 0.5):.0%} of the time for it to be noticed at all; who attends is harder "
            "still.",
            "Collect more votes before fitting: some hundred users with 20 votes each tell a good deal.",
        )
    if told.signal:
        return None
    return Finding(
        "no_signal",
        "stop",
        f"The votes do not depend on which models were shown (p = {told.gap[0]:.2g}; a better model that wins "
        f"{0.5 + told.detectable:.0%} of the time would probably have shown). Either the models are equally good, or "
        "nobody attends: these votes cannot tell which.",
        "Add questions whose right answer is known (a column gold), or models that surely differ.",
    )


def doubts_of_counts(counts: Counts, directed: bool) -> str:
    """Why neither threshold nor ranking of a fit is to be trusted, or "" where nothing speaks against them.

    All that makes the doctor stop is asked of the counts, too.

    Args:
        counts: what was fitted.
        directed: whether they tell sides apart. Without that, and of users known as patterns, nothing is said of
            signal; nor of logs whose items, answers or dwell times bear witness, too.
    """
    found = _of_users(counts) or _of_gold(counts) or _of_signal(counts, directed)
    if found is None:
        return ""
    return f"Trust neither threshold nor ranking: {found.text[0].lower()}{found.text[1:]} {found.remedy}"


def doubts_of_fit(fit: Fit) -> str:
    """The same of a fit; nothing where it is known beforehand that everybody attends."""
    if fit.model.attends(fit.counts.users).all():
        return ""
    return doubts_of_counts(fit.counts, fit.model.directed)


def _of_users(counts: Counts) -> Finding | None:
    votes = np.asarray(counts.n_comparisons())
    times = np.ones(len(votes)) if counts.multiplicity is None else np.asarray(counts.multiplicity)
    users, total = float(times[votes > 0].sum()), float(votes @ times)
    several = float((votes * times)[votes > 1].sum() / max(total, 1.0))
    return few_users(users) or one_vote(several, users, total)


def _of_gold(counts: Counts) -> Finding | None:
    cells = counts.cells
    if "gold" not in cells.context:
        return None
    gold = np.asarray(cells.context["gold"]).astype(np.int64)  # 0, or 1 + the right outcome
    asked, n = gold > 0, np.asarray(counts.totals(), dtype=float)
    return gold_missed(np.asarray(cells.outcome)[asked], gold[asked] - 1, n[asked])


def _of_signal(counts: Counts, directed: bool) -> Finding | None:
    cells = counts.cells
    if not directed or counts.multiplicity is not None or cells.context or len(counts.count) > _MOST:
        return None
    decided = cells.outcome[counts.cell] < 2
    at = counts.cell[decided]
    return no_signal(
        Evidence(
            Votes(
                user=np.asarray(counts.user[decided]),
                left=np.asarray(cells.model_a[at]),
                right=np.asarray(cells.model_b[at]),
                won=(cells.outcome[at] == 0).astype(float),
                n=np.asarray(counts.count[decided], dtype=float),
                users=len(counts.users),
                models=cells.schema.n_models,
            )
        )
    )
