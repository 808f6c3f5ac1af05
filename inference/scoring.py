"""Attentiveness of users whom the fit never saw, and the fitted population."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pandas as pd
from scipy.stats import norm

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError, check_whole
from ..comparisons.kinds import FEW_OF_CONTEXT
from ..comparisons.log import ComparisonLog
from ..comparisons.names import as_names
from ..comparisons.patterns import Patterns
from ..models.component import Continuous
from .arrays import JNP, float64
from .cohorts import cohorts_of
from .effects import check_pairs, renumbered, with_known
from .label import best_attentiveness
from .merge import usable_schema
from .posteriors import Globals, patterns_of, posteriors
from .results import Fit
from .users import kind_probabilities, probabilities_above, workload

__all__ = [
    "attentiveness_for", "count_for", "kinds", "population_density", "probability_above", "score", "user_frame",
]  # fmt: skip

DRAWS = 32
"""Draws of the globals behind users' intervals."""


def count_for(fit: Fit, log: ComparisonLog) -> tuple[Counts, bool]:
    """Count a log in the fit's terms; also whether the model has a parameter for each pair.

    Raises:
        InputError: a model or category that the fit never saw; of a posterior also an item.
    """
    counts, crossed = fit.model.count(log, fit.schema), fit.model.crossed
    if crossed is not None and fit.effects is not None:
        counts = with_known(crossed, counts, fit.effects, float(fit.parameters[crossed.scale.name]))
        check_pairs(crossed, fit.counts, counts)
    elif crossed is not None:
        counts = renumbered(crossed, counts, fit.schema)
    return counts, any("pair" in dims for dims in fit.dims.values())


def user_frame(fit: Fit, counts: Counts, mean: np.ndarray, sd: np.ndarray, interval: np.ndarray) -> pd.DataFrame:
    """The data frame of users (or patterns and how many have each), from per-user arrays; `interval` is (user, 2)."""
    comparisons = np.rint(counts.n_comparisons()).astype(np.int64)
    known = fit.model.attends(counts.users)
    mean, sd = np.where(known, 1.0, mean), np.where(known, 0.0, sd)
    interval = np.where(known[:, None], 1.0, interval)
    return pd.DataFrame(
        {
            **_known_by(counts),
            "comparisons": comparisons,
            "mean": mean,
            "sd": sd,
            "lower": interval[:, 0],
            "upper": interval[:, 1],
        }
    )


def _known_by(counts: Counts) -> dict[str, np.ndarray]:
    """Columns that say whose a row is: `user`; or `pattern`, and how many `users` have it."""
    names = as_names(counts.users)
    if counts.multiplicity is None:
        return {"user": names}
    return {"pattern": names, "users": np.rint(counts.multiplicity).astype(np.int64)}


@float64
def score(fit: Fit, log: ComparisonLog, draws: int = DRAWS) -> pd.DataFrame:
    """See `Fit.score`."""
    check_whole("draws", draws, 0)
    counts, by_pair = count_for(fit, log)
    return estimate(fit, counts, by_pair, draws)


def estimate(
    fit: Fit, counts: Counts, by_pair: bool, draws: int = DRAWS, patterns: Patterns | None = None
) -> pd.DataFrame:
    """Attentiveness of the users in `counts` (and their patterns, where they are known) at the fit's globals."""
    schema, tail = usable_schema(fit.schema, counts, by_pair), (1 - fit.level) / 2
    if fit.method == "label":
        work = workload(counts, schema, dense=False)
        parts = best_attentiveness(fit.model, fit.free, work.problem, fit.user_prior)
        mean, sd = (work.layout.patterns(part)[work.pattern_of_user] for part in parts)
        half = float(norm.ppf(1 - tail)) * sd
        return user_frame(fit, counts, mean, sd, np.clip(np.stack([mean - half, mean + half], axis=1), 0.0, 1.0))
    at = Globals(fit.model, fit.free, fit.centre, fit.spread, fit.seed)
    patterns = patterns_of(counts) if patterns is None else patterns
    return user_frame(fit, counts, *posteriors(at, counts, schema, (tail, 1 - tail), draws, patterns))


def attentiveness_for(fit: Fit, log: ComparisonLog) -> pd.DataFrame:
    """See `Fit.attentiveness_for`."""
    if log.by_pattern or fit.counts.multiplicity is not None:
        # A fingerprint tells of categories and known answers, not of covariates.
        own = log.by_pattern and fit.counts.multiplicity is not None and {*fit.context} <= set(FEW_OF_CONTEXT)
        return fit.attentiveness if own and fit.fingerprint == log.fingerprint() else score(fit, log)
    users = as_names(log.users)
    known = fit.attentiveness[fit.attentiveness["user"].isin(users)]
    if len(known) == len(users):
        return known.reset_index(drop=True)
    scored = score(fit, log)
    fresh = scored[~scored["user"].isin(known["user"])]
    return pd.concat([known, fresh]).sort_values("user", kind="stable").reset_index(drop=True)


