"""Is attentiveness known on its absolute scale, or only who has more of it?

With one pair of models and casual users who toss a coin the votes know eta_u (2 mu - 1) and nothing else: attentiveness
may be halved if the better model wins more clearly. The users' mean attentiveness is the quantity that such a trade
moves; how far it can be moved is its profile-likelihood interval (model.md, sections 7 and 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.cells import Counts
from ..inference.arrays import JNP, float64
from ..inference.cohorts import Cohorts, cohorts_of, row_of_each_user
from ..inference.compiled import values_at
from ..inference.draws import free_draws
from ..inference.em import MarginalEM
from ..inference.labels import restricted
from ..inference.maximize import BOX
from ..inference.thinning import evenly
from ..inference.users import workload
from ..models.behavior import BehaviorModel
from ..models.component import Attentiveness, Finite
from ..models.covariates import shifted
from ..models.parameters import ParameterTable
from .profile import Function, Profile, profile

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = [
    "WIDEST", "Scale", "mean_attentiveness", "means_expected", "scale_of", "scale_of_fit", "scale_of_posterior",
]  # fmt: skip

WIDEST = 1.5
"""Factor between the ends of the interval beyond which only the ranking is identified (model.md, section 10)."""

LEVEL = 0.9
_STARTS = 200  # draws of a posterior that say where it lies
_MOST_USERS = 3_000  # of larger logs so many, evenly, stand for all
_NEARLY_ALL = 200_000  # and for the slope at the estimate no more than these
_GRID = 2.0 * np.sinh(np.linspace(-1.0, 1.0, 4001) * np.arcsinh(5e3))  # logits, denser in the middle


@dataclass(frozen=True)
class Scale:
    """What the votes alone, without priors, say of the users' mean attentiveness.

    Attributes:
        mean: at the estimate.
        lower, upper: 90 % profile-likelihood interval.
        if_known: the same if the preference's parameters were known to be as estimated; None where it has none, where
            the scale is known without, or where this was not asked.
        at_lower, at_upper: {parameter: value} where the ends are reached.
        exact: whether both ends were found; else the interval may be wider than it says.
    """

    mean: float
    lower: float
    upper: float
    if_known: tuple[float, float] | None
    at_lower: dict[str, np.ndarray]
    at_upper: dict[str, np.ndarray]
    exact: bool

    @property
    def factor(self) -> float:
        """Between the ends."""
        return self.upper / max(self.lower, 1e-300)

    @property
    def only_ranking(self) -> bool | None:
        """Whether the absolute scale is open; None where the interval is narrow, but its ends were not found."""
        if self.factor > WIDEST:
            return True
        return False if self.exact and np.isfinite(self.factor) else None

    @property
    def warning(self) -> str:
        """A sentence where the absolute scale is open, or may be; else ""."""
        if self.only_ranking is None:
            return (
                "Whether attentiveness is known on its absolute scale could not be determined: the search for how far "
                "the users' mean can be moved came to no end."
            )
        if not self.only_ranking:
            return ""
        return (
            "Only the ranking of users is identified: the votes are nearly as probable with a mean attentiveness of "
            f"{self.lower:.2f} as with {self.upper:.2f} (90 % profile interval), so thresholds, precision and "
            "effective labels on the absolute scale rest on the priors; see earnest.identifiability(fit)."
        )


def _free_sd(spread: np.ndarray) -> np.ndarray:
    """Standard deviations of the free parameters, 1 where unknown, (size,)."""
    variance = np.diag(spread)
    return np.clip(np.sqrt(np.where(np.isfinite(variance) & (variance > 0), variance, 1.0)), 0.01, 3.0)


@partial(jax.jit, static_argnames=("model", "table"))
def _log_mean(model: BehaviorModel, table: ParameterTable, free: Any, cohorts: Cohorts | None = None) -> Any:
    values = table.unpack(JNP, free)
    if cohorts is None:
        return _log_mean_at(model, table, values)
    offsets = model.attentiveness.offset(JNP, values, cohorts.cells)
    log_means = jax.vmap(lambda offset: _log_mean_at(model, table, values, offset))(offsets)
    return jax.scipy.special.logsumexp(log_means + jnp.log(cohorts.share))


def _log_mean_at(model: BehaviorModel, table: ParameterTable, values: Any, offset: Any = None) -> Any:
    """Log of the mean attentiveness of users whose logit is moved by an offset (scalar)."""
    population, kinds = model.attentiveness, model.kinds(table.schema)

    def own(eta: Any) -> Any:
        return eta if offset is None else shifted(JNP, eta, offset)

    if kinds.size > 1:
        # Positive where most users attend in earnest; beyond, the ranking itself has turned.
        by_sign, shares = _mean_by_sign(model, values, table, own), jnp.exp(model.log_shares(JNP, values, table.schema))
        factor = jnp.asarray(kinds.factor, dtype=float).reshape(len(by_sign), -1)
        return jnp.log(jnp.maximum(jnp.sum(factor * by_sign[:, None] * shares / jnp.sum(shares)), 1e-9))
    # Two Gauss nodes are exact for a mean, however narrow or split the population is.
    rule = population.gauss(JNP, values, 2 if population.gauss_exact else 257)
    if rule is not None:
        return jax.scipy.special.logsumexp(rule[1] + jnp.log(own(rule[0])))
    log_weights, log_a = _on_grid(population, values, table)
    log_a = log_a if offset is None else jnp.log(own(jnp.exp(log_a)))
    return jax.scipy.special.logsumexp(log_weights + log_a) - jax.scipy.special.logsumexp(log_weights)


def _mean_by_sign(model: BehaviorModel, values: Any, table: ParameterTable, own: Callable[[Any], Any]) -> Any:
    """E[|eta|; sign] of the population for each of its signs, (sign,)."""
    log_weights, log_a = _on_grid(model.attentiveness, values, table)
    weights = jnp.exp(jnp.atleast_2d(log_weights) - jax.scipy.special.logsumexp(log_weights))
    return jnp.sum(weights * own(jnp.exp(log_a)), axis=1)


def _on_grid(population: Attentiveness, values: Any, table: ParameterTable) -> tuple[Any, Any]:
    """Log-weights of a population's levels or of a fine grid, (node,) or (sign, node), and log |eta| there, (node,)."""
    kind = population.latents(table.schema)
    latent = jnp.arange(kind.size) if isinstance(kind, Finite) else jnp.asarray(_GRID)
    log_weights = population.log_weights(JNP, values, latent)
    if not isinstance(kind, Finite):
        log_weights = log_weights + 0.5 * jnp.log1p((latent / 2.0) ** 2)
    return log_weights, population.attention(JNP, values, latent)[0]


