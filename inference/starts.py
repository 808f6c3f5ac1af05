"""Where chains start: dispersed over EM's modes, or from the prior; and where users start in the explicit form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.parameters import ParameterTable, Values
from .compiled import LATENT, Statement, dispersed_points
from .results import Fit

__all__ = ["NEAR", "Plan", "UsersAsFitted", "plan_starts"]

NEAR = 10.0
"""Modes (and chains) this many nats below the best hold no mass worth a chain: less than exp(-10) of the best's."""

_SCOUTS, _CLOUD = 2, 400


@dataclass(frozen=True)
class Plan:
    """Where chains start, on the free scale: (point, name of the mode) each; `tried` spread over all of it."""

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
    for number, mode in enumerate(fit.modes[1:], 2):
        gap = best - mode.objective
        centres.append((table.pack(mode.parameters), f"mode {number}, {gap:.1f} nats below the best in EM"))
    near = [centre for centre, mode in zip(centres, fit.modes, strict=False) if best - mode.objective <= NEAR]
    near = near or centres[:1]
    far = [centre for centre in centres if not any(centre[1] == other[1] for other in near)][:_SCOUTS]

    def around(centre: np.ndarray, spread: float, n: int = 1) -> np.ndarray:
        return dispersed_points(table, centre, fit.spread, n, spread, rng)

    main = [(around(near[i % len(near)][0], 1.5)[0], near[i % len(near)][1]) for i in range(chains)]
    scouts = [(centre, name) for centre, name in far]
    tried = [point for point, _ in main] + [point for centre, _ in centres for point in around(centre, 1.5, 3)]
    return Plan(main, scouts, around(fit.centre, 1.0, _CLOUD), tried + [centre for centre, _ in centres])


class UsersAsFitted:
    """Users' latent as EM leaves it, for the explicit form: where chains start and how wide it is.

    A Beta with each user's mean and sd: a normal one would leave the interval. Without a fit, the population.
    """

    def __init__(self, statement: Statement, fit: Fit | None) -> None:
        self.statement = statement
        self.shape: tuple[np.ndarray, np.ndarray] | None = None
        if statement.form == "explicit" and fit is not None:
            frame = fit.attentiveness.set_index("user").loc[statement.tally.users]
            mean = np.clip(frame["mean"].to_numpy(), 1e-3, 1 - 1e-3)
            size = np.maximum(mean * (1 - mean) / np.maximum(frame["sd"].to_numpy(), 1e-3) ** 2 - 1, 0.5)
            self.shape = mean * size, (1 - mean) * size

    def start(self, point: Values, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """{the latent: (user,)} near a point of the globals; empty in the marginal form."""
        if self.statement.form == "marginal":
            return {}
        if self.shape is None:
            eta = self.statement.model.attentiveness.sample(rng, point, len(self.statement.tally.users))
        else:
            eta = rng.beta(*self.shape)
        eta = np.clip(np.asarray(eta, dtype=float), 1e-3, 1 - 1e-3)
        return {LATENT: np.log(eta) - np.log1p(-eta)}

    def variance(self) -> np.ndarray | None:
        """Of the logit, (user,)."""
        from scipy.special import polygamma

        if self.shape is None:
            return None
        # Of a logit of a Beta variable, where it is a density worth a normal one; no wider than starts are.
        return np.asarray(np.minimum(polygamma(1, self.shape[0]) + polygamma(1, self.shape[1]), 10.0))
