"""EM beside the posterior: user by user, parameter by parameter, decision by decision.

EM gives one point and a normal approximation around it; the posterior is what both approximate. Where they agree EM may
stand in for it, at a fraction of the cost; where they do not, the verdict says in what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..comparisons.errors import EarnestError
from ..comparisons.names import as_names
from .convergence import convergence

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = ["Agreement", "compare"]

LEVEL = 0.9
"""Probability content of every interval here."""

RANKING = 0.99
"""Rank correlation of users' attentiveness from which EM may stand in for the posterior in ranking them."""

COVERAGE = 0.8
"""An EM interval of 90 % that holds less of the posterior than this does not stand in for the posterior's."""

DECISIONS = 0.05
"""Share of the votes whose fate may differ at a threshold."""

_ENOUGH, _RHAT = 100.0, 1.05  # fewer effective draws, or a larger R-hat: the posterior judges nothing
_TOGETHER = 2000  # users whose draws are sorted together
_THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)


@dataclass(frozen=True)
class Agreement:
    """What EM and the posterior say of the same log.

    Attributes:
        users: one row a user: user, comparisons, em (mean), em_lower, em_upper, mean, sd, lower, upper (posterior,
            90 %), difference (em - mean); farthest apart (in absolute terms) first.
        parameters: one row a scalar parameter: parameter, em, em_se, em_lower, em_upper, mean, sd, lower, upper
            (posterior, 90 %), z (em - mean in posterior sds), coverage (posterior probability of EM's 90 % interval),
            widening (factor by which EM's interval is to be stretched to be as wide as the posterior's).
        decisions: one row a threshold: threshold, users_em, users_posterior (kept), users_differ, labels_differ (votes
            whose fate differs), share_differ (of all votes).
        rank_correlation: Spearman's, of EM means and posterior means.
        may_rank: EM may stand in for the posterior for ranking users.
        may_cut: EM may stand in for the posterior for keeping and dropping users, at every threshold listed.
        intervals_hold: EM's intervals of the parameters hold as much of the posterior as they should.
        verdict: the three, in words; and a warning where the posterior's chains have not converged.
    """

    users: pd.DataFrame
    parameters: pd.DataFrame
    decisions: pd.DataFrame
    rank_correlation: float
    may_rank: bool
    may_cut: bool
    intervals_hold: bool
    verdict: str

    def __repr__(self) -> str:
        return f"<Agreement: {self.verdict}>"


def compare(fit: Fit, trace: Any) -> Agreement:
    """Hold an EM fit against a sampled posterior of the same model and log.

    Args:
        fit: result of `fit_em`.
        trace: result of `sample`, or one loaded again, with attentiveness of the users (`keep_users="draws"` or
            "summary").

    Returns:
        an `Agreement`: three answers (ranking, cuts, intervals), the tables behind them and a verdict.

    Raises:
        EarnestError: the two are not of the same model and log, or the posterior was kept without its users.

    Reference: model.md, sections 5 and 6: the two answers that are compared.
    """
    _check(fit, trace)
    users = _users(fit, trace)
    parameters = _parameters(fit, trace)
    decisions = _decisions(users)
    em, posterior = users["em"].to_numpy(), users["mean"].to_numpy()
    varied = len(users) > 2 and np.ptp(em) > 0 and np.ptp(posterior) > 0
    correlation = float(spearmanr(em, posterior).statistic) if varied else float("nan")
    may_rank = correlation >= RANKING
    worst = decisions.loc[decisions["share_differ"].idxmax()]
    may_cut = bool(worst["share_differ"] <= DECISIONS)
    narrow = parameters[parameters["coverage"] < COVERAGE].sort_values("coverage")
    unknown = parameters["coverage"].isna()
    holds = bool(len(narrow) == 0 and not unknown.any())
    said = [
        *_on_fit(fit),
        _on_ranking(correlation, may_rank, len(users)),
        _on_level(users),
        _on_cuts(worst, may_cut),
        _on_intervals(narrow, unknown),
    ]
    doubt = _on_chains(trace)
    verdict = " ".join([*doubt, *said])
    if doubt:  # a posterior that has not converged vouches for nothing
        may_rank = may_cut = holds = False
    users = users.iloc[np.argsort(-np.abs(users["difference"].to_numpy()), kind="stable")].reset_index(drop=True)
    return Agreement(users, parameters, decisions, correlation, may_rank, may_cut, holds, verdict)


