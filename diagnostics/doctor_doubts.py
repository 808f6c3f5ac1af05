"""Whether votes carry anything to learn attentiveness from: asked of a log before a fit, and of a fit afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .doctor_evidence import Evidence, Votes
from .doctor_finding import Finding

if TYPE_CHECKING:
    from ..comparisons.cells import Counts

__all__ = ["FEW", "doubts_of_counts", "no_signal"]

FEW = 100
"""Decided votes below which nothing is told."""
_TOO_SMALL = 0.1  # a gap that a log must be able to show before its absence says something
_MOST = 2_000_000  # counts that are looked at; of longer logs the doctor looks at a part


def no_signal(told: Evidence) -> Finding | None:
    """That the votes are too few, or have nothing to do with the models."""
    if told.decided == 0:
        return Finding(
            "ties_only",
            "stop",
            "Every vote is a tie, so none says which model is better, or who could tell.",
            "See whether the winner column was written right; ask for a choice; compare models that lie further apart.",
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

    Args:
        counts: what was fitted.
        directed: whether they tell sides apart. Without that, and of users known as patterns, nothing is said; nor of
            logs whose items, answers or dwell times bear witness, too.
    """
    cells = counts.cells
    if not directed or counts.multiplicity is not None or cells.context or len(counts.count) > _MOST:
        return ""
    decided = cells.outcome[counts.cell] < 2
    at = counts.cell[decided]
    told = Evidence(
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
    found = no_signal(told)
    if found is None:
        return ""
    return f"Trust neither threshold nor ranking: {found.text[0].lower()}{found.text[1:]} {found.remedy}"