@float64
def probability_above(fit: Fit, level: float, log: ComparisonLog | None) -> pd.DataFrame:
    """See `Fit.probability_above`."""
    if fit.method == "label":
        raise EarnestError("probability_above: label EM gives no probabilities of attentiveness; fit by marginal EM")
    if not isinstance(level, int | float | np.number) or not 0 <= level <= 1:
        raise EarnestError(f"probability_above: level={level!r}: expected an attentiveness between 0 and 1")
    frame = fit.attentiveness if log is None else attentiveness_for(fit, log)
    if "pattern" in frame:
        counts, by_pair = (fit.counts, False) if log is None else count_for(fit, log)
        return frame[["pattern", "users", "mean"]].assign(probability=_above(fit, counts, by_pair, level))
    frame = frame[["user", "mean"]]
    known = as_names(fit.counts.users)
    above = pd.Series(_above(fit, fit.counts, False, level), index=known)
    if log is not None and not frame["user"].isin(known).all():
        counts, by_pair = count_for(fit, log)
        fresh = pd.Series(_above(fit, counts, by_pair, level), index=as_names(counts.users))
        above = pd.concat([above, fresh[~fresh.index.isin(known)]])
    return frame.assign(probability=above.reindex(frame["user"]).to_numpy())


def _above(fit: Fit, counts: Counts, by_pair: bool, level: float) -> np.ndarray:
    """Pr(eta_u > level) of every user in the counts at the fit's globals, (user,)."""
    work = workload(counts, usable_schema(fit.schema, counts, by_pair))
    # The ends are in no continuous population.
    inside = float(np.clip(level, 1e-12, 1 - 1e-12)) if fit.population_density(np.array([0.5])) is not None else level
    probability = probabilities_above(fit.model, fit.free, work, inside)
    return np.where(fit.model.attends(counts.users), float(level < 1), probability[work.pattern_of_user])


@float64
def kinds(fit: Fit, log: ComparisonLog | None) -> pd.DataFrame:
    """See `Fit.kinds`."""
    names = fit.model.kinds(fit.schema).labels
    if len(names) < 2:
        raise EarnestError(
            "kinds: the model tells no kinds of users apart; TasteGroups, Partisan and Signed are components that do"
        )
    counts, by_pair = (fit.counts, False) if log is None else count_for(fit, log)
    work = workload(counts, usable_schema(fit.schema, counts, by_pair))
    probability = kind_probabilities(fit.model, fit.free, work)[work.pattern_of_user]
    if (sure := fit.model.attends(counts.users)).any():
        # Of who is known to attend only the taste is open.
        own = fit.model.kinds(fit.schema).in_earnest(np.arange(len(names)))
        moved = np.stack([probability[:, own == kind].sum(1) for kind in range(len(names))], axis=1)
        probability = np.where(sure[:, None], moved, probability)
    return pd.DataFrame({**_known_by(counts), **dict(zip(names, probability.T, strict=True))})


@float64
def population_density(fit: Fit, grid: np.ndarray) -> np.ndarray | None:
    """See `Fit.population_density`."""
    if fit.method == "label" or not isinstance(fit.model.attentiveness.latents(fit.schema), Continuous):
        return None
    grid, signed = np.asarray(grid, dtype=float), fit.model.attentiveness.signed
    low = -1 if signed else 0
    if np.any((grid <= low) | (grid >= 1) | (grid == 0)):
        raise EarnestError(f"population_density: expected attentiveness strictly between {low} and 1, and not 0")
    size = np.abs(grid)
    logit = np.log(size) - np.log1p(-size)
    values = fit.table.unpack(JNP, jax.numpy.asarray(fit.free))
    log_density = _log_density(fit, values, logit)
    if signed:
        log_density = np.where(grid > 0, log_density[0], log_density[1])
    kinds = fit.model.kinds(fit.schema)
    shares = np.exp(np.asarray(fit.model.log_shares(JNP, values, fit.schema)))
    able = shares[~kinds.never[: len(shares)]].sum() / shares.sum()
    return np.asarray(able * np.exp(log_density) / (size * (1 - size)))


def _log_density(fit: Fit, values: Any, logit: np.ndarray) -> np.ndarray:
    """Log-density of the population on the logit scale, that of the fit's users where covariates tell them apart."""
    population, cohorts = fit.model.attentiveness, cohorts_of(fit.model, fit.counts)
    if cohorts is None:
        return np.asarray(population.log_weights(JNP, values, jax.numpy.asarray(logit)))
    each = jax.numpy.asarray(logit) - population.offset(JNP, values, cohorts.cells).reshape((-1, *[1] * np.ndim(logit)))
    weights = np.asarray(cohorts.share).reshape((-1, *[1] * np.ndim(logit)))
    return np.asarray(JNP.logsumexp(population.log_weights(JNP, values, each) + np.log(weights), axis=0))
