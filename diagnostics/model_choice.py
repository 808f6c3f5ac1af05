"""Which model predicts the votes of new users best, and can the votes tell?"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from ..inference.compiled import Settled
from ..inference.fitting import fit_em
from ..inference.hand_over import fitted
from ..inference.ranks import rank_correlation
from ..inference.results import Fit
from ..models.behavior import BehaviorModel
from .convergence import convergence
from .importance import GOOD_K, Mixture, Target, Weighted, around_modes, require_arviz, weigh
from .loo import elpd_of, loo
from .thresholds import recommended_threshold
from .words import listed

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog

__all__ = ["Comparison", "compare_models"]

DRAWS = 4000
"""Draws of the globals, as long as their log-likelihoods by user stay below `_MOST_NUMBERS`."""

APART, NATS = 2.0, 4.0
"""A model is called worse where it is so many standard errors and so many nats below the best. Differences of fewer
than four nats are too small for a normal approximation (Sivula, Magnusson, Matamoros and Vehtari 2025, Bayesian
Analysis)."""

_FALLBACK = "sampled, because importance sampling failed"
_AGAIN = 2
_MOST_NUMBERS, _FEWEST = 50_000_000, 500


@dataclass(frozen=True)
class Comparison:
    """How well some models predict a user they have not seen.

    Attributes:
        table: one row a model, best first: model, rank (from 0), elpd (expected log predictive density of all users'
            votes, each predicted from the others', nats), se, elpd_diff (to the best, negative), dse (its standard
            error), weight (share in the mixture of the models that predicts best: stacking), p (effective number of
            parameters), k_bad (users for whom neither PSIS nor leaving them out exactly worked), how; and what the
            choice means: attentiveness (users' mean), threshold (recommended, by effective labels), rank_correlation
            (Spearman, of users' attentiveness with that under the model named first), seconds (to fit and judge).
        verdict: the same in words.
        elpds: ArviZ's `ELPDDataLOO` of each model, with `elpd_i` by user.
        notes: what the reader should know.
    """

    table: pd.DataFrame
    verdict: str
    elpds: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"


def compare_models(
    models: Mapping[str, BehaviorModel | Fit | Any],
    log: ComparisonLog,
    *,
    engine: Literal["em", "sample"] = "em",
    seed: int = 0,
) -> Comparison:
    """Compare models of one log by leave-one-user-out cross-validation.

    What was sampled is judged by its draws (`loo`). A model that was only declared takes a fast road: EM, and from its
    normal approximation (multivariate t, heavier in the tails) importance sampling of the posterior of the globals; the
    combined weights of posterior and left-out user are Pareto-smoothed. Where they cannot be relied on (k-hat above
    0.7) the model is sampled by `sample`, which takes minutes and is announced by a warning. Either way the priors are
    part of the model.

    Args:
        models: name -> a `BehaviorModel`, a fit by marginal EM, or what `sample` returned of this log.
        log: the comparisons.
        engine: how models that were only declared are fitted: "em" as above, or "sample" all of them.
        seed: of all randomness.

    Returns:
        a `Comparison`: a row a model, the best first, and a verdict.

    Raises:
        InputError: the log has ties and a model none, or lacks a column that a model looks at.
        EarnestError: fewer than two models; fits or traces of another log; models that count different outcomes (one
            knows ties and the other does not, or the likelihood of one is of dwell times, too), whose densities are
            not of the same thing.

    Reference: Vehtari, Gelman and Gabry (2017), Statistics and Computing 27; weights: Yao, Vehtari, Simpson and Gelman
    (2018), Bayesian Analysis 13.
    """
    require_arviz()
    _check(models, log)
    if engine not in ("em", "sample"):
        raise EarnestError(f"engine={engine!r}: expected 'em' or 'sample'")
    judged: dict[str, _Judged] = {}
    notes: list[str] = []
    for number, (name, given) in enumerate(models.items()):
        started = time.perf_counter()
        source = _sampled(given, log, seed) if engine == "sample" and isinstance(given, BehaviorModel) else given
        one = _judge(name, source, log, np.random.default_rng([seed, number]), seed)
        judged[name] = replace(one, seconds=time.perf_counter() - started)
        if one.how == _FALLBACK:
            notes.append(f"{name}: the normal approximation of EM is too far from the posterior, so it was sampled")
        notes += [f"{name}: {doubt}" for doubt in one.doubts]
    table = _table(judged, log)
    bad = table[table["k_bad"] > 0]
    notes += [
        f"{row.model}: {row.k_bad} users have so much weight that its elpd may be too high" for row in bad.itertuples()
    ]
    if len(log.users) < 100:
        notes.append(f"{len(log.users)} users only: standard errors of the differences are rough")
    said = " ".join([_verdict(table), *(f"Note: {note}." for note in notes)])
    return Comparison(table, said, {name: one.elpd for name, one in judged.items()}, tuple(notes))


@dataclass(frozen=True)
class _Judged:
    """A model's ELPD, how it was found, what speaks against relying on it, and what tells of its users."""

    elpd: Any
    how: str
    doubts: tuple[str, ...]
    source: Any
    seconds: float = 0.0


def _sampled(model: BehaviorModel, log: ComparisonLog, seed: int) -> Any:
    from ..inference.sampling import sample

    return sample(model, log, seed=seed, keep_users="draws", predictive=0)


def _check(models: Mapping[str, Any], log: ComparisonLog) -> None:
    if not isinstance(models, Mapping) or len(models) < 2:
        raise EarnestError("compare_models: expected at least two models, {name: model, fit or trace}")
    ties, told, here = {}, {}, log.fingerprint()
    for name, given in models.items():
        if isinstance(given, Fit):
            if given.method != "marginal" or given.objective != "map":
                raise EarnestError(f"models[{name!r}]: expected a fit by method='marginal' and objective='map'")
            model, of = given.model, given.fingerprint
        elif isinstance(given, BehaviorModel):
            model, of = given, here
        elif hasattr(given, "posterior") and "declaration" in given.attrs:
            model, of = BehaviorModel.from_toml(given.attrs["declaration"]), given.attrs.get("fingerprint")
        else:
            raise EarnestError(
                f"models[{name!r}]: expected a BehaviorModel, a fit, or what `sample` returned, got {given!r}"
            )
        if of != here:
            raise EarnestError(f"models[{name!r}]: it is of another log; fit or sample this one")
        ties[name] = model.preference.allows_ties
        told[name] = () if model.attention is None else model.attention.told
    if len(set(ties.values())) > 1:
        known, unknown = (next(name for name, tie in ties.items() if tie is which) for which in (True, False))
        raise EarnestError(
            f"compare_models: {known!r} knows ties and {unknown!r} does not, so that their predictive densities are of "
            "different outcomes; give both a rule for ties, or neither"
        )
    if len(set(told.values())) > 1:
        one = next(name for name, columns in told.items() if columns)
        other = next(name for name, columns in told.items() if columns != told[one])
        raise EarnestError(
            f"compare_models: the likelihood of {one!r} is of the votes and of {told[one][0]!r}, that of {other!r} is "
            "not, so that their predictive densities are of different things; compare it with models that see the same"
        )


def _judge(name: str, given: Any, log: ComparisonLog, rng: np.random.Generator, seed: int) -> _Judged:
    if not isinstance(given, BehaviorModel | Fit):
        return _Judged(loo(given, log), "sampled", _doubts(given), given)
    fit = given if isinstance(given, Fit) else fit_em(given, log)
    fit.check_users_known("compare_models")
    if not np.all(np.isfinite(fit.centre)) or fit.status == "non_finite":
        raise EarnestError(f"compare_models: EM ended with status {fit.status!r}; see the notes of fit_em(model, log)")
    if fit.bound:
        return replace(_by_nuts(name, "its effects of items are not summed out", fit, log, seed), how="sampled")
    settled = Settled(fit.model, fit.table, fit.counts)
    if fit.free.size == 0:
        return _Judged(_without_unknowns(settled), "no unknowns", (), fit)
    proposal = around_modes(settled, fit)
    target = Target.of(settled, proposal.draw(rng, 12))
    units = len(target.statement.tally)
    draws = int(np.clip(_MOST_NUMBERS // units, _FEWEST, DRAWS))
    drawn = weigh(target, proposal, draws, rng)
    for _ in range(_AGAIN):
        if drawn.k <= GOOD_K:
            break
        drawn = weigh(target, drawn.proposal, draws, rng)  # the proposal has come nearer; MCMC takes much longer
    if drawn.k <= GOOD_K:
        return _Judged(elpd_of(target, drawn, fit.centre, rng), "importance sampling", (), fit)
    return _by_nuts(name, f"its k-hat is {drawn.k:.2f}", fit, log, seed)


def _by_nuts(name: str, why: str, fit: Fit, log: ComparisonLog, seed: int) -> _Judged:
    from ..inference.sampling import sample

    warnings.warn(
        f"compare_models: importance sampling does not suit {name!r} ({why}); it is sampled by NUTS, which takes "
        "minutes where the log is large",
        stacklevel=4,
    )
    trace = sample(fit.model, log, fit=fit, seed=seed, keep_users="none", predictive=0)
    return _Judged(loo(trace, log), _FALLBACK, _doubts(trace), fit)


def _doubts(trace: Any) -> tuple[str, ...]:
    """Why a posterior is not to be relied on, where it is not."""
    checked = convergence(trace)
    return () if checked.good else (f"its posterior is not to be relied on: {checked.verdict.rstrip('.')}",)


def _without_unknowns(settled: Settled) -> Any:
    """With nothing to learn every user's density is what it is."""
    target = Target.of(settled, np.zeros((1, 0)))
    likelihood, _ = target.at(np.zeros((_FEWEST, 0)))
    nowhere = Mixture.of([np.zeros(0)], [np.zeros((0, 0))])
    drawn = Weighted(np.zeros((_FEWEST, 0)), np.zeros(_FEWEST), likelihood, 0.0, nowhere)
    return elpd_of(target, drawn, np.zeros(0), np.random.default_rng(0))


def _table(judged: dict[str, _Judged], log: ComparisonLog) -> pd.DataFrame:
    elpds = {name: one.elpd for name, one in judged.items()}
    names = sorted(elpds, key=lambda name: -elpds[name].elpd)
    # Of the models as they were given, so that "the first" is the caller's.
    means = {name: _means(one.source, log) for name, one in judged.items()}
    first = means[next(iter(judged))]
    pointwise = np.stack([elpds[name].elpd_i.to_numpy() for name in names])
    difference = pointwise - pointwise[0]
    return pd.DataFrame(
        {
            "model": names,
            "rank": range(len(names)),
            "elpd": pointwise.sum(1),
            "se": [float(elpds[name].se) for name in names],
            "elpd_diff": difference.sum(1),
            "dse": np.sqrt(pointwise.shape[1] * difference.var(1)),
            "weight": _stacked(pointwise),
            "p": [float(elpds[name].p) for name in names],
            "k_bad": [int((~(elpds[name].pareto_k.to_numpy() <= elpds[name].good_k)).sum()) for name in names],
            "how": [judged[name].how for name in names],
            "attentiveness": [float(np.mean(means[name])) for name in names],
            "threshold": [
                recommended_threshold(judged[name].source, log) if _tells_users(judged[name].source) else float("nan")
                for name in names
            ],
            "rank_correlation": [rank_correlation(first, means[name]) for name in names],
            "seconds": [judged[name].seconds for name in names],
        }
    )


def _tells_users(source: Any) -> bool:
    """Whether a posterior was kept with its users."""
    return isinstance(source, Fit) or "attentiveness" in source.posterior


def _means(source: Any, log: ComparisonLog) -> np.ndarray:
    """Users' mean attentiveness, (user,); NaN where the posterior was kept without its users."""
    if not _tells_users(source):
        return np.full(len(log.users), np.nan)
    return np.asarray(fitted(source, log).attentiveness_for(log)["mean"], dtype=float)


def _stacked(pointwise: np.ndarray) -> np.ndarray:
    """Weights of the mixture that maximises sum_u log sum_m w_m exp(elpd_mu), (model,), by EM.

    ArviZ exponentiates densities as they are, which underflows for a user with some hundred votes.
    """
    density = np.exp(pointwise - pointwise.max(0))
    weights = np.full(len(pointwise), 1.0 / len(pointwise))
    for _ in range(10_000):
        share = weights[:, None] * density
        after = (share / share.sum(0)).mean(1)
        if np.abs(after - weights).max() < 1e-9:
            break
        weights = after
    return weights


def _verdict(table: pd.DataFrame) -> str:
    best, others = table.iloc[0], table.iloc[1:]
    far = (-others["elpd_diff"] > APART * others["dse"]) & (-others["elpd_diff"] > NATS)
    near, worse = others[~far], others[far]
    said = []
    if len(near):
        others_near = listed([f"{row.model} ({-row.elpd_diff:.1f} nats below, standard error {row.dse:.1f})"
                          for row in near.itertuples()])  # fmt: skip
        said.append(f"{best['model']} predicts new users best, but cannot be told apart from {others_near}.")
    else:
        said.append(f"{best['model']} predicts new users best.")
    for row in worse.itertuples():
        times = f", {-row.elpd_diff / row.dse:.0f} standard errors" if row.dse > 0 and math.isfinite(row.dse) else ""
        said.append(f"{row.model} is worse by {-row.elpd_diff:,.0f} nats{times}.")
    return " ".join(said)