def _check(fit: Fit, trace: Any) -> None:
    if not hasattr(trace, "posterior"):
        raise EarnestError(f"trace: expected a DataTree from `sample`, got {type(trace).__name__}")
    if "declaration" not in trace.attrs:
        raise EarnestError("trace: it lacks the declaration that `sample` writes into its attributes")
    fit.check_users_known("compare")
    if fit.model.to_toml() != trace.attrs["declaration"]:
        raise EarnestError("compare: fit and trace are of different models; fit and sample the same declaration")
    if fit.fingerprint != trace.attrs.get("fingerprint"):
        raise EarnestError("compare: fit and trace are of different logs; fit and sample the same one")


def _users(fit: Fit, trace: Any) -> pd.DataFrame:
    em = fit.attentiveness.rename(columns={"mean": "em", "lower": "em_lower", "upper": "em_upper"}).drop(columns="sd")
    if "attentiveness" in trace.posterior:
        drawn = trace.posterior["attentiveness"]
        columns = _summary(drawn.transpose("chain", "draw", "user").to_numpy())
        names = drawn["user"].to_numpy()
    elif "users" in trace.children:
        summary = trace["users"]
        columns = {name: summary[name].to_numpy() for name in ("mean", "sd", "lower", "upper")}
        names = summary["user"].to_numpy()
    else:
        raise EarnestError(
            "trace: it holds no attentiveness of users (keep_users='none'); sample with keep_users='draws' or 'summary'"
        )
    for name, value in columns.items():
        if not np.all(np.isfinite(value)):
            bad = str(names[~np.isfinite(value)][0])
            raise EarnestError(f"trace: the {name} of user {bad!r}'s attentiveness is not a number; sample again")
    joined = em.merge(pd.DataFrame({"user": as_names(names), **columns}), on="user", how="inner", validate="1:1")
    if len(joined) != len(em):
        raise EarnestError(
            f"trace: {len(em) - len(joined):,} of the fit's {len(em):,} users are missing from it; sample the same log"
        )
    return joined.assign(difference=joined["em"] - joined["mean"])


