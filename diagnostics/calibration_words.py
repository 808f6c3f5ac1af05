"""What ranks that are not uniform say of a posterior, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .calibration_machines import LOG_LIKELIHOOD, USERS_EACH
from .ecdf import smallest_noticed

__all__ = ["reading", "verdict"]

_CLEAR = 2.5  # standard errors of a shift or a spread that is named
_AGAINST = -0.3  # rank correlation of posterior mean and truth from which they go against each other
_MOST_SAID = 3
_ENOUGH, _FEW_DIVERGENCES = 200, 0.05
_COVERED = 0.9

_MEANING = {
    "too narrow": "it claims to know more than it does: uncertainty left out by an approximation, votes counted twice, "
    "a prior narrower than the values that occur, or a term of the likelihood that is wrong",
    "too wide": "it claims to know less than the votes tell: a prior wider than the values that occur, a part of the "
    "likelihood left out, or a term of it that is wrong",
    "too low": "a prior that lies below the values that occur, or a term of the likelihood that is wrong",
    "too high": "a prior that lies above the values that occur, or a term of the likelihood that is wrong",
    "turned round": "it falls where the truth rises: an order or a sign is swapped",
    "of another shape": "place and width are about right, but a mode or a tail is missing, or chains did not converge",
    "the truth fits worse": "the model finds the votes less probable under the truth than under its own draws: it is "
    "not the model that told them",
    "the draws fit worse": "the draws heed the votes too little: a likelihood that is partly left out, a mode that was "
    "not found, or the prior given for the posterior",
}


def reading(row: Mapping[str, Any]) -> str:
    """What the ranks of a quantity say of its posterior, as one of a few words; see `Calibration.table`."""
    if row["inside"]:
        return "right"
    shift, spread = float(row["shift"]), float(row["spread"])
    if row["quantity"] == LOG_LIKELIHOOD and abs(shift) >= _CLEAR:
        return "the draws fit worse" if shift > 0 else "the truth fits worse"
    if row["correlation"] <= _AGAINST:
        return "turned round"
    if max(abs(shift), abs(spread)) < _CLEAR:
        return "of another shape"
    if abs(spread) > abs(shift):
        return "too narrow" if spread > 0 else "too wide"
    return "too low" if shift > 0 else "too high"


def verdict(
    table: pd.DataFrame, coverage: pd.DataFrame | None, runs: pd.DataFrame, level: float, asked: Mapping[str, Any]
) -> str:
    """A few sentences: is it calibrated, in what not, what that usually means, and what may have gone unnoticed."""
    said = [*_on_ranks(table, asked), *_on_power(table, level)]
    if coverage is not None:
        said += _on_intervals(coverage)
    return " ".join([*said, *_on_runs(runs)])


def _on_ranks(table: pd.DataFrame, asked: Mapping[str, Any]) -> list[str]:
    outside = table[~table["inside"]].sort_values("excursion", ascending=False)
    what = "The posterior" if asked["method"] == "sample" else "EM's normal approximation"
    n, same = asked["replications"], asked["model"] == asked["truth"]
    if not len(outside):
        worst = table.loc[table["excursion"].idxmax()]
        return [
            f"{what} is calibrated as far as {n} replications can tell: all {len(table)} quantities lie inside their "
            f"bands (nearest to its band is {worst['quantity']}, at {worst['excursion']:.2f} of the way)."
        ]
    said = [
        f"{what} is not calibrated: {len(outside)} of {len(table)} quantities leave their bands in {n} replications."
    ]
    approximate = asked["method"] == "em" and same  # then nothing but the approximation need be wrong
    for kind, rows in outside.groupby("reading", sort=False):
        first = rows.iloc[0]
        others = [str(name) for name in rows["quantity"].iloc[1:_MOST_SAID]]
        more = len(rows) - 1 - len(others)
        beside = f" (and {', '.join(others)}{f' and {more} more' if more > 0 else ''})" if others else ""
        far = f"{first['excursion']:.1f} times the band, p {_p(first['p'])}"
        if first["quantity"] == LOG_LIKELIHOOD and kind in ("the truth fits worse", "the draws fit worse"):
            said.append(f"The {LOG_LIKELIHOOD} ({far}) says that {_MEANING[str(kind)]}.")
        elif kind == "turned round":
            against = f"correlation of posterior mean and truth {first['correlation']:+.2f}"
            said.append(
                f"The posterior of {first['quantity']}{beside} is turned round ({far}; {against}): {_MEANING[kind]}."
            )
        else:
            meaning = "" if approximate else f": {_MEANING[str(kind)]}"
            said.append(f"The posterior of {first['quantity']}{beside} is {kind} ({far}){meaning}.")
    if approximate:
        said.append(
            "The logs are the model's own, so this is what a normal approximation makes of so few votes (or a "
            "component draws otherwise than its log_prob says: method 'sample' tells which). Sample the posterior of "
            "logs like these."
        )
    if not same:
        said.append("The logs were told by another declaration than the one that is judged, as was asked for.")
    return said


def _p(p: float) -> str:
    return "below 0.0001" if p < 1e-4 else f"{p:.2g}"


def _on_power(table: pd.DataFrame, level: float) -> list[str]:
    if not table["inside"].all():
        return []
    shift, factor = smallest_noticed(int(table["replications"].min()), level)
    return [
        f"A posterior shifted by {shift:.2f} of its standard deviations, or too narrow by a factor of {factor:.1f}, "
        "would have been noticed about every second time; less may have gone unnoticed."
    ]


def _on_intervals(coverage: pd.DataFrame) -> list[str]:
    low = coverage[~coverage["enough"]]
    users = coverage[coverage["quantity"] == USERS_EACH].iloc[0]
    rest = coverage[(coverage["quantity"] != USERS_EACH) & (coverage["intervals"] > 0)]
    said = [
        f"EM's 90 % intervals of users' attentiveness hold the truth in {users['covered']:.1%} (standard error "
        f"{users['standard_error']:.1%})"
    ]
    if len(rest):
        worst = rest.loc[rest["covered"].idxmin()]
        said[0] += (
            f", those of parameters in {rest['covered'].mean():.1%} on average, least for {worst['quantity']} "
            f"({worst['covered']:.0%} of {worst['intervals']:.0f})"
        )
    said[0] += "."
    if len(low):
        names = [str(name) for name in low.sort_values("covered")["quantity"].iloc[:_MOST_SAID]]
        more = f" and {len(low) - len(names)} more" if len(low) > len(names) else ""
        said.append(f"That is fewer than chance explains for {', '.join(names)}{more}: these intervals are too narrow.")
    missing = coverage[coverage["missing"] > 0]
    if len(missing):
        most = missing.loc[missing["missing"].idxmax()]
        said.append(
            f"EM had no interval for {most['quantity']} in {most['missing']:.0f} logs, the most of any parameter."
        )
    return said


def _on_runs(runs: pd.DataFrame) -> list[str]:
    said = []
    if "ess" in runs:
        short = float(np.mean(runs["ess"].astype(float) < _ENOUGH))
        if short > 0.02:
            said.append(
                f"{short:.0%} of the chains ended with fewer than {_ENOUGH} effective draws of some quantity: their "
                "ranks are not of independent draws, and a quantity outside its band may be the sampler's doing."
            )
        diverged = float(np.mean(runs["divergences"].astype(float) > 0))
        if diverged > _FEW_DIVERGENCES:
            said.append(f"{diverged:.0%} of the chains had divergences.")
    if "status" in runs:
        ended = runs["status"].astype(str)
        if (ended != "converged").any():
            said.append(f"EM did not converge in {int((ended != 'converged').sum())} of {len(runs)} logs.")
    return said