_log_mean_and_slope = jax.jit(jax.value_and_grad(_log_mean, argnums=2), static_argnums=(0, 1))


@float64
def mean_attentiveness(
    model: BehaviorModel, table: ParameterTable, free: np.ndarray, counts: Counts | None = None
) -> float:
    """Mean attentiveness of the population at free parameters (size,).

    Where covariates of users move it, over the users in the counts; without counts, of users in the middle.
    """
    cohorts = None if counts is None else cohorts_of(model, counts)
    return float(np.exp(_log_mean(model, table, jnp.asarray(free), cohorts)))


@float64
def means_expected(fit: Fit) -> np.ndarray | float:
    """Mean attentiveness of users with each user's covariates, (user,); one number where the model has none."""
    if not fit.model.attentiveness.slopes:
        return mean_attentiveness(fit.model, fit.table, fit.free)
    values, (view, owner) = fit.table.unpack(JNP, jnp.asarray(fit.free)), row_of_each_user(fit.counts)
    offset = np.zeros(len(fit.counts.users))
    offset[owner] = np.asarray(fit.model.attentiveness.offset(JNP, values, view))
    # Smooth in the offset, so that a user's is read off between points.
    at = np.linspace(offset.min(), offset.max(), 257)
    means = jnp.exp(jax.vmap(lambda one: _log_mean_at(fit.model, fit.table, values, one))(jnp.asarray(at)))
    return np.asarray(np.interp(offset, at, np.asarray(means)))


