"""What would other priors have said? Sensitivity of a posterior to a power of its prior and of its likelihood.

The prior (or the likelihood) is raised to a power near one, p(theta)^a, and the draws are weighted accordingly: nothing
is sampled again. How fast the posterior of a quantity moves with log2(a), as the cumulative Jensen-Shannon distance, is
its sensitivity. Users' population is part of the model and not scaled; scaled are the priors of its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from ..inference.thinning import evenly
from ..inference.users_given import users_given
from ..models.behavior import BehaviorModel
from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable
from .bands import Drawn, bands
from .convergence import convergence
from .curves import curve_table
from .scale import mean_attentiveness

if TYPE_CHECKING:
    import xarray

    from ..comparisons.log import ComparisonLog

__all__ = ["LIMIT", "Sensitivity", "sensitivity"]

LIMIT = 0.05
"""Sensitivity from which a component counts as moving a quantity (Kallioinen et al. 2024): of a normal posterior it
moves the mean by about 0.22 standard deviations when the power is doubled."""

USERS, POPULATION, PRECISION = "mean attentiveness of the users", "mean attentiveness of the population", "precision"

_POWERS = (0.99, 1.01)
_MOST_DRAWS, _JUDGED = 1000, 2000  # at which a log's likelihood is computed; by which the best cut is chosen
_ENOUGH, _RHAT = 100.0, 1.05


@dataclass(frozen=True)
class Sensitivity:
    """How a posterior answers to its priors and to its votes.

    Attributes:
        table: one row a quantity (every scalar parameter, the mean attentiveness, and where users' draws are kept the
            precision of the votes above the recommended threshold): quantity, prior, likelihood (sensitivities),
            strongest (the parameter whose prior alone moves it most), diagnosis ("the votes decide", "prior and votes
            both count", "the prior decides", "neither moves it", "does not vary").
        by_prior: sensitivity of each quantity to each parameter's prior alone: quantity, then a column a parameter.
        scale_leans: the users' mean attentiveness is sensitive to the prior, so that its absolute scale, and thresholds
            on it, are no better known than the prior.
        verdict: a few sentences.
    """

    table: pd.DataFrame
    by_prior: pd.DataFrame
    scale_leans: bool
    verdict: str

    def __repr__(self) -> str:
        return f"<Sensitivity: {self.verdict}>"


def sensitivity(trace: Any, log: ComparisonLog | None = None) -> Sensitivity:
    """Power-scaling sensitivity of a sampled posterior.

    Args:
        trace: result of `sample`, or one loaded again.
        log: the log it was sampled from. Only needed where the posterior is so large that the log-likelihood was kept
            of some of its draws: it is then computed anew at 1,000 of them.

    Returns:
        a `Sensitivity`: how far each quantity moves with the priors and with the votes, and a verdict.

    Raises:
        EarnestError: no result of `sample`, draws that are no numbers, or a log that is another or is missing.

    Reference: Kallioinen, Paananen, Bürkner and Vehtari (2024), Statistics and Computing 34, 57.
    """
    model, posterior, table = _read(trace)
    likelihood, kept = _likelihood(trace, log, model, posterior, table)
    values = {p.name: posterior[p.name].to_numpy()[:, kept] for p in table.parameters}
    priors = _log_priors(table, values)
    quantities = _quantities(trace, model, table, values, kept)
    by_likelihood = _moved(quantities, {"votes": likelihood}, "likelihood")
    by_all = _moved(quantities, priors, "prior")
    alone = {name: _moved(quantities, {name: priors[name]}, "prior") for name in priors}
    rows = []
    for label in quantities:
        each = {name: moved[label] for name, moved in alone.items()}
        known = {name: value for name, value in each.items() if np.isfinite(value)}
        rows.append(
            {
                "quantity": label,
                "prior": by_all[label],
                "likelihood": by_likelihood[label],
                "strongest": max(known, key=lambda name: known[name]) if known else "",
                "diagnosis": _diagnosis(by_all[label], by_likelihood[label]),
            }
        )
    told = pd.DataFrame(rows)
    by_prior = pd.DataFrame([{"quantity": q, **{name: moved[q] for name, moved in alone.items()}} for q in quantities])
    scale = told[told["quantity"].isin([USERS, POPULATION])].iloc[0]
    leans = bool(scale["prior"] >= LIMIT)
    verdict = " ".join([*_on_chains(trace), *_on_scale(scale, leans), *_on_precision(told), *_on_parameters(told)])
    return Sensitivity(told, by_prior, leans, verdict)


def _read(trace: Any) -> tuple[BehaviorModel, Any, ParameterTable]:
    if not hasattr(trace, "posterior") or not hasattr(trace, "log_likelihood"):
        raise EarnestError(
            f"sensitivity: expected a posterior from `sample`, with its log-likelihood; got {type(trace).__name__}"
        )
    if "declaration" not in trace.attrs:
        raise EarnestError("trace: it lacks the declaration that `sample` writes into its attributes")
    model = BehaviorModel.from_toml(trace.attrs["declaration"])
    posterior = trace.posterior
    table = model.table(_schema(trace))
    for parameter in table.parameters:
        if parameter.name not in posterior:
            raise EarnestError(f"trace: its declaration has a parameter {parameter.name!r} that its posterior lacks")
        if not np.all(np.isfinite(posterior[parameter.name].to_numpy())):
            raise EarnestError(f"trace: the draws of {parameter.name!r} are not all numbers; sample again")
    return model, posterior, table


def _schema(trace: Any) -> Schema:
    """As much of the log's names as priors depend on: how many models, pairs and outcomes there are."""
    coords = trace.posterior.coords
    outcomes = trace.observed_data["outcome"] if "outcome" in trace.observed_data.coords else coords.get("outcome", ())
    names = [str(name) for name in coords["model"].to_numpy()] if "model" in coords else []
    n_pairs = len(coords["pair"]) if "pair" in coords else 0
    size = len(names) or 2
    while not names and size * (size - 1) // 2 < n_pairs:
        size += 1
    names = names or [f"model_{i + 1:04d}" for i in range(size)]
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    categories = tuple(str(name) for name in coords["category"].to_numpy()) if "category" in coords else ()
    items = tuple(str(name) for name in coords["item"].to_numpy()) if "item" in coords else ()
    return Schema(tuple(names), tuple(pairs[:n_pairs] if n_pairs else pairs), len(outcomes) > 2, categories, items)


def _likelihood(
    trace: Any, log: ComparisonLog | None, model: BehaviorModel, posterior: Any, table: ParameterTable
) -> tuple[np.ndarray, np.ndarray]:
    """Joint log-likelihood of the votes, nats, (chain, draw), and which draws of each chain those are."""
    n_draws = int(posterior.sizes["draw"])
    given = trace.log_likelihood["votes"]
    if int(given.sizes["draw"]) == n_draws:
        joint, kept = given.transpose("chain", "draw", "user").to_numpy().sum(-1), np.arange(n_draws)
    elif log is None:
        raise EarnestError(
            "sensitivity: this posterior holds the log-likelihood of only some of its draws; give the log as well: "
            "sensitivity(trace, log)"
        )
    else:
        if log.fingerprint() != trace.attrs.get("fingerprint"):
            raise EarnestError("log: it is not the log that this posterior was sampled from")
        kept = evenly(n_draws, max(_MOST_DRAWS // int(posterior.sizes["chain"]), 1))
        flat = {p.name: posterior[p.name].to_numpy()[:, kept] for p in table.parameters}
        flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in flat.items()}
        counts = model.count(log)
        middle = np.full(len(counts.users), 0.5)
        pieces = users_given(model, counts, flat, lambda first, n: np.tile(middle, (n, 1)))
        joint = np.concatenate([piece.log_likelihood.sum(1) for piece in pieces]).reshape(-1, len(kept))
    if not np.all(np.isfinite(joint)):
        raise EarnestError("trace: its log-likelihood is not a number at some draw; sample again")
    return joint, kept


def _log_priors(table: ParameterTable, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Log prior density of each parameter, constrained scale without Jacobian, nats, (chain, draw) each."""
    out = {}
    for parameter in table.parameters:
        drawn = values[parameter.name]
        flat = drawn.reshape(-1, *drawn.shape[2:])
        others = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
        at = [{name: value[i] for name, value in others.items()} for i in range(len(flat))]
        density = np.array(
            [float(parameter.prior.given(o).log_prob(NUMPY, one)) for o, one in zip(at, flat, strict=True)]
        )
        out[parameter.name] = density.reshape(drawn.shape[:2])
    return out


def _quantities(
    trace: Any, model: BehaviorModel, table: ParameterTable, values: Mapping[str, np.ndarray], kept: np.ndarray
) -> dict[str, np.ndarray]:
    """{label: (chain, draw)} of everything that is judged."""
    out: dict[str, np.ndarray] = {}
    if "attentiveness" in trace.posterior:
        drawn = trace.posterior["attentiveness"].transpose("chain", "draw", "user")
        eta, labels = drawn.to_numpy()[:, kept], trace.constant_data["comparisons"].sel(user=drawn["user"]).to_numpy()
        out[USERS] = eta.mean(-1)
        threshold, precision = _at_recommended(eta, labels.astype(float))
        out[f"{PRECISION} above the recommended threshold {threshold:.2f}"] = precision
    else:
        flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
        shape = (int(trace.posterior.sizes["chain"]), len(kept))
        points = [{name: value[i] for name, value in flat.items()} for i in range(shape[0] * shape[1])]
        means = [mean_attentiveness(model, table, table.pack(point)) for point in points]
        out[POPULATION] = np.array(means).reshape(shape)
    for parameter in table.parameters:
        drawn = values[parameter.name]
        names = [table.coords[dim] for dim in parameter.dims]
        coords = trace.posterior[parameter.name].coords
        names = [[str(v) for v in coords[d].to_numpy()] if d in coords else n
                 for d, n in zip(parameter.dims, names, strict=True)]  # fmt: skip
        for index in np.ndindex(drawn.shape[2:]):
            at = ", ".join(names[axis][k] for axis, k in enumerate(index))
            out[f"{parameter.name}[{at}]" if at else parameter.name] = drawn[(slice(None), slice(None), *index)]
    return out


def _at_recommended(eta: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The cut with the most expected effective labels, and the precision above it at every draw, (chain, draw)."""
    flat = eta.reshape(-1, eta.shape[-1])
    some = flat[evenly(len(flat), _JUDGED)]
    mean = some.mean(0)
    thresholds = curve_table(mean, labels)["threshold"].to_numpy()
    worth = bands(Drawn(np.arange(len(mean)), labels, some, float("nan"), ""), mean, thresholds).effective_labels
    threshold = float(thresholds[int(np.argmax(worth))])
    kept = np.where(mean >= threshold, labels, 0.0)
    return threshold, np.asarray(eta @ kept / kept.sum())


def _moved(quantities: Mapping[str, np.ndarray], scaled: Mapping[str, np.ndarray], group: str) -> dict[str, float]:
    """Sensitivity of every quantity to a power of the product of some densities, by ArviZ; NaN for a constant."""
    from arviz_base import from_dict
    from arviz_stats import psense

    place = {f"q{i}": label for i, label in enumerate(quantities) if np.ptp(quantities[label]) > 0}
    out = dict.fromkeys(quantities, float("nan"))
    if all(np.ptp(density) == 0 for density in scaled.values()):  # a flat density weights all draws alike
        return out | dict.fromkeys(place.values(), 0.0)
    tree: xarray.DataTree = from_dict(
        {
            "posterior": {name: quantities[label] for name, label in place.items()},
            f"log_{group}": {f"d{i}": density for i, density in enumerate(scaled.values())},
        }
    )
    moved = psense(tree, group=group, alphas=_POWERS)
    return out | {label: float(moved[name]) for name, label in place.items()}


def _diagnosis(prior: float, likelihood: float) -> str:
    if not np.isfinite(prior) or not np.isfinite(likelihood):
        return "does not vary"
    if prior >= LIMIT:
        return "prior and votes both count" if likelihood >= LIMIT else "the prior decides"
    return "the votes decide" if likelihood >= LIMIT else "neither moves it"


def _on_scale(scale: pd.Series, leans: bool) -> list[str]:
    what = str(scale["quantity"])
    if not np.isfinite(scale["prior"]):
        return [f"The {what} does not vary."]
    if leans:
        return [
            f"The {what} leans on the prior (sensitivity {scale['prior']:.2f}; {LIMIT} and more counts), most on that "
            f"of {scale['strongest']}: the absolute scale of attentiveness, and thresholds on it, may be trusted as "
            "far as that prior is."
        ]
    return [
        f"The {what} does not lean on the prior (sensitivity {scale['prior']:.2f}; {LIMIT} and more counts): other "
        "priors nearby would put the absolute scale in the same place."
    ]


def _on_precision(table: pd.DataFrame) -> list[str]:
    rows = table[table["quantity"].str.startswith(PRECISION)]
    if not len(rows) or not np.isfinite(rows.iloc[0]["prior"]):
        return []
    row = rows.iloc[0]
    leans = "leans on the prior, too" if row["prior"] >= LIMIT else "does not lean on the prior"
    return [f"The {row['quantity']} {leans} ({row['prior']:.2f})."]


def _on_parameters(table: pd.DataFrame) -> list[str]:
    rest = table[~table["quantity"].isin([USERS, POPULATION]) & ~table["quantity"].str.startswith(PRECISION)]
    said = []
    for diagnosis, words in (
        ("the prior decides", "The votes hardly bear on {}: what is said of it is the prior's."),
        ("prior and votes both count", "Prior and votes both count for {}."),
    ):
        rows = rest[rest["diagnosis"] == diagnosis].sort_values("prior", ascending=False)
        if len(rows):
            names = [f"{row['quantity']} ({row['prior']:.2f})" for _, row in rows.head(3).iterrows()]
            more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
            said.append(words.format(", ".join(names) + more))
    if not said:
        said.append("No parameter leans on its prior.")
    return said


def _on_chains(trace: Any) -> list[str]:
    checked = convergence(trace)
    if checked.rhat <= _RHAT and checked.ess >= _ENOUGH:
        return []
    return [f"The posterior is itself not to be relied on, and so neither is this: {checked.verdict}"]
