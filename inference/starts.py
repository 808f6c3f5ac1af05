"""Where chains start: dispersed over EM's modes, or from the prior; and where users start in the explicit form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..comparisons.cells import Counts
from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable
from .compiled import LATENT, Statement, dispersed_points
from .draws import with_effects
from .results import Fit
from .users_given import users_given

__all__ = ["NEAR", "Plan", "plan_starts", "user_starts", "user_variance"]

NEAR = 10.0
"""Modes (and chains) this many nats below the best hold no mass worth a chain: less than exp(-10) of the best's."""

_SCOUTS, _CLOUD = 2, 400


@dataclass(frozen=True)
class Plan:
    """Where chains start, on the free scale: (point, name of the mode) each.

    Attributes:
        main, scouts: starts of the answer's chains, and of those that only see whether a lesser mode holds them.
        cloud: points spread like the posterior around the best mode.
        tried: points at which rules of integration are tried: over the near modes. Far ones hold no mass, and their
            extreme populations would ask for many times the nodes, at every step of every chain.
    """

    main: list[tuple[np.ndarray, str]]
    scouts: list[tuple[np.ndarray, str]]
    cloud: np.ndarray
    tried: list[np.ndarray]


def plan_starts(table: ParameterTable, fit: Fit | None, chains: int, rng: np.random.Generator) -> Plan:
    """Around the modes of a fit; without one, from draws of the prior."""
    if fit is None:
        points = [table.pack(table.sample_prior(rng)) for _ in range(max(chains, 8))]
        main = [(point, "prior draw") for point in points[:chains]]
        return Plan(main, [], np.zeros((0, table.size)), points)
    best = fit.modes[0].objective if fit.modes else np.nan
    centres = [(fit.centre, "best mode")]
    lift = partial(with_effects, fit, table, rng=rng)
    for number, mode in enumerate(fit.modes[1:], 2):
        gap = best - mode.objective
        centres.append((fit.table.pack(mode.parameters), f"mode {number}, {gap:.1f} nats below the best in EM"))
    near = [centre for centre, mode in zip(centres, fit.modes, strict=False) if best - mode.objective <= NEAR]
    near = near or centres[:1]
    # With fewer chains than near modes the rest are scouted, so that none goes unmentioned.
    far = [centre for centre in centres if all(centre[1] != other[1] for other in near[:chains])][:_SCOUTS]

    def around(centre: np.ndarray, spread: float, n: int = 1) -> np.ndarray:
        return lift(dispersed_points(fit.table, centre, fit.spread, n, spread, rng))

    main = [(around(near[i % len(near)][0], 1.5)[0], near[i % len(near)][1]) for i in range(chains)]
    scouts = [(lift(centre[None])[0], name) for centre, name in far]
    tried = [point for point, _ in main] + [point for centre, _ in near for point in around(centre, 1.5, 3)]
    return Plan(main, scouts, around(fit.centre, 1.0, _CLOUD), tried + [lift(c[None])[0] for c, _ in near])


def user_starts(
    statement: Statement, counts: Counts, values: Mapping[str, np.ndarray], seed: int, fitted: bool
) -> list[dict[str, np.ndarray]]:
    """Where users' latents start in the explicit form, for each start of the globals; empty in the marginal form.

    Args:
        statement: the model and its votes.
        counts: the same votes.
        values: starts of the globals, {parameter: (start, ...)}.
        seed: of the draws.
        fitted: exact draws given the globals, each start's own (those of the best mode would pull a scout out of its
            mode); else draws from the population at each start, which know no votes.

    Returns:
        {the latent: (user,)} of each start.
    """
    size = len(next(iter(values.values())))
    if statement.form == "marginal":
        return [{} for _ in range(size)]
    rng, n_users = np.random.default_rng([seed, 5]), len(statement.tally.users)
    if fitted:
        uniforms = rng.random((size, n_users))
        given = users_given(statement.model, counts, values, lambda first, n: uniforms[first : first + n])
        eta = np.concatenate([part.attentiveness for part in given])
    else:
        points = [{name: value[i] for name, value in values.items()} for i in range(size)]
        eta = np.stack([statement.model.attentiveness.sample(rng, point, n_users) for point in points])
    eta = np.clip(eta.astype(float), 1e-3, 1 - 1e-3)
    logit = np.log(eta) - np.log1p(-eta)
    if fitted and statement.model.attentiveness.slopes:  # users' own have their covariates in them
        each = [{name: value[i] for name, value in values.items()} for i in range(size)]
        logit = logit - np.stack([statement.offset(statement.chances(NUMPY, point)) for point in each])
    return [{LATENT: row} for row in logit]


def user_variance(statement: Statement, fit: Fit | None) -> np.ndarray | None:
    """First guess at the variance of users' logits in the explicit form, (user,): of a Beta with EM's mean and sd."""
    from scipy.special import polygamma

    if statement.form == "marginal" or fit is None:
        return None
    frame = fit.attentiveness.set_index("user").loc[statement.tally.users]
    mean = np.clip(frame["mean"].to_numpy(), 1e-3, 1 - 1e-3)
    size = np.maximum(mean * (1 - mean) / np.maximum(frame["sd"].to_numpy(), 1e-3) ** 2 - 1, 0.5)
    # Of a logit of a Beta variable, where it is a density worth a normal one; no wider than starts are.
    return np.asarray(np.minimum(polygamma(1, mean * size) + polygamma(1, (1 - mean) * size), 10.0))