@float64
def scale_of(model: BehaviorModel, counts: Counts, free: np.ndarray, spread: np.ndarray, known: bool = False) -> Scale:
    """How far the votes alone let the users' mean attentiveness be moved.

    Args:
        model: the declaration (settled).
        counts: the votes.
        free: estimate on the free scale, (size,).
        spread: its covariance, (size, size), for the scale of the search.
        known: where the scale is open, also ask what would be, were the preference known.
    """
    table, cohorts = model.table(counts.cells.schema), cohorts_of(model, counts)
    log_likelihood = _log_likelihood(model, counts, free)

    def log_mean(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _log_mean_and_slope(model, table, jnp.asarray(z), cohorts)
        return float(value), np.asarray(slope)

    def interval(fixed: np.ndarray | None) -> Profile:
        return profile(log_likelihood, log_mean, free, _free_sd(spread), BOX, LEVEL, fixed)

    preference = np.zeros(table.size, dtype=bool)
    for parameter in model.preference.parameters(table.schema):
        preference[table.slices[parameter.name]] = True
    whole = interval(None)
    found = Scale(
        mean=float(np.exp(log_mean(free)[0])),
        lower=float(np.exp(whole.lower)),
        upper=float(np.exp(whole.upper)),
        if_known=None,
        at_lower=values_at(table, whole.at_lower),
        at_upper=values_at(table, whole.at_upper),
        exact=whole.exact,
    )
    if not (known and found.only_ranking and preference.any() and not preference.all()):
        return found
    if_known = interval(preference)
    return replace(found, if_known=(float(np.exp(if_known.lower)), float(np.exp(if_known.upper))))


def _log_likelihood(model: BehaviorModel, counts: Counts, free: np.ndarray) -> Function:
    """Log-likelihood and gradient of all users, without priors.

    Of many users some, evenly, stand for all (but for gold users, who are few and tell most): with s their share, log L
    is taken to be log L_some / s + log L_gold, tilted so that its slope at the estimate is that of all users (of a long
    log, of `_NEARLY_ALL`). The top is then where it is, and the fall away from it is estimated (Jordan, Lee and Yang
    2019, JASA 114: surrogate likelihoods).
    """
    if np.sum(~model.attends(counts.users)) <= _MOST_USERS:
        return MarginalEM(model, workload(counts).problem, prior=False).value_and_slope
    surrogate = _by_some(model, counts, free.size, _MOST_USERS)
    tilt = _by_some(model, counts, free.size, _NEARLY_ALL)(free)[1] - surrogate(free)[1]

    def log_likelihood(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = surrogate(z)
        return value + float(tilt @ (z - free)), slope + tilt

    return log_likelihood


def _by_some(model: BehaviorModel, counts: Counts, size: int, most: int) -> Function:
    """Log-likelihood and gradient (size,) of all users by no more than so many, evenly, and the gold ones."""
    gold = model.attends(counts.users)
    usual = np.flatnonzero(~gold)
    chosen = np.zeros(len(gold), dtype=bool)
    chosen[usual[evenly(len(usual), most)]] = True
    parts = [(len(usual) / chosen.sum(), chosen)] + ([(1.0, gold)] if gold.any() else [])
    engines = [
        (weight, MarginalEM(model, workload(restricted(counts, users)).problem, prior=False)) for weight, users in parts
    ]

    def log_likelihood(z: np.ndarray) -> tuple[float, np.ndarray]:
        told = [(weight, *engine.value_and_slope(z)) for weight, engine in engines]
        slope = sum((weight * slope for weight, _, slope in told), np.zeros(size))
        return sum(weight * value for weight, value, _ in told), slope

    return log_likelihood


def scale_of_fit(fit: Fit, known: bool = False) -> Scale:
    """The scale of a fit by marginal EM; see `scale_of`."""
    return scale_of(fit.model, fit.counts, fit.free, fit.spread, known)


def scale_of_posterior(trace: Any, log: ComparisonLog) -> Scale:
    """The scale of the votes behind a sampled posterior; its draws only say where the search begins."""
    model = BehaviorModel.from_toml(trace.attrs["declaration"])
    counts = model.count(log)
    table = model.table(counts.cells.schema)
    points = free_draws(trace, table, _STARTS)
    return scale_of(model, counts, points.mean(0), np.atleast_2d(np.cov(points.T)))
