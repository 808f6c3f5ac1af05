"""What do the votes pin down, what do they leave to the priors, and what would help?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from ..inference.arrays import JNP, float64
from ..inference.draws import around, unpacked
from ..inference.em import MarginalEM
from ..inference.maximize import BOX
from ..inference.pooled import Pooled
from ..inference.users import workload
from ..models.gold import GOLD, GOLD_USER
from ..models.namespace import NUMPY
from ..models.parameters import Parameter
from ..models.supports import Simplex, ZeroSum
from .scale import Scale, mean_attentiveness, scale_of_fit
from .users_apart import contrarians, votes_and_attentiveness

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = ["Identifiability", "identifiability"]

_DRAWS, _SEED = 2000, 0  # of the prior and of the normal approximation
_NOTICED = 0.3  # change of a parameter, in prior standard deviations, that is worth naming in a direction
_WEAK = (
    3.0  # information in units of the prior's below which a direction is called weak: a quarter of its variance left
)
_TOLD = 12  # directions that are put into words
_PROBABLE, _UNLIKELY = 0.9, 0.001


@dataclass(frozen=True)
class Identifiability:
    """What a log says of a model's parameters.

    Attributes:
        scale: how far the votes alone let the users' mean attentiveness be moved.
        only_ranking: whether that is so far that only the ranking of users is identified; None where the search for the
            ends of the interval failed.
        directions: one row a direction of the free parameters, the least known first: information (of the votes, in
            units of the prior's), remaining (share of the prior's variance that is left), meaning (what changes along
            it, one posterior standard deviation to either side; of the first twelve).
        contraction: one row a scalar parameter: parameter, scale ("free" where it is taken as a logarithm or logit),
            prior_sd, posterior_sd, contraction (1 - posterior variance / prior variance).
        contrarians: users whose votes a turned-round preference explains better, likeliest first; see `contrarians`.
        votes: how attentiveness goes with the number of votes: slope, standard_error, p.
        advice: what would help, likeliest to help first.
        verdict: all of it in words.
    """

    scale: Scale
    only_ranking: bool | None
    directions: pd.DataFrame
    contraction: pd.DataFrame
    contrarians: pd.DataFrame
    votes: dict[str, float]
    advice: tuple[str, ...]
    verdict: str

    def __repr__(self) -> str:
        return f"<Identifiability: {self.verdict}>"


@float64
def identifiability(fit: Fit) -> Identifiability:
    """What the votes behind a fit identify.

    Args:
        fit: result of marginal EM.

    Returns:
        an `Identifiability`: the interval of the scale by the votes alone, the directions left open, and a verdict.

    Raises:
        EarnestError: a fit by label EM (it has no population), one that is not finite, a model without unknowns, or a
            log of gold users only.

    Reference: model.md, sections 7 and 10; Raue et al. (2009), Bioinformatics 25 (profile likelihood).
    """
    fit.check_users_known("identifiability")
    if fit.method != "marginal":
        raise EarnestError(
            "identifiability: expected a fit by marginal EM; label EM has one free parameter a user and no population "
            "whose scale could be judged"
        )
    if not np.all(np.isfinite(fit.free)) or fit.status == "non_finite":
        raise EarnestError(f"identifiability: the fit is not finite (its status is {fit.status!r})")
    if fit.table.size == 0:
        raise EarnestError("identifiability: the model has no unknown parameter, so there is nothing to identify")
    if fit.model.attends(fit.counts.users).all():
        raise EarnestError("identifiability: every user is a gold user, so the votes tell of no population")
    scale = scale_of_fit(fit, known=True)
    prior = _prior_draws(fit)
    directions = _directions(fit, prior)
    contraction = _contraction(fit, prior)
    apart, votes = contrarians(fit), votes_and_attentiveness(fit)
    advice = _advice(fit, scale) if scale.only_ranking else ()
    verdict = " ".join([*_on_scale(scale), *_on_directions(directions), *_on_users(apart, votes), *advice])
    return Identifiability(scale, scale.only_ranking, directions, contraction, apart, votes, advice, verdict)


def _prior_draws(fit: Fit) -> np.ndarray:
    """Draws of the prior on the free scale, (draw, size)."""
    rng = np.random.default_rng(_SEED)
    draws = np.stack([fit.table.pack(fit.table.sample_prior(rng)) for _ in range(_DRAWS)])
    return np.asarray(np.clip(draws, -BOX, BOX))


def _directions(fit: Fit, prior: np.ndarray) -> pd.DataFrame:
    """Eigen-directions of the observed information, measured against the prior's.

    With the prior's covariance S = L L', the eigenvalues k of L' I L are the votes' information in units of the
    prior's, and 1 / (1 + k) is the share of the prior's variance that is left (both as normal as they are not).
    """
    # The scale of pooled parameters is known by those alone, not by votes given them: the contraction tells of it.
    keep = ~Pooled(fit.table, fit.table.pooled).scales
    information = _information(fit)[np.ix_(keep, keep)]
    root = np.linalg.cholesky(_prior_covariance(fit, prior)[np.ix_(keep, keep)])
    values, vectors = np.linalg.eigh(root.T @ information @ root)
    rows: list[dict[str, object]] = []
    for value, vector in zip(values, vectors.T, strict=True):
        kept = max(float(value), 0.0)
        step = np.zeros(fit.table.size)
        step[keep] = root @ vector / np.sqrt(1.0 + kept)
        meaning = _meaning(fit, step, prior) if len(rows) < _TOLD else ""
        rows.append({"information": float(value), "remaining": 1.0 / (1.0 + kept), "meaning": meaning})
    return pd.DataFrame(rows, columns=["information", "remaining", "meaning"])


def _information(fit: Fit) -> np.ndarray:
    """Observed information of the votes alone at the estimate, (size, size)."""
    if fit.objective == "map" and np.isfinite(fit.covariance).all() and not fit.table.pooled:
        # The fit knows it, with the priors' own, which is cheap to take away: a pass over all votes for each parameter.
        def log_prior(free: Any) -> Any:
            return fit.table.log_prior(JNP, fit.table.unpack(JNP, free))

        return np.asarray(
            np.linalg.inv(fit.covariance) + np.asarray(jax.jit(jax.hessian(log_prior))(jnp.asarray(fit.free)))
        )
    return -MarginalEM(fit.model, workload(fit.counts).problem, prior=False).hessian(fit.free)


def _prior_covariance(fit: Fit, prior: np.ndarray) -> np.ndarray:
    """Of the free parameters, (size, size).

    Parameters are independent of each other (pooled ones given their scale, and uncorrelated without), and entries of
    one are alike: so are the free coordinates of entrywise supports and of vectors that sum to zero (their basis is
    orthonormal). Only a simplex's are not, and are few.
    """
    out = np.zeros((fit.table.size, fit.table.size))
    for parameter in fit.table.parameters:
        where, shape = fit.table.slices[parameter.name], fit.table.shape(parameter)
        own = prior[:, where]
        entrywise = parameter.support.free_size(shape) == int(np.prod(shape)) or isinstance(parameter.support, ZeroSum)
        out[where, where] = np.eye(own.shape[1]) * own.var(0).mean() if entrywise else np.atleast_2d(np.cov(own.T))
    return out + 1e-9 * np.eye(fit.table.size)


def _meaning(fit: Fit, step: np.ndarray, prior: np.ndarray) -> str:
    """What changes from one end of a direction to the other, in words."""
    spread = prior.std(0)
    ends = [np.clip(fit.free + sign * step, -BOX, BOX) for sign in (-1.0, 1.0)]
    low, high = (fit.table.unpack(NUMPY, end) for end in ends)
    changes: list[tuple[float, str]] = []
    for parameter in fit.table.parameters:
        where, shape = fit.table.slices[parameter.name], fit.table.shape(parameter)
        size = float(np.max(np.abs(ends[1][where] - ends[0][where]) / np.maximum(spread[where], 1e-12)))
        changes.append((size, _change(fit, parameter, np.asarray(low[parameter.name]),
                                      np.asarray(high[parameter.name]), shape)))  # fmt: skip
    changes.sort(key=lambda change: -change[0])
    noticed = [text for size, text in changes if size >= _NOTICED * changes[0][0]][:4]
    means = [mean_attentiveness(fit.model, fit.table, end, fit.counts) for end in ends]
    return f"{', '.join(noticed)} (mean attentiveness from {means[0]:.2f} to {means[1]:.2f})"


def _change(fit: Fit, parameter: Parameter, low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]) -> str:
    name = parameter.name
    if not shape:
        return f"{name} from {float(low):.2f} to {float(high):.2f}"
    value, change = (np.ravel(part - part.mean()) for part in (0.5 * (low + high), high - low))
    alike = abs(value @ change) / max(float(np.linalg.norm(value) * np.linalg.norm(change)), 1e-300)
    drawn_together = alike > 0.9 and len(value) > 2 and not isinstance(parameter.support, Simplex)
    if drawn_together:
        return f"spread of {name} (sd) from {low.std():.2f} to {high.std():.2f}"
    most = np.argsort(-np.abs(np.ravel(high - low)), kind="stable")[:2]
    entries, told = fit.table.entries(parameter), []
    for index in most:
        told.append(
            f"{name}[{', '.join(entries[index])}] from {np.ravel(low)[index]:.2f} to {np.ravel(high)[index]:.2f}"
        )
    return ", ".join(told)


def _contraction(fit: Fit, prior: np.ndarray) -> pd.DataFrame:
    rng, table = np.random.default_rng(_SEED), fit.table
    draws = around(fit.centre, fit.spread, rng.standard_normal((_DRAWS, table.size)))
    told = [unpacked(table, part) for part in (prior, draws)]
    unknown = ~np.isfinite(np.diag(fit.spread))
    rows = []
    for parameter in table.parameters:
        where, shape = table.slices[parameter.name], table.shape(parameter)
        entrywise = parameter.support.free_size(shape) == int(np.prod(shape))
        if entrywise:
            sds = [part[:, where].std(0) for part in (prior, draws)]
        else:
            sds = [np.ravel(part[parameter.name].std(0)) for part in told]
        lost = unknown[where].any()
        for k, entry in enumerate(table.entries(parameter)):
            names = ", ".join(entry)
            posterior = float("nan") if lost else float(sds[1][k])
            rows.append(
                {
                    "parameter": f"{parameter.name}[{names}]" if names else parameter.name,
                    "scale": "free" if entrywise else "as it is",
                    "prior_sd": float(sds[0][k]),
                    "posterior_sd": posterior,
                    "contraction": 1.0 - posterior**2 / float(sds[0][k]) ** 2,
                }
            )
    return pd.DataFrame(rows, columns=["parameter", "scale", "prior_sd", "posterior_sd", "contraction"])


def _on_scale(scale: Scale) -> list[str]:
    if scale.only_ranking is None:
        return [scale.warning]
    at_least = "" if scale.exact else " at least"
    factor = f"{scale.factor:.2f}" if scale.factor < 100 else "more than 100"
    if scale.only_ranking:
        said = (
            "Only the ranking of users is identified, not their attentiveness on an absolute scale: the votes are "
            f"nearly as probable with a mean attentiveness of {scale.lower:.2f} as with {scale.upper:.2f} (90 % "
            f"profile interval, a factor of{at_least} {factor}). {_trade(scale)}".strip()
        )
        return [said]
    return [
        f"Attentiveness is known on its absolute scale: by the votes alone the users' mean lies between "
        f"{scale.lower:.2f} and {scale.upper:.2f} (90 % profile interval, a factor of {factor})."
    ]


def _trade(scale: Scale) -> str:
    """What is traded against attentiveness between the two ends."""
    traded = []
    for name, low in scale.at_lower.items():
        high = scale.at_upper[name]
        if name.startswith("attentiveness"):
            continue
        if low.ndim == 0 or low.size == 1:
            a, b = float(np.ravel(low)[0]), float(np.ravel(high)[0])
            traded.append((abs(a - b) / max(abs(a), abs(b), 1e-12), f"{name} from {a:.2f} to {b:.2f}"))
        else:
            a, b = float(low.std()), float(high.std())
            traded.append((abs(a - b) / max(a, b, 1e-12), f"the spread of {name} (sd) from {a:.2f} to {b:.2f}"))
    traded = sorted((pair for pair in traded if pair[0] > 0.1), reverse=True)[:2]
    return f"On the way {' and '.join(text for _, text in traded)}." if traded else ""


def _on_directions(directions: pd.DataFrame) -> list[str]:
    weak = directions[directions["information"] < _WEAK]
    if weak.empty:
        return [
            f"The votes tell at least {directions['information'].iloc[0]:.0f} times what the priors do of everything."
        ]
    first = weak.iloc[0]
    more = f", and {len(weak) - 1} more such" if len(weak) > 1 else ""
    return [f"Least known (of the prior's variance {first['remaining']:.0%} is left): {first['meaning']}{more}."]


def _on_users(apart: pd.DataFrame, votes: dict[str, float]) -> list[str]:
    said = []
    against = apart[apart["probability"] > _PROBABLE]
    if len(against):
        names = ", ".join(str(name)[:40] for name in against["user"].head(3)) + (", ..." if len(against) > 3 else "")
        who = "user disagrees" if len(against) == 1 else "users disagree"
        said.append(
            f"{len(against):,} {who} with the others consistently ({names}): another taste or an adversary "
            "rather than carelessness, whatever attentiveness the model gives them."
        )
    if votes["p"] < _UNLIKELY:
        said.append(
            "Attentiveness goes with the number of votes, which the model takes to be independent of it: "
            f"{votes['slope']:+.3f} for twice the votes (p = {votes['p']:.1g})."
        )
    return said


def _advice(fit: Fit, scale: Scale) -> tuple[str, ...]:
    said = []
    low, high = scale.if_known or (0.0, 1.0)
    if high / max(low, 1e-300) < 0.9 * scale.factor:
        said.append(
            "If it were known how often an attentive user sides with the better model (KnownAdvantage), the mean "
            f"would lie between {low:.2f} and {high:.2f}."
        )
    context = fit.counts.cells.context
    if not any(np.any(context[name] > 0) for name in (GOLD, GOLD_USER) if name in context):
        said.append(
            "Users who are known to attend, or comparisons whose right answer is known, fix the scale: "
            "BehaviorModel(gold=er.Gold(users=[...]))."
        )
    if len(fit.schema.pairs) == 1:
        said.append("Votes on more pairs of models help: between three or more, skills must fit together.")
    if not fit.schema.ties:
        said.append("Offering users a tie helps: careless users choose it whether or not the responses are alike.")
    return tuple(said)
