"""Leave one user out: how well a posterior predicts the votes of a user it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from ..comparisons.errors import EarnestError
from ..comparisons.names import as_names
from ..inference.compiled import settle
from ..inference.draws import free_draws
from ..inference.thinning import evenly
from ..models.behavior import BehaviorModel
from .importance import GOOD_K, IMPOSSIBLE, Mixture, Target, Weighted, leave_out, require_arviz, smoothed

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog

__all__ = ["elpd_of", "loo"]

_DRAWS = 2000  # for each group of users who are left out exactly
_TOGETHER = 1000  # units whose weights are smoothed together
_POINTS = 400  # draws of a trace that show where its posterior lies


def loo(trace: Any, log: ComparisonLog | None = None, *, exact: bool = True) -> Any:
    """Expected log predictive density of a new user's votes, by leaving every user out in turn (PSIS-LOO).

    The unit is the user, attentiveness integrated out. Where importance sampling from the whole posterior fails for a
    user (k-hat above ArviZ's limit), the posterior without that user is sampled for itself: from multivariate t
    distributions around the mode that Newton steps find without the user's votes.

    Args:
        trace: what `sample` returned.
        log: the log that was sampled; needed where a user must be left out exactly, because a trace holds counts by
            name of what was shown and not all that the model looks at.
        exact: leave such users out exactly; False: as ArviZ does, with their k-hat in the result. It is also where
            users share effects of items, too many to draw them around a mode; a user's votes are then predicted by
            what the others' said of the items.

    Returns:
        an ArviZ `ELPDDataLOO`: elpd, se, p, and by user `elpd_i` and `pareto_k` (of users who were left out exactly, of
        the weights of that).

    Raises:
        EarnestError: not a trace; users must be left out exactly and the log is missing or another; ArviZ is missing.

    Reference: Vehtari, Gelman and Gabry (2017), Statistics and Computing 27.
    """
    require_arviz()
    from arviz_stats import loo as psis_loo

    if not hasattr(trace, "posterior") or "log_likelihood" not in getattr(trace, "children", {}):
        raise EarnestError(
            f"loo: expected what `sample` returned, with its group log_likelihood, got {type(trace).__name__}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of high k-hat, which is dealt with below and told by the result
        found = psis_loo(trace, pointwise=True, var_name="votes", reff=_efficiency(trace))
    k = found.pareto_k.to_numpy()
    bad = np.flatnonzero(~(k <= found.good_k))
    if not exact or len(bad) == 0 or BehaviorModel.from_toml(trace.attrs["declaration"]).crossed is not None:
        return found
    names = as_names(found.pareto_k["user"].to_numpy())
    if log is None:
        raise EarnestError(
            f"loo: {len(bad)} of {len(k):,} users, {names[bad[0]]!r} for one, have a k-hat above {found.good_k:.2f} "
            "and are to be left out exactly, which needs the log: loo(trace, log), or exact=False"
        )
    if log.fingerprint() != trace.attrs.get("fingerprint"):
        raise EarnestError("loo: the log is another one than the trace was sampled from")
    settled = settle(BehaviorModel.from_toml(trace.attrs["declaration"]), log)
    points = free_draws(trace, settled.table, _POINTS)
    target = Target.of(settled, points[evenly(len(points), 12)])
    unit = _units(target, names)[bad]
    proposal = Mixture.of([points.mean(0)], [np.atleast_2d(np.cov(points.T))])
    rng = np.random.default_rng([int(trace.attrs.get("seed", 0)), 6])
    left, again = np.unique(unit, return_inverse=True)
    elpd, shape = leave_out(target, proposal, points.mean(0), left, _DRAWS, rng)
    by_user, shapes = found.elpd_i.to_numpy().copy(), k.copy()
    lppd = by_user + _penalty(trace, found)
    by_user[bad], shapes[bad] = elpd[again], shape[again]
    return replace(
        found,
        elpd=float(by_user.sum()),
        se=float(np.sqrt(len(by_user) * by_user.var())),
        p=float((lppd - by_user).sum()),
        warning=bool((~(shapes <= found.good_k)).any()),
        elpd_i=found.elpd_i.copy(data=by_user),
        pareto_k=found.pareto_k.copy(data=shapes),
        log_weights=None,
    )


def _efficiency(trace: Any) -> float:
    """Effective draws of the globals' means for each draw, as PSIS needs to know how long the tail is."""
    from arviz_stats import ess

    names = [str(name) for name, array in trace.posterior.data_vars.items() if "user" not in array.dims]
    with np.errstate(all="ignore"):  # a constant has no effective draws
        found = ess(trace.posterior.to_dataset()[names], method="mean")
    values = np.concatenate([np.ravel(found[name].to_numpy()) for name in names])
    size = trace.posterior.sizes["chain"] * trace.posterior.sizes["draw"]
    known = values[np.isfinite(values)]
    return float(np.clip(known.mean() / size, 1e-3, 1.0)) if len(known) else 1.0


def _penalty(trace: Any, found: Any) -> np.ndarray:
    """lppd - elpd by user, nats: how much each user's votes say of themselves."""
    votes = trace["log_likelihood"]["votes"].transpose("chain", "draw", "user")
    draws, lppd = votes.sizes["chain"] * votes.sizes["draw"], np.empty(votes.sizes["user"])
    for first in range(0, len(lppd), _TOGETHER):
        some = votes.isel(user=slice(first, first + _TOGETHER)).to_numpy().reshape(draws, -1)
        lppd[first : first + _TOGETHER] = logsumexp(some, axis=0) - np.log(draws)
    return np.asarray(lppd - found.elpd_i.to_numpy())


def _units(target: Target, names: np.ndarray) -> np.ndarray:
    """The unit of each user, (user,)."""
    tally = target.statement.tally
    known = {name: i for i, name in enumerate(tally.users)}
    return np.asarray(tally.unit_of_user[[known[name] for name in names]])


def elpd_of(target: Target, drawn: Weighted, start: np.ndarray, rng: np.random.Generator) -> Any:
    """The same from weighted draws of the posterior: ArviZ's `ELPDDataLOO`, by user.

    Users for whom the combined weights fail are left out exactly.
    """
    import xarray
    from arviz_stats import ELPDDataLOO

    posterior, units = smoothed(drawn.log_ratio)[0], drawn.log_likelihood.shape[1]
    elpd, k, lppd = np.empty(units), np.empty(units), np.empty(units)
    for first in range(0, units, _TOGETHER):
        here = slice(first, first + _TOGETHER)
        own = drawn.log_likelihood[:, here].T
        own = np.where(np.isfinite(own), own, IMPOSSIBLE)
        weights, k[here] = smoothed(drawn.log_ratio - own)
        elpd[here], lppd[here] = logsumexp(weights + own, axis=1), logsumexp(posterior + own, axis=1)
    bad = np.flatnonzero(~(k <= GOOD_K))
    if len(bad):
        elpd[bad], k[bad] = leave_out(target, drawn.proposal, start, bad, len(drawn.points), rng)
    tally = target.statement.tally
    coords = {"user": as_names(tally.users)}
    by_user, shapes = tally.of_users(elpd), tally.of_users(k)
    return ELPDDataLOO(
        elpd=float(by_user.sum()),
        se=float(np.sqrt(len(by_user) * by_user.var())),
        p=float(tally.of_users(lppd - elpd).sum()),
        n_samples=len(drawn.points),
        n_data_points=len(by_user),
        scale="log",
        warning=bool((~(shapes <= GOOD_K)).any()),
        good_k=GOOD_K,
        elpd_i=xarray.DataArray(by_user, coords, ["user"], name="elpd_i"),
        pareto_k=xarray.DataArray(shapes, coords, ["user"], name="pareto_k"),
        approx_posterior=True,
    )
