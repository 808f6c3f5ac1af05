"""Users of whom the model may say the wrong thing: attentiveness that goes with the number of votes, and contrarians.

Who chooses the weaker model again and again is not careless: they have another taste, or mean harm. The behavioural
model knows only care and haste and calls them inattentive; so they are held against a third story, in which what they
prefer is turned round:

    log B_u = log int p(eta) prod_n [eta P_n(other) + (1 - eta) C_n(y_n)] - log L_u
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from ..inference.arrays import JNP, float64, over_chunks
from ..inference.bracket import Chances
from ..inference.marginal import Problem, chances_of, log_posterior
from ..inference.nodes import SHARED_NODES, place_nodes
from ..inference.users import workload
from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.gold import GOLD
from .scale import means_expected

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = ["contrarians", "votes_and_attentiveness"]

_RARE = 0.01  # share of contrarians before anything is seen of a user


@float64
def contrarians(fit: Fit) -> pd.DataFrame:
    """Users by how much better a turned-round preference explains their votes, likeliest first.

    Returns:
        data frame with user, comparisons, attentiveness (posterior mean), log_bayes_factor (nats, turned round against
        the model) and probability (of turned round, if one user in a hundred is).
    """
    work = workload(fit.counts)
    values, cells = fit.table.unpack(JNP, jnp.asarray(fit.free)), work.problem.cells
    usual, other = (
        work.layout.patterns(_log_marginals(fit.model, values, work.problem, chances))[work.pattern_of_user]
        for chances in _both_ways(fit.model, values, cells)
    )
    factor = np.where(fit.model.attends(fit.counts.users), 0.0, other - usual)
    frame = fit.attentiveness[["user", "comparisons", "mean"]].rename(columns={"mean": "attentiveness"})
    frame = frame.assign(log_bayes_factor=factor, probability=expit(factor + np.log(_RARE / (1 - _RARE))))
    return frame.sort_values("log_bayes_factor", ascending=False, kind="stable").reset_index(drop=True)


def _both_ways(model: BehaviorModel, values: Any, cells: CellView) -> tuple[Chances, Chances]:
    """What the model makes of the cells, and what one with the preference turned round would."""
    usual = chances_of(model, values, cells)
    log_p, log_q = (model.log_prob(JNP, values, view)[0] for view in (cells, cells.turned()))
    log_ratio = jnp.nan_to_num(log_q - log_p)
    if GOLD in cells.context:  # to miss a known answer is no taste
        log_ratio = jnp.where(cells[GOLD] > 0, 0.0, log_ratio)
    if (kinds := model.kinds(cells.schema)).never.any():
        log_ratio = jnp.where(kinds.never[:, None], 0.0, log_ratio)
    return usual, replace(usual, p=usual.p * jnp.exp(log_ratio))


@partial(jax.jit, static_argnames=("model",))
def _log_marginals(model: BehaviorModel, values: Any, problem: Problem, chances: Chances) -> Any:
    """Log marginal likelihood of every pattern, nats, (chunk, pattern)."""
    schema = problem.cells.schema
    nodes = place_nodes(model, schema, values, problem.group, chances, SHARED_NODES[-2])

    def one(group: Any, at: Any) -> Any:
        return log_posterior(model, schema, values, group, at, chances)[0]

    return over_chunks(one, problem.group, nodes)


def votes_and_attentiveness(fit: Fit) -> dict[str, float]:
    """Does attentiveness go with the number of votes, which the model takes to be independent of it?

    Under the model a user's posterior mean has the population's mean (of users with the same covariates) as its
    expectation, however many votes they gave. So the slope of m_u, less that, on log2 n_u is held against zero, with
    standard errors that allow for unequal variances (HC1).

    Returns:
        slope (change of mean attentiveness for twice the votes), standard_error, p (two-sided), each NaN where all
        users gave the same number of votes.

    Reference: White (1980), Econometrica 48.
    """
    frame = fit.attentiveness
    if fit.model.attentiveness.slopes:
        frame = frame.assign(mean=frame["mean"] - means_expected(fit))
    frame = frame[~fit.model.attends(frame["user"])]
    n, m = (frame[name].to_numpy(dtype=float) for name in ("comparisons", "mean"))
    unknown = {"slope": float("nan"), "standard_error": float("nan"), "p": float("nan")}
    if len(n) < 3 or np.ptp(n) == 0 or np.ptp(m) == 0:
        return unknown
    x = np.log2(n) - np.log2(n).mean()
    slope = float(x @ m / (x @ x))
    left = m - m.mean() - slope * x
    error = float(np.sqrt((x**2 @ left**2) * len(n) / (len(n) - 2)) / (x @ x))
    if not error > 0:
        return unknown
    return {"slope": slope, "standard_error": error, "p": float(2 * norm.sf(abs(slope) / error))}