def _summary(drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, sd and ends of the interval of every user, from (chain, draw, user); some users at a time."""
    flat, tail = drawn.reshape(-1, drawn.shape[-1]), (1 - LEVEL) / 2
    parts = []
    for first in range(0, flat.shape[1], _TOGETHER):
        some = np.ascontiguousarray(flat[:, first : first + _TOGETHER].T)
        parts.append(np.stack([some.mean(1), some.std(1, ddof=1), *np.quantile(some, [tail, 1 - tail], axis=1)]))
    return dict(zip(("mean", "sd", "lower", "upper"), np.concatenate(parts, axis=1), strict=True))


def _parameters(fit: Fit, trace: Any) -> pd.DataFrame:
    intervals, tail = fit.intervals(LEVEL), (1 - LEVEL) / 2
    rows = []
    for parameter in fit.table.parameters:
        name = parameter.name
        draws = trace.posterior[name].to_numpy()
        draws = draws.reshape(-1, *draws.shape[2:])
        for index in np.ndindex(draws.shape[1:]):
            entry = draws[(slice(None), *index)]
            lower, upper = (float(end[index]) for end in intervals[name])
            ends = np.quantile(entry, [tail, 1 - tail])
            mean, sd = float(entry.mean()), float(entry.std(ddof=1))
            known = np.isfinite(lower) and np.isfinite(upper)
            rows.append(
                {
                    "parameter": _label(fit, parameter, index),
                    "em": float(np.asarray(fit.parameters[name])[index]),
                    "em_se": float(np.asarray(fit.standard_errors[name])[index]),
                    "em_lower": lower,
                    "em_upper": upper,
                    "mean": mean,
                    "sd": sd,
                    "lower": float(ends[0]),
                    "upper": float(ends[1]),
                    "z": (float(np.asarray(fit.parameters[name])[index]) - mean) / sd if sd > 0 else float("nan"),
                    "coverage": float(np.mean((entry >= lower) & (entry <= upper))) if known else float("nan"),
                    "widening": float(np.ptp(ends) / (upper - lower)) if known and upper > lower else float("nan"),
                }
            )
    columns = ["parameter", "em", "em_se", "em_lower", "em_upper", "mean", "sd", "lower", "upper", "z", "coverage",
               "widening"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _label(fit: Fit, parameter: Any, index: tuple[int, ...]) -> str:
    names = [str(fit.coords[dim][i]) for dim, i in zip(parameter.dims, index, strict=True)]
    return f"{parameter.name}[{', '.join(names)}]" if names else str(parameter.name)


def _decisions(users: pd.DataFrame) -> pd.DataFrame:
    em, posterior = users["em"].to_numpy(), users["mean"].to_numpy()
    labels = users["comparisons"].to_numpy(dtype=float)
    rows = []
    for threshold in _THRESHOLDS:
        ours, theirs = em >= threshold, posterior >= threshold
        differ = ours != theirs
        rows.append(
            {
                "threshold": float(threshold),
                "users_em": int(ours.sum()),
                "users_posterior": int(theirs.sum()),
                "users_differ": int(differ.sum()),
                "labels_differ": round(float(labels[differ].sum())),
                "share_differ": float(labels[differ].sum() / labels.sum()),
            }
        )
    return pd.DataFrame(rows)


def _on_fit(fit: Fit) -> list[str]:
    """What sets the two apart from the start."""
    if fit.method == "label":
        return ["This is label EM: its users' estimates are no posterior means, and its parameters have no intervals."]
    return ["The fit leaves out the priors that the posterior has (objective 'ml')."] if fit.objective == "ml" else []


def _on_ranking(correlation: float, good: bool, n_users: int) -> str:
    if np.isnan(correlation) and n_users < 3:
        return "There are too few users to compare rankings."
    if np.isnan(correlation):
        return "All users are alike to EM or to the posterior: there is no ranking to compare."
    if good:
        return f"EM may stand in for the posterior for ranking users (rank correlation {correlation:.3f})."
    return f"EM ranks users otherwise than the posterior does (rank correlation {correlation:.3f}; {RANKING} wanted)."


def _on_level(users: pd.DataFrame) -> str:
    labels = users["comparisons"].to_numpy(dtype=float)
    gap = float((users["difference"].to_numpy() * labels).sum() / labels.sum())
    if abs(gap) < 0.0005:
        return "On average over the votes their users are equally attentive to both."
    return f"A vote's user is {abs(gap):.3f} {'more' if gap > 0 else 'less'} attentive to EM, on average."


def _on_cuts(worst: pd.Series, good: bool) -> str:
    share = f"{worst['share_differ']:.1%} of the votes ({worst['users_differ']:.0f} users) at {worst['threshold']:.2f}"
    if good:
        return f"At every threshold they keep nearly the same votes; at most {share} differ."
    return f"At some thresholds they keep different votes: {share}."


def _on_intervals(narrow: pd.DataFrame, unknown: pd.Series) -> str:
    said = []
    if len(narrow):
        told = [
            f"{row['parameter']} (holds {row['coverage']:.0%} of the posterior; " + _how(row) + ")"
            for _, row in narrow.head(3).iterrows()
        ]
        more = f" and {len(narrow) - 3} more" if len(narrow) > 3 else ""
        said.append(f"EM's 90 % intervals are not to be trusted for {', '.join(told)}{more}.")
    if unknown.any():
        said.append(f"EM has no interval for {int(unknown.sum())} of the parameters.")
    return " ".join(said) or "EM's intervals hold what the posterior's hold."


def _on_chains(trace: Any) -> list[str]:
    """What is to be said where the posterior's own draws are not good enough to judge EM by."""
    checked = convergence(trace)
    strayed = int(trace.attrs.get("chains_left_out", 0))
    if checked.rhat <= _RHAT and checked.ess >= _ENOUGH and not checked.divergences and not strayed:
        return []
    return [f"The posterior is itself not to be relied on, so the difference may be its own: {checked.verdict}"]


def _how(row: pd.Series) -> str:
    if not row["em_upper"] > row["em_lower"]:
        return "of no width"
    if row["widening"] > 1.1:
        return f"too narrow by a factor of {row['widening']:.1f}"
    return "in the wrong place"
